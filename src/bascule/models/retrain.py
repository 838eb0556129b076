"""Retraining that decides for itself: when to train, and whether the new model may serve.

At each check, after the close of one candle:

1. *When*: on schedule, or when `drift.watch` finds a reason, or when nothing serves yet.
2. *Train* a challenger on the rows before a judging window that ends now, all label ends considered::

       train … | purge + embargo | valid … | purge + embargo | judging window | purge | now

   With ``warm_start`` it goes on from the champion, where the kind can.
3. *Judge* both on that window. Neither has learned from it: the champion's own training ended earlier still.
4. *Promote* the challenger if its mean rank IC is above ``min_ic``, is higher than the champion's by
   ``min_gain``, and the difference is positive with the asked-for confidence (stationary bootstrap).
5. The champion predicts the rows until the next check.

Steps 3 and 4 are in ``judging.py``. `run_adaptive` does that over a history, so that what is measured is what
would have been done; `check` is one such step, for a bot that lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError, Panel, Progress, silent
from bascule.core.files import write_json
from bascule.core.panel import FloatArray
from bascule.evaluate import ic_series
from bascule.models.champions import Champions, Event
from bascule.models.drift import DriftSettings, Trigger, watch
from bascule.models.judging import RetrainSettings, Verdict, judge
from bascule.models.predictor import Predictor, load, read_meta
from bascule.models.samples import gather
from bascule.models.settings import ModelSettings
from bascule.models.task import Job, Task, finish, predict_rows

_SAMPLE_ROWS = 200
_UNFINISHED = "unfinished.json"  # lies in the store while `run_adaptive` is at work


@dataclass(frozen=True)
class Check:
    """What one check did.

    Attributes:
        row: the row after whose close it took place.
        triggers: reasons to train; empty = nothing was done.
        model: the challenger's folder name, or "".
        verdict: on it, or None.
        event: its promotion, or None.
    """

    row: int
    triggers: tuple[Trigger, ...]
    model: str
    verdict: Verdict | None
    event: Event | None


@dataclass(frozen=True, eq=False)
class Adaptive:
    """A history of retraining.

    Attributes:
        values: out-of-sample predictions of whoever served, float32 ``[T, N]``.
        model_id: per row ``[T]``, "" where nothing served.
        checks: all checks that trained.
        store: the store that it left.
    """

    values: FloatArray
    model_id: NDArray[np.str_]
    checks: tuple[Check, ...]
    store: Champions


class Retrainer:
    """Checks, trains, judges and promotes on one history.

    Args:
        values: features ``[F, T, N]``.
        names: their names.
        label: raw forward returns ``[T, N]`` over ``horizon`` bars.
        panel: gives axes and members.
        horizon: bars of the label.
        model: what learns.
        settings: when and whether.
        store: where models live.
        seed: of the models' random choices and of the bootstrap.
    """

    def __init__(
        self,
        values: FloatArray,
        names: Sequence[str],
        label: FloatArray,
        panel: Panel,
        *,
        horizon: int,
        model: ModelSettings,
        settings: RetrainSettings,
        store: Champions,
        seed: int,
    ) -> None:
        self.task = Task.of(values, tuple(names), label, panel, model, seed)
        self.label, self.panel, self.horizon = label, panel, horizon
        self.purge = model.reach(horizon)
        self.settings, self.store = settings, store
        self._bars = panel.timeframe.bars

    def check(self, row: int, *, last_training: int | None = None) -> Check:
        """One check after the close of ``row``: train, judge and promote if there is a reason to.

        Args:
            row: number of the newest row.
            last_training: row of the last training, champion or not; default the champion's own.
        """
        triggers = self._triggers(row, last_training)
        if not triggers:
            return Check(row, (), "", None, None)
        name = self.train(row)
        verdict, event = self.decide(name, row)
        return Check(row, triggers, name, verdict, event)

    def train(self, row: int) -> str:
        """Train a challenger on what is known after the close of ``row``; returns its folder name."""
        job = self._job(row)
        finish(self.task, job, self.store.models / job.id)
        return job.id

    def decide(self, name: str, row: int) -> tuple[Verdict, Event | None]:
        """Judge a challenger against the champion and promote it if it is better."""
        rows = self._judging(row)
        series = [self._ic(load(self.store.models / name), rows)]
        if self.store.serving:
            series.append(self._ic(self.store.champion(), rows))
        champion = series[1] if len(series) > 1 else None
        verdict = judge(series[0], champion, self.horizon, self.settings, self.task.seed)
        at = str(self.panel.time[row])
        event = self.store.promote(name, reason=verdict.reason, at=at) if verdict.promote else None
        # after the promotion: a challenger without a verdict is one that a crash left
        self.store.note(name, {"at": at, "promote": verdict.promote, "reason": verdict.reason})
        return verdict, event

    def resume(self, row: int) -> Check | None:
        """Judge the newest challenger that a crash left between its training and its verdict, if there is
        one.
        """
        left = [name for name in self.store.undecided() if name > self.store.serving]
        if not left:
            return None
        verdict, event = self.decide(left[-1], row)
        found = Trigger("resumed", 0.0, 0.0, "trained before, but not judged")
        return Check(row, (found,), left[-1], verdict, event)

    def trained(self) -> int | None:
        """Row of the last training in the store, champion or not; None if there was none."""
        names = self.store.finished()
        if not names:
            return None
        meta = read_meta(self.store.models / names[-1])
        first = np.datetime64(meta["windows"]["test"][0], "ns")
        return int(np.searchsorted(self.panel.time, first)) - 1

    # -- parts ---------------------------------------------------------------------------------------

    def _known(self, row: int) -> int:
        """First row whose label is not known after the close of ``row``: t + 1 + h ≤ row is."""
        return row - self.purge

    def _judging(self, row: int) -> NDArray[np.int64]:
        end = self._known(row)
        return np.arange(max(0, end - self._bars(self.settings.judge_days)), end)

    def _job(self, row: int) -> Job:
        settings = self.settings
        gap = self.purge + 1 + settings.embargo_bars
        judged = self._judging(row)
        valid_end = int(judged[0]) - gap + 1 if len(judged) else 0
        begin = max(0, int(judged[0] if len(judged) else 0) - self._bars(settings.train_days))
        size = max(1, round(settings.valid_share * (valid_end - begin)))
        valid = np.arange(valid_end - size, valid_end)
        train = np.arange(begin, valid_end - size - gap + 1)
        if valid_end - size <= begin or not len(train):
            raise ConfigError(
                f"after row {row} there is no room to train, validate and judge {settings.judge_days:g} days",
                where="retrain",
                remedy="check later, or shorten judge_days",
            )
        time, bar = self.panel.time, self.panel.timeframe.delta
        first = time[row] + bar
        windows = {
            "train": [str(time[train[0]]), str(time[train[-1]] + bar)],
            "valid": [str(time[valid[0]]), str(time[valid[-1]] + bar)],
            "judge": [str(time[judged[0]]), str(time[judged[-1]] + bar)],
            "test": [str(first), str(first + self._bars(settings.check_days) * bar)],
        }
        about = {
            "scheme": "adaptive",
            "windows": windows,
            "purge_bars": self.purge + 1,
            "embargo_bars": settings.embargo_bars,
        }
        start = None
        if settings.warm_start and self.task.kind.warm and self.store.serving:
            start = self.store.models / self.store.serving
        return Job(str(first.astype("datetime64[m]")), train, valid, self.purge, about, start)

    def _ic(self, predictor: Predictor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        predicted = np.full(self.panel.shape, np.nan, np.float32)
        predict_rows(self.task, predictor, rows, predicted)
        return ic_series(predicted, self.label, self.panel.members, rank=True)[rows]

    def _triggers(self, row: int, last_training: int | None) -> tuple[Trigger, ...]:
        settings = self.settings
        if not self.store.serving:
            return (Trigger("first", 0.0, 0.0, "nothing serves yet"),)
        meta = read_meta(self.store.models / self.store.serving)
        born = int(np.searchsorted(self.panel.time, np.datetime64(meta["windows"]["test"][0], "ns"))) - 1
        latest = born if last_training is None else max(born, last_training)
        age = row - latest
        if age < self._bars(settings.rest_days):
            return ()
        found: list[Trigger] = []
        if settings.schedule_days is not None and age >= self._bars(settings.schedule_days):
            days = age / self.panel.timeframe.bars_a_day
            found.append(
                Trigger("schedule", days, settings.schedule_days, f"last trained {days:.1f} days ago")
            )
        if settings.drift is not None:
            found += self._watch(row, meta, settings.drift)
        return tuple(found)

    def _watch(self, row: int, meta: dict[str, Any], limits: DriftSettings) -> tuple[Trigger, ...]:
        """The champion's judging window, which it had not seen, against the latest rows."""
        first, last = (np.datetime64(text, "ns") for text in meta["windows"]["judge"])
        reference = np.arange(*np.searchsorted(self.panel.time, np.array([first, last])))
        end = self._known(row)
        recent = np.arange(max(int(reference[-1]) + 1, end - self._bars(self.settings.recent_days)), end)
        if not len(recent):
            return ()
        predicted = np.full(self.panel.shape, np.nan, np.float32)
        champion = self.store.champion()
        for rows in (reference, recent):
            predict_rows(self.task, champion, rows, predicted)
        features = (self._sample(reference), self._sample(recent), self.task.names)
        return watch(
            predicted, self.label, self.panel, reference, recent,
            horizon=self.horizon, features=features, settings=limits,
        )  # fmt: skip

    def _sample(self, rows: NDArray[np.int64]) -> FloatArray:
        step = max(1, len(rows) // _SAMPLE_ROWS)
        return gather(self.task.values, rows[::step], self.panel.members).features


def run_adaptive(
    values: FloatArray,
    names: Sequence[str],
    label: FloatArray,
    panel: Panel,
    *,
    horizon: int,
    model: ModelSettings,
    folder: Path,
    settings: RetrainSettings | None = None,
    first: np.datetime64 | None = None,
    seed: int,
    progress: Progress = silent,
) -> Adaptive:
    """Go through a history as a bot would have: check, retrain, promote, predict.

    Args:
        values: features ``[F, T, N]``.
        names: their names.
        label: raw forward returns ``[T, N]`` over ``horizon`` bars.
        panel: gives axes and members.
        horizon: bars of the label.
        model: what learns.
        folder: of the store; new, or that of a run that was cut off: who served is then decided anew, with
            the models that it had trained.
        settings: when and whether.
        first: open time of the first checked candle; default the first that leaves room for training.
        seed: of all random choices.
        progress: told after each check.

    Raises:
        ConfigError: a champion serves in the store, there is too little history, or the run that was cut off
            was of other data or settings.
    """
    chosen = settings or RetrainSettings()
    store = Champions(folder)
    unfinished = folder / _UNFINISHED
    if unfinished.exists():
        store.forget()
    elif store.serving:
        raise ConfigError(
            "a champion serves here already", where=str(folder), remedy="give a new folder, or use Retrainer"
        )
    trainer = Retrainer(
        values, names, label, panel,
        horizon=horizon, model=model, settings=chosen, store=store, seed=seed,
    )  # fmt: skip
    bars = panel.timeframe.bars
    if first is None:
        usable = np.isfinite(trainer.task.aim)
        usable &= np.isfinite(values).any(axis=0)
        start = int(np.argmax(usable.any(axis=1)))
        begin = start + bars(chosen.train_days) + bars(chosen.judge_days) + 2 * trainer.purge
    else:
        begin = int(np.searchsorted(panel.time, first))
    rows = range(begin, len(panel.time), max(1, bars(chosen.check_days)))
    if not len(rows):
        raise ConfigError(
            f"{len(panel.time)} rows leave nothing to check", where="retrain", remedy="shorten train_days"
        )
    write_json(unfinished, {"checks": len(rows)})
    predicted = np.full(panel.shape, np.nan, np.float32)
    model_id = np.full(len(panel.time), "", "<U64")
    checks: list[Check] = []
    last: int | None = None
    for done, row in enumerate(rows):
        found = trainer.check(row, last_training=last)
        if found.model:
            checks.append(found)
            last = row
        if trainer.store.serving:
            ahead = np.arange(row + 1, min(row + 1 + rows.step, len(panel.time)))
            champion = store.champion()
            predict_rows(trainer.task, champion, ahead, predicted)
            model_id[ahead] = champion.model_id
        progress(done + 1, len(rows), trainer.store.serving)
    unfinished.unlink()
    return Adaptive(predicted, model_id, tuple(checks), store)
