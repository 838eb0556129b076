"""Data folders of freqtrade: names and columns as ``freqtrade download-data`` writes them (2026.9).

==============================================  =====================================
``BTC_USDT-1h.feather``                         spot candles
``futures/BTC_USDT_USDT-1h-futures.feather``    candles of a perpetual future
``futures/BTC_USDT_USDT-1h-funding_rate.…``     columns ``date, funding_rate``
``futures/BTC_USDT_USDT-1h-mark.…``             mark price candles
==============================================  =====================================

Formats: feather, parquet, json, json.gz. freqtrade keeps funding rates and mark prices at 1h whatever the
timeframe of the candles.

1. `_files` finds the files of one kind; one pair in two formats is refused, for they may differ.
2. `_read` turns a file into columns; json files carry no names, so their width tells the layout.
3. `_funding` puts each rate on the candle in which it is settled; `_mark` takes the last mark close that is
   known when the candle closes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bascule.core import DataError, Instrument, Timeframe
from bascule.data.rows import OHLCV, FloatArray, Int64Array, Rows, as_float32
from bascule.data.times import utc_nanoseconds

if TYPE_CHECKING:
    import pandas as pd

Market = Literal["spot", "futures"]
FORMATS = ("feather", "parquet", "json", "json.gz")
_NAME = re.compile(r"^(?P<pair>[\w-]+)-(?P<frame>\d+[a-zA-Z]{1,2})(?:-(?P<kind>[a-zA-Z_]+))?$")
_CANDLE = ("date", *OHLCV)
AUXILIARY = "1h"  # timeframe at which freqtrade keeps funding rates and mark prices


def read_freqtrade(
    folder: Path | str, timeframe: Timeframe | str, *, market: Market = "spot"
) -> pd.DataFrame:
    """Read all pairs of a freqtrade data folder (``user_data/data/binance``).

    Futures get the columns `funding_rate` (the rate settled at the candle's open or within it; NaN where
    none was) and `mark` (close of the mark price).

    Raises:
        DataError: no folder, no file of this timeframe, a damaged file, one pair in two formats, or a future
            without funding or mark files (freqtrade would count its funding as zero).
    """
    timeframe = Timeframe.of(timeframe)
    root = Path(folder)
    if not root.is_dir():
        raise DataError("there is no such folder", where=str(root), remedy="name a freqtrade data folder")
    place = root / "futures" if market == "futures" and root.name != "futures" else root
    candles = _files(place, str(timeframe), "futures" if market == "futures" else "")
    if not candles:
        raise DataError(
            f"there is no {timeframe} {market} file ({_seen(place)})",
            where=str(place),
            remedy=f"run: freqtrade download-data --timeframes {timeframe} --trading-mode {market}",
        )
    rates = _files(place, AUXILIARY, "funding_rate") if market == "futures" else {}
    marks = _files(place, AUXILIARY, "mark") if market == "futures" else {}
    parts = []
    for pair, path in sorted(candles.items()):
        time, values = _read(path, _CANDLE)
        if market == "futures":
            for kind, files in (("funding_rate", rates), ("mark", marks)):
                if pair not in files:
                    raise DataError(
                        f"{pair} has no {kind} file; its funding would silently be zero",
                        where=str(place),
                        remedy="run: freqtrade download-data --trading-mode futures, for the same pairs",
                    )
            values["funding_rate"] = _funding(rates[pair], time, timeframe)
            values["mark"] = _mark(marks[pair], time, timeframe)
        parts.append((pair, time, values))
    ids = tuple(sorted(pair for pair, _, _ in parts))
    codes = np.repeat(np.arange(len(ids), dtype=np.int32), [len(time) for _, time, _ in parts])
    names = list(parts[0][2])
    return Rows(
        ids,
        codes,
        np.concatenate([time for _, time, _ in parts]),
        {name: np.concatenate([values[name] for _, _, values in parts]) for name in names},
    ).frame()


def _files(folder: Path, frame: str, kind: str) -> dict[str, Path]:
    """Store id → file."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        stem, _, ending = path.name.partition(".")
        match = _NAME.match(stem)
        if ending not in FORMATS or not match or match["frame"] != frame or (match["kind"] or "") != kind:
            continue
        try:
            name = Instrument.parse(match["pair"]).id
        except DataError as error:
            raise DataError(
                error.message,
                where=str(path),
                remedy="move the file away: only spot pairs and perpetuals are read, not dated futures",
            ) from None
        if name in found:
            raise DataError(
                f"{name} is there twice: {found[name].name} and {path.name}",
                where=str(folder),
                remedy="keep one of the two files",
            )
        found[name] = path
    return found


