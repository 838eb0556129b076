"""freqtrade's own downloader, run as its users run it: ``freqtrade download-data`` in a process of its own.

It brings candles, and for perpetuals funding rates and mark prices, in freqtrade's folder format, which the
bot can use as it is. freqtrade resumes by itself: it asks only for what its files lack.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError, Instrument, Moment, Progress, Settings, Timeframe, silent
from bascule.core.files import atomic_file
from bascule.core.tether import Tethered
from bascule.data.readers import read_freqtrade
from bascule.data.sources.canonical import settle, typed
from bascule.data.sources.chunked import span
from bascule.data.sources.context import Context
from bascule.data.sources.fields import CARRIED, PRICES, VOLUMES
from bascule.data.sources.http import excerpt
from bascule.data.sources.spec import Fetched, FetchReport, SourceSpec


class DownloaderSettings(Settings):
    """How freqtrade downloads."""

    folder: Path = Field(description="freqtrade data folder; kept between fetches")
    exchange: str = Field("binance", description="freqtrade's name of the exchange")
    market: Literal["spot", "futures"] = Field("spot", description="trading mode")
    timeframe: str = Field("1h", description="candle length")
    base_url: str | None = Field(
        None, description="scheme and host instead of Binance's, None = the exchange"
    )
    timeout_seconds: float = Field(3_600.0, gt=0, description="longest run of one download")


class FreqtradeDownloader:
    """`Source` over ``freqtrade download-data``.

    Args:
        settings: folder, exchange, market, timeframe.
        context: time.
    """

    def __init__(self, settings: DownloaderSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._timeframe = Timeframe.parse(settings.timeframe, where="freqtrade.timeframe")
        self._spec = SourceSpec(
            name=f"freqtrade:{settings.exchange}:{settings.market}:{self._timeframe}",
            publisher=settings.exchange,
            scope="instrument",
            frequency=str(self._timeframe),
            period=self._timeframe.delta,
            lag=np.timedelta64(0, "s"),
            lag_reason="a candle is known at its close",
            fields=(*PRICES, VOLUMES[0], *(CARRIED if settings.market == "futures" else ())),
        )

    @property
    def spec(self) -> SourceSpec:
        """What it delivers."""
        return self._spec

    def fetch(
        self,
        start: Moment,
        end: Moment,
        instruments: Sequence[str] = (),
        *,
        progress: Progress = silent,
    ) -> Fetched:
        """See `Source.fetch`."""
        first, last = span(start, end, self._spec.name)
        wanted = [Instrument.parse(name) for name in instruments]
        if not wanted:
            raise DataError(
                "no instruments were named", where=self._spec.name, remedy="name store ids, e.g. BTC_USDT"
            )
        progress(0, 1, self._spec.name)
        notes = self._download(wanted, first)
        frame = read_freqtrade(self._settings.folder, self._timeframe, market=self._settings.market)
        frame = frame[frame["instrument"].isin([one.id for one in wanted])]
        progress(1, 1, self._spec.name)
        absent = sorted({one.id for one in wanted} - set(frame["instrument"].unique()))
        notes += tuple(f"{name}: nothing was downloaded" for name in absent)
        kept, counts = settle(typed(frame, self._spec), first, last, self._context.clock())
        return Fetched(kept, self._spec, FetchReport(rows=len(kept), notes=notes, **counts))

    def _download(self, wanted: Sequence[Instrument], start: np.datetime64) -> tuple[str, ...]:
        settings = self._settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        config = settings.folder / "bascule-download.json"
        with atomic_file(config) as aside:
            aside.write_text(json.dumps(self._config(wanted), indent=2), "utf-8")
        command = [
            *("download-data", "--no-color"),
            *("--config", str(config), "--datadir", str(settings.folder)),
            # it insists on a user folder, which it does not use here
            *("--userdir", str(settings.folder)),
            *("--timeframes", str(self._timeframe), "--data-format-ohlcv", "feather"),
            # an open end: freqtrade would otherwise leave a hole between two fetches
            *("--timerange", f"{str(start.astype('datetime64[D]')).replace('-', '')}-", "--prepend"),
            *("--pairs", *(one.pair for one in wanted)),
        ]
        where = f"{self._spec.name} download-data"
        try:
            code, said = self._ended(command)
        except subprocess.TimeoutExpired as error:
            raise DataError(
                f"freqtrade did not finish within {settings.timeout_seconds:.0f} s",
                where=where,
                remedy="raise timeout_seconds, or fetch again: freqtrade goes on where it stopped",
            ) from error
        trouble = [line for line in said.splitlines() if " - ERROR - " in line]
        if code != 0 or trouble:
            told = trouble[-1] if trouble else (said.strip().splitlines() or ["no message"])[-1]
            raise DataError(
                f"freqtrade ended with code {code}: {excerpt(told)}",
                where=where,
                remedy="check exchange, pairs and base URL; the command can be run by hand with its config "
                f"{config.name}",
            )
        return tuple(
            excerpt(line.split(" - WARNING - ")[1]) for line in said.splitlines() if " - WARNING - " in line
        )

    def _ended(self, arguments: Sequence[str]) -> tuple[int, str]:
        """freqtrade's status and what it said on its error stream."""
        with Tethered(
            "freqtrade",
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        ) as process:
            try:
                _, said = process.communicate(timeout=self._settings.timeout_seconds)
            finally:
                process.end()
        return process.returncode, said

    def _config(self, wanted: Sequence[Instrument]) -> dict[str, Any]:
        """The smallest config that download-data accepts."""
        settings = self._settings
        futures = settings.market == "futures"
        exchange: dict[str, Any] = {
            "name": settings.exchange,
            "pair_whitelist": [one.pair for one in wanted],
            "pair_blacklist": [],
            "enable_ws": False,
        }
        if settings.base_url:
            root = settings.base_url.rstrip("/")
            urls = dict.fromkeys(("public", "private"), f"{root}/api/v3")
            if futures:
                urls = dict.fromkeys(("fapiPublic", "fapiPrivate"), f"{root}/fapi/v1")
                urls["fapiData"] = f"{root}/futures/data"
            urls["sapi"] = f"{root}/sapi/v1"
            # the public archive lies elsewhere and cannot be moved
            exchange["only_from_ccxt"] = True
            exchange["ccxt_config"] = {
                "enableRateLimit": False,
                "options": {"fetchMarkets": {"types": ["linear" if futures else "spot"]}},
                "urls": {"api": urls},
            }
        return {
            "stake_currency": wanted[0].quote,
            "stake_amount": 10,
            "max_open_trades": 1,
            "dry_run": True,
            "trading_mode": settings.market,
            "margin_mode": "isolated" if futures else "",
            "dataformat_ohlcv": "feather",
            "timeframe": str(self._timeframe),
            "entry_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
            "exit_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
            "exchange": exchange,
        }
