"""Factors of several timeframes on one time axis, joined by the time at which each candle is closed.

1. `coarse` makes candles of a longer timeframe from a panel. A candle counts only when its last part is
   there: one that is still forming, or whose beginning is missing, is left out.
2. A factor of any timeframe is known when its candle closes. `join` gives each row of the base axis the
   newest value whose candle closed no later than the row's own candle. Joining by open times instead would
   show a four-hour candle three hours before it is over: the classic leak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bascule import engine
from bascule.core import ConfigError, DataError, Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.core.timeframe import TimeArray
from bascule.data.resample import SUMMED
from bascule.evaluate.rows import Float64Array
from bascule.factors import Factor


def coarse(panel: Panel, timeframe: Timeframe) -> Panel:
    """Candles of a longer timeframe, closed ones only.

    Prices: first open, highest high, lowest low, last close of what traded; volumes, numbers of trades and
    funding are summed; vwap is weighted by volume; other fields have their last value. A member of the
    universe is one at the candle's last bar. A candle is made of its own bars alone: the same bits in every
    window that has them.

    Raises:
        ConfigError: the timeframe is no multiple of the panel's.
        DataError: the panel is too short for one candle.
    """
    step = timeframe.delta.astype(np.int64)
    bar = panel.timeframe.delta.astype(np.int64)
    if step % bar or step <= bar:
        raise ConfigError(
            f"{timeframe} candles cannot be made of {panel.timeframe} candles",
            where="coarse",
            remedy="take a multiple of the panel's timeframe",
        )
    parts = int(step // bar)
    stamps = panel.time.astype(np.int64)
    skip = int(-stamps[0] % step // bar)
    count = (len(stamps) - skip) // parts
    if count < 1:
        raise DataError(
            f"no whole {timeframe} candle in {len(stamps)} bars",
            where="coarse",
            remedy="give more history, or a shorter timeframe",
        )
    cut = slice(skip, skip + count * parts)
    arrays = {
        name: _merge(name, values[cut].reshape(count, parts, -1)) for name, values in panel.fields.items()
    }
    if "vwap" in arrays and "volume" in arrays:
        arrays["vwap"] = _weighted(
            *(panel[name][cut].reshape(count, parts, -1).astype(np.float64) for name in ("vwap", "volume"))
        )
    universe = None if panel.universe is None else panel.universe[cut][parts - 1 :: parts].copy()
    listed = panel.listed.astype(np.int64) // step * step
    since = np.where(np.isnat(panel.listed), panel.listed, listed.astype("datetime64[ns]"))
    return Panel(timeframe, panel.time[cut][::parts].copy(), panel.instruments, arrays, since, universe)


def _merge(name: str, parts: FloatArray) -> FloatArray:
    """One field of ``[candles, parts, N]`` → ``[candles, N]``."""
    known = np.isfinite(parts)
    some = known.any(axis=1)
    if name in SUMMED:
        merged = np.where(known, parts, 0.0).sum(axis=1, dtype=np.float64)
    elif name == "high":
        merged = np.where(known, parts, -np.inf).max(axis=1)
    elif name == "low":
        merged = np.where(known, parts, np.inf).min(axis=1)
    else:
        at = known.argmax(axis=1) if name == "open" else parts.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
        merged = np.take_along_axis(parts, at[:, None, :], axis=1)[:, 0]
    return np.where(some, merged, np.nan).astype(np.float32)


def _weighted(prices: Float64Array, volumes: Float64Array) -> FloatArray:
    """Mean of prices by volume, ``[candles, parts, N]`` → ``[candles, N]``."""
    known = np.isfinite(prices) & (volumes > 0.0)
    mass = np.where(known, volumes, 0.0).sum(axis=1)
    total = np.where(known, prices * volumes, 0.0).sum(axis=1)
    return np.where(mass > 0.0, total / np.where(mass > 0.0, mass, 1.0), np.nan).astype(np.float32)


def bars_before(lookback: int, timeframe: Timeframe, base: Timeframe) -> int:
    """Base candles before a row that values of ``lookback`` coarse candles before their own need.

    The newest closed candle ends up to one candle less a bar before the row, and begins a candle earlier.
    """
    parts = timeframe.seconds // base.seconds
    return (lookback + 2) * parts - 2


def join(values: FloatArray, time: TimeArray, timeframe: Timeframe, base: Panel) -> FloatArray:
    """Values of another timeframe on the base panel's rows ``[F, T, N]``.

    Args:
        values: ``[F, T2, N]``, instruments of the base panel.
        time: their candles' open times ``[T2]``, ascending.
        timeframe: their candles' length.
        base: gives the rows.

    Raises:
        DataError: shapes do not fit.
    """
    if values.ndim != 3 or values.shape[1] != len(time) or values.shape[2] != base.shape[1]:
        raise DataError(
            f"values {list(values.shape)} for {len(time)} times and {base.shape[1]} instruments",
            where="join",
            remedy="pass values [factor, time, instrument] of the base panel's instruments",
        )
    closed = time + timeframe.delta
    row_closed = base.time + base.timeframe.delta
    newest = np.searchsorted(closed, row_closed, side="right") - 1
    found = values[:, np.maximum(newest, 0)]
    found[:, newest < 0] = np.nan
    return np.ascontiguousarray(found, np.float32)


def features(
    base: Panel, factors: Mapping[str, Sequence[Factor]], panels: Mapping[str, Panel] | None = None
) -> tuple[FloatArray, tuple[str, ...]]:
    """Factors of several timeframes on the base panel's rows.

    Args:
        base: the panel whose rows are predicted.
        factors: timeframe (``5m``, ``1h``, ``4h``, ``1d``) → factors computed on its candles.
        panels: timeframe → its candles, for those shorter than the base's; longer ones are made by `coarse`.

    Returns:
        Values float32 ``[F, T, N]``, and their names, which end in the timeframe: ``MA5_4h``.

    Raises:
        ConfigError: a shorter timeframe has no panel.
        DataError: a panel has other instruments.
    """
    found: list[FloatArray] = []
    names: list[str] = []
    for text, chosen in factors.items():
        frame = Timeframe.parse(text)
        panel = base if frame == base.timeframe else (panels or {}).get(text)
        if panel is None:
            if frame < base.timeframe:
                raise ConfigError(
                    f"candles of {text} are needed and cannot be made of {base.timeframe} candles",
                    where=f"factors.{text}",
                    remedy=f"give the panel: panels={{{text!r}: …}}",
                )
            panel = coarse(base, frame)
        if panel.instruments != base.instruments:
            raise DataError(
                f"the {text} panel has other instruments than the base",
                where=f"panels.{text}",
                remedy="select the base's instruments: panel.select(base.instruments)",
            )
        values = engine.evaluate([factor.text for factor in chosen], panel)
        found.append(values if panel is base else join(values, panel.time, frame, base))
        names += [f"{factor.name}_{text}" for factor in chosen]
    return np.concatenate(found), tuple(names)
