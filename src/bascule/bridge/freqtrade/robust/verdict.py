"""From figures to verdicts: passes, fragile or fails, each with its reason.

A measure is compared with two limits of `Limits`. Where the base itself loses there is nothing that a test
could find robust: every test then fails, for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from bascule.bridge.freqtrade.robust.cells import Cell
from bascule.bridge.freqtrade.robust.histories import LEAST, Histories
from bascule.bridge.freqtrade.robust.keypoints import TITLES, Point
from bascule.bridge.freqtrade.robust.settings import Limits

Outcome = Literal["passes", "fragile", "fails", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """One line of the table.

    Attributes:
        test: what was tested.
        outcome: unknown = the data do not suffice.
        reason: one sentence with the figures.
        measure: what was compared with the limits; None = nothing was.
    """

    test: str
    outcome: Outcome
    reason: str
    measure: float | None = None


@dataclass(frozen=True)
class Slice:
    """The base in a part of the period.

    Attributes:
        name: of the regime or quarter.
        share: of all rows.
        total: return in its rows together.
        sharpe: of its rows, annualised; None for fewer than two.
    """

    name: str
    share: float
    total: float
    sharpe: float | None


def at_least(value: float, limits: tuple[float, float]) -> Outcome:
    """High is good."""
    return "passes" if value >= limits[0] else "fragile" if value > limits[1] else "fails"


def at_most(value: float, limits: tuple[float, float]) -> Outcome:
    """Low is good."""
    return "passes" if value <= limits[0] else "fragile" if value <= limits[1] else "fails"


def overall(verdicts: Sequence[Verdict]) -> Outcome:
    """The worst outcome of all; unknown ones do not count, unless there are no others."""
    for outcome in ("fails", "fragile", "passes"):
        if any(one.outcome == outcome for one in verdicts):
            return outcome
    return "unknown"


def luck(real: float | None, trials: int, limits: Limits) -> Verdict:
    """Is the Sharpe ratio more than the best of all tries would show by luck?"""
    if real is None or not np.isfinite(real):
        return Verdict("luck", "unknown", "the returns do not vary")
    said = f"the Sharpe ratio is real with a probability of {real:.0%}, {trials} trials counted"
    return Verdict("luck", at_least(real, limits.sharpe_real), said, real)


def slices(test: str, parts: Sequence[Slice], limits: tuple[float, float]) -> Verdict:
    """Share of time in parts that lose."""
    known = [one for one in parts if one.share > 0]
    if len(known) < 2:
        return Verdict(test, "unknown", f"the period has {len(known)} of these only")
    losing = [one for one in known if one.total < 0]
    share = sum(one.share for one in losing) / sum(one.share for one in known)
    worst = min(known, key=lambda one: one.total)
    said = (
        f"loses in {len(losing)} of {len(known)} ({share:.0%} of the time); "
        f"worst: {worst.name}, {worst.total:+.1%}"
    )
    return Verdict(test, at_most(share, limits), said, share)


def histories(found: Histories | None, trades: int, limits: Limits) -> Verdict:
    """How often resampled histories lose, and how deep they fall."""
    if found is None:
        return Verdict("trade histories", "unknown", f"{trades} trades; at least {LEAST} are needed")
    probability = found.loss_probability
    depth = found.quantiles()["drawdown 95%"]
    outcomes = (at_most(probability, limits.loss_probability), at_most(depth, limits.drawdown))
    said = (
        f"{probability:.1%} of {len(found.total)} resampled histories lose; one in twenty falls by "
        f"{depth:.0%} or more; without its best {found.best} of {found.trades} trades the real one makes "
        f"{found.without_best:+.1%}"
    )
    return Verdict("trade histories", _worse(*outcomes), said, probability)


def costs(cells: Sequence[Cell], base: Cell, limits: Limits) -> Verdict:
    """The multiple of the assumed costs at which nothing is left, along the grid."""
    assumed = base.scenario["fee"] + base.scenario["slippage"]
    points = sorted(
        {(c.scenario["fee"] + c.scenario["slippage"], c.total) for c in cells if c.total is not None}
    )
    if assumed <= 0 or len(points) < 2:
        return Verdict("costs", "unknown", "no costs were assumed, or the grid has one point")
    level = _break_even(points)
    if level is None:
        top = points[-1][0]
        said = f"still gains at {top:.2%} a side, {top / assumed:.1f} times the assumed {assumed:.2%}"
        return Verdict("costs", at_least(top / assumed, limits.cost_multiple), said, top / assumed)
    said = f"nothing is left at {level:.2%} a side, {level / assumed:.1f} times the assumed {assumed:.2%}"
    return Verdict("costs", at_least(level / assumed, limits.cost_multiple), said, level / assumed)


def _break_even(points: Sequence[tuple[float, float]]) -> float | None:
    """Where the line through the points first goes below 0; None if it never does."""
    if points[0][1] <= 0:
        return points[0][0]
    for (low, gain), (high, loss) in pairwise(points):
        if loss <= 0:
            return low + (high - low) * gain / (gain - loss)
    return None


def kept(test: str, cells: Sequence[Cell], base: Cell, limits: tuple[float, float]) -> Verdict:
    """Share of the cells that keep at least half of the base's Sharpe ratio."""
    known = [one for one in cells if one.sharpe is not None]
    if not known or base.sharpe is None:
        return Verdict(test, "unknown", "no scenario could be run in this period")
    good = sum(1 for one in known if one.sharpe is not None and one.sharpe >= 0.5 * base.sharpe)
    worst = min(known, key=lambda one: one.sharpe if one.sharpe is not None else np.inf)
    share = good / len(known)
    said = (
        f"{good} of {len(known)} keep half of the Sharpe ratio {base.sharpe:.2f}; "
        f"worst: {worst.name}, {worst.sharpe:.2f}"
    )
    return Verdict(test, at_least(share, limits), said, share)


