"""ccxt behind our seam: one client a venue and market, with our clock, retries, base URL and errors.

ccxt knows the paths, the parameters and the dialects. Three of its habits are changed here, each by a method
that ccxt lets subclasses override:

* a reply that is not whole JSON is handed on as text, and one of another shape is taken for "no rows":
  ``on_rest_response`` has the first asked for again and refuses the second;
* candles are cut to six numbers: ``parse_ohlcv`` keeps quote volume, trades and taker volume as well, and
  volume in coins where a venue counts contracts;
* the time is the machine's: ``milliseconds`` asks the context.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from bascule.core import DataError, Instrument
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpSettings, excerpt
from bascule.data.sources.retry import RETRYABLE_STATUS, Retry, TransientError, http_date, retry_after

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Venue = Literal["binance", "bybit", "okx", "upbit"]
Market = Literal["spot", "futures"]
# columns of a candle as `parse_ohlcv` below gives it
CANDLE = ("time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume")

# where each venue keeps what ccxt drops: (base volume, quote volume, trades, taker buy volume in coins)
_EXTRA: dict[str, tuple[Any, Any, Any, Any]] = {
    "binance": (5, 7, 8, 9),
    "bybit": (5, 6, None, None),
    "okx": (5, 7, None, None),
    "upbit": ("candle_acc_trade_volume", "candle_acc_trade_price", None, None),
}
_TYPES: dict[str, dict[str, list[str]]] = {
    "binance": {"spot": ["spot"], "futures": ["linear"]},
    "bybit": {"spot": ["spot"], "futures": ["linear"]},
    "okx": {"spot": ["spot"], "futures": ["swap"]},
    "upbit": {"spot": ["spot"]},
}


class VenueSettings(HttpSettings):
    """Reaching one exchange."""

    venue: Venue = Field("binance", description="exchange")
    market: Market = Field("spot", description="spot, or futures = perpetuals settled in USDT")
    base_url: str | None = Field(
        None, description="scheme and host that replace the exchange's own, None = the exchange"
    )
    pace: bool = Field(True, description="keep to the exchange's published rate limits")


class VenueClient:
    """One exchange through ccxt.

    Args:
        settings: which, where, how patiently.
        context: time, pause, dice.

    Attributes:
        skew_seconds: server clock less own clock, None before the first reply.
    """

    def __init__(self, settings: VenueSettings, context: Context) -> None:
        if settings.market not in _TYPES[settings.venue]:
            raise DataError(
                f"{settings.venue} has no {settings.market} market here",
                where="exchange",
                remedy=f"use one of {', '.join(_TYPES[settings.venue])}",
            )
        self.settings = settings
        self.skew_seconds: float | None = None
        self._context = context
        self._retry = Retry(settings, context)
        self._exchange: Any = None

    @property
    def requests(self) -> int:
        """Calls made so far."""
        return self._retry.requests

    @property
    def retries(self) -> int:
        """Calls that were repetitions."""
        return self._retry.retries

    @property
    def exchange(self) -> Any:
        """The ccxt exchange, its markets loaded."""
        if self._exchange is None:
            exchange = _build(self.settings, self._context)
            self._call(exchange, exchange.load_markets, "markets")
            if exchange.has.get("fetchTime"):
                served = self._call(exchange, lambda: int(exchange.fetch_time()), "time")
                self.skew_seconds = (served - milliseconds(self._context.clock())) / 1_000
            else:
                self.skew_seconds = exchange.skew_seconds
            self._exchange = exchange
        return self._exchange

    def symbol(self, instrument: str) -> str:
        """ccxt's symbol of a store id.

        Raises:
            DataError: it is of the other market, or the exchange does not list it.
        """
        parsed = Instrument.parse(instrument)
        if parsed.is_future != (self.settings.market == "futures"):
            raise DataError(
                f"{instrument} is not of the {self.settings.market} market",
                where=self._place("markets"),
                remedy="spot ids read BTC_USDT, perpetuals BTC_USDT_USDT",
            )
        if parsed.pair not in self.exchange.markets:
            raise DataError(
                f"the exchange does not list {parsed.pair}",
                where=self._place("markets"),
                remedy="take it off the list; delisted instruments are in the public archive",
            )
        return parsed.pair

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The reply of a ccxt method, with retries.

        Raises:
            DataError: refused, not supported, or unreachable after all retries.
        """
        exchange = self.exchange
        return self._call(exchange, lambda: getattr(exchange, method)(*arguments, **options), method)

    def close(self) -> None:
        """Close connections; markets stay loaded."""
        if self._exchange is not None:
            self._exchange.session.close()

    def _place(self, what: str, path: str = "") -> str:
        return f"{self.settings.venue}.{self.settings.market} {path or what}"

    def _call(self, exchange: Any, work: Callable[[], T], what: str) -> T:
        import ccxt

        def attempt() -> T:
            exchange.reply, exchange.status = None, 0
            try:
                return work()
            except ccxt.NetworkError as error:
                raise TransientError(_short(error), self._asked_wait(exchange)) from error
            except ccxt.BaseError as error:
                if exchange.status in RETRYABLE_STATUS:
                    raise TransientError(_short(error), self._asked_wait(exchange)) from error
                raise DataError(
                    _short(error),
                    where=self._place(what, _path(exchange)),
                    remedy="check instrument, timeframe and range against what the exchange offers",
                ) from error
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                # a reply of another shape than ccxt expects surfaces as one of these
                raise DataError(
                    f"the reply is not of the expected shape ({type(error).__name__}: {error})",
                    where=self._place(what, _path(exchange)),
                    remedy="upgrade ccxt, or report it",
                ) from error

        return self._retry.run(attempt, where=lambda: self._place(what, _path(exchange)))

    def _asked_wait(self, exchange: Any) -> float | None:
        headers = exchange.reply or {}
        return retry_after(headers.get("Retry-After"), self._context.clock())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {excerpt(str(error))}"


