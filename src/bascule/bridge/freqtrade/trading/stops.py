"""Stops in several levels. All distances are in R, the stop distance at entry; R falls as risk rises.

1. *Initial*: the signals' stop distance from the entry price, which already follows the risk score of the
   instrument; ``tighten`` shrinks it further by the portfolio's risk.
2. *Levels*: once the best price since entry is ``after`` R away, the stop lies at least ``lock`` R beyond the
   entry price. The first level is the break-even stop of old.
3. *Trail*: once the best price is ``after`` R away, the stop follows it at ``distance`` R.
4. *Time*: a position that has not gained ``gain`` R after ``candles`` candles is closed.

The most protective one counts, and freqtrade never lets a stop loosen (apart from fills that change the
entry price). It does not set one that the price has passed already, as when risk rises and the distance
shrinks below the present loss: `overtaken` tells, and the position is closed at once, as the robustness
report does. These are prices, so they work with stops on the exchange (``on_exchange``).
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from bascule.core import Settings

OVERTAKEN = "stop_overtaken"  # reason of an exit


class Level(Settings):
    """A step of the ratchet."""

    after: float = Field(gt=0, le=50, description="gain of the best price since entry, in R")
    lock: float = Field(default=0.0, ge=-1, le=50, description="where the stop goes, in R beyond the entry")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lock >= self.after:
            raise ValueError(f"lock {self.lock} is not below after {self.after}: it would stop at once")
        return self


class TrailSettings(Settings):
    """A stop that follows the best price."""

    after: float = Field(default=1.0, ge=0, le=50, description="gain at which it starts, in R")
    distance: float = Field(default=1.0, gt=0, le=50, description="distance from the best price, in R")


class TimeStopSettings(Settings):
    """A stop by age."""

    candles: int = Field(ge=1, description="age at which it is looked at")
    gain: float = Field(default=0.0, ge=-1, le=50, description="close if the gain is below this, in R")


class LevelSettings(Settings):
    """Stops beyond the signals' own."""

    tighten: float = Field(
        default=0.0, ge=0, lt=1, description="share of the distance that goes at portfolio risk 1"
    )
    levels: tuple[Level, ...] = Field(default=(), description="the ratchet; the first is break-even")
    trail: TrailSettings | None = Field(default=None, description="follow the best price")
    time: TimeStopSettings | None = Field(default=None, description="close what does not move")
    on_exchange: bool = Field(default=False, description="keep the stop as an order at the exchange")


def tightened(distance: float, settings: LevelSettings | None, portfolio_risk: float) -> float:
    """The signals' stop distance, fraction of the entry price, less what the portfolio's risk takes of it."""
    if settings is None:
        return distance
    risk = portfolio_risk if 0.0 <= portfolio_risk <= 1.0 else 1.0
    return distance * (1.0 - settings.tighten * risk)


def overtaken(side: int, entry: float, price: float, distance: float, held: float) -> bool:
    """Whether the price has passed the stop that risk asks for by now, and not the one that is set.

    Levels and trail have no part in it: they rise with the best price only, and are set while it is beyond.

    Args:
        side: 1 long, -1 short.
        entry: average entry price.
        price: the present one; in a backtest the open.
        distance: as `tightened` gives it; NaN = not known, which closes nothing.
        held: the price of the stop that is set.
    """
    return side * held < side * price <= side * entry * (1.0 - side * distance)


def stop_price(
    side: int,
    entry: float,
    best: float,
    distance: float,
    initial: float,
    settings: LevelSettings,
    *,
    portfolio_risk: float = 0.0,
    break_even: float | None = None,
    trail: float | None = None,
) -> float:
    """The price at which to stop.

    Args:
        side: 1 long, -1 short.
        entry: average entry price.
        best: best price since entry, from the position's view.
        distance: the newest stop distance, fraction of the price, > 0.
        initial: R, the stop distance at entry, fraction of the price, > 0.
        settings: the levels.
        portfolio_risk: in [0, 1]; NaN counts as 1.
        break_even: overrides ``after`` of the first level.
        trail: overrides ``distance`` of the trail.
    """
    # measured along the position's own direction, so that the larger one protects more
    offset = -tightened(distance, settings, portfolio_risk)
    gain = side * (best / entry - 1.0)
    for index, level in enumerate(settings.levels):
        after = break_even if break_even is not None and index == 0 else level.after
        if gain >= after * initial:
            offset = max(offset, min(level.lock, after) * initial)
    if settings.trail is not None and gain >= settings.trail.after * initial:
        width = (trail if trail is not None else settings.trail.distance) * initial
        offset = max(offset, side * (best * (1.0 - side * width) / entry - 1.0))
    return entry * (1.0 + side * offset)


def too_slow(
    side: int, entry: float, price: float, candles: int, initial: float, time: TimeStopSettings
) -> bool:
    """Whether the time stop closes a position of this age and price."""
    return candles >= time.candles and side * (price / entry - 1.0) < time.gain * initial
