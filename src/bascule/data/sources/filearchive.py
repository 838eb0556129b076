"""What the public archives of exchanges have in common: files of days and months over HTTP."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import DataError, Instrument
from bascule.data.rows import BoolArray, Int64Array
from bascule.data.sources.chunked import Note
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpSettings, HttpSource
from bascule.data.sources.spec import SourceSpec

if TYPE_CHECKING:
    import pandas as pd

Market = Literal["spot", "futures"]
Span = tuple[np.datetime64, np.datetime64]
Wide = NDArray[np.float64]
Found = TypeVar("Found")
# a month is put together on its first days: asked for earlier, its file may be missing
MONTH_READY = np.timedelta64(5, "D")
_DAY = np.timedelta64(1, "D")


class FileArchiveSettings(HttpSettings):
    """One data set of an archive."""

    base_url: str = Field(description="server of the archive")
    market: Market = Field("spot", description="spot, or futures = USDT perpetuals")
    timeframe: str = Field("1h", description="candle length, where the data set has candles")


class FileArchive(HttpSource):
    """Base of archives: a chunk is a file. A file that is not there is told in the report's notes."""

    # a file that is missing may still be published: only after this time nothing is final
    _final_after: ClassVar[np.timedelta64] = 3 * _DAY

    def __init__(self, settings: FileArchiveSettings, spec: SourceSpec, context: Context) -> None:
        super().__init__(spec, settings.base_url, settings, context)
        self._settings = settings

    def _named(self, instruments: Sequence[str]) -> Sequence[str]:
        """The instruments, which an archive must be told.

        Raises:
            DataError: none was named, or one is of another market.
        """
        if not instruments:
            raise DataError(
                "no instruments were named", where=self.spec.name, remedy="name store ids, e.g. BTC_USDT"
            )
        for name in instruments:
            if Instrument.parse(name).is_future != (self._settings.market == "futures"):
                raise DataError(
                    f"{name} is not of the {self._settings.market} market",
                    where=self.spec.name,
                    remedy="spot ids read BTC_USDT, perpetuals BTC_USDT_USDT",
                )
        return instruments

    def _file(self, path: str, read: Callable[[bytes], Found], note: Note) -> Found | None:
        """What ``read`` makes of a file, None where there is none; a broken download is repeated.

        Args:
            path: below the base URL.
            read: raises ValueError on a body that is not whole or not what it should be.
            note: told of a missing file.
        """
        found = self._http.found(path, read)
        if found is None:
            note(f"not in the archive: {path}")
        return found


def unzipped(body: bytes) -> bytes:
    """The one CSV file in a zip file.

    Raises:
        ValueError: the body is no zip file, is damaged, or holds another number of CSV files.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(inside) != 1:
                raise ValueError(f"{len(inside)} CSV files inside")
            return archive.read(inside[0])
    # a damaged header may ask for another version or packing: RuntimeError, OSError
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"not a whole zip file ({error})") from error


def gunzipped(body: bytes) -> bytes:
    """What a gzip file holds; a body that the transport has unpacked already is taken as it is.

    Raises:
        ValueError: the file is damaged.
    """
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return gzip.decompress(body)
    except (OSError, zlib.error, EOFError) as error:
        raise ValueError(f"not a whole gzip file ({error})") from error


def table(text: bytes, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a CSV file with a header line, as text.

    Raises:
        ValueError: it is no such file, or a column is missing.
    """
    import pandas as pd

    found = pd.read_csv(io.BytesIO(text), dtype=str, skipinitialspace=True, keep_default_na=False)
    missing = [name for name in columns if name not in found.columns]
    if missing:
        raise ValueError(f"column {missing[0]} is missing")
    return found[list(columns)]


def days(start: np.datetime64, end: np.datetime64, *, early: np.timedelta64) -> Iterator[Span]:
    """Days whose files may have rows of ``[start, end)``: a file may begin ``early`` before its UTC day.

    Yields:
        midnight UTC of the file's date, and the next one.
    """
    day = start.astype("datetime64[D]")
    while day - early < end:
        yield day.astype("datetime64[ns]"), (day + 1).astype("datetime64[ns]")
        day += 1


def months(
    start: np.datetime64, end: np.datetime64, now: np.datetime64, *, early: np.timedelta64
) -> Iterator[Span]:
    """Whole months where they are ready, days (`days`) for the rest."""
    month = start.astype("datetime64[M]")
    while month.astype("datetime64[ns]") - early < end:
        first, after = month.astype("datetime64[ns]"), (month + 1).astype("datetime64[ns]")
        if after + MONTH_READY <= now:
            yield first, after
        else:
            yield from days(max(first, start), min(after - early, end), early=early)
        month += 1


def candles_of_trades(
    time: Int64Array, price: Wide, size: Wide, bought: BoolArray, step: int
) -> dict[str, Any]:
    """Candles of ``step`` ns from trades in order of time ``[R]``; where nobody traded there is none.

    Returns:
        ``time`` (open, ns), OHLC, ``volume``, ``quote_volume``, ``trades``, ``taker_buy_volume`` ``[C]``.
    """
    slot = time // step * step
    starts = np.flatnonzero(np.concatenate([[True], slot[1:] != slot[:-1]]))
    ends = np.append(starts[1:], len(time)) - 1
    return {
        "time": slot[starts],
        "open": price[starts],
        "high": np.maximum.reduceat(price, starts),
        "low": np.minimum.reduceat(price, starts),
        "close": price[ends],
        "volume": np.add.reduceat(size, starts),
        "quote_volume": np.add.reduceat(price * size, starts),
        "trades": ends - starts + 1,
        "taker_buy_volume": np.add.reduceat(np.where(bought, size, 0.0), starts),
    }
