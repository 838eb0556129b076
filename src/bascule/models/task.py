"""One model from choice of samples to the folder it is kept in.

1. Choose rows and gather samples (`samples.py`): members with a label, inside the train and valid rows.
2. Digest samples and recipe. A finished folder with that digest is reused; one with another is an error.
3. Train qlib's model (`registry.py`) on the train samples, stop on the valid samples.
4. Write model and ``meta.json`` in one atomic step (`predictor.py`), and open what was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bascule.core import ConfigError, DataError, Panel, extensions
from bascule.core.files import atomic_folder, checksum, fingerprint
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import ic_series, summarise
from bascule.evaluate.rows import IntArray
from bascule.models.kind import Kind, Lesson, Predict
from bascule.models.labels import learned
from bascule.models.predictor import META, SCHEMA, Predictor, answer, load, read_meta
from bascule.models.registry import KINDS, kind, require
from bascule.models.samples import Samples, choose_rows, digest, gather, standardise
from bascule.models.settings import ModelSettings
from bascule.models.weights import sample_weights


@dataclass(frozen=True, eq=False)
class Job:
    """Which rows one model learns from, and what is written of it.

    Attributes:
        id: name of its folder, and end of its model id.
        train: candidate rows to learn from, ascending.
        valid: candidate rows that stop the learning.
        horizon: bars of the label that the rows are purged for.
        about: further facts of ``meta.json``; ``windows`` must be among them.
        start: folder of a model of the same kind to go on from.
    """

    id: str
    train: IntArray
    valid: IntArray
    horizon: int
    about: Mapping[str, Any]
    start: Path | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """What all models of one training share.

    Attributes:
        values: features ``[F, T, N]``.
        names: their names.
        aim: targets ``[T, N]``.
        panel: axes and members.
        settings: model and sampling.
        kind: the settings' kind.
        seed: of the models' random choices.
    """

    values: FloatArray
    names: tuple[str, ...]
    aim: FloatArray
    panel: Panel
    settings: ModelSettings
    kind: Kind
    seed: int

    @classmethod
    def of(
        cls,
        values: FloatArray,
        names: tuple[str, ...],
        label: FloatArray,
        panel: Panel,
        settings: ModelSettings,
        seed: int,
    ) -> Task:
        """Check everything and prepare the targets.

        Raises:
            DataError: shapes do not fit.
            ConfigError: the kind is unknown or not installed, or the settings do not fit it.
        """
        chosen = kind(settings.kind)
        chosen.check(settings.params)
        require(chosen)
        if values.ndim != 3 or values.shape[1:] != panel.shape or label.shape != panel.shape:
            raise DataError(
                f"values {list(values.shape)} and label {list(label.shape)} do not fit panel "
                f"{list(panel.shape)}",
                where="training",
                remedy="pass features [F, T, N] and a label [T, N] of this panel",
            )
        if len(names) != len(values) or len(set(names)) != len(names):
            raise DataError(
                f"{len(names)} names ({len(set(names))} different) for {len(values)} features",
                where="training",
                remedy="give every feature a name of its own",
            )
        if chosen.complete and settings.features != "rank":
            raise ConfigError(
                f"{settings.kind} cannot take missing values",
                where="model.features",
                remedy="set features: rank",
            )
        if not settings.weights.plain and not chosen.weighted:
            raise ConfigError(
                f"qlib's {settings.kind} takes no sample weights",
                where="model.weights",
                remedy="leave weights out, or take one of the kinds that docs/models.md names",
            )
        chosen.fits(len(values), settings.steps)
        return cls(values, names, learned(label, panel, settings), panel, settings, chosen, seed)

    def samples(self, job: Job) -> tuple[Samples, Samples, int]:
        """Train samples, valid samples and the stride of both."""
        used: BoolArray = np.isfinite(self.aim)
        settings = self.settings
        rows, stride = choose_rows(self.panel, used, job.train, settings.row_stride, settings.max_samples)
        train = gather(self.values, rows, used, self.aim)
        rows, _ = choose_rows(self.panel, used, job.valid, stride, 1)
        valid = gather(self.values, rows, used, self.aim)
        if len(train) < settings.min_samples or not len(valid):
            raise DataError(
                f"{len(train)} training and {len(valid)} validation samples; min_samples is "
                f"{settings.min_samples}",
                where=f"fold {job.id}",
                remedy="lengthen train_days, widen the universe, or lower row_stride or min_samples",
            )
        return train, valid, stride


def finish(task: Task, job: Job, path: Path) -> tuple[Predictor, bool]:
    """The job's predictor, from disk if it is there, else trained now; True if it was.

    Raises:
        ConfigError: ``path`` holds a model of other data or settings.
        DataError: too few samples.
    """
    train, valid, stride = task.samples(job)
    settings, chosen = task.settings, task.kind
    params = {**chosen.defaults(len(train)), **settings.params}
    recipe = _recipe(task, job, params, stride)
    made_of = fingerprint([recipe, digest(train, valid)])
    if path.exists():
        if read_meta(path).get("fingerprint") != made_of:
            raise ConfigError(
                f"the folder holds fold {job.id} of other data or settings",
                where=str(path),
                remedy="give another folder, or remove this one",
            )
        return load(path), False
    if settings.features == "rank":
        train, valid = _standard(train), _standard(valid)
    weights = sample_weights(train, valid, task.panel, job.horizon, settings.weights)
    lesson = Lesson(
        task.panel,
        train,
        valid,
        weights,
        settings.steps,
        task.seed,
        settings.threads,
        settings.device == "auto",
    )
    model = _fit(task, params, lesson, job.start)
    with atomic_folder(path) as aside:
        file = chosen.save(model, aside)
        weight = chosen.importance(model)
        meta = {
            **recipe,
            "fingerprint": made_of,
            "file": file,
            "checksum": checksum(aside / file),
            "train_samples": len(train),
            "valid_samples": len(valid),
            "valid_ic": _valid_ic(task, chosen.load(aside / file), valid, job.horizon),
            "importance": None if weight is None else list(weight),
            "versions": {name: version(name) for name in chosen.packages},
        }
        text = json.dumps(meta, indent=1, sort_keys=True, allow_nan=False)
        (aside / META).write_text(text + "\n", "utf-8")
    return load(path), True


def _recipe(task: Task, job: Job, params: Mapping[str, Any], stride: int) -> dict[str, Any]:
    """All that a model depends on beside its samples: part of its digest, and of its description."""
    settings, chosen = task.settings, task.kind
    recipe: dict[str, Any] = {
        "schema": SCHEMA,
        "model_id": f"{chosen.prefix}-{job.id}",
        "kind": chosen.name,
        "params": params,
        "label": settings.label,
        "aim": settings.model_dump(include={"scale", "scale_days", "tiers", "horizons"}, mode="json"),
        "features": settings.features,
        "steps": settings.steps,
        "weights": settings.weights.model_dump(mode="json"),
        "seed": task.seed,
        "names": list(task.names),
        "row_stride": stride,
        **job.about,
    }
    if (owner := KINDS.owner(chosen.name)) is not None:
        recipe["extension"] = extensions.record([owner])[0].model_dump()
    if job.start is not None:
        recipe["start"] = str(read_meta(job.start)["fingerprint"])
    return recipe


def _standard(samples: Samples) -> Samples:
    return Samples(standardise(samples.features, samples.row), samples.target, samples.row, samples.column)


def _fit(task: Task, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
    chosen = task.kind
    first: Path | None = None
    if start is not None:
        before = read_meta(start)
        if not chosen.warm or before["kind"] != chosen.name or before["names"] != list(task.names):
            raise ConfigError(
                f"{chosen.name} of {len(task.names)} features cannot go on from {before['kind']} of "
                f"{len(before['names'])}",
                where=str(start),
                remedy="train it from the start",
            )
        first = start / before["file"]
    if chosen.extra == "torch":
        import torch  # noqa: F401 - its generator must be there to be seeded

    from bascule.models.quiet import quiet
    from bascule.models.recording import recording

    with quiet(task.seed, task.settings.threads), recording():
        return chosen.fit(params, lesson, first)


def _valid_ic(task: Task, predict: Predict, valid: Samples, horizon: int) -> dict[str, float | None]:
    """Rank IC on the valid samples: in-sample for the stopping rule, so an upper bound, for the record."""
    rows, index = np.unique(valid.row, return_inverse=True)
    grids = np.full((2, len(rows), task.panel.shape[1]), np.nan)
    grids[0, index, valid.column] = answer(task.kind, predict, valid.features, valid.row)
    grids[1, index, valid.column] = valid.target
    summary = summarise(ic_series(grids[0], grids[1], rank=True), horizon)
    found = {"mean": summary.mean, "t": summary.t, "rows": summary.n}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def predict_rows(task: Task, predictor: Predictor, rows: IntArray, out: FloatArray) -> None:
    """Predict the members of these rows into ``out`` ``[T, N]``."""
    cells = gather(task.values, rows, task.panel.members)
    out[cells.row, cells.column] = predictor.predict(cells.features, cells.row)
