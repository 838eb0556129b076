"""One model for the whole universe, on an absolute grid of days.

For the training instant g (a day since 1970 divisible by the distance between trainings):

1. Candles that opened in ``[g − train_days, g)`` are learned from, of all members of the universe at once;
   labels that reach to g or beyond are unknown. The window's end stops the training, with the label's length
   kept free before it.
2. What is learned is the label compared within its row; features are compared within their row: nothing is
   scaled pair by pair, which would take the cross-section away.
3. Outliers are told by FreqAI's pipeline, fitted once on an even sample of the same rows, of all instruments,
   on the factors as they are: ranks have no outliers. A missing value counts as the sample's median.
4. The row of a candle is predicted by the model of the last instant that is not after its open.

The instants do not depend on where a run begins, so that backtests of different ranges, the analyses of bias
and a live bot have the same models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bascule.bridge.freqtrade.freqai import outliers
from bascule.bridge.freqtrade.freqai.recipe import Plan
from bascule.bridge.freqtrade.freqai.view import View
from bascule.core import DataError, Panel
from bascule.core.panel import FloatArray
from bascule.evaluate import forward_return
from bascule.evaluate.rows import Float64Array, IntArray
from bascule.models import Predictor, load
from bascule.models.samples import gather
from bascule.models.task import Job, Task, finish

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sieve:
    """FreqAI's outlier detection, fitted.

    Attributes:
        pipeline: datasieve's.
        medians: of the sample it was fitted on ``[F]``.
    """

    pipeline: Any
    medians: FloatArray

    @classmethod
    def fitted(cls, features: FloatArray, parameters: Mapping[str, Any]) -> Sieve:
        """Fit on samples ``[n, F]``; parameters: FreqAI's ``feature_parameters``."""
        whole = np.where(np.isfinite(features), features, np.nan)
        empty = np.isnan(whole).all(axis=0)
        whole[:, empty] = 0.0
        # noise is for training; here it would only make verdicts differ from call to call
        sieve = cls(
            outliers.pipeline({**parameters, "noise_standard_deviation": 0}, 1),
            np.nanmedian(whole, axis=0).astype(np.float32),
        )
        sieve.pipeline.fit_transform(sieve._frame(features))
        return sieve

    def judge(self, features: FloatArray) -> tuple[NDArray[np.bool_], Float64Array]:
        """Which samples ``[n, F]`` are no outliers, and their dissimilarity index (0: not asked for)."""
        _, verdict, _ = self.pipeline.transform(self._frame(features), outlier_check=True)
        index = self.pipeline["di"].di_values if "di" in self.pipeline else np.zeros(len(features))
        return np.asarray(verdict) > 0, np.asarray(index, np.float64)

    def _frame(self, features: FloatArray) -> pd.DataFrame:
        """Named columns without holes, as datasieve needs them."""
        import pandas as pd

        whole = np.where(np.isfinite(features), features, self.medians).astype(np.float64)
        return pd.DataFrame(whole, columns=[f"x{number}" for number in range(features.shape[1])])


@dataclass(frozen=True, eq=False)
class Fit:
    """One training.

    Attributes:
        instant: its place on the grid.
        predictor: the model.
        sieve: tells outliers, None where no detection is switched on.
    """

    instant: np.datetime64
    predictor: Predictor
    sieve: Sieve | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the models say about a view.

    Attributes:
        raw: model outputs ``[T, N]``, NaN where there is none.
        kept: False where a sample is an outlier ``[T, N]``.
        dissimilarity: the index ``[T, N]``.
        model_id: model of each row ``[T]``, "" where none.
    """

    raw: FloatArray
    kept: NDArray[np.bool_]
    dissimilarity: Float64Array
    model_id: NDArray[np.str_]

    @classmethod
    def nothing(cls, panel: Panel) -> Predictions:
        """Of a panel that nobody predicted."""
        return cls(
            np.full(panel.shape, np.nan, np.float32),
            np.ones(panel.shape, np.bool_),
            np.zeros(panel.shape),
            np.full(len(panel.time), "", "<U40"),
        )

    def add(self, view: View, fit: Fit, rows: IntArray) -> None:
        """Predict the members of these rows."""
        cells = gather(view.values, rows, view.panel.members)
        self.model_id[rows] = fit.predictor.model_id
        if not len(cells):
            return
        place = cells.row, cells.column
        self.raw[place] = fit.predictor.predict(cells.features, cells.row)
        if fit.sieve is not None:
            self.kept[place], self.dissimilarity[place] = fit.sieve.judge(cells.features)


def train(
    view: View,
    plan: Plan,
    instant: np.datetime64,
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    reuse: bool,
) -> Fit:
    """The fit of an instant, trained now unless ``folder`` holds it.

    Args:
        view: must reach from before the training window (`Plan.warmup`) to the instant.
        plan: the recipe.
        instant: on the grid.
        folder: of all fits.
        parameters: FreqAI's ``feature_parameters``, for the outlier pipeline.
        reuse: take a stored fit as it is; False: refuse one of other data.

    Raises:
        DataError: too few samples.
        ConfigError: ``folder`` holds a fit of other data or another recipe.
    """
    panel, settings = view.panel, plan.model
    first, stop = np.searchsorted(panel.time, [instant - plan.train_length, instant])
    first = max(first, min(plan.warmup, stop))
    path = folder / str(instant.astype("datetime64[D]"))
    window = panel.rows(int(first), int(stop))
    if reuse and path.exists():
        stored = load(path)
        return Fit(instant, stored, _sieve(view, first, stop, plan, parameters))
    gap = settings.reach(plan.spec.horizon) + 1
    start_valid = len(window.time) - max(1, round(plan.test_share * len(window.time)))
    if start_valid - gap < 1:
        raise DataError(
            f"{len(window.time)} candles before {instant} are too few to learn from",
            where="freqai.train_period_days",
            remedy="begin later, or give more candles before the first training",
        )
    task = Task.of(
        view.values[:, first:stop],
        plan.spec.names,
        forward_return(window, plan.spec.horizon, funding=settings.funding),
        window,
        settings,
        plan.recipe.seed,
    )
    job = Job(
        path.name,
        np.arange(0, start_valid - gap),
        np.arange(start_valid, len(window.time)),
        plan.spec.horizon,
        _about(plan, window, start_valid, gap, instant),
    )
    predictor, fresh = finish(task, job, path)
    log.info("%s: %s", "trained" if fresh else "found", predictor.model_id)
    return Fit(instant, predictor, _sieve(view, first, stop, plan, parameters))


def _about(plan: Plan, window: Panel, start_valid: int, gap: int, instant: np.datetime64) -> dict[str, Any]:
    time, past = window.time, window.time[-1] + window.timeframe.delta
    test = instant + np.timedelta64(plan.retrain_days, "D")
    edges = {
        "train": (time[0], time[start_valid - gap]),
        "valid": (time[start_valid], past),
        "test": (instant.astype("datetime64[ns]"), test.astype("datetime64[ns]")),
    }
    return {
        "windows": {name: [str(one) for one in pair] for name, pair in edges.items()},
        "purge_bars": gap,
        "embargo_bars": 0,
        "recipe": plan.id,
    }


def _sieve(view: View, first: int, stop: int, plan: Plan, parameters: Mapping[str, Any]) -> Sieve | None:
    """Fitted on an even sample of the training window; None without detection."""
    if not outliers.judges(parameters):
        return None
    cells = gather(view.values, np.arange(first, stop), view.panel.members)
    step = max(1, -(-len(cells) // plan.recipe.outlier_samples))
    return Sieve.fitted(cells.features[::step], parameters)
