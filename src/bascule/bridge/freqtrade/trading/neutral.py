"""A book without a market: legs kept balanced, and a hedge leg where one is wanted.

1. The exposure of a leg is its value, or its value times beta (``by``).
2. *Balance*: if one side outweighs the other by more than ``tolerance`` of the equity, because a leg was
   refused, stopped or is smaller than the exchange's minimum, all positions of the heavy side shrink in the
   same proportion, until half of the tolerance is left: to its edge, every candle would trade a little.
3. *Hedge leg*: with ``hedge``, one pair is set aside. It holds the opposite of what the others are exposed
   to, inside a no-trade band, and comes and goes with it. Nothing else is shrunk then.

The balance is computed from what positions should be, not from what they are: a book that was balanced stays
so, and rebalancing does not undo it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from bascule.core import DataError, Instrument, Settings

# a leg never counts less than this: shrunken betas below it are noise
_LEAST_BETA = 0.1
HEDGE = "hedge"


class NeutralSettings(Settings):
    """Market neutrality. Futures only: one side of it is short."""

    by: Literal["dollar", "beta"] = Field(default="beta", description="what must add to zero")
    tolerance: float = Field(
        default=0.1, gt=0, le=2, description="net exposure that is left alone, share of equity"
    )
    hedge: str | None = Field(default=None, description="pair of the hedge leg, e.g. BTC/USDT:USDT")
    band: float = Field(
        default=0.03, gt=0, le=1, description="hedge leg: no trade within this of its target, share of equity"
    )

    @field_validator("hedge")
    @classmethod
    def _pair(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return Instrument.parse(value).pair
        except DataError as error:
            raise ValueError(error.message) from None


@dataclass(frozen=True)
class Leg:
    """A position.

    Attributes:
        side: 1 long, -1 short.
        value: in the stake currency, ≥ 0.
        beta: to the market; NaN = unknown, counts 1.
    """

    side: int
    value: float
    beta: float = 1.0

    def exposure(self, by: str) -> float:
        """Value along its side, ≥ 0."""
        if by == "dollar":
            return self.value
        return self.value * (max(self.beta, _LEAST_BETA) if self.beta == self.beta else 1.0)


def net(legs: Iterable[Leg], by: str) -> float:
    """Net exposure, signed, in the stake currency."""
    return sum(leg.side * leg.exposure(by) for leg in legs)


def scales(legs: Iterable[Leg], equity: float, settings: NeutralSettings) -> tuple[float, float]:
    """Factors in [0, 1] of the long and of the short side that balance the book."""
    long = short = 0.0
    for leg in legs:
        if leg.side > 0:
            long += leg.exposure(settings.by)
        else:
            short += leg.exposure(settings.by)
    room = settings.tolerance * equity

    def factor(heavy: float, light: float) -> float:
        return (light + 0.5 * room) / heavy if heavy > light + room else 1.0

    return factor(long, short), factor(short, long)


def hedge_value(legs: Iterable[Leg], beta: float, by: str) -> float:
    """Signed value of the hedge leg that makes the book neutral, in the stake currency.

    Args:
        legs: all other positions.
        beta: of the hedge pair.
        by: dollar or beta.
    """
    return -net(legs, by) / Leg(1, 1.0, beta).exposure(by)
