"""Signals for one pair's candles: joined from a signal frame, or computed from everybody's candles.

Free of freqtrade, apart from the shape of its data frames (``date``, ``open`` … ``volume``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import BridgeError, Instrument, Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.core.timeframe import TimeArray
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
        raise BridgeError(
            f"the bundle has no signals for {pair}",
            where="pair_whitelist",
            remedy=f"trade pairs of its universe: {', '.join(frame.instruments[:8])}, …",
        )
    column = frame.instruments.index(instrument)
    times = utc(dates)
    row = np.searchsorted(frame.time, times)
    hit = row < len(frame.time)
    hit[hit] = frame.time[row[hit]] == times[hit]
    row = row[hit]
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
    """
    import pandas as pd

    parts = [
        frame[["date", *CANDLE]].assign(instrument=Instrument.parse(pair).id)
        for pair, frame in candles.items()
        if len(frame)
    ]
    if not parts:
        raise BridgeError(
            "there is not one candle of the bundle's universe",
            where="candles",
            remedy="download them, or check dates and data folder",
        )
    table = pd.concat(parts).rename(columns={"date": "time"})
    if bars is not None:
        length = pd.Timedelta(seconds=bars * timeframe.seconds)
        table = table[table["time"] > table["time"].max() - length]
    return Panel.from_long(table, timeframe, fields=CANDLE, listed=listed)
