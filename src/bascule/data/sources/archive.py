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
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Instrument, Timeframe, moment
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.exchange import MARK, PRICES, TAKER, VOLUMES
from bascule.data.sources.http import HttpClient, HttpSettings
from bascule.data.sources.spec import FieldSpec, SourceSpec
from bascule.data.sources.venues import stamped

if TYPE_CHECKING:
    import pandas as pd

DataSet = Literal["klines", "markPriceKlines", "fundingRate", "metrics"]
# a month is put together on its first days, a day on the next: asked for earlier, a file may be missing
_MONTH_READY = np.timedelta64(5, "D")
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
    "fundingRate": _Layout(
        (0, 2), (FieldSpec("funding_rate", "1/interval", "rate paid by longs"),), daily=False
    ),
    "metrics": _Layout(
        (0, 2, 3, 6, 5, 7),
        (
            FieldSpec("open_interest", "base", "coins in open positions"),
            FieldSpec("open_interest_value", "USD", "value of open positions"),
            FieldSpec("long_short_ratio", "1", "accounts long/short"),
            FieldSpec("top_long_short_ratio", "1", "positions long/short of the largest accounts"),
            FieldSpec("taker_ratio", "1", "taker buy volume / taker sell volume"),
        ),
        monthly=False,
    ),
}


class ArchiveSettings(HttpSettings):
    """One data set of the archive."""

    base_url: str = Field("https://data.binance.vision", description="server of the archive")
    data_set: DataSet = Field("klines", description="what to fetch")
    market: Literal["spot", "futures"] = Field("spot", description="spot, or futures = USDT perpetuals")
    timeframe: str = Field("1h", description="candle length; not used by fundingRate and metrics")


class BinanceArchive(ChunkedSource):
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
        self._settings = settings
        self._layout = _LAYOUTS[settings.data_set]
        self._timeframe = Timeframe.parse(settings.timeframe, where="archive.timeframe")
        super().__init__(_spec(settings, self._layout, self._timeframe), context)
        self._http = HttpClient(self.spec.name, settings.base_url, settings, context)

    def _identity(self) -> Any:
        return self._settings.base_url

    def _traffic(self) -> tuple[int, int]:
        return self._http.requests, self._http.retries

    def _skew(self) -> float | None:
        return self._http.skew_seconds

    def _close(self) -> None:
        self._http.close()

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError(
                "no instruments were named", where=self.spec.name, remedy="name store ids, e.g. BTC_USDT"
            )
        end = min(end, self._context.clock())
        return [
            Chunk(name, a, b)
            for name in instruments
            for a, b in (self._months(start, end) if self._layout.monthly else _days(start, end))
        ]

    def _months(
        self, start: np.datetime64, end: np.datetime64
    ) -> Iterator[tuple[np.datetime64, np.datetime64]]:
        """Whole months where they are ready, days for the rest."""
        month = start.astype("datetime64[M]")
        while month.astype("datetime64[ns]") < end:
            first, after = month.astype("datetime64[ns]"), (month + 1).astype("datetime64[ns]")
            if self._layout.daily and after + _MONTH_READY > self._context.clock():
                yield from _days(max(first, start), min(after, end))
            else:
                yield first, after
            month += 1

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
        symbol = Instrument.parse(chunk.instrument)
        settings = self._settings
        if symbol.is_future != (settings.market == "futures"):
            raise DataError(
                f"{chunk.instrument} is not of the {settings.market} market",
                where=self.spec.name,
                remedy="spot ids read BTC_USDT, perpetuals BTC_USDT_USDT",
            )
        daily = chunk.end - chunk.start <= _DAY
        date = str(chunk.start.astype("datetime64[D]" if daily else "datetime64[M]"))
        candles = settings.data_set in ("klines", "markPriceKlines")
        label = settings.timeframe if candles else settings.data_set
        folder = f"{symbol.symbol}/{settings.timeframe}" if candles else symbol.symbol
        market = "futures/um" if settings.market == "futures" else "spot"
        kind = "daily" if daily else "monthly"
        return f"/data/{market}/{kind}/{settings.data_set}/{folder}/{symbol.symbol}-{label}-{date}.zip"

    def _rows(self, path: str, body: bytes) -> list[list[Any]]:
        """The fields of each line; a header line is passed over."""
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                inside = [name for name in archive.namelist() if name.endswith(".csv")]
                if len(inside) != 1:
                    raise ValueError(f"{len(inside)} CSV files inside")
                table = list(csv.reader(io.StringIO(archive.read(inside[0]).decode("utf-8"))))
            lines = [line for line in table if line and line[0][:1].isdigit()]
            return [[_time(line[0]), *(line[i] for i in self._layout.columns[1:])] for line in lines]
        except (zipfile.BadZipFile, ValueError, IndexError) as error:
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


def _days(start: np.datetime64, end: np.datetime64) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    day = start.astype("datetime64[D]")
    while day < end:
        yield day.astype("datetime64[ns]"), (day + 1).astype("datetime64[ns]")
        day += 1


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
