"""Binance's public archive: whole months and days as zipped CSV, each with its SHA-256 beside it.

==================  ======================================================================================
data set            fields
==================  ======================================================================================
``klines``          OHLC, volume, quote volume, trades, taker buy volume (spot and USDT perpetuals)
``markPriceKlines`` mark price OHLC (perpetuals)
``fundingRate``     funding rate (perpetuals; months only)
``metrics``         every 5 minutes: open interest in coins and USD, long/short ratio of all accounts and of
                    top traders, taker buy/sell volume ratio (perpetuals; days only)
==================  ======================================================================================

The archive has delisted instruments too. A file that is not there (before listing, after delisting, or not
published yet) is named in the notes of the report, not an error. Format: github.com/binance/binance-public-
data.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Instrument, Timeframe, moment
from bascule.data.sources.chunked import Chunk, Note
from bascule.data.sources.context import Context
from bascule.data.sources.fields import (
    FUNDING,
    LONG_SHORT,
    MARK,
    OPEN_INTEREST,
    OPEN_VALUE,
    PRICES,
    TAKER,
    VOLUMES,
)
from bascule.data.sources.filearchive import (
    FileArchive,
    FileArchiveSettings,
    Span,
    days,
    months,
    unzipped,
)
from bascule.data.sources.spec import FieldSpec, SourceSpec
from bascule.data.sources.venues import stamped

if TYPE_CHECKING:
    import pandas as pd

DataSet = Literal["klines", "markPriceKlines", "fundingRate", "metrics"]
_NONE = np.timedelta64(0, "s")
_NEVER = np.datetime64("2200-01-01", "ns")
_DAY = np.timedelta64(1, "D")
_LARGEST_MS = 10**14  # spot files count microseconds since 2025-01-01


@dataclass(frozen=True)
class _Layout:
    """How one data set is laid out.

    Attributes:
        columns: position of time and of each field.
        fields: what they are.
        monthly: there are files of whole months.
        daily: there are files of days.
    """

    columns: tuple[int, ...]
    fields: tuple[FieldSpec, ...]
    monthly: bool = True
    daily: bool = True


_LAYOUTS: dict[str, _Layout] = {
    "klines": _Layout((0, 1, 2, 3, 4, 5, 7, 8, 9), (*PRICES, *VOLUMES, *TAKER)),
    "markPriceKlines": _Layout((0, 1, 2, 3, 4), MARK),
    "fundingRate": _Layout((0, 2), FUNDING, daily=False),
    "metrics": _Layout(
        (0, 2, 3, 6, 5, 7),
        (
            *OPEN_INTEREST,
            *OPEN_VALUE,
            *LONG_SHORT,
            FieldSpec("top_long_short_ratio", "1", "positions long/short of the largest accounts"),
            FieldSpec("taker_ratio", "1", "taker buy volume / taker sell volume"),
        ),
        monthly=False,
    ),
}


class ArchiveSettings(FileArchiveSettings):
    """One data set of the archive."""

    base_url: str = Field("https://data.binance.vision", description="server of the archive")
    data_set: DataSet = Field("klines", description="what to fetch")
    timeframe: str = Field("1h", description="candle length; not used by fundingRate and metrics")


class BinanceArchive(FileArchive):
    """See the module.

    Raises:
        ConfigError: the spot market has no such data set.
    """

    def __init__(self, settings: ArchiveSettings, context: Context) -> None:
        if settings.market == "spot" and settings.data_set != "klines":
            raise ConfigError(
                f"the spot archive has no {settings.data_set}",
                where="archive.data_set",
                remedy="use klines, or market: futures",
            )
        self._layout = _LAYOUTS[settings.data_set]
        self._timeframe = Timeframe.parse(settings.timeframe, where="archive.timeframe")
        self._data_set = settings.data_set
        super().__init__(settings, _spec(settings, self._layout, self._timeframe), context)

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        names, now = self._named(instruments), self._context.clock()
        end = min(end, now)
        spans = list(self._spans(start, end, now))
        return [Chunk(name, *span) for name in names for span in spans]

    def _spans(self, start: np.datetime64, end: np.datetime64, now: np.datetime64) -> Iterator[Span]:
        if not self._layout.monthly:
            return days(start, end, early=_NONE)
        # without files of days, an unfinished month is asked for too
        return months(start, end, now if self._layout.daily else _NEVER, early=_NONE)

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        path = self._path(chunk)
        names = ["time", *(f.name for f in self.spec.fields)]
        told = self._http.found(f"{path}.CHECKSUM", _digest)
        body = None if told is None else self._http.found(path, lambda body: _verified(body, told))
        if body is None:
            note(f"not in the archive: {path}")
            return stamped([], names, chunk.instrument)
        return stamped(self._rows(path, body), names, chunk.instrument)

    def _path(self, chunk: Chunk) -> str:
        symbol, settings, data_set = Instrument.parse(chunk.instrument), self._settings, self._data_set
        daily = chunk.end - chunk.start <= _DAY
        date = str(chunk.start.astype("datetime64[D]" if daily else "datetime64[M]"))
        candles = data_set in ("klines", "markPriceKlines")
        label = settings.timeframe if candles else data_set
        folder = f"{symbol.symbol}/{settings.timeframe}" if candles else symbol.symbol
        market = "futures/um" if settings.market == "futures" else "spot"
        kind = "daily" if daily else "monthly"
        return f"/data/{market}/{kind}/{data_set}/{folder}/{symbol.symbol}-{label}-{date}.zip"

    def _rows(self, path: str, body: bytes) -> list[list[Any]]:
        """The fields of each line; a header line is passed over."""
        try:
            table = list(csv.reader(io.StringIO(unzipped(body).decode("utf-8"))))
            lines = [line for line in table if line and line[0][:1].isdigit()]
            return [[_time(line[0]), *(line[i] for i in self._layout.columns[1:])] for line in lines]
        except (ValueError, IndexError) as error:
            raise DataError(
                f"the file cannot be read: {error}",
                where=f"{self.spec.name} {path}",
                remedy="the archive changed its format; report it",
            ) from error


def _digest(text: bytes) -> str:
    """The digest that a checksum file names: ``<64 hex digits>  <file name>``."""
    words = text.decode("ascii").lower().split()
    if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
        raise ValueError("not a checksum file")
    return words[0]


def _verified(body: bytes, told: str) -> bytes:
    """The same bytes. A wrong digest counts as a broken download, to be repeated."""
    found = hashlib.sha256(body).hexdigest()
    if found != told:
        raise ValueError(f"its checksum is {found}, the archive says {told}")
    return body


def _time(text: str) -> np.datetime64:
    """Milliseconds, microseconds, or a date and time; funding stamps are put on their minute."""
    if not text.isdigit():
        return np.datetime64(text.replace(" ", "T"), "ns")
    number = int(text)
    ms = number // 1_000 if number >= _LARGEST_MS else number
    return moment(np.datetime64(ms // 60_000 * 60_000, "ms"))


def _spec(settings: ArchiveSettings, layout: _Layout, timeframe: Timeframe) -> SourceSpec:
    second = np.timedelta64(1, "s")
    name = f"archive.binance:{settings.market}:{settings.data_set}"
    period: np.timedelta64 = timeframe.delta
    if settings.data_set == "fundingRate":
        frequency, period, lag = "event", 0 * second, 1 * second
        reason = "a rate is final at its settlement, stamped some milliseconds later"
    elif settings.data_set == "metrics":
        frequency, period, lag = "5m", 300 * second, 60 * second
        reason = "the stamp is taken as the start of its five minutes, plus a minute (cautious)"
    else:
        frequency, period, lag = str(timeframe), timeframe.delta, 0 * second
        name = f"{name}:{timeframe}"
        reason = "a candle is known at its close (the file appears later; the exchange told it then)"
    return SourceSpec(
        name=name,
        publisher="binance",
        scope="instrument",
        frequency=frequency,
        period=period,
        lag=lag,
        lag_reason=reason,
        fields=layout.fields,
    )
