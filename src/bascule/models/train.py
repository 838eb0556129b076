"""Walk-forward training: only out-of-sample predictions leave.

For each fold:

1. Choose rows and gather samples (`samples.py`): members with a label, inside the train and valid windows.
2. Digest samples and recipe. A finished fold folder with that digest is reused; one with another is an error.
3. Train qlib's model (`registry.py`) on the train samples, stop on the valid samples.
4. Write model and ``meta.json`` in one atomic step (`predictor.py`).
5. Open what was written and predict the members of the test window with it: what is stored is what predicts.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import ConfigError, DataError, Panel, Progress, Settings, silent
from bascule.core.files import atomic_folder, checksum, fingerprint, sweep
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import ic_series, summarise
from bascule.models.folds import Fold
from bascule.models.predictor import META, SCHEMA, Predictor, load, read_meta
from bascule.models.registry import Kind, kind
from bascule.models.samples import (
    FeatureKind,
    LabelKind,
    Samples,
    choose_rows,
    digest,
    gather,
    standardise,
    target,
)


class ModelSettings(Settings):
    """Which model learns from what."""

    kind: str = Field(default="LGBModel", description="a kind of `models.registry`: LGBModel, LinearModel")
    params: Mapping[str, Any] = Field(
        default_factory=dict, description="parameters of qlib's model class, over the kind's defaults"
    )
    label: LabelKind = Field(
        default="rank", description="learn the rank or z-score within the row, or the raw forward return"
    )
    features: FeatureKind = Field(
        default="rank", description="rank: percentile among the members of the same time; or raw"
    )
    row_stride: int | None = Field(
        default=None, ge=1, description="learn from every n-th row; None: from max_samples"
    )
    max_samples: int = Field(
        default=120_000, ge=100, description="most training samples a fold uses where row_stride is None"
    )
    min_samples: int = Field(default=1_000, ge=20, description="fewest training samples a fold may have")
    threads: int = Field(default=0, ge=0, description="threads of training; 0: all cores")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-sample predictions of all folds.

    Attributes:
        values: float32 ``[T, N]``, NaN outside test windows and members.
        model_id: per row ``[T]``, "" where no model is in charge.
        folder: where the fold folders are.
        folds: their ids, in order of time.
    """

    values: FloatArray
    model_id: NDArray[np.str_]
    folder: Path
    folds: tuple[str, ...]


def train_walk_forward(
    values: FloatArray,
    names: Sequence[str],
    label: FloatArray,
    panel: Panel,
    folds: Sequence[Fold],
    settings: ModelSettings,
    folder: Path,
    *,
    seed: int,
    progress: Progress = silent,
) -> Predictions:
    """Train one model per fold and predict its test window.

    Args:
        values: features ``[F, T, N]`` (may be memory-mapped).
        names: their names.
        label: raw forward returns ``[T, N]`` of the folds' horizon.
        panel: gives axes and members.
        folds: from `models.folds`.
        settings: model and sampling.
        folder: receives one folder per fold.
        seed: of the model's random choices.
        progress: told after every fold.

    Raises:
        DataError: shapes do not fit, or a fold has too few samples.
        ConfigError: ``folder`` holds a fold of other data or settings.
    """
    chosen = kind(settings.kind)
    chosen.check(settings.params)
    if values.ndim != 3 or values.shape[1:] != panel.shape or label.shape != panel.shape:
        raise DataError(
            f"values {list(values.shape)} and label {list(label.shape)} do not fit panel {list(panel.shape)}",
            where="train_walk_forward",
        )
    if len(names) != len(values) or len(set(names)) != len(names):
        raise DataError(
            f"{len(names)} names ({len(set(names))} different) for {len(values)} features",
            where="train_walk_forward",
        )
    if chosen.complete and settings.features != "rank":
        raise ConfigError(
            f"{settings.kind} cannot take missing values",
            where="model.features",
            remedy="set features: rank",
        )
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    task = _Task(values, tuple(names), target(label, panel.members, settings.label), panel, settings, seed)
    predicted = np.full(panel.shape, np.nan, np.float32)
    model_id = np.full(len(panel.time), "", f"<U{len(chosen.prefix) + 12}")
    for done, fold in enumerate(folds):
        predictor = _finish(task, fold, chosen, folder / fold.id)
        _predict(task, fold, predictor, predicted, model_id)
        progress(done + 1, len(folds), predictor.model_id)
    return Predictions(predicted, model_id, folder, tuple(fold.id for fold in folds))


