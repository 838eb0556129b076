"""Laws of models, sources and searchers, and all parts of an extension at once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bascule.core import BasculeError, Moment, Panel, moment
from bascule.core.extensions import Loaded
from bascule.data.prepare import prepare
from bascule.data.sources import Source
from bascule.factors import Factor, library
from bascule.miners import (
    SEARCHERS,
    Evaluator,
    Grammar,
    GrammarSettings,
    Outcome,
    Pool,
    PoolSettings,
    Problem,
    SplitSettings,
)
from bascule.models import KINDS, ModelSettings, WalkForwardSettings, folds, train_walk_forward, zoo
from bascule.models import load as load_model
from bascule.models.predictor import META
from bascule.signals.bundle import refuse_code
from bascule.signals.compute import LIVE_FIELDS
from bascule.testing import laws
from bascule.testing.laws import Finding

_HORIZON = 2


def _raised(error: Exception) -> str:
    return str(error) if isinstance(error, BasculeError) else f"{type(error).__name__}: {error}"


def factors(found: Iterable[Factor]) -> list[Finding]:
    """The laws of expressions on factors, and whether an exchange's candles give what they read."""
    problems = []
    for factor in found:
        problems += laws.expression(factor.node, subject=factor.name)
        lacking = sorted(set(factor.inputs) - LIVE_FIELDS)
        if lacking:
            problem = (
                f"candles of an exchange do not give {', '.join(lacking)}: only stored signals can use it"
            )
            problems.append(Finding(factor.name, "it can be computed live", problem))
    return problems


# -- models ----------------------------------------------------------------------------------------------


def model(name: str, **params: Any) -> list[Finding]:
    """A kind of model on a small market with one planted signal: trained twice, kept, opened, asked.

    Args:
        name: of the kind (`bascule.models.KINDS`).
        params: parameters to set.
    """
    features, steps = zoo.shape(name)
    values, label, panel = zoo.small_market(features, steps)
    settings = ModelSettings(
        kind=name, params=params, steps=steps, min_samples=200, max_samples=3_000, threads=1, device="cpu"
    )
    walk = WalkForwardSettings(first_test=date(2021, 4, 1), train_days=80, min_train_days=30, valid_share=0.3)
    fold = folds(panel.time, walk, _HORIZON)[:1]
    names = [f"f{i}" for i in range(len(values))]
    problems: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="bascule-") as scratch:
        try:
            one, two = (
                train_walk_forward(values, names, label, panel, fold, settings, Path(scratch) / place, seed=3)
                for place in ("one", "two")
            )
            kept = Path(scratch) / "one" / fold[0].id
            refuse_code(kept, [path.name for path in kept.iterdir() if path.name != META])
            opened = load_model(kept)
        except Exception as error:  # noqa: BLE001 - whatever a user's model raises
            return [Finding(name, "it learns, is kept and opened", _raised(error))]
        if not np.array_equal(one.values, two.values, equal_nan=True):
            problems.append(Finding(name, "the same seed gives the same model", "two trainings differ"))
        if not np.isfinite(one.values).any():
            problems.append(Finding(name, "it predicts", "no prediction is finite"))
        problems += _alone(name, opened, values, panel)
    return problems


def _alone(name: str, opened: Any, values: Any, panel: Panel) -> list[Finding]:
    """A sample's prediction does not depend on the samples beside it: live asks for one row at a time."""
    if KINDS[name].relational or opened.compares:
        times = panel.time[-8:]
        rows = [values[:, -8 + i].T for i in range(8)]
        whole = opened.predict(np.concatenate(rows), np.repeat(times, panel.shape[1]))
        single = [
            opened.predict(row, np.repeat(time, len(row))) for row, time in zip(rows, times, strict=True)
        ]
    else:
        cells = np.ascontiguousarray(values[:, -8:].reshape(len(values), -1).T)
        whole = opened.predict(cells)
        single = [opened.predict(cell[None]) for cell in cells]
    if np.array_equal(whole, np.concatenate(single), equal_nan=True):
        return []
    most = float(np.nanmax(np.abs(whole - np.concatenate(single))))
    return [Finding(name, "a time's predictions are its own", f"asked alone they differ by up to {most:g}")]


