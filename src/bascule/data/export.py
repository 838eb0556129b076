"""Candles of the store as a freqtrade data folder: names and columns as `freqtrade_files` reads them.

1. Candles are the raw ones of the store, holes and zero-volume candles included, as freqtrade would have
   downloaded them.
2. Prices are written as the shortest decimal that is the stored float32 (0.1, not 0.10000000149): freqtrade
   reads the tick size off the decimals, and reading back gives the same float32.
3. Futures get funding rate and mark files at 1h, the timeframe at which freqtrade looks for them. It charges
   ``funding_rate × mark open`` where both have the same date and silently charges nothing otherwise, so an
   absent rate or mark is an error here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Instrument, Progress, Timeframe, UniverseError, silent
from bascule.core.files import atomic_file
from bascule.core.timeframe import Moment
from bascule.data.freqtrade_files import AUXILIARY, Market
from bascule.data.rows import OHLCV, FloatArray
from bascule.data.store import Store

if TYPE_CHECKING:
    import pandas as pd

_SETTLEMENT = 8 * 3_600  # funding is settled at multiples of this or of a divisor of it


def to_freqtrade(
    store: Store,
    timeframe: Timeframe | str,
    folder: Path | str,
    *,
    market: Market,
    instruments: Sequence[str] | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Write feather files that freqtrade takes for its own downloads; existing ones are replaced.

    Args:
        store: where the candles are.
        timeframe: which.
        folder: freqtrade's data folder of the exchange (``user_data/data/binance``); futures go into its
            subfolder ``futures``.
        market: spot or futures.
        instruments: store ids; default all of the market.
        start: first candle open.
        end: candles open before it.
        progress: called for every instrument.

    Returns:
        The files, sorted.

    Raises:
        UniverseError: an instrument is unknown or of the other market, or none is left.
        DataError: futures without funding rates or mark prices.
    """
    timeframe = Timeframe.of(timeframe)
    names = _of_market(store, timeframe, market, instruments)
    frame = store.frame(timeframe, start=start, end=end, instruments=names)
    if market == "futures":
        _must_have_funding(frame, timeframe, store)
    root = Path(folder)
    files: list[Path] = []
    groups = frame.groupby("instrument", sort=True)
    for step, (name, one) in enumerate(groups):
        progress(step, len(groups), f"export {name}")
        if market == "spot":
            files.append(_write(_candles(one), root / f"{name}-{timeframe}.feather"))
            continue
        stem = root / "futures"
        files += [
            _write(_candles(one), stem / f"{name}-{timeframe}-futures.feather"),
            _write(_funding(one), stem / f"{name}-{AUXILIARY}-funding_rate.feather"),
            _write(_mark(one, timeframe), stem / f"{name}-{AUXILIARY}-mark.feather"),
        ]
    progress(len(groups), len(groups), "export")
    return tuple(sorted(files))


def _of_market(
    store: Store, timeframe: Timeframe, market: Market, instruments: Sequence[str] | None
) -> list[str]:
    futures = market == "futures"
    known = store.instruments(timeframe)
    fitting = [name for name in known if Instrument.parse(name).is_future is futures]
    if instruments is not None:
        other = sorted(set(instruments) & set(known) - set(fitting))
        if other:
            raise UniverseError(
                f"{other[0]} is not of the {market} market",
                where="export",
                remedy="futures have ids such as BTC_USDT_USDT, spot pairs such as BTC_USDT",
            )
        return list(instruments)
    if not fitting:
        raise UniverseError(
            f"the store has no {market} instrument",
            where=str(store.path),
            remedy="export the other market, or ingest this one",
        )
    return fitting


def _must_have_funding(frame: pd.DataFrame, timeframe: Timeframe, store: Store) -> None:
    remedy = "ingest futures with funding rates and mark prices (read_freqtrade, market='futures')"
    if timeframe.seconds > _SETTLEMENT:
        raise DataError(
            f"{timeframe} candles cannot say when funding was settled",
            where=str(store.path),
            remedy="export a timeframe of at most 8h",
        )
    for column in ("funding_rate", "mark"):
        if column not in frame.columns:
            raise DataError(f"the store has no {column}", where=str(store.path), remedy=remedy)
        known = frame[column].notna().groupby(frame["instrument"]).any()
        if not known.all():
            raise DataError(f"{known.index[~known][0]} has no {column}", where=str(store.path), remedy=remedy)
    lost = frame["funding_rate"].notna() & frame["mark"].isna()
    if lost.any():
        row = frame[lost].iloc[0]
        raise DataError(
            f"{row['instrument']} has a funding rate but no mark price at {row['time']}",
            where=str(store.path),
            remedy=remedy,
        )


def _candles(one: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    columns = {name: shortest_decimals(one[name].to_numpy()) for name in OHLCV}
    return pd.DataFrame({"date": _dates(one["time"]), **columns})


def _funding(one: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rates = one[one["funding_rate"].notna()]
    values = shortest_decimals(rates["funding_rate"].to_numpy())
    return pd.DataFrame({"date": _dates(rates["time"]), "funding_rate": values})


def _mark(one: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    """Hourly mark candles; the open is the mark price at that moment, which is the close before it."""
    import pandas as pd

    marks = one[one["mark"].notna()]
    hour = Timeframe.parse(AUXILIARY)
    if timeframe < hour:  # the last mark of each hour
        floor = marks["time"].dt.floor("h")
        last = ~floor.duplicated(keep="last")
        marks, time = marks[last], floor[last]
    else:
        time = marks["time"]
    close = shortest_decimals(marks["mark"].to_numpy())
    opened = np.concatenate([close[:1], close[:-1]])
    if timeframe > hour:  # what the mark is hours later does not belong into this hour
        close = opened
    columns = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.zeros(len(close)),
    }
    return pd.DataFrame({"date": _dates(time), **columns})


def _dates(time: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    return time.dt.as_unit("ms").reset_index(drop=True)


def shortest_decimals(values: FloatArray) -> NDArray[np.float64]:
    """float32 as the float64 of its shortest decimal; casting back gives the same float32 ``[R]``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # arrow's casts print the shortest decimal that reads back, and read it, both in compiled code
    text = pc.cast(pa.array(values, pa.float32()), pa.string())
    decimals: NDArray[np.float64] = pc.cast(text, pa.float64()).to_numpy()
    return decimals


def _write(table: pd.DataFrame, path: Path) -> Path:
    with atomic_file(path) as aside:
        table.to_feather(aside, compression="lz4", compression_level=9)
    return path