def _seen(folder: Path) -> str:
    frames = {m["frame"] for p in folder.glob("*") if (m := _NAME.match(p.name.partition(".")[0]))}
    return f"timeframes at hand: {', '.join(sorted(frames))}" if frames else "no freqtrade file at all"


def _read(path: Path, columns: tuple[str, ...]) -> tuple[Int64Array, dict[str, FloatArray]]:
    """Times ``[R]`` and the columns but ``date``, each ``[R]``."""
    table = _load(path)
    if table.empty:
        raise DataError("the file has no rows", where=str(path), remedy="delete it or download it again")
    if path.name.endswith((".json", ".json.gz")):
        legacy = columns == ("date", "funding_rate") and table.shape[1] == len(_CANDLE)
        names = _CANDLE if legacy else columns
        if table.shape[1] != len(names):
            raise DataError(
                f"rows have {table.shape[1]} values, expected {len(names)}",
                where=str(path),
                remedy="download it again",
            )
        table.columns = list(names)
    if "funding_rate" in columns and "funding_rate" not in table.columns and "open" in table.columns:
        table = table.rename(columns={"open": "funding_rate"})  # layout before freqtrade 2026
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"column {missing[0]!r} is missing", where=str(path), remedy="download the file again"
        )
    time = utc_nanoseconds(table["date"], where=f"{path}: date")
    return time, {name: as_float32(table[name], where=f"{path}: {name}") for name in columns[1:]}


def _load(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        if path.suffix == ".feather":
            return pd.read_feather(path)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_json(path, orient="values", convert_dates=False)
    except (pa.ArrowException, ValueError, OSError, EOFError) as error:
        raise DataError(
            f"cannot be read: {str(error).splitlines()[0]}", where=str(path), remedy="download it again"
        ) from error


def _funding(path: Path, time: Int64Array, timeframe: Timeframe) -> FloatArray:
    """The sum of the rates settled in each candle ``[R]``, NaN where none was."""
    when, values = _read(path, ("date", "funding_rate"))
    step = timeframe.nanoseconds
    # exchanges stamp settlements some milliseconds late
    when = when // 1_000_000_000 * 1_000_000_000 // step * step
    out = np.full(len(time), np.nan, np.float32)
    candles, inverse = np.unique(when, return_inverse=True)
    total = np.bincount(inverse, weights=values["funding_rate"].astype(np.float64))
    at = np.searchsorted(candles, time)
    hit = (at < len(candles)) & (candles[np.minimum(at, len(candles) - 1)] == time)
    out[hit] = total[at[hit]]
    return out


def _mark(path: Path, time: Int64Array, timeframe: Timeframe) -> FloatArray:
    """The close of the last mark candle that closes within each candle ``[R]``, NaN where none does."""
    when, values = _read(path, _CANDLE)
    closed = when + Timeframe.parse(AUXILIARY).nanoseconds
    order = np.argsort(closed, kind="stable")
    closed, close = closed[order], values["close"][order]
    # the last one that closed not after this candle, if it closed after the candle's open
    at = np.searchsorted(closed, time + timeframe.nanoseconds, side="right") - 1
    inside = (at >= 0) & (closed[np.maximum(at, 0)] > time)
    return np.where(inside, close[np.maximum(at, 0)], np.float32(np.nan))