# -- sources ---------------------------------------------------------------------------------------------


def source(one: Source, start: Moment, end: Moment, instruments: Sequence[str] = ()) -> list[Finding]:
    """A source over a range that it has data for.

    Args:
        one: the source.
        start: first time.
        end: last time, excluded.
        instruments: what to ask for.
    """
    name = one.spec.name
    first, stop = moment(start), moment(end)
    try:
        frame = one.fetch(first, stop, instruments).frame
        again = one.fetch(first, stop, instruments).frame
        middle = first + (stop - first) // 2
        later = one.fetch(middle, stop, instruments).frame
    except Exception as error:  # noqa: BLE001 - whatever a user's source raises
        return [Finding(name, "it can be fetched", _raised(error))]
    times = frame["time"].to_numpy("datetime64[ns]")
    known = frame["available_time"].to_numpy("datetime64[ns]")
    part = frame[times >= middle].reset_index(drop=True)
    unique = frame.drop_duplicates(["time", "instrument"])
    held = {
        "it brings something": len(frame) > 0,
        "its columns are those of its spec": tuple(frame.columns) == one.spec.columns,
        "rows lie in the range": bool(((times >= first) & (times < stop)).all()),
        "rows are sorted and unique": frame.equals(
            unique.sort_values(["instrument", "time"], ignore_index=True)
        ),
        "nothing is known before its period has ended": bool((known >= times + one.spec.period).all()),
        "asked twice it says the same": frame.equals(again),
        "a part of the range gives the same rows": part.equals(later),
    }
    return [Finding(name, law, "it does not hold") for law, holds in held.items() if not holds]


# -- searchers -------------------------------------------------------------------------------------------


def searcher(name: str) -> list[Finding]:
    """A searcher on a small market: legal proposals, the same by seed, and going on from a kept state."""
    _, _, panel = zoo.small_market(1, 1)
    grammar = Grammar(GrammarSettings())
    problem = Problem.of(prepare(panel), SplitSettings(horizon=_HORIZON, min_breadth=5))
    kind = SEARCHERS[name]
    try:
        settings = kind.read({}, name)
        first, twin = (kind.build(grammar, 5, problem.train, settings) for _ in range(2))
        texts, same = (_rounds(one, problem, 2) for one in (first, twin))
        state, arrays = first.state()
        kept = json.loads(json.dumps(state))
        other = kind.build(grammar, 6, problem.train, settings)
        other.restore(kept, {key: np.array(value) for key, value in arrays.items()})
        onward, resumed = _rounds(first, problem, 1), _rounds(other, problem, 1)
        first.statistics()
    except Exception as error:  # noqa: BLE001 - whatever a user's searcher raises
        return [Finding(name, "it searches", _raised(error))]
    held = {
        "it proposes at most what it is asked for": all(len(some) <= 16 for some in texts),
        "some proposals are of the grammar": any(grammar.accepts(node) for some in texts for node in some),
        "the same seed proposes the same": texts == same,
        "a kept state goes on as the unbroken search": onward == resumed,
    }
    return [Finding(name, law, "it does not hold") for law, holds in held.items() if not holds]


def _rounds(one: Any, problem: Problem, count: int) -> list[list[Any]]:
    """Batches of proposals, each answered."""
    evaluator, pool, found = Evaluator(problem.train), Pool(PoolSettings()), []
    grammar = Grammar(GrammarSettings())
    for _ in range(count):
        nodes = list(one.propose(16))
        found.append(nodes)
        legal = [node for node in nodes if grammar.accepts(node)]
        scores = dict(zip(legal, evaluator.evaluate(legal), strict=True))
        one.observe([Outcome(node, scores.get(node)) for node in nodes], pool)
    return found


# -- extensions ------------------------------------------------------------------------------------------


def check(held: Loaded) -> list[Finding]:
    """All parts of a loaded extension, but sources, which need settings and a range: `source` tries those."""
    extension = held.extension
    problems: list[Finding] = []
    for one in extension.operators:
        problems += laws.operator(one)
    for name in extension.factors:
        problems += factors(library(name))
    for one in extension.models:
        problems += model(one.name)
    for name in extension.searchers:
        problems += searcher(name)
    return problems
