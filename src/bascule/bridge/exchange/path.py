"""The way that the price takes inside a candle.

A candle says where the price opened, how far it went and where it closed, not in which order. A `Tick` is one
point of the way that we let it take:

1. A rising candle (close at or above open) goes open → low → high → close, a falling one open → high → low →
   close: the far side first, so that the way is the longer one.
2. In mode ``walk`` that way is cut into `TICKS` points, evenly spaced in time, the candle's volume shared
   evenly among them. An observer inside the candle sees what has been walked so far.
3. In mode ``open`` nobody sees anything but the open until the candle's last millisecond; then all other
   points come at once. It tells an observer nothing that the candle's open did not tell.

The points' extremes, the last point and the sum of volumes are the candle's own, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal

import numpy as np

from bascule.bridge.exchange import wire

PathMode = Literal["open", "walk"]
TICKS = 12
_FIRST, _SECOND = 3, 8  # the points at which the two extremes are reached


@dataclass(frozen=True)
class Tick:
    """One point of a candle's way.

    Attributes:
        ms: when, in Unix milliseconds.
        price: the last price from here on.
        volume: base units traded at this point.
    """

    ms: int
    price: Decimal
    volume: Decimal


def walk(
    candle: tuple[float, float, float, float, float],
    *,
    open_ms: int,
    step_ms: int,
    decimals: int,
    mode: PathMode,
) -> tuple[Tick, ...]:
    """The ticks of one candle, oldest first.

    Args:
        candle: open, high, low, close, volume; a missing extreme is taken from open and close.
        open_ms: the candle's open time, Unix milliseconds.
        step_ms: its length in milliseconds.
        decimals: decimals of a quantity of this instrument.
        mode: see above.
    """
    opened, high, low, close, volume = candle
    high = max(v for v in (opened, high, close) if np.isfinite(v))
    low = min(v for v in (opened, low, close) if np.isfinite(v))
    turns = (low, high) if close >= opened else (high, low)
    points = np.interp(np.arange(TICKS), [0, _FIRST, _SECOND, TICKS - 1], [opened, *turns, close]).astype(
        np.float32
    )
    prices = [Decimal(wire.number(price)) for price in points]
    known = Decimal(wire.number(volume)) if np.isfinite(volume) and volume > 0 else Decimal(0)
    first = 0 if mode == "walk" else 1
    share = (known / (TICKS - first)).quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)
    shares = [Decimal(0)] * first + [share] * (TICKS - first)
    shares[-1] = known - share * (TICKS - first - 1)
    if mode == "walk":
        times = [open_ms + k * step_ms // TICKS for k in range(TICKS)]
    else:
        times = [open_ms] + [open_ms + step_ms - 1] * (TICKS - 1)
    return tuple(Tick(*one) for one in zip(times, prices, shares, strict=True))
