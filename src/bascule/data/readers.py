"""Readers of market data from outside; each returns the canonical long frame, in the order of its source.

1. `read_long`: one parquet, feather or CSV file with a row a candle and instrument. Columns are found by name
   (`_NAMES`) or by the user's mapping.
2. `read_freqtrade`: a data folder as ``freqtrade download-data`` writes it (`freqtrade_files.py`).

Readers convert and refuse; they never sort, drop or fill. What is odd in the values is for `health.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import DataError, Instrument
from bascule.data.freqtrade_files import read_freqtrade
from bascule.data.rows import OHLCV, OPTIONAL, Int32Array, Rows, as_float32
from bascule.data.times import utc_nanoseconds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_freqtrade", "read_long"]

_NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "date", "timestamp", "datetime", "open_time"),
    "instrument": ("instrument", "symbol", "pair", "ticker"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume",),
    "quote_volume": ("quote_volume", "quote_asset_volume"),
    "funding_rate": ("funding_rate",),
    "mark": ("mark", "mark_price"),
}


def read_long(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    quote: str | None = None,
    settle: str | None = None,
    assume_utc: bool = False,
) -> pd.DataFrame:
    """Read a long table of candles.

    Args:
        path: ``.parquet``, ``.feather``, ``.csv`` or ``.csv.gz``.
        columns: our name → the file's column, where names differ from the usual ones; also the way to take
            further numeric columns (``{"trades": "n_trades"}``). Other columns of the file are left out.
        quote: quote asset of symbols that are written without one (``BTC`` with ``quote="USDT"``).
        settle: margin asset, for symbols of perpetual futures that are written like spot (``BTCUSDT``).
        assume_utc: read times without a zone as UTC; otherwise they are refused.

    Returns:
        The canonical long frame, rows in the order of the file.

    Raises:
        DataError: the file is missing, empty or unreadable; a column is missing; a time has no zone; a symbol
            or a number cannot be read.
    """
    path = Path(path)
    table = _load(path)
    if table.empty:
        raise DataError("the file has no rows", where=str(path), remedy="check how it was written")
    found = _columns(table, columns or {}, path)
    time = utc_nanoseconds(table[found["time"]], where=f"{path}: {found['time']}", assume_utc=assume_utc)
    ids, codes = _instruments(table[found["instrument"]], quote, settle, f"{path}: {found['instrument']}")
    values = {
        name: as_float32(table[column], where=f"{path}: {column}")
        for name, column in found.items()
        if name not in ("time", "instrument")
    }
    return Rows(ids, codes, time, values).frame()


def _load(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not path.is_file():
        raise DataError("there is no such file", where=str(path), remedy="check the path")
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    try:
        if kind == ".parquet":
            return pd.read_parquet(path)
        if kind == ".feather":
            return pd.read_feather(path)
        if kind in (".csv", ".csv.gz"):
            return _load_csv(path)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="check that it is complete and of the format that its name says",
        ) from error
    raise DataError(
        f"unknown kind of file {kind!r}", where=str(path), remedy="use .parquet, .feather, .csv or .csv.gz"
    )


def _load_csv(path: Path) -> pd.DataFrame:
    import pandas as pd
    from pyarrow import csv, input_stream

    if path.stat().st_size == 0:
        return pd.DataFrame()
    with input_stream(str(path), compression="detect") as stream:
        loaded: pd.DataFrame = csv.read_csv(stream).to_pandas()
    return loaded


def _columns(table: pd.DataFrame, wanted: Mapping[str, str], path: Path) -> dict[str, str]:
    """Our name → the file's column."""
    at_hand = {str(name).strip().lower(): str(name) for name in table.columns}
    found: dict[str, str] = {}
    for name, column in wanted.items():
        if column not in table.columns:
            raise DataError(
                f"column {column!r}, named for {name!r}, is missing",
                where=str(path),
                remedy=f"at hand: {', '.join(map(str, table.columns))}",
            )
        if not name.isidentifier() or name != name.lower():
            raise DataError(
                f"{name!r} is no field name", where=str(path), remedy="use lower-case letters, digits and _"
            )
        found[name] = column
    for name, usual in _NAMES.items():
        if name in found:
            continue
        hand = ", ".join(map(str, table.columns))
        hits = [at_hand[spelling] for spelling in usual if spelling in at_hand]
        if len(hits) > 1:
            raise DataError(
                f"{' and '.join(map(repr, hits))} could both be {name!r}",
                where=str(path),
                remedy=f"say which with columns={{{name!r}: …}}",
            )
        if hits:
            found[name] = hits[0]
        elif name not in OPTIONAL:
            raise DataError(
                f"no column is {name!r}",
                where=str(path),
                remedy=f"name one with columns={{{name!r}: …}}; at hand: {hand}",
            )
    order = ("time", "instrument", *OHLCV)
    return {name: found[name] for name in (*order, *(n for n in found if n not in order))}


def _instruments(
    symbols: pd.Series[Any], quote: str | None, settle: str | None, where: str
) -> tuple[tuple[str, ...], Int32Array]:
    """Sorted store ids ``[N]`` and the code of each row ``[R]``."""
    import pandas as pd

    codes, uniques = pd.factorize(symbols)
    if (codes < 0).any():
        raise DataError("there are empty symbols", where=where, remedy="remove these rows")
    names = [_instrument(str(text), quote, settle, where).id for text in uniques]
    ids = tuple(sorted(set(names)))
    if len(ids) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        spellings = [str(text) for text, name in zip(uniques, names, strict=True) if name == twice]
        raise DataError(
            f"{' and '.join(spellings)} are the same instrument {twice}",
            where=where,
            remedy="keep one of them in the file",
        )
    to_sorted = np.array([ids.index(name) for name in names], np.int32)
    return ids, to_sorted[codes]


def _instrument(text: str, quote: str | None, settle: str | None, where: str) -> Instrument:
    name = text.strip().upper()
    bare = quote is not None and not any(mark in name for mark in "/_") and not name.endswith(quote)
    try:
        one = Instrument(name, quote) if bare and quote is not None else Instrument.parse(name)
        return one if settle is None or one.is_future else Instrument(one.base, one.quote, settle)
    except DataError as error:
        raise DataError(
            error.message,
            where=where,
            remedy=error.remedy if quote else f"{error.remedy}; or give quote= for symbols without one",
        ) from None
