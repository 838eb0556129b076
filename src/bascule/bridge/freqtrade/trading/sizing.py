"""How large a position should be now: rebalancing to the target weight, in one go or by a ladder.

1. The target is the signals' weight, scaled by what the ladder has opened so far and has not sold yet.
2. *Rebalance*: inside the no-trade band around the target nothing is done. Outside, the position moves to the
   target or to the near edge of the band; with proportional costs the edge is optimal (Davis and Norman 1990,
   Portfolio selection with transaction costs).
3. *Ladder in*: the first order takes the first share; the further ones follow by time, on a dip (average
   down), or on confirmation (pyramid), one at a time.
4. *Ladder out*: at gains of some R, shares of the position are sold.

Steps that were taken are read from the order tags of the trade, which freqtrade keeps: a restart forgets
nothing. Values are in the stake currency and without a sign; what is returned is a change of value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from bascule.core import Settings

IN, OUT, REBALANCE, BALANCE, TRIMMED = "ladder_in", "ladder_out", "rebalance", "balance", "book_guard"


class RebalanceSettings(Settings):
    """Keep positions at their target weights."""

    band: float = Field(default=0.01, ge=0, le=1, description="no trade within this of it, share of equity")
    relative: float = Field(default=0.2, ge=0, le=5, description="or within this share of the target")
    to: Literal["target", "edge"] = Field(default="edge", description="how far to trade once outside")
    zero: Literal["hold", "close"] = Field(
        default="hold",
        description="when the target falls to 0 or changes its side: hold until exit, or close",
    )


class Take(Settings):
    """A partial exit."""

    gain: float = Field(gt=0, le=50, description="at this gain, in R (stop distance at entry)")
    share: float = Field(gt=0, lt=1, description="sell this share of the target")


class LadderSettings(Settings):
    """Enter and leave in steps."""

    entries: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, max_length=10, description="shares of the target, adding to 1"
    )
    mode: Literal["time", "dip", "confirm"] = Field(default="time", description="what opens the next step")
    spacing: float = Field(
        default=1.0, gt=0, le=100, description="candles (time), or R from the entry (dip, confirm)"
    )
    exits: tuple[Take, ...] = Field(default=(), max_length=10, description="partial exits, by rising gain")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if min(self.entries) <= 0 or abs(sum(self.entries) - 1.0) > 1e-6:
            raise ValueError(f"entries {self.entries} must be positive and add to 1")
        gains = [one.gain for one in self.exits]
        if gains != sorted(set(gains)):
            raise ValueError("exits must have rising gains")
        if sum(one.share for one in self.exits) >= 1.0:
            raise ValueError("exits must leave something to the stops: shares add to 1 or more")
        return self


@dataclass(frozen=True)
class Holding:
    """A position as the sizes see it.

    Attributes:
        side: 1 long, -1 short.
        value: worth now, in the stake currency, > 0.
        gain: of the price since entry, fraction, from the position's view.
        initial: R, fraction.
        candles: age.
        entered: entry steps that were filled (at least 1).
        taken: partial exits that were filled.
    """

    side: int
    value: float
    gain: float
    initial: float
    candles: int
    entered: int
    taken: int


@dataclass(frozen=True)
class Change:
    """What to do with a position.

    Attributes:
        value: change of its value in the stake currency; negative = sell.
        tag: why; kept on the order.
    """

    value: float
    tag: str


def first_share(ladder: LadderSettings | None) -> float:
    """Share of the target that the first order takes."""
    return 1.0 if ladder is None else ladder.entries[0]


def step(held: Holding, weight: float, equity: float, ladder: LadderSettings) -> Change | None:
    """The ladder's next step, if it is due.

    Args:
        held: the position.
        weight: target weight along the position's side, share of equity; NaN or ≤ 0 opens nothing.
        equity: in the stake currency.
        ladder: its settings.
    """
    if held.taken < len(ladder.exits) and held.gain >= ladder.exits[held.taken].gain * held.initial:
        before = 1.0 - sum(one.share for one in ladder.exits[: held.taken])
        # of what is left: earlier steps were taken from the whole
        return Change(-held.value * ladder.exits[held.taken].share / before, f"{OUT}_{held.taken + 1}")
    if held.entered >= len(ladder.entries) or held.taken or not weight > 0.0:
        return None
    due = held.entered * ladder.spacing
    reached = {
        "time": held.candles >= due,
        "dip": held.gain <= -due * held.initial,
        "confirm": held.gain >= due * held.initial,
    }[ladder.mode]
    return (
        Change(ladder.entries[held.entered] * weight * equity, f"{IN}_{held.entered + 1}")
        if reached
        else None
    )


def opened(held: Holding, ladder: LadderSettings | None) -> float:
    """Share of the target that the ladder stands for now, in (0, 1]."""
    if ladder is None:
        return 1.0
    inside = sum(ladder.entries[: max(1, held.entered)])
    return inside * (1.0 - sum(one.share for one in ladder.exits[: held.taken]))


def rebalance(
    held: Holding, weight: float, equity: float, settings: RebalanceSettings, *, band: float | None = None
) -> Change | None:
    """Back into the no-trade band, or None.

    Args:
        held: the position.
        weight: target weight along the position's side after all scaling; NaN = no opinion.
        equity: in the stake currency, > 0.
        settings: the band.
        band: overrides ``settings.band``.
    """
    if weight != weight:  # NaN
        return None
    if weight <= 0.0:
        return Change(-held.value, REBALANCE) if settings.zero == "close" else None
    now = held.value / equity
    width = max(settings.band if band is None else band, settings.relative * weight)
    if abs(now - weight) <= width:
        return None
    goal = weight
    if settings.to == "edge":
        goal += width if now > weight else -width
    return Change((goal - now) * equity, REBALANCE)
