"""Combinatorial purged cross-validation of a model (López de Prado 2018, ch. 12).

1. The rows with labels are cut into G groups; every choice of k of them is tested once by a model that
   learned from the rest, less the rows whose labels touch a tested group, less an embargo after each
   (`evaluate.splits`).
2. The newest part of the training rows stops the training; rows whose labels reach into it are left out.
3. The tested groups of all splits make k / G · C(G, k) whole histories: each row of a history was predicted
   by a model that did not see it. Their ICs show how much of a result is luck of the path.

These histories judge a model; they are not a simulation: some models learned from rows after those they
predict. What is traded comes from `train_walk_forward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from bascule.cluster import Executor
from bascule.core import ConfigError, Panel, Progress, Settings, silent
from bascule.core.files import sweep
from bascule.core.panel import FloatArray
from bascule.evaluate import ICSummary, Split, combinatorial, ic_series, paths, summarise
from bascule.evaluate.rows import IntArray
from bascule.models.ahead import train_ahead
from bascule.models.audit import label_reach
from bascule.models.settings import ModelSettings
from bascule.models.task import Job, Task, finish, predict_rows


class CrossSettings(Settings):
    """How history is cut for cross-validation."""

    groups: int = Field(default=6, ge=2, le=20, description="parts of equal length")
    tested: int = Field(default=2, ge=1, description="parts tested at a time; fewer than groups")
    embargo_bars: int = Field(default=24, ge=0, description="rows left out after each tested part")
    valid_share: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        description="share of the training rows, the newest, that stops it",
    )


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Whole histories predicted without having been seen.

    Attributes:
        paths: float32 ``[P, T, N]``, NaN outside the rows with labels and members.
        splits: what was trained on and tested, in the order of the models.
        folder: where the models are.
        ic: rank IC of each path.
    """

    paths: FloatArray
    splits: tuple[Split, ...]
    folder: Path
    ic: tuple[ICSummary, ...]


def cross_validate(
    values: FloatArray,
    names: Sequence[str],
    label: FloatArray,
    panel: Panel,
    model: ModelSettings,
    folder: Path,
    *,
    horizon: int,
    settings: CrossSettings | None = None,
    seed: int,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> CrossValidation:
    """Train on every choice of groups and put the tested parts together to paths.

    Args:
        values: features ``[F, T, N]``.
        names: their names.
        label: raw forward returns ``[T, N]`` over ``horizon`` bars.
        panel: gives axes and members.
        model: what learns.
        folder: receives one folder per split; finished ones are reused.
        horizon: bars of the label.
        settings: groups and embargo.
        seed: of the models' random choices.
        executor: where splits are trained side by side; same models, to the bit.
        progress: told after every split; with an executor once more before that, as splits are trained.

    Raises:
        ConfigError: the numbers do not fit, or the label reaches further than ``horizon``.
        DataError: shapes do not fit, or a split has too few samples.
    """
    cut = settings or CrossSettings()
    task = Task.of(values, tuple(names), label, panel, model, seed)
    reach = label_reach(label, panel)
    if reach is not None and reach - 1 > horizon:
        raise ConfigError(
            f"labels reach {reach - 1} bars ahead, the splits are purged for {horizon}",
            where="cross_validate",
            remedy="give the horizon of the label",
        )
    purge = model.reach(horizon)
    rows = np.flatnonzero(np.isfinite(task.aim).any(axis=1))
    if not len(rows):
        raise ConfigError("no row has a label", where="cross_validate", remedy="give more data")
    first, count = int(rows[0]), int(rows[-1] - rows[0] + 1)
    splits = tuple(combinatorial(count, cut.groups, cut.tested, horizon=purge, embargo=cut.embargo_bars))
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    where = paths(cut.groups, cut.tested)
    histories = np.full((len(where), *panel.shape), np.nan, np.float32)
    jobs = [_job(split, first, panel, purge, cut) for split in splits]
    if executor is not None:
        train_ahead(executor, task, jobs, folder, progress)
    for number, (split, job) in enumerate(zip(splits, jobs, strict=True)):
        predictor, _ = finish(task, job, folder / job.id)
        predicted = np.full(panel.shape, np.nan, np.float32)
        predict_rows(task, predictor, split.test + first, predicted)
        for group in split.groups:
            inside = _group_rows(group, count, cut.groups) + first
            (path,) = np.flatnonzero(where[:, group] == number)
            histories[path, inside] = predicted[inside]
        progress(number + 1, len(splits), job.id)
    ic = tuple(summarise(ic_series(one, label, panel.members, rank=True), horizon) for one in histories)
    return CrossValidation(histories, splits, folder, ic)


def _group_rows(group: int, rows: int, groups: int) -> IntArray:
    (found,) = (split.test for split in combinatorial(rows, groups, 1, horizon=1) if split.groups == (group,))
    return found


def _job(split: Split, first: int, panel: Panel, purge: int, cut: CrossSettings) -> Job:
    rows = split.train + first
    keep = max(1, round(cut.valid_share * len(rows)))
    valid = rows[-keep:]
    train = rows[rows + purge + 1 + cut.embargo_bars <= valid[0]]
    if not len(train):
        raise ConfigError(
            f"nothing is left to train on when groups {list(split.groups)} are tested",
            where="cross_validate",
            remedy="use fewer groups, a shorter horizon or a smaller valid_share",
        )
    tested = split.test + first
    about = {
        "scheme": "combinatorial",
        "groups": list(split.groups),
        "windows": {
            name: [str(panel.time[part[0]]), str(panel.time[part[-1]] + panel.timeframe.delta)]
            for name, part in (("train", train), ("valid", valid), ("test", tested))
        },
        "purge_bars": purge + 1,
        "embargo_bars": cut.embargo_bars,
    }
    name = "cv-" + "-".join(f"{group:02d}" for group in split.groups)
    return Job(name, train, valid, purge, about)
