"""Defects to put into clean candles: one function a kind; each spoils one place and says what is to be found.

Also run by ``benchmarks/data.py``, which reports how many of them are found on real candles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

PRICES = ["open", "high", "low", "close"]


@dataclass
class Market:
    """Candles of one market as they would be handed to `health.check`, with what stands beside them."""

    frame: pd.DataFrame
    extra: dict[str, Any] = field(default_factory=dict)


Defect = Callable[[Market, np.ndarray, int], Market]


def _scaled(market: Market, rows: np.ndarray, factor: float, volume: float | None = None) -> Market:
    frame = market.frame.copy()
    frame.loc[rows, PRICES] *= np.float32(factor)
    if volume is not None:
        frame.loc[rows, "volume"] *= np.float32(volume)
    return Market(frame, market.extra)


def _put(market: Market, row: int, **values: float) -> Market:
    frame = market.frame.copy()
    for name, value in values.items():
        frame.loc[row, name] = np.float32(value)
    return Market(frame, market.extra)


def unsorted(market: Market, rows: np.ndarray, i: int) -> Market:
    order = np.arange(len(market.frame))
    order[[rows[i], rows[i + 1]]] = order[[rows[i + 1], rows[i]]]
    return Market(market.frame.iloc[order], market.extra)


def duplicates(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(pd.concat([market.frame, market.frame.iloc[[rows[i]]]]), market.extra)


def off_grid(market: Market, rows: np.ndarray, i: int) -> Market:
    frame = market.frame.copy()
    frame.loc[rows[i], "time"] += pd.Timedelta(minutes=13)
    return Market(frame, market.extra)


def timeframe(market: Market, rows: np.ndarray, i: int) -> Market:
    keep = np.ones(len(market.frame), bool)
    hours = market.frame["time"].iloc[rows].dt.hour.to_numpy()
    keep[rows[hours % 4 != 0]] = False
    return Market(market.frame[keep], market.extra)


def not_finite(market: Market, rows: np.ndarray, i: int) -> Market:
    return _put(market, rows[i], close=np.nan)


def non_positive(market: Market, rows: np.ndarray, i: int) -> Market:
    return _put(market, rows[i], low=0)


def negative_volume(market: Market, rows: np.ndarray, i: int) -> Market:
    return _put(market, rows[i], volume=-1)


def impossible(market: Market, rows: np.ndarray, i: int) -> Market:
    return _put(market, rows[i], high=market.frame.loc[rows[i], "low"] * 0.5)


def gaps(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(market.frame.drop(index=rows[i : i + 3]), market.extra)


def zero_volume(market: Market, rows: np.ndarray, i: int) -> Market:
    return _put(market, rows[i], volume=0)


def stuck(market: Market, rows: np.ndarray, i: int) -> Market:
    price = float(market.frame.loc[rows[i], "close"])
    frame = market.frame.copy()
    frame.loc[rows[i : i + 30], PRICES] = np.float32(price)
    frame.loc[rows[i : i + 30], "volume"] += np.float32(1)
    return Market(frame, market.extra)


def spike(market: Market, rows: np.ndarray, i: int) -> Market:
    """A close that is wrong alone, as bad ticks are."""
    close = float(market.frame.loc[rows[i], "close"]) * 2.5
    return _put(market, rows[i], close=close, high=max(close, float(market.frame.loc[rows[i], "high"])))


def jump(market: Market, rows: np.ndarray, i: int) -> Market:
    return _scaled(market, rows[i:], 2.5)


def volume_spike(market: Market, rows: np.ndarray, i: int) -> Market:
    calm = float(market.frame.loc[rows[i], "open"])
    flat = _put(market, rows[i], close=calm, high=calm, low=calm)
    return _scaled(flat, rows[i : i + 1], 1, 1_000_000)


def volume_drop(market: Market, rows: np.ndarray, i: int) -> Market:
    return _scaled(market, rows[i : i + 1], 1, 1e-9)


def volume_level(market: Market, rows: np.ndarray, i: int) -> Market:
    """From coins to thousandths of contracts: the unit changes, the price does not."""
    return _scaled(market, rows[i:], 1, 1e-4)


def listed(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(market.frame.drop(index=rows[:i]), market.extra)


def delisted(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(market.frame.drop(index=rows[i:]), market.extra)


def relisted(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(market.frame.drop(index=rows[i : i + 100]), market.extra)


def migration(market: Market, rows: np.ndarray, i: int) -> Market:
    return relisted(_scaled(market, rows[i:], 1 / 37, 37), rows, i)


def redenomination(market: Market, rows: np.ndarray, i: int) -> Market:
    return _scaled(market, rows[i:], 1e-3, 1e3)


def multiplier(market: Market, rows: np.ndarray, i: int) -> Market:
    frame = market.frame.copy()
    name = str(frame.loc[rows[i], "instrument"])
    frame.loc[rows, "instrument"] = f"1000{name}"
    return Market(frame, market.extra)


def _arrival(market: Market, row: int, minutes: int) -> Market:
    came = market.frame["time"] + pd.Timedelta(hours=1, seconds=2)
    came[row] = market.frame.loc[row, "time"] + pd.Timedelta(minutes=minutes)
    return Market(market.frame.assign(available_time=came), market.extra)


def late(market: Market, rows: np.ndarray, i: int) -> Market:
    return _arrival(market, rows[i], 75)


def early(market: Market, rows: np.ndarray, i: int) -> Market:
    return _arrival(market, rows[i], 30)


def restated(market: Market, rows: np.ndarray, i: int) -> Market:
    now = _put(market, rows[i], volume=float(market.frame.loc[rows[i], "volume"]) * 1.01)
    return Market(now.frame, {"stored": market.frame})


def backfilled(market: Market, rows: np.ndarray, i: int) -> Market:
    return Market(market.frame, {"stored": market.frame.drop(index=rows[i])})


def _venues(market: Market) -> dict[str, pd.DataFrame]:
    """Two other venues, a basis point or so away."""
    rng = np.random.default_rng(5)
    return {
        name: market.frame.assign(
            close=market.frame["close"] * np.exp(rng.normal(0, 2e-4, len(market.frame))).astype(np.float32)
        )
        for name in ("one", "two")
    }


def venue_disagreement(market: Market, rows: np.ndarray, i: int) -> Market:
    """Too small a difference to be a spike of its own."""
    venues = _venues(market)
    return Market(_scaled(market, rows[i : i + 1], 1.06).frame, {"venues": venues})


def venue_mismatch(market: Market, rows: np.ndarray, i: int) -> Market:
    venues = _venues(market)
    return Market(_scaled(market, rows, 1_000).frame, {"venues": venues})


DEFECTS: tuple[Defect, ...] = (
    *(unsorted, duplicates, off_grid, timeframe, not_finite, non_positive, negative_volume, impossible),
    *(gaps, zero_volume, stuck, spike, jump, volume_spike, volume_drop, volume_level),
    *(listed, delisted, relisted, migration, redenomination, multiplier),
    *(late, early, restated, backfilled, venue_disagreement, venue_mismatch),
)
# what is no event of one moment but true of all candles of an instrument
WHOLE = frozenset({"timeframe", "multiplier", "venue_mismatch"})
# dated by the block of volumes in which it begins, or by the candle after the hole
COARSE = {"volume_level": 2 * 168, "relisted": 101, "migration": 101}