def delayed(cells: Sequence[Cell], base: Cell, limits: Limits) -> Verdict:
    """What the shortest delay leaves of the Sharpe ratio."""
    known = [one for one in cells if one.sharpe is not None]
    if not known or base.sharpe is None:
        return Verdict("delay", "unknown", "no scenario could be run in this period")
    first = min(known, key=lambda one: int(one.scenario["delay"]))
    assert first.sharpe is not None
    share = first.sharpe / base.sharpe
    said = f"{first.name} the Sharpe ratio is {first.sharpe:.2f} instead of {base.sharpe:.2f}"
    return Verdict("delay", at_least(share, limits.delayed), said, share)


def one_out(cells: Sequence[Cell], base: Cell, limits: Limits) -> Verdict:
    """What is left of the return without the instrument that matters most."""
    known = [one for one in cells if one.total is not None]
    if not known or base.total is None:
        return Verdict("instruments", "unknown", "no instrument was left out")
    worst = min(known, key=lambda one: one.total if one.total is not None else np.inf)
    assert worst.total is not None
    share = worst.total / base.total
    said = f"{worst.name} the return is {worst.total:+.1%} instead of {base.total:+.1%}"
    return Verdict("instruments", at_least(share, limits.one_out), said, share)


def freqtrade(points: Sequence[Point], base: Cell, limits: Limits) -> Verdict:
    """Does the real thing confirm the simulator, and survive its own harsh runs?"""
    if not points:
        return Verdict("freqtrade", "unknown", "no key point was run")
    said = "; ".join(
        f"{TITLES[one.name]}: {_text(one.total, '+.1%')}, Sharpe {_text(one.sharpe, '.2f')}" for one in points
    )
    first = next((one for one in points if one.name == "base"), None)
    if first is None or first.sharpe is None or base.sharpe is None:
        return Verdict("freqtrade", "unknown", said)
    share = first.sharpe / base.sharpe
    outcome = at_least(share, limits.real_thing)
    if outcome == "passes" and any((one.total or 0.0) <= 0.0 for one in points):
        outcome = "fragile"
    return Verdict("freqtrade", outcome, f"{said} (simulator: {base.sharpe:.2f})", share)


def nothing_to_keep(verdicts: Sequence[Verdict], base: Cell) -> tuple[Verdict, ...]:
    """All verdicts of a base that loses: fails, for that reason; what was found is kept in the sentence."""
    said = f"the base makes {_text(base.total, '+.1%')} after costs: nothing to keep"
    return tuple(Verdict(one.test, "fails", f"{said} ({one.reason})", one.measure) for one in verdicts)


def _worse(*outcomes: Outcome) -> Outcome:
    order: tuple[Outcome, ...] = ("fails", "fragile", "passes")
    return next(one for one in order if one in outcomes)


def _text(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
