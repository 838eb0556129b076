"""What is at a venue and not in the bot's own books, and what is done about it. Decisions only.

1. An order that the database does not know has a fate (`fate`):

   ==========================  ============================================================================
   of this bot, its pair held  *join*: it becomes an order of that trade, as entry, exit or stop
   of this bot, an entry       *adopt*: a trade is made of it, or, where so chosen, it is cancelled
   of this bot, of no trade    *cancel*: an exit or stop of a trade that is gone; if it has filled, *alarm*
   of this bot, came to        *forget*
   nothing
   of somebody else            *alarm*: never touched
   ==========================  ============================================================================

2. A position that is not what the trades say is a gap (`gaps`).

Nothing of freqtrade or ccxt is needed here: `reconcile.py` asks the venue and carries out what is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field

from bascule.core import Settings

GRACE = 60.0  # seconds: an order this young may be on its way into the database
CAME_TO_NOTHING = ("canceled", "expired", "rejected")
FINISHED = (*CAME_TO_NOTHING, "closed")


class ReconcileSettings(Settings):
    """What is done about orders and positions that the bot does not know."""

    every: float = Field(default=300.0, ge=10, le=86_400, description="seconds between two looks")
    entries: Literal["adopt", "cancel"] = Field(
        default="adopt", description="an own entry without a trade: make a trade of it, or cancel it"
    )
    alarm: Literal["tell", "halt"] = Field(
        default="tell", description="what an alarm does: say it, or say it and halt the bot"
    )


class Fate(StrEnum):
    """What is done about an order that the database does not know."""

    JOIN = "join"
    ADOPT = "adopt"
    CANCEL = "cancel"
    ALARM = "alarm"
    FORGET = "forget"


@dataclass(frozen=True)
class Stray:
    """An order at the venue that the database does not know.

    Attributes:
        id: the venue's.
        pair: freqtrade's spelling.
        side: buy or sell.
        ours: this bot placed it.
        conditional: it waits for a trigger: a stop.
        reduce: it only reduces a position.
        futures: of a perpetual.
        status: open, or one of canceled, expired, rejected, closed.
        filled: base units.
        at: when it was placed, seconds since 1970.
        leverage: that the bot asked for; None = not known.
    """

    id: str
    pair: str
    side: str
    ours: bool
    conditional: bool
    reduce: bool
    futures: bool
    status: str
    filled: float
    at: float = 0.0
    leverage: float | None = None

    @property
    def is_entry(self) -> bool:
        """It opens or increases a position."""
        if self.conditional or self.reduce:
            return False
        return self.futures or self.side == "buy"

    def __str__(self) -> str:
        what = "stop" if self.conditional else "entry" if self.is_entry else "exit"
        return f"{self.pair}: {self.side} {what} {self.id} ({self.status}, {self.filled:.8g} filled)"


def fate(
    stray: Stray, held: str | None, settings: ReconcileSettings, *, since: float = float("-inf")
) -> Fate:
    """What is done about an order.

    Args:
        stray: the order.
        held: side of the pair's open trade, long or short; None = there is none.
        settings: what is chosen.
        since: when that trade was opened, seconds since 1970: what was placed well before is not of it.
    """
    if not stray.ours:
        return Fate.ALARM
    # a conditional order that was triggered is closed, and has filled nothing itself
    if stray.status in CAME_TO_NOTHING and not stray.filled:
        return Fate.FORGET
    along = (stray.side == ("buy" if held == "long" else "sell")) == stray.is_entry
    if held is not None and along and stray.at >= since - GRACE:
        return Fate.JOIN
    if held is None and stray.is_entry and settings.entries == "adopt":
        return Fate.ADOPT
    return Fate.ALARM if stray.filled or stray.status in FINISHED else Fate.CANCEL


def gaps(
    theirs: Mapping[str, float], ours: Mapping[str, float], steps: Mapping[str, float], skip: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Pairs whose position at the venue is not that of the trades: pair → (venue's, bot's).

    Args:
        theirs: signed amounts at the venue.
        ours: signed amounts of open trades.
        steps: smallest amounts; a difference of less than half of it is rounding.
        skip: pairs that are left out.
    """
    left = set(skip)
    found = {
        pair: (theirs.get(pair, 0.0), ours.get(pair, 0.0)) for pair in {*theirs, *ours} if pair not in left
    }
    return {
        pair: both
        for pair, both in sorted(found.items())
        if abs(both[0] - both[1]) > 0.5 * steps.get(pair, 0.0)
    }
