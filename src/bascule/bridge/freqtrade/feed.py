"""Signals for one pair's candles: joined from a signal frame, or computed from everybody's candles.

Free of freqtrade, apart from the shape of its data frames (``date``, ``open`` … ``volume``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import Instrument, Panel, SetupError, Timeframe
from bascule.core.panel import BoolArray, FloatArray
from bascule.core.timeframe import TimeArray
from bascule.evaluate.rows import IntArray
from bascule.signals.frame import BY_INSTRUMENT, SignalFrame

if TYPE_CHECKING:
    import pandas as pd

CANDLE = ("open", "high", "low", "close", "volume")
# what the strategy finds beside each candle; covered is 1 where a model stands behind the row
SIGNAL_COLUMNS = (*BY_INSTRUMENT, "portfolio_risk", "regime", "covered")


def utc(dates: pd.Series) -> TimeArray:
    """freqtrade's ``date`` column as ``datetime64[ns]``, UTC."""
    import pandas as pd

    index = pd.DatetimeIndex(dates)
    naive = index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index
    return naive.to_numpy("datetime64[ns]")


def rows_at(axis: TimeArray, times: TimeArray) -> tuple[BoolArray, IntArray]:
    """Which times are on an ascending axis ``[len(times)]``, and the rows of those that are."""
    row = np.searchsorted(axis, times)
    hit = row < len(axis)
    hit[hit] = axis[row[hit]] == times[hit]
    return hit, row[hit]


def join(frame: SignalFrame, pair: str, dates: pd.Series) -> dict[str, FloatArray]:
    """The columns `SIGNAL_COLUMNS` at the given candles; NaN (covered: 0) where there is no signal.

    Args:
        frame: signals; may be without rows.
        pair: freqtrade pair, or store id.
        dates: candle open times.

    Raises:
        BridgeError: the pair is not in the frame.
    """
    instrument = Instrument.parse(pair).id
    if instrument not in frame.instruments:
        raise SetupError(
            f"the bundle has no signals for {pair}",
            where="pair_whitelist",
            remedy=f"trade pairs of its universe: {', '.join(frame.instruments[:8])}, …",
        )
    column = frame.instruments.index(instrument)
    times = utc(dates)
    hit, row = rows_at(frame.time, times)
    result = {name: np.full(len(times), np.nan, np.float32) for name in SIGNAL_COLUMNS}
    for name in BY_INSTRUMENT:
        result[name][hit] = getattr(frame, name)[row, column]
    result["portfolio_risk"][hit] = frame.portfolio_risk[row]
    result["regime"][hit] = frame.regime[row]
    result["covered"][:] = 0
    result["covered"][hit] = frame.covered[row]
    return result


def panel_of(
    candles: Mapping[str, pd.DataFrame],
    timeframe: Timeframe,
    *,
    bars: int | None = None,
    listed: Mapping[str, np.datetime64] | None = None,
) -> Panel:
    """One raw panel of everybody's candles; pairs without any candle are left out.

    Args:
        candles: pair → data frame as freqtrade serves it.
        timeframe: candle length.
        bars: only so many candles up to the newest one; a pair that left the exchange long ago would else
            stretch the time axis to its last candles.
        listed: first candles ever, by store id, where they lie before these.

    Raises:
        BridgeError: nobody has a candle.
        DataError: candles are doubled or off the grid.
    """
    held = {Instrument.parse(pair).id: frame for pair, frame in candles.items() if len(frame)}
    if not held:
        raise SetupError(
            "there is not one candle of the bundle's universe",
            where="candles",
            remedy="download them, or check dates and data folder",
        )
    times = {name: utc(frame["date"]) for name, frame in held.items()}
    step = timeframe.delta
    edge = None if bars is None else max(time.max() for time in times.values()) - bars * step
    regular = all(
        bool((time[1:] > time[:-1]).all()) and not ((time - times[name][0]) % step).astype(np.int64).any()
        for name, time in times.items()
    )
    if not regular:
        return _panel_of_odd(held, timeframe, edge, listed)
    first = {
        name: 0 if edge is None else int(np.searchsorted(time, edge, "right")) for name, time in times.items()
    }
    names = sorted(name for name, time in times.items() if first[name] < len(time))
    axis = timeframe.axis(
        min(times[name][first[name]] for name in names), max(times[name][-1] for name in names)
    )
    fields = {column: np.full((len(axis), len(names)), np.nan, np.float32) for column in CANDLE}
    since = np.array([times[name][first[name]] for name in names], "datetime64[ns]")
    for n, name in enumerate(names):
        time, frame = times[name][first[name] :], held[name]
        offset = time - axis[0]
        if (offset % step).astype(np.int64).any():  # on a grid of its own
            return _panel_of_odd(held, timeframe, edge, listed)
        rows = (offset // step).astype(np.int64)
        for column, values in fields.items():
            values[rows, n] = frame[column].to_numpy()[first[name] :]
        if listed and name in listed:
            since[n] = min(since[n], listed[name].astype("datetime64[ns]"))
    return Panel(timeframe, axis, tuple(names), fields, since)


def _panel_of_odd(
    held: Mapping[str, pd.DataFrame],
    timeframe: Timeframe,
    edge: np.datetime64 | None,
    listed: Mapping[str, np.datetime64] | None,
) -> Panel:
    """The slow way, which sorts what is not sorted and says what is wrong with the rest."""
    import pandas as pd

    parts = [frame[["date", *CANDLE]].assign(instrument=name) for name, frame in held.items()]
    table = pd.concat(parts).rename(columns={"date": "time"})
    if edge is not None:
        table = table[utc(table["time"]) > edge]
    return Panel.from_long(table, timeframe, fields=CANDLE, listed=listed)
