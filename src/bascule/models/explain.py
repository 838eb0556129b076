"""Why a model predicts what it predicts, and whether the reasons last.

1. `contributions` splits each prediction into one part per feature and a base: SHAP values of trees (Lundberg
   et al. 2020, computed exactly by the tree libraries themselves), terms of a linear model.
2. `shap_importance` averages their absolute values; `permutation_importance` measures, for any model, how
   much rank IC is lost when a feature's values are permuted among the instruments of a time.
3. `stability` compares importances over folds: what is important once by chance does not stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError
from bascule.core.panel import FloatArray
from bascule.evaluate import ic_series, row_ranks
from bascule.evaluate.rows import IntArray
from bascule.models.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

Float64Array = NDArray[np.float64]


def contributions(
    predictor: Predictor, features: FloatArray, time: NDArray[Any] | None = None
) -> Float64Array:
    """Parts of each prediction ``[n, F + 1]``: one per feature, the base last; they sum to the prediction.

    Args:
        predictor: a tree or linear model.
        features: raw values ``[n, F]``, each with at least one feature known.
        time: of each sample, as for `Predictor.predict`.

    Raises:
        ConfigError: the model has no exact parts.
    """
    found = predictor.kind.contributions(predictor.file)
    if found is None:
        raise ConfigError(
            f"{predictor.kind.name} has no exact contributions",
            where=predictor.model_id,
            remedy="use permutation_importance, or a tree model",
        )
    return found(predictor.prepared(np.asarray(features, np.float32), time))


def shap_importance(
    predictor: Predictor, features: FloatArray, time: NDArray[Any] | None = None
) -> pd.Series[float]:
    """Mean absolute contribution of each feature as shares of 1, strongest first."""
    import pandas as pd

    size = np.abs(contributions(predictor, features, time)[:, :-1]).mean(axis=0)
    shares = size / max(float(size.sum()), 1e-300)
    return pd.Series(shares, list(predictor.names)).sort_values(ascending=False, kind="stable")


def permutation_importance(
    predictor: Predictor,
    features: FloatArray,
    target: NDArray[Any],
    time: IntArray,
    *,
    seed: int,
) -> pd.Series[float]:
    """Mean rank IC lost by permuting each feature within each time, largest loss first.

    Args:
        predictor: any model.
        features: raw values ``[n, F]``.
        target: what it should foresee ``[n]``.
        time: row number of each sample ``[n]``, samples of one time together.
        seed: of the permutations.
    """
    import pandas as pd

    random = np.random.default_rng(seed)
    whole = _rank_ic(predictor.predict(features, time), target, time)
    lost = np.empty(features.shape[1])
    order = np.lexsort((random.random(len(time)), time))
    places = np.lexsort((np.arange(len(time)), time))
    for f in range(features.shape[1]):
        changed = features.copy()
        order = np.lexsort((random.random(len(time)), time))
        changed[places, f] = features[order, f]
        lost[f] = whole - _rank_ic(predictor.predict(changed, time), target, time)
    return pd.Series(lost, list(predictor.names)).sort_values(ascending=False, kind="stable")


def _rank_ic(predicted: NDArray[Any], target: NDArray[Any], time: IntArray) -> float:
    rows, index = np.unique(time, return_inverse=True)
    first = np.concatenate([[0], np.cumsum(np.bincount(index))[:-1]])
    place = np.arange(len(time)) - first[index]
    grids = np.full((2, len(rows), int(place.max()) + 1), np.nan)
    grids[0, index, place], grids[1, index, place] = predicted, target
    return float(np.nanmean(ic_series(grids[0], grids[1], rank=True)))


@dataclass(frozen=True, eq=False)
class Stability:
    """How alike the importances of a model's folds are.

    Attributes:
        consecutive: rank correlation of importances of each fold with the next ``[folds − 1]``.
        overlap: share of the ``top`` features of each fold that are among those of the next ``[folds − 1]``.
        features: one row a feature, strongest first: ``mean``, ``std``, ``top`` (share of folds in which it
            is among the top).
        top: how many count as top.
    """

    consecutive: Float64Array
    overlap: Float64Array
    features: pd.DataFrame
    top: int


def stability(table: pd.DataFrame, top: int = 10) -> Stability:
    """Stability of importances.

    Args:
        table: one row a feature, one column a fold in order of time (`models.importance`).
        top: how many features count as top.

    Raises:
        ConfigError: fewer than two folds.
    """
    import pandas as pd

    if table.shape[1] < 2:
        raise ConfigError(f"{table.shape[1]} fold", where="stability", remedy="compare at least two folds")
    table = table[sorted(table.columns)]
    weights = table.to_numpy(np.float64).T
    top = min(top, weights.shape[1])
    ranks = row_ranks(weights)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1))
    product = (centred[1:] * centred[:-1]).sum(axis=1)
    pairs = scale[1:] * scale[:-1]
    consecutive = np.divide(product, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    best = np.argsort(-weights, axis=1, kind="stable")[:, :top]
    sets = [set(row.tolist()) for row in best]
    overlap = np.array([len(a & b) / top for a, b in pairwise(sets)])
    often = np.array([sum(f in one for one in sets) / len(sets) for f in range(weights.shape[1])])
    features = pd.DataFrame(
        {"mean": weights.mean(axis=0), "std": weights.std(axis=0), "top": often}, index=table.index
    ).sort_values("mean", ascending=False, kind="stable")
    return Stability(consecutive, overlap, features, top)