def _path(exchange: Any) -> str:
    return urlsplit(exchange.last_request_url or "").path


def _build(settings: VenueSettings, context: Context) -> Any:
    """A ccxt exchange of a subclass with the three changes of the module's docstring."""
    import ccxt

    class Checked(getattr(ccxt, settings.venue)):  # type: ignore[misc]
        reply: Any = None
        status: int = 0
        skew_seconds: float | None = None

        def milliseconds(self) -> int:
            return milliseconds(context.clock())

        def on_rest_response(
            self,
            code: int,
            reason: str,
            url: str,
            method: str,
            response_headers: Any,
            response_body: str,
            request_headers: Any,
            request_body: Any,
        ) -> str:
            self.reply, self.status = response_headers, code
            served = http_date(response_headers.get("Date"))
            if served is not None:
                self.skew_seconds = float((served - context.clock()) / np.timedelta64(1, "s"))
            if 200 <= code < 300:
                try:
                    decoded = json.loads(response_body)
                except ValueError as error:
                    raise ccxt.NetworkError(f"{self.id} {urlsplit(url).path} is not JSON: {error}") from error
                if not _well_formed(settings.venue, decoded):
                    raise ccxt.BadResponse(f"not a reply of this exchange: {excerpt(response_body)}")
            return response_body.strip()

        def parse_ohlcv(self, ohlcv: Any, market: Any = None) -> list[Any]:
            row = super().parse_ohlcv(ohlcv, market)
            base, quote, trades, taker = _EXTRA[settings.venue]
            if settings.venue == "okx" and market and market["contract"]:
                base = 6  # index 5 counts contracts
            # mark price candles have no volumes: reading past their end gives None
            extra = (
                self.safe_number(ohlcv, key) if key is not None else None for key in (quote, trades, taker)
            )
            return [*row[:5], self.safe_number(ohlcv, base), *extra]

    exchange = Checked(
        {
            "enableRateLimit": settings.pace,
            "timeout": int(settings.timeout_seconds * 1_000),
            "options": {
                "fetchMarkets": {"types": _TYPES[settings.venue][settings.market]},
                "adjustForTimeDifference": False,
                "defaultType": "swap" if settings.market == "futures" else "spot",
            },
        }
    )
    # currencies need an API key on these venues and tell nothing about candles
    exchange.has["fetchCurrencies"] = False
    if settings.base_url:
        exchange.urls["api"] = _rebased(exchange.urls["api"], settings.base_url.rstrip("/"))
    return exchange


def _well_formed(venue: Venue, body: Any) -> bool:
    """True for what the venue sends, errors too. ccxt reads any other object as "no rows", without a word."""
    if isinstance(body, list):
        return venue in ("binance", "upbit")
    if not isinstance(body, dict):
        return False
    marks = {
        "binance": ({"symbols"}, {"serverTime"}, {"code", "msg"}),
        "bybit": ({"retCode", "result"},),
        "okx": ({"code", "data"},),
        "upbit": ({"error"},),
    }
    return any(keys <= body.keys() for keys in marks[venue])


def _rebased(urls: Any, base: str) -> Any:
    """ccxt's URL table with scheme and host replaced, paths kept."""
    if isinstance(urls, dict):
        return {name: _rebased(value, base) for name, value in urls.items()}
    if isinstance(urls, str):
        # "https://{hostname}/path": the host may be a placeholder, so no URL parser
        rest = urls.partition("://")[2]
        return base + rest[len(rest.partition("/")[0]) :]
    return urls


def milliseconds(time: np.datetime64) -> int:
    """Milliseconds since 1970, as exchanges count."""
    return int(time.astype("datetime64[ms]").astype(np.int64))


def stamped(rows: Sequence[Any], names: Sequence[str], instrument: str) -> pd.DataFrame:
    """Rows whose first column is a time in milliseconds, as a frame with the instrument."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(names))
    frame["instrument"] = instrument
    return frame
