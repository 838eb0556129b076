"""Walk-forward training: only out-of-sample predictions leave.

1. Folds that would let a label reach into later rows are refused (`audit.refuse_overlap`).
2. Fold by fold one model is trained or found finished (`task.py`).
3. What was stored predicts the members of the test window: what is stored is what predicts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bascule.cluster import Executor
from bascule.core import Panel, Progress, silent
from bascule.core.files import sweep
from bascule.core.panel import FloatArray
from bascule.models.ahead import train_ahead
from bascule.models.audit import refuse_overlap
from bascule.models.folds import Fold
from bascule.models.samples import rows_of
from bascule.models.settings import ModelSettings
from bascule.models.task import Job, Task, finish, predict_rows


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-sample predictions of all folds.

    Attributes:
        values: float32 ``[T, N]``, NaN outside test windows and members.
        model_id: per row ``[T]``, "" where no model is in charge.
        folder: where the fold folders are.
        folds: their ids, in order of time.
        train_seconds: wall time of the folds trained now (not of those found finished).
        predict_seconds: wall time of predicting the test windows.
        fresh: how many folds were trained now.
    """

    values: FloatArray
    model_id: NDArray[np.str_]
    folder: Path
    folds: tuple[str, ...]
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    fresh: int = 0


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
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Predictions:
    """Train one model per fold and predict its test window.

    Args:
        values: features ``[F, T, N]`` (may be memory-mapped).
        names: their names.
        label: raw forward returns ``[T, N]`` of the main horizon.
        panel: gives axes and members.
        folds: from `models.folds`, purged by ``settings.reach(horizon)``.
        settings: model and sampling.
        folder: receives one folder per fold.
        seed: of the model's random choices.
        executor: where folds are trained side by side; same models, to the bit.
        progress: told after every fold; with an executor once more before that, as folds are trained.

    Raises:
        DataError: shapes do not fit, or a fold has too few samples.
        ConfigError: ``folder`` holds a fold of other data or settings, or a fold leaks.
    """
    task = Task.of(values, tuple(names), label, panel, settings, seed)
    refuse_overlap(folds, panel, label, settings)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    predicted = np.full(panel.shape, np.nan, np.float32)
    model_id = np.full(len(panel.time), "", f"<U{len(task.kind.prefix) + 12}")
    spent = [0.0, 0.0]
    fresh = 0
    if executor is not None:
        begin = time.perf_counter()
        fresh = train_ahead(executor, task, [job_of(fold, panel) for fold in folds], folder, progress)
        spent[0] = time.perf_counter() - begin
    for done, fold in enumerate(folds):
        begin = time.perf_counter()
        predictor, trained = finish(task, job_of(fold, panel), folder / fold.id)
        middle = time.perf_counter()
        rows = rows_of(panel, fold.test)
        predict_rows(task, predictor, rows, predicted)
        model_id[rows] = predictor.model_id
        spent[0] += (middle - begin) * trained
        spent[1] += time.perf_counter() - middle
        fresh += trained
        progress(done + 1, len(folds), predictor.model_id)
    return Predictions(
        predicted, model_id, folder, tuple(fold.id for fold in folds), spent[0], spent[1], fresh
    )


def job_of(fold: Fold, panel: Panel, start: Path | None = None) -> Job:
    """The training job of a walk-forward fold."""
    about = {
        "windows": {
            "train": [str(t) for t in fold.train],
            "valid": [str(t) for t in fold.valid],
            "test": [str(t) for t in fold.test],
        },
        "purge_bars": fold.purge,
        "embargo_bars": fold.embargo,
    }
    train, valid = rows_of(panel, fold.train), rows_of(panel, fold.valid)
    return Job(fold.id, train, valid, fold.horizon, about, start)
