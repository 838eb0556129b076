"""Hyper-parameters by Optuna, on validation rows only.

1. Every trial trains the model of its parameters walk-forward on the given folds and is scored by the mean
   rank IC on each fold's *valid* rows. Test windows are not looked at: what the search chose is then trained
   and judged once, by `train_walk_forward`.
2. Trials are asked in rounds of a fixed size and told in the order in which they were asked, whatever
   finished first. So the same seed gives the same trials, on one process or on a cluster.
3. The study lives in Optuna's storage (a URL). A search that was cut off goes on after its last finished
   round: same trials as unbroken. One search writes a study; more machines come in through the executor.

The validation rows also stop the training, so scores are upper bounds; compare them with each other only.
Each trial is a try on the data: the caller's ledger counts them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from bascule.cluster import Executor, connect
from bascule.core import ConfigError, Panel, Progress, Settings, silent
from bascule.core.panel import FloatArray
from bascule.models.folds import Fold
from bascule.models.predictor import read_meta
from bascule.models.registry import kind
from bascule.models.settings import ModelSettings
from bascule.models.task import Task, finish
from bascule.models.train import job_of


class Range(Settings):
    """What one parameter may be: numbers between two, or one of several values."""

    low: float | None = Field(default=None, description="least value")
    high: float | None = Field(default=None, description="largest value")
    whole: bool = Field(default=False, description="whole numbers only")
    log: bool = Field(default=False, description="draw evenly on a logarithmic scale")
    among: tuple[str | int | float | bool, ...] = Field(default=(), description="choose one of these instead")

    @model_validator(mode="after")
    def _one_form(self) -> Range:
        if bool(self.among) == (self.low is not None or self.high is not None):
            raise ValueError("give either low and high, or among")
        if not self.among:
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("low must be less than high")
            if self.log and self.low <= 0:
                raise ValueError("a logarithmic scale needs low above 0")
        return self


class TuneSettings(Settings):
    """How parameters are searched."""

    space: Mapping[str, Range] = Field(description="parameter of the model → what it may be")
    trials: int = Field(default=40, ge=1, description="models tried, each on all folds")
    round: int = Field(
        default=4, ge=1, description="trials asked at a time; part of what the result depends on"
    )
    sampler: Literal["tpe", "random"] = Field(default="tpe", description="Optuna's sampler")


# where LightGBM's own guide looks first
LIGHTGBM_SPACE: dict[str, Any] = {
    "num_leaves": {"low": 8, "high": 256, "whole": True, "log": True},
    "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
    "min_data_in_leaf": {"low": 20, "high": 2000, "whole": True, "log": True},
    "feature_fraction": {"low": 0.3, "high": 1.0},
    "lambda_l2": {"low": 1e-3, "high": 100.0, "log": True},
}


@dataclass(frozen=True)
class Tuned:
    """The outcome.

    Attributes:
        params: of the best trial, to be put over the model's own.
        score: its mean rank IC on valid rows.
        trials: parameters and score of each, in the order in which they were asked.
    """

    params: Mapping[str, Any]
    score: float
    trials: tuple[tuple[Mapping[str, Any], float], ...]


def tune(
    values: FloatArray,
    names: Sequence[str],
    label: FloatArray,
    panel: Panel,
    folds: Sequence[Fold],
    model: ModelSettings,
    settings: TuneSettings,
    *,
    seed: int,
    storage: str | None = None,
    study: str = "bascule",
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Search for parameters.

    Args:
        values: features ``[F, T, N]``.
        names: their names.
        label: raw forward returns ``[T, N]``.
        panel: gives axes and members.
        folds: purged walk-forward folds; their test windows are not used.
        model: kind and further settings; the space's parameters replace those of ``params``.
        settings: space and number of trials.
        seed: of the sampler and of the models.
        storage: Optuna's URL, e.g. ``sqlite:///study.db``; None keeps the study in memory.
        study: its name in the storage.
        executor: where trials run; default: here.
        progress: told after each round.

    Raises:
        ConfigError: the storage holds a study of other data or settings, or the model refuses a parameter.
        DataError: a fold has too few samples.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = Task.of(values, tuple(names), label, panel, model, seed)
    about = repr(
        (settings.space, settings.round, settings.sampler, model, seed, panel.fingerprint(), tuple(names))
    )
    found = _study(optuna, storage, study, about, settings, seed)
    spread = executor or connect(workers=1)
    shared = {"values": task.values, "aim": task.aim, "panel": panel}
    while (done := len(_finished(optuna, found))) < settings.trials:
        # the sampler is made anew for each round, from seed and number: a search that goes on draws the same
        found.sampler = _sampler(optuna, settings, seed + done)
        asked = [found.ask() for _ in range(min(settings.round, settings.trials - done))]
        chosen = [
            {name: _suggest(trial, name, one) for name, one in settings.space.items()} for trial in asked
        ]
        models = [model.model_copy(update={"params": {**model.params, **params}}) for params in chosen]
        rest = (tuple(folds), task.names, seed)
        tasks = {f"trial {done + k + 1}": (one, rest) for k, one in enumerate(models)}
        scores = spread.map(_score, tasks, shared=shared)
        for trial, score in zip(asked, scores.values(), strict=True):
            found.tell(trial, score)
        progress(done + len(asked), settings.trials, f"best rank IC {found.best_value:+.4f}")
    trials = tuple((dict(one.params), float(one.value)) for one in _finished(optuna, found))
    return Tuned(dict(found.best_params), float(found.best_value), trials)


def _study(optuna: Any, storage: str | None, name: str, about: str, settings: TuneSettings, seed: int) -> Any:
    try:
        study = optuna.create_study(
            direction="maximize", storage=storage, study_name=name, load_if_exists=True,
            sampler=_sampler(optuna, settings, seed),
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - whatever the database's driver raises
        raise ConfigError(
            f"the study cannot be opened ({error})", where=str(storage), remedy="check Optuna's storage URL"
        ) from None
    if study.user_attrs.get("about", about) != about:
        raise ConfigError(
            f"study {name!r} is of other data or settings", where=str(storage), remedy="name another study"
        )
    study.set_user_attr("about", about)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a search that was killed
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _sampler(optuna: Any, settings: TuneSettings, seed: int) -> Any:
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # the others of a round have no score yet: count them as bad ones, or they would all look alike
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _finished(optuna: Any, study: Any) -> list[Any]:
    return list(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))


def _suggest(trial: Any, name: str, one: Range) -> Any:
    if one.among:
        return trial.suggest_categorical(name, list(one.among))
    assert one.low is not None and one.high is not None
    if one.whole:
        return trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(name, one.low, one.high, log=one.log)


def _score(task: tuple[ModelSettings, tuple[Any, ...]], shared: Mapping[str, Any]) -> float:
    """Mean rank IC on the valid rows of all folds."""
    model, (folds, names, seed) = task
    chosen = kind(model.kind)
    chosen.check(model.params)
    whole = Task(shared["values"], names, shared["aim"], shared["panel"], model, chosen, seed)
    found = []
    with tempfile.TemporaryDirectory(prefix="bascule-tune-") as place:
        for fold in folds:
            made = Path(place) / fold.id
            finish(whole, job_of(fold, shared["panel"]), made)
            found.append(read_meta(made)["valid_ic"]["mean"])
    known = [one for one in found if one is not None]
    return float(np.mean(known)) if known else -1.0
