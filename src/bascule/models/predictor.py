"""A finished fold on disk: ``meta.json`` (how it was made) and the model in its native form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError, DataError
from bascule.core.files import checksum
from bascule.core.panel import FloatArray
from bascule.models.registry import Predict, kind
from bascule.models.samples import standardise

if TYPE_CHECKING:
    import pandas as pd

META = "meta.json"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model.

    Attributes:
        model_id: e.g. ``lgb-2021-01``.
        names: its features, in order ``[F]``.
        test: half-open test window; the model is in charge from its start on.
        meta: everything else that ``meta.json`` says.
    """

    model_id: str
    names: tuple[str, ...]
    test: tuple[np.datetime64, np.datetime64]
    meta: Mapping[str, Any]
    _predict: Predict

    @property
    def compares(self) -> bool:
        """True if the model compares features within each time, so that `predict` needs times."""
        return bool(self.meta["features"] == "rank")

    def predict(self, features: FloatArray, time: NDArray[Any] | None = None) -> FloatArray:
        """Predict float32 ``[n]``; NaN for a sample without any feature.

        Args:
            features: raw values ``[n, F]``, in the order of `names`; one sample's result does not depend on
                the others unless `compares`.
            time: time of each sample ``[n]``, samples of one time together; needed if `compares`, and then
                all members of a time must be there.
        """
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise DataError(
                f"received features {list(features.shape)}, expected [n, {len(self.names)}]",
                where=f"model {self.model_id}",
                remedy="compute the features that the model names, in its order",
            )
        result = np.full(len(features), np.nan, np.float32)
        known = ~np.isnan(features).all(axis=1)
        if not known.any():
            return result
        chosen = np.asarray(features[known], np.float32)
        if self.compares:
            chosen = standardise(chosen, np.zeros(0) if time is None else np.asarray(time)[known])
        result[known] = self._predict(chosen)
        return result


def load(path: Path) -> Predictor:
    """Open a fold folder.

    Raises:
        BundleError: it is missing, of another schema, or its model file is not the one that was saved.
    """
    meta = read_meta(path)
    file = path / meta["file"]
    if not file.is_file() or checksum(file) != meta["checksum"]:
        raise BundleError(
            "the model file is missing or changed", where=str(file), remedy="restore it or train again"
        )
    start, end = (np.datetime64(text, "ns") for text in meta["windows"]["test"])
    return Predictor(
        meta["model_id"], tuple(meta["names"]), (start, end), meta, kind(meta["kind"]).load(file)
    )


def read_meta(path: Path) -> dict[str, Any]:
    """The description of a fold folder.

    Raises:
        BundleError: missing, unreadable or of another schema.
    """
    file = path / META
    try:
        meta = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"cannot read the model's description: {error}", where=str(file), remedy="train again"
        ) from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise BundleError(f"this is not a model of schema {SCHEMA}", where=str(file), remedy="train again")
    return meta


def importance(folder: Path, folds: Sequence[str] | None = None) -> pd.DataFrame:
    """Importance (shares of 1): one row a feature, strongest on average first, one column a fold.

    Args:
        folder: where `train_walk_forward` put its fold folders.
        folds: fold ids; default all.
    """
    import pandas as pd

    found = sorted(p.parent.name for p in folder.glob(f"*/{META}")) if folds is None else list(folds)
    metas = {name: read_meta(folder / name) for name in found}
    columns = {name: pd.Series(meta["importance"], meta["names"]) for name, meta in metas.items()}
    table = pd.DataFrame(columns)
    return table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]
