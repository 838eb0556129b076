"""Candles of a longer timeframe from those of a shorter one, exactly.

1. A target candle holds the source candles that open within it. Without any it does not exist.
2. Where any of them traded, only those that traded count: a candle that is missing and one that was filled in
   flat with volume 0 give the same. Where none traded, the flat ones do.
3. Open is the first, close the last, high and low the extremes; what is counted over a candle (`SUMMED`) is
   added, one after the other, in float64; everything else has its last value.
4. A target candle whose end lies after the last source candle of all instruments is not closed, and is left
   out: it comes when it is.

Every target is made from the shortest timeframe, never from another target: sums are rounded once.
"""

from __future__ import annotations

import numpy as np

from bascule.core import ConfigError, Timeframe
from bascule.data.rows import OHLC, BoolArray, FloatArray, Int64Array, Rows

SUMMED = frozenset({"volume", "quote_volume", "taker_buy_volume", "trades", "funding_rate"})
_DAY = 86_400


def must_divide(source: Timeframe, target: Timeframe) -> None:
    """Refuse timeframes that do not fit into each other.

    Raises:
        ConfigError: the target is no multiple of the source, or longer than a day.
    """
    if target.seconds % source.seconds or target <= source or target.seconds > _DAY:
        raise ConfigError(
            f"{target} candles cannot be made of {source} candles",
            where="resample",
            remedy="the target must be a multiple of the source, and at most 1d",
        )


def resample(rows: Rows, source: Timeframe, target: Timeframe, end: int) -> Rows:
    """Sorted candles of ``target``.

    Args:
        rows: sorted candles of ``source``, without errors.
        source: their timeframe.
        target: a multiple of it, at most a day.
        end: close of the last source candle at hand of any instrument, ns since 1970.

    Raises:
        ConfigError: the timeframes do not fit.
    """
    must_divide(source, target)
    step = target.nanoseconds
    slot = rows.time // step * step
    rows, slot = _taken(rows, slot, slot + step <= end)
    if not len(rows):
        return rows
    traded = rows.values["volume"] > 0
    starts = _starts(rows, slot)
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
    any_traded = np.bincount(group, weights=traded) > 0
    rows, slot = _taken(rows, slot, traded | ~any_traded[group])
    starts = _starts(rows, slot)
    ends = np.append(starts[1:], len(rows)) - 1
    group = np.repeat(np.arange(len(starts)), ends - starts + 1)
    values = {
        "open": rows.values["open"][starts],
        "high": np.maximum.reduceat(rows.values["high"], starts),
        "low": np.minimum.reduceat(rows.values["low"], starts),
        "close": rows.values["close"][ends],
    }
    for name, column in rows.values.items():
        if name in SUMMED:
            values[name] = _summed(column, group)
        elif name not in OHLC:
            values[name] = _last(column, starts, ends)
    ordered = {name: values[name] for name in rows.values}
    return Rows(rows.ids, rows.codes[starts], slot[starts], ordered)


def _taken(rows: Rows, slot: Int64Array, keep: BoolArray) -> tuple[Rows, Int64Array]:
    return rows.take(keep), slot[keep]


def _starts(rows: Rows, slot: Int64Array) -> Int64Array:
    """First row of each target candle."""
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows.codes[1:] != rows.codes[:-1]) | (slot[1:] != slot[:-1])
    return np.flatnonzero(fresh).astype(np.int64)


def _summed(column: FloatArray, group: Int64Array) -> FloatArray:
    """Sums of what is there; NaN where nothing is. bincount adds in the order of the rows."""
    known = ~np.isnan(column)
    sums = np.bincount(group, weights=np.where(known, column, 0.0).astype(np.float64))
    found: FloatArray = np.where(np.bincount(group, weights=known) > 0, sums, np.nan).astype(np.float32)
    return found


def _last(column: FloatArray, starts: Int64Array, ends: Int64Array) -> FloatArray:
    """The last value that is there, NaN where none is."""
    index = np.where(~np.isnan(column), np.arange(len(column)), -1)
    newest = np.maximum.accumulate(index)[ends]
    return np.where(newest >= starts, column[np.maximum(newest, 0)], np.float32(np.nan))
