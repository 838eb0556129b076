"""OKX's public archive: candles of a minute by month and day, funding rates of all perpetuals by day.

::

    /cdn/okex/traderecords/candlesticks/monthly/202401/BTC-USDT-SWAP-candlesticks-2024-01.zip
    /cdn/okex/traderecords/candlesticks/daily/20240105/BTC-USDT-SWAP-candlesticks-2024-01-05.zip
    /cdn/okex/traderecords/swaprates/daily/20240105/allswap-fundingrates-2024-01-05.zip

CSV with a header line. Days begin at midnight in Hong Kong, 16:00 UTC of the day before; rows are taken by
their own times, so that nothing depends on it. `vol` counts contracts on perpetuals (and `vol_ccy` coins),
coins on spot. There are no checksums: a file that does not unpack is asked for again. Candles of longer
timeframes are put together here (`resample`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, Instrument, Timeframe
from bascule.data.resample import resample
from bascule.data.rows import OHLC, Rows
from bascule.data.sources.chunked import Chunk, Note
from bascule.data.sources.context import Context
from bascule.data.sources.fields import FUNDING, PRICES, VOLUMES
from bascule.data.sources.filearchive import (
    FileArchive,
    FileArchiveSettings,
    days,
    months,
    table,
    unzipped,
)
from bascule.data.sources.spec import SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_MINUTE = Timeframe.parse("1m")
_EARLY = np.timedelta64(8, "h")  # Hong Kong is ahead of UTC
_EIGHT_HOURS = 8 * 3_600
_ROOT = "/cdn/okex/traderecords"


class OkxArchiveSettings(FileArchiveSettings):
    """One data set of the archive."""

    base_url: str = Field("https://static.okx.com", description="server of the archive")
    data_set: Literal["candles", "funding"] = Field("candles", description="what to fetch")


class OkxArchive(FileArchive):
    """See the module.

    Raises:
        ConfigError: the spot market has no funding, or candles that do not fit into the files.
    """

    def __init__(self, settings: OkxArchiveSettings, context: Context) -> None:
        self._funding = settings.data_set == "funding"
        if self._funding and settings.market == "spot":
            raise ConfigError(
                "the spot market has no funding", where="archive.okx.data_set", remedy="use market: futures"
            )
        self._timeframe = Timeframe.parse(settings.timeframe, where="archive.okx.timeframe")
        if _EIGHT_HOURS % self._timeframe.seconds:
            raise ConfigError(
                f"candles of {self._timeframe} do not fit into files that begin at 16:00 UTC",
                where="archive.okx.timeframe",
                remedy="use one that divides 8h, and let the store make longer ones (resample)",
            )
        super().__init__(settings, _spec(settings, self._timeframe), context)

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        names = self._named(instruments)
        now = self._context.clock()
        end = min(end, now)
        if self._funding:  # one file has all instruments
            return [Chunk(",".join(names), *span) for span in days(start, end, early=_EARLY)]
        return [Chunk(name, *span) for name in names for span in months(start, end, now, early=_EARLY)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        day = str(chunk.start.astype("datetime64[D]"))
        if self._funding:
            wanted = {_id(name): name for name in chunk.instrument.split(",")}
            path = f"{_ROOT}/swaprates/daily/{day.replace('-', '')}/allswap-fundingrates-{day}.zip"
            columns = ["funding_time", "instrument_name", "funding_rate"]
            found = self._file(path, lambda body: table(unzipped(body), columns), note)
            if found is None:
                return pd.DataFrame()
            found = found[found["instrument_name"].isin(wanted)]
            # stamped some milliseconds after the settlement
            stamps = found["funding_time"].astype(np.int64) // 60_000 * 60_000
            names = found["instrument_name"].map(wanted)
            return pd.DataFrame({"time": stamps, "instrument": names, "funding_rate": found["funding_rate"]})
        symbol = _id(chunk.instrument)
        daily = chunk.end - chunk.start <= np.timedelta64(1, "D")
        date = day if daily else day[:7]
        kind = "daily" if daily else "monthly"
        path = f"{_ROOT}/candlesticks/{kind}/{date.replace('-', '')}/{symbol}-candlesticks-{date}.zip"
        rows = self._file(path, lambda body: self._candles(body, chunk.instrument), note)
        if rows is None or not len(rows):
            return pd.DataFrame()
        times = rows.time.astype("datetime64[ns]")
        return pd.DataFrame({"time": times, "instrument": chunk.instrument, **rows.values})

    def _candles(self, body: bytes, name: str) -> Rows:
        """Candles of the wanted timeframe in a file."""
        coins = "vol_ccy" if self._settings.market == "futures" else "vol"
        found = table(unzipped(body), ["open_time", *OHLC, coins, "vol_quote"])
        time = found["open_time"].to_numpy().astype(np.int64) * 1_000_000
        numbers = found.rename(columns={coins: "volume", "vol_quote": "quote_volume"})
        values = {
            field: numbers[field].astype(np.float64).to_numpy(np.float32)
            for field in (*OHLC, "volume", "quote_volume")
        }
        _, first = np.unique(time, return_index=True)
        rows = Rows((name,), np.zeros(len(time), np.int32), time, values).take(first)
        if self._timeframe == _MINUTE or not len(rows):
            return rows
        # a file has whole candles of every timeframe that is allowed
        return resample(rows, _MINUTE, self._timeframe, np.iinfo(np.int64).max)


def _id(name: str) -> str:
    """OKX's spelling of an instrument."""
    one = Instrument.parse(name)
    return f"{one.base}-{one.quote}" + ("-SWAP" if one.is_future else "")


def _spec(settings: OkxArchiveSettings, timeframe: Timeframe) -> SourceSpec:
    name = f"archive.okx:{settings.market}:{settings.data_set}"
    second = np.timedelta64(1, "s")
    if settings.data_set == "funding":
        return SourceSpec(
            name,
            "okx",
            "instrument",
            "event",
            0 * second,
            1 * second,
            "a rate is final at its settlement",
            FUNDING,
        )
    return SourceSpec(
        f"{name}:{timeframe}",
        "okx",
        "instrument",
        str(timeframe),
        timeframe.delta,
        0 * second,
        "a candle is known at its close (the file appears later; the exchange told it then)",
        (*PRICES, *VOLUMES),
    )
