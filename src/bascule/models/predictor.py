"""A finished fold on disk: ``meta.json`` (how it was made) and the model in its native form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError, ConfigError, DataError, ExtensionRecord, extensions
from bascule.core.files import checksum
from bascule.core.panel import FloatArray
from bascule.models.kind import Float64Array, Kind, Predict
from bascule.models.registry import kind, require
from bascule.models.samples import standardise

if TYPE_CHECKING:
    import pandas as pd

META = "meta.json"
SCHEMA = 2
_NEEDED = ("model_id", "kind", "names", "features", "windows", "fingerprint", "file", "checksum")


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model.

    Attributes:
        model_id: e.g. ``lgb-2021-01``.
        names: its features, in order ``[F]``.
        test: half-open test window; the model is in charge from its start on.
        meta: everything else that ``meta.json`` says.
        kind: its kind.
        file: the model's file.
    """

    model_id: str
    names: tuple[str, ...]
    test: tuple[np.datetime64, np.datetime64]
    meta: Mapping[str, Any]
    kind: Kind
    file: Path
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
        at = None if time is None else np.asarray(time)[known]
        chosen = self.prepared(np.asarray(features[known], np.float32), at)
        result[known] = answer(self.kind, self._predict, chosen, at)
        return result

    def prepared(self, features: FloatArray, time: NDArray[Any] | None) -> FloatArray:
        """What the model itself reads ``[n, F]``: compared within each time if `compares`."""
        return standardise(features, np.zeros(0) if time is None else time) if self.compares else features


def answer(chosen: Kind, predict: Predict, features: FloatArray, time: NDArray[Any] | None) -> Float64Array:
    """Predictions ``[n]``; a relational model is asked time by time.

    Raises:
        DataError: it is relational and there are no times.
    """
    if not chosen.relational or not len(features):
        return predict(features)
    if time is None or len(time) != len(features):
        raise DataError(
            f"{0 if time is None else len(time)} times for {len(features)} samples",
            where=chosen.name,
            remedy="this model sees all instruments of a time at once: pass the time of every sample",
        )
    edges = np.flatnonzero(np.concatenate([[True], time[1:] != time[:-1], [True]]))
    return np.concatenate([predict(features[first:last]) for first, last in pairwise(edges)])


def load(path: Path) -> Predictor:
    """Open a fold folder.

    Raises:
        BundleError: it is missing or damaged, of another schema, or its model file is not the one that was
            saved.
    """
    meta = read_meta(path)
    file = path / meta["file"]
    if not file.is_file() or checksum(file) != meta["checksum"]:
        raise BundleError(
            "the model file is missing or changed", where=str(file), remedy="restore it or train again"
        )
    start, end = (np.datetime64(text, "ns") for text in meta["windows"]["test"])
    if "extension" in meta:
        made_with = ExtensionRecord.read(meta["extension"], where=str(path / META))
        if (lack := extensions.lacking([made_with])) is not None:
            raise BundleError(lack, where=str(path), remedy=extensions.REMEDY)
    chosen = kind(meta["kind"])
    require(chosen)
    names = tuple(meta["names"])
    return Predictor(meta["model_id"], names, (start, end), meta, chosen, file, chosen.load(file))


def read_meta(path: Path) -> dict[str, Any]:
    """The description of a fold folder.

    Raises:
        BundleError: missing, unreadable, incomplete, or of another schema.
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
    lacking = [name for name in _NEEDED if name not in meta]
    if lacking or Path(str(meta["file"])).name != meta["file"]:
        shown = f"does not name its {lacking[0]}" if lacking else f"names a file elsewhere: {meta['file']!r}"
        raise BundleError(
            f"the model's description {shown}", where=str(file), remedy="restore it or train again"
        )
    return meta


def explained(folder: Path) -> bool:
    """True if all models below ``folder`` have an importance of their own; networks have none."""
    found = [read_meta(path.parent) for path in folder.glob(f"*/{META}")]
    return bool(found) and all(meta["importance"] is not None for meta in found)


def importance(folder: Path, folds: Sequence[str] | None = None) -> pd.DataFrame:
    """Importance (shares of 1): one row a feature, strongest on average first, one column a fold.

    Args:
        folder: where `train_walk_forward` put its fold folders.
        folds: fold ids; default all.

    Raises:
        ConfigError: a model without an importance of its own.
    """
    import pandas as pd

    found = sorted(p.parent.name for p in folder.glob(f"*/{META}")) if folds is None else list(folds)
    metas = {name: read_meta(folder / name) for name in found}
    without = [name for name, meta in metas.items() if meta["importance"] is None]
    if without:
        raise ConfigError(
            f"{metas[without[0]]['kind']} has no importance of its own",
            where=str(folder / without[0]),
            remedy="measure it by permutation: models.permutation_importance",
        )
    columns = {name: pd.Series(meta["importance"], meta["names"]) for name, meta in metas.items()}
    table = pd.DataFrame(columns)
    return table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]
