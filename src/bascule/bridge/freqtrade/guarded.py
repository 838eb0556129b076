"""The strategy of prepared user folders: `FactorStrategy`, with safe mode and a second data venue.

freqtrade asks its data provider for candles and analyses what it gets. A live `GuardedStrategy` puts a thin
provider in front of it, whose candles are the exchange's, or, where those are late, joined ones
(`failover.DataDesk`). Candles that only a wrong clock takes for closed are taken back. In a backtest nothing
of this happens.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.enums import CandleType
from freqtrade.exceptions import OperationalException

from bascule.bridge.freqtrade.failover import DataDesk, GuardSettings
from bascule.bridge.freqtrade.feed import utc
from bascule.bridge.freqtrade.strategy import FactorStrategy
from bascule.bridge.freqtrade.venues import RestVenue
from bascule.core import BasculeError, Timeframe, moment


class GuardedProvider:
    """freqtrade's data provider, whose late candles the desk completes. Everything else is passed on."""

    def __init__(self, provider: Any, desk: DataDesk, timeframe: str, clock: Any) -> None:
        self._provider, self._desk, self._timeframe, self._clock = provider, desk, timeframe, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def ohlcv(self, pair: str, timeframe: str | None = None, copy: bool = True, **rest: Any) -> pd.DataFrame:
        """Candles of a pair."""
        frame = self._provider.ohlcv(pair, timeframe, copy=copy, **rest)
        return self._completed(pair, timeframe, frame)

    def get_pair_dataframe(self, pair: str, timeframe: str | None = None, **rest: Any) -> pd.DataFrame:
        """Candles of a pair."""
        frame = self._provider.get_pair_dataframe(pair, timeframe, **rest)
        return self._completed(pair, timeframe, frame)

    def _completed(self, pair: str, timeframe: str | None, frame: pd.DataFrame) -> pd.DataFrame:
        if (timeframe or self._timeframe) != self._timeframe:
            return frame
        return self._desk.frame(pair, frame, self._clock())


def _utcnow() -> datetime:
    return datetime.now(UTC)


class GuardedStrategy(FactorStrategy):
    """`FactorStrategy` for a live run; settings under ``bascule.guard`` (`GuardSettings`)."""

    _desk: DataDesk | None = None
    dp: Any

    def bot_start(self, **kwargs: Any) -> None:
        """Put the desk between freqtrade's candles and the strategy."""
        super().bot_start(**kwargs)
        if not self._live or self._desk is not None:
            return
        try:
            settings = GuardSettings.read(
                (self.config.get("bascule") or {}).get("guard") or {}, where="bascule.guard"
            )
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        market = self._bundle.spec.market
        self._desk = DataDesk(self._bundle.spec.bar, settings, market, first=first_venue(self.config, market))
        self.dp = GuardedProvider(self.dp, self._desk, self.timeframe, _utcnow)

    def bot_loop_start(self, current_time: datetime, **kwargs: Any) -> None:
        """Look at the candles before they are analysed."""
        if self._desk is not None:
            pairs = {*self.dp.current_whitelist(), *(pair for pair, _ in self.informative_pairs())}
            # what the exchange gave, not what was completed
            given = self.dp._provider
            candles = {pair: given.ohlcv(pair, self.timeframe, copy=False) for pair in sorted(pairs)}
            for line in self._desk.look(candles, current_time, steady=time.monotonic()):
                self.dp.send_msg(line, always_send=True)
            if self._desk.skewed:
                take_back(given._exchange, moment(self._desk.right(current_time)))
        super().bot_loop_start(current_time=current_time, **kwargs)

    def confirm_trade_entry(self, pair: str, *args: Any, **kwargs: Any) -> bool:
        """No entry in safe mode."""
        if self._desk is not None and self._desk.safe:
            return False
        return bool(super().confirm_trade_entry(pair, *args, **kwargs))

    def _may_increase(self, trade: Any, now: datetime) -> bool:
        """No increase in safe mode."""
        safe = self._desk is not None and self._desk.safe
        return not safe and super()._may_increase(trade, now)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the desk: it belongs to a running bot."""
        return {**super().__getstate__(), "_desk": None}


def take_back(exchange: Any, now: np.datetime64) -> None:
    """Let freqtrade forget candles that have not closed yet, and ask for them again when they have.

    It takes a candle for closed by the machine's clock, and keeps it as it was then.

    Args:
        exchange: freqtrade's.
        now: the time by the venue's clock.
    """
    for key, frame in list(exchange._klines.items()):
        if key[2] == CandleType.FUNDING_RATE:  # known from its date on
            continue
        length = Timeframe.parse(key[1]).delta
        keep = int(np.searchsorted(utc(frame["date"]) + length, now, side="right"))
        if keep < len(frame):
            exchange._klines[key] = frame.iloc[:keep]
            newest = frame["date"].iloc[keep - 1].timestamp() * 1_000 if keep else 0
            exchange._pairs_last_refresh_time[key] = int(newest)


def first_venue(config: dict[str, Any], market: Any) -> RestVenue | None:
    """The venue that the bot trades on, for probes; None where it speaks neither format."""
    exchange = config["exchange"]
    name = exchange["name"]
    if name not in ("binance", "bybit"):
        return None
    urls = ((exchange.get("ccxt_config") or {}).get("urls") or {}).get("api") or {}
    address = urls.get("public" if market == "spot" else "fapiPublic")
    if address is not None:
        address = str(address).rsplit("/api/" if market == "spot" else "/fapi/", 1)[0]
    return RestVenue(name, market, url=address)
