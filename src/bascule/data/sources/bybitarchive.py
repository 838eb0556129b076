"""Bybit's public archive: every trade, a file a day, from which candles are put together here.

::

    /trading/BTCUSDT/BTCUSDT2024-01-05.csv.gz    perpetuals: timestamp in seconds, size in coins
    /spot/BTCUSDT/BTCUSDT_2024-01-05.csv.gz      spot: timestamp in milliseconds, volume in coins

CSV with a header line; old files are in reverse order. The candles have what the taker bought, which the
exchange's own do not tell, and begin with their first trade (the exchange's begin with the close before).
A candle without a trade does not exist. There are no checksums: a file that does not unpack is asked for
again. The archive's ready-made candles (for MetaTrader) end in 2024, have few symbols and count in another
time zone: they are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from bascule.core import Instrument, Timeframe
from bascule.data.sources.chunked import Chunk, Note
from bascule.data.sources.context import Context
from bascule.data.sources.fields import PRICES, TAKER, VOLUMES
from bascule.data.sources.filearchive import (
    FileArchive,
    FileArchiveSettings,
    candles_of_trades,
    days,
    gunzipped,
    table,
)
from bascule.data.sources.spec import SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_SECONDS = 1e11  # a larger number is in milliseconds
_NONE = np.timedelta64(0, "s")


class BybitArchiveSettings(FileArchiveSettings):
    """The candles to make."""

    base_url: str = Field("https://public.bybit.com", description="server of the archive")


class BybitArchive(FileArchive):
    """See the module."""

    def __init__(self, settings: BybitArchiveSettings, context: Context) -> None:
        self._timeframe = Timeframe.parse(settings.timeframe, where="archive.bybit.timeframe")
        spec = SourceSpec(
            f"archive.bybit:{settings.market}:candles:{self._timeframe}",
            "bybit",
            "instrument",
            str(self._timeframe),
            self._timeframe.delta,
            _NONE,
            "a trade is known at once (the file appears later; the exchange told it then)",
            (*PRICES, *VOLUMES, *TAKER),
        )
        super().__init__(settings, spec, context)

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        end = min(end, self._context.clock())
        return [
            Chunk(name, *span) for name in self._named(instruments) for span in days(start, end, early=_NONE)
        ]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        symbol, day = Instrument.parse(chunk.instrument).symbol, chunk.start.astype("datetime64[D]")
        spot = self._settings.market == "spot"
        path = f"/spot/{symbol}/{symbol}_{day}.csv.gz" if spot else f"/trading/{symbol}/{symbol}{day}.csv.gz"
        found = self._file(path, lambda body: self._candles(body, "volume" if spot else "size"), note)
        if found is None:
            return pd.DataFrame()
        times = found.pop("time").astype("datetime64[ns]")
        return pd.DataFrame({"time": times, "instrument": chunk.instrument, **found})

    def _candles(self, body: bytes, size: str) -> dict[str, Any]:
        trades = table(gunzipped(body), ["timestamp", "price", size, "side"])
        if not len(trades):
            raise ValueError("no trade in the file")
        if float(trades["timestamp"].iloc[0]) > float(trades["timestamp"].iloc[-1]):
            trades = trades[::-1]
        stamps = trades["timestamp"].astype(np.float64).to_numpy()
        time = (
            np.round(np.where(stamps > _LARGEST_SECONDS, stamps, stamps * 1e3)).astype(np.int64) * 1_000_000
        )
        order = np.argsort(time, kind="stable")
        price, amount = (trades[name].to_numpy().astype(np.float64)[order] for name in ("price", size))
        bought = (trades["side"].str.lower() == "buy").to_numpy()[order]
        return candles_of_trades(time[order], price, amount, bought, self._timeframe.nanoseconds)