@dataclass(frozen=True, eq=False)
class _Task:
    values: FloatArray
    names: tuple[str, ...]
    aim: FloatArray
    panel: Panel
    settings: ModelSettings
    seed: int

    def samples(self, fold: Fold) -> tuple[Samples, Samples, int]:
        """Train samples, valid samples and the stride of both."""
        used: BoolArray = np.isfinite(self.aim)
        rows, stride = choose_rows(
            self.panel, used, fold.train, self.settings.row_stride, self.settings.max_samples
        )
        train = gather(self.values, rows, used, self.aim)
        rows, _ = choose_rows(self.panel, used, fold.valid, stride, 1)
        valid = gather(self.values, rows, used, self.aim)
        if len(train) < self.settings.min_samples or not len(valid):
            raise DataError(
                f"{len(train)} training and {len(valid)} validation samples; min_samples is "
                f"{self.settings.min_samples}",
                where=f"fold {fold.id}",
                remedy="lengthen train_days, widen the universe, or lower row_stride or min_samples",
            )
        return train, valid, stride


def _finish(task: _Task, fold: Fold, chosen: Kind, path: Path) -> Predictor:
    """The fold's predictor, from disk if it is there, else trained now."""
    train, valid, stride = task.samples(fold)
    params = {**chosen.defaults(len(train)), **task.settings.params}
    recipe = {
        "schema": SCHEMA,
        "model_id": f"{chosen.prefix}-{fold.id}",
        "kind": chosen.name,
        "params": params,
        "label": task.settings.label,
        "features": task.settings.features,
        "seed": task.seed,
        "names": list(task.names),
        "windows": {
            "train": [str(t) for t in fold.train],
            "valid": [str(t) for t in fold.valid],
            "test": [str(t) for t in fold.test],
        },
        "purge_bars": fold.purge,
        "embargo_bars": fold.embargo,
        "row_stride": stride,
    }
    made_of = fingerprint([recipe, digest(train, valid)])
    if path.exists():
        if read_meta(path).get("fingerprint") != made_of:
            raise ConfigError(
                f"the folder holds fold {fold.id} of other data or settings",
                where=str(path),
                remedy="give another folder, or remove this one",
            )
        return load(path)
    if task.settings.features == "rank":
        train, valid = _standard(train), _standard(valid)
    model = _fit(task, chosen, params, train, valid)
    with atomic_folder(path) as aside:
        file = chosen.save(model, aside)
        meta = {
            **recipe,
            "fingerprint": made_of,
            "file": file,
            "checksum": checksum(aside / file),
            "train_samples": len(train),
            "valid_samples": len(valid),
            "valid_ic": _valid_ic(task, chosen, aside / file, valid, fold),
            "importance": list(chosen.importance(model)),
            "versions": {name: version(name) for name in chosen.packages},
        }
        text = json.dumps(meta, indent=1, sort_keys=True, allow_nan=False)
        (aside / META).write_text(text + "\n", "utf-8")
    return load(path)


def _standard(samples: Samples) -> Samples:
    return Samples(standardise(samples.features, samples.row), samples.target, samples.row, samples.column)


def _fit(task: _Task, chosen: Kind, params: Mapping[str, Any], train: Samples, valid: Samples) -> Any:
    # on import qlib prints which optional models are missing
    with contextlib.redirect_stdout(io.StringIO()):
        model = chosen.build(params, task.seed, task.settings.threads)
        from bascule.models.dataset import ArrayDataset
        from bascule.models.recording import recording

    dataset = ArrayDataset(task.panel, task.names, {"train": train, "valid": valid})
    with recording():
        model.fit(dataset)
    return model


def _valid_ic(task: _Task, chosen: Kind, file: Path, valid: Samples, fold: Fold) -> dict[str, float | None]:
    """Rank IC on the valid samples: in-sample for the stopping rule, so an upper bound, for the record."""
    rows, index = np.unique(valid.row, return_inverse=True)
    grids = np.full((2, len(rows), task.panel.shape[1]), np.nan)
    grids[0, index, valid.column] = chosen.load(file)(valid.features)
    grids[1, index, valid.column] = valid.target
    summary = summarise(ic_series(grids[0], grids[1], rank=True), fold.horizon)
    found = {"mean": summary.mean, "t": summary.t, "rows": summary.n}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def _predict(
    task: _Task, fold: Fold, predictor: Predictor, out: FloatArray, model_id: NDArray[np.str_]
) -> None:
    first, last = np.searchsorted(task.panel.time, np.array(fold.test))
    rows = np.arange(first, last)
    cells = gather(task.values, rows, task.panel.members)
    out[cells.row, cells.column] = predictor.predict(cells.features, cells.row)
    model_id[first:last] = predictor.model_id
