"""The verdict: a factor against targets, out of sample only.

Green: the target is met. Amber: at least half of it, with the sign that was seen in sample. Red: neither.
What was measured in sample gets no colour at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bascule.core import Settings
from bascule.evaluate.ic import Part

Colour = Literal["green", "amber", "red", "unknown"]


class Targets(Settings):
    """What a factor should reach."""

    ic: float = Field(default=0.05, gt=0, lt=1, description="|IC| of a factor")
    rank_ic: float = Field(default=0.04, gt=0, lt=1, description="|rank IC| of a factor")
    t: float = Field(default=2.0, gt=0, description="|t| of the rank IC (Newey-West)")
    half_life_days: float = Field(default=5.0, gt=0, description="half-life of the marginal rank IC in days")
    pool_ic: float = Field(default=0.08, gt=0, lt=1, description="IC of the pool of all factors")


@dataclass(frozen=True)
class Verdict:
    """One line of the table.

    Attributes:
        measure: what was measured.
        value: out of sample.
        target: what it should exceed.
        colour: of this line.
    """

    measure: str
    value: float
    target: float
    colour: Colour


@dataclass(frozen=True)
class Measured:
    """Out-of-sample figures of a factor; NaN = not measured.

    Attributes:
        ic: mean IC.
        rank_ic: mean rank IC.
        t: Newey-West t of the rank IC.
        half_life_days: of the marginal rank IC, NaN where it is not identified.
        sign: sign of the rank IC in sample, 0 = none was measured.
    """

    ic: float
    rank_ic: float
    t: float
    half_life_days: float = math.nan
    sign: int = 0


def judge(measured: Measured, targets: Targets | None = None) -> tuple[Verdict, ...]:
    """The table of verdicts of a factor, in the order of `Targets`."""
    targets = targets or Targets()
    sign = measured.sign
    return (
        _line("|IC|", measured.ic, targets.ic, sign),
        _line("|rank IC|", measured.rank_ic, targets.rank_ic, sign),
        _line("|t|", measured.t, targets.t, sign),
        _line("half-life (days)", measured.half_life_days, targets.half_life_days, 0),
    )


def judge_pool(outside: Part, targets: Targets | None = None) -> Verdict:
    """The verdict of a pool, whose weights carry its direction, by its plain IC out of sample."""
    return _line("pool IC", outside.ic.mean, (targets or Targets()).pool_ic, 1)


def tally(verdicts: Sequence[tuple[Verdict, ...]]) -> dict[str, dict[Colour, int]]:
    """How many factors have each colour, by measure."""
    found: dict[str, dict[Colour, int]] = {}
    for line in (line for lines in verdicts for line in lines):
        counts = found.setdefault(line.measure, {"green": 0, "amber": 0, "red": 0, "unknown": 0})
        counts[line.colour] += 1
    return found


def overall(verdicts: tuple[Verdict, ...]) -> Colour:
    """The worst colour; unknown lines do not count, unless there are no others."""
    for colour in ("red", "amber", "green"):
        if any(line.colour == colour for line in verdicts):
            return colour
    return "unknown"


def _line(measure: str, value: float, target: float, sign: int) -> Verdict:
    if math.isnan(value):
        return Verdict(measure, value, target, "unknown")
    size = value * sign if sign else abs(value)
    if size >= target:
        return Verdict(measure, value, target, "green")
    return Verdict(measure, value, target, "amber" if size >= target / 2.0 else "red")
