"""Candles, mark prices, funding, open interest and long/short ratios of exchanges, through ccxt.

====================  ============================================  =======================================
kind                  fields                                        venues
====================  ============================================  =======================================
``candles``           OHLC, volume, quote volume; on Binance also   binance, bybit, okx, upbit (spot only)
                      trades and taker buy volume
``mark``              mark price OHLC                               perpetuals of binance, bybit, okx
``funding``           funding rate                                  perpetuals of binance, bybit, okx
``open_interest``     open interest in coins, and USD if told       perpetuals of binance (30 d), bybit, okx
``long_short``        accounts long / accounts short                perpetuals of binance (30 d), bybit, okx
====================  ============================================  =======================================

Pages are cut by time, never by "until a page comes back empty": an empty page means that nothing was traded
or listed then. A page that comes back full, or with fewer rows than asked but exactly as many as servers
like to cap pages at, may be cut short: it is split in two and asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Timeframe
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note, grid
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
from bascule.data.sources.spec import FieldSpec, SourceSpec
from bascule.data.sources.venues import CANDLE, VenueClient, VenueSettings, milliseconds, stamped

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["candles", "mark", "funding", "open_interest", "long_short"]
_SECOND = np.timedelta64(1, "s")
_DAY = np.timedelta64(1, "D")
_CAUTIOUS = "whether a stamp starts or ends its period is not documented: taken as the start, plus a minute"


@dataclass(frozen=True)
class _Plan:
    """How one kind is fetched from one venue.

    Attributes:
        rows: largest page.
        fields: what the venue tells.
        retention: how far back the venue answers, None = all.
    """

    rows: int
    fields: tuple[FieldSpec, ...]
    retention: np.timedelta64 | None = None


_PLANS: dict[tuple[str, str], _Plan] = {
    ("binance", "candles"): _Plan(1_000, (*PRICES, *VOLUMES, *TAKER)),
    ("bybit", "candles"): _Plan(1_000, (*PRICES, *VOLUMES)),
    ("okx", "candles"): _Plan(300, (*PRICES, *VOLUMES)),
    ("upbit", "candles"): _Plan(200, (*PRICES, *VOLUMES)),
    ("binance", "mark"): _Plan(1_000, MARK),
    ("bybit", "mark"): _Plan(1_000, MARK),
    ("okx", "mark"): _Plan(100, MARK),
    ("binance", "funding"): _Plan(1_000, FUNDING),
    ("bybit", "funding"): _Plan(200, FUNDING),
    ("okx", "funding"): _Plan(100, FUNDING),
    ("binance", "open_interest"): _Plan(500, (*OPEN_INTEREST, *OPEN_VALUE), 30 * _DAY),
    ("bybit", "open_interest"): _Plan(200, OPEN_INTEREST),
    ("okx", "open_interest"): _Plan(100, (*OPEN_INTEREST, *OPEN_VALUE)),
    ("binance", "long_short"): _Plan(500, LONG_SHORT, 30 * _DAY),
    ("bybit", "long_short"): _Plan(500, LONG_SHORT),
    ("okx", "long_short"): _Plan(100, LONG_SHORT),
}
_USUAL_CAPS = frozenset({50, 100, 200, 300, 500, 1_000})
_FUNDING_HOURS = 8  # the longest interval in use; 1 h and 4 h exist, and full pages are split


class ExchangeSettings(VenueSettings):
    """One kind of data of one exchange."""

    kind: Kind = Field("candles", description="what to fetch")
    timeframe: str = Field("1h", description="candle length, or period of statistics; not used by funding")


class ExchangeSource(ChunkedSource):
    """See the table of the module.

    Args:
        settings: venue, market, kind, timeframe.
        context: time, pause, dice, journal.

    Raises:
        ConfigError: this venue or market has no such data here.
    """

    def __init__(self, settings: ExchangeSettings, context: Context) -> None:
        plan = _PLANS.get((settings.venue, settings.kind))
        if plan is None or (settings.kind != "candles" and settings.market == "spot"):
            raise ConfigError(
                f"{settings.venue} {settings.market} has no {settings.kind} here",
                where="exchange",
                remedy="see the table in bascule.data.sources.exchange",
            )
        self._settings = settings
        self._plan = plan
        self._timeframe = Timeframe.parse(settings.timeframe, where="exchange.timeframe")
        super().__init__(_spec(settings, plan, self._timeframe), context)
        self._client = VenueClient(settings, context)

    @property
    def _row_ms(self) -> int:
        """Spacing of rows in milliseconds; for funding the longest in use."""
        return (
            _FUNDING_HOURS * 3_600 if self._settings.kind == "funding" else self._timeframe.seconds
        ) * 1_000

    def _identity(self) -> Any:
        return self._settings.base_url

    def _traffic(self) -> tuple[int, int]:
        return self._client.requests, self._client.retries

    def _skew(self) -> float | None:
        return self._client.skew_seconds

    def _close(self) -> None:
        self._client.close()

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError(
                "no instruments were named", where=self._spec.name, remedy="name store ids, e.g. BTC_USDT"
            )
        # one row less than a page: a full page is then a sign of a page cut short
        length = np.timedelta64((self._plan.rows - 1) * self._row_ms, "ms")
        return [Chunk(name, a, b) for name in instruments for a, b in grid(start, end, length)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        names = ["time", *(f.name for f in self._spec.fields)]
        start = chunk.start
        if self._plan.retention is not None:
            oldest = self._context.clock() - self._plan.retention
            if start < oldest:
                days = int(self._plan.retention / _DAY)
                note(
                    f"{chunk.instrument}: {self._settings.venue} keeps {days} days; older data is not served"
                )
                start = oldest
        if start >= chunk.end:
            return stamped([], names, chunk.instrument)
        symbol = self._client.symbol(chunk.instrument)
        rows = self._page(symbol, milliseconds(start), milliseconds(chunk.end))
        return stamped(rows, [*names, "available_time"], chunk.instrument)

    def _page(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        """Rows of ``[since, until)``: time, fields, and the time at which it became known (or None)."""
        try:
            rows = _PULLS[self._settings.kind](self, symbol, since, until)
            # only those of the range: a server that passes over `until` fills every page.
            # Stamps of funding were put on their minute
            inside = sum(since - 60_000 < row[0] < until for row in rows)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"the reply is not of the expected shape ({type(error).__name__}: {error})",
                where=self._spec.name,
                remedy="upgrade ccxt, or report it",
            ) from error
        full = inside >= self._plan.rows
        capped = len(rows) in _USUAL_CAPS and len(rows) < (until - since) // self._row_ms
        if (full or capped) and until - since > 2:
            middle = (since + until) // 2
            return self._page(symbol, since, middle) + self._page(symbol, middle, until)
        return rows

    # -- one page of each kind; `until` is excluded here and included by ccxt ------------------------------

    def _candles(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        rows = self._ohlcv(symbol, since, until, {})
        index = [CANDLE.index(f.name) for f in self._spec.fields]
        return [[row[0], *(row[i] for i in index), None] for row in rows]

    def _mark(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        return [[*row[:5], None] for row in self._ohlcv(symbol, since, until, {"price": "mark"})]

    def _ohlcv(self, symbol: str, since: int, until: int, options: dict[str, Any]) -> list[list[Any]]:
        venue = self._settings.venue
        if venue == "okx":
            options = {**options, "until": until}  # its `after` excludes the stamp itself
        elif venue != "upbit":  # which counts back from `since` + limit and knows no `until`
            options = {**options, "until": until - 1}
        limit = self._plan.rows
        if venue == "upbit":
            step = self._timeframe.seconds * 1_000
            limit = min(limit, -(-(until - since) // step))
        # a closed candle is final; the last one of a page may still be open and is dropped by its close
        rows: list[list[Any]] = self._client.call(
            "fetch_ohlcv", symbol, self._settings.timeframe, since=since, limit=limit, params=options
        )
        return rows

    def _funding(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        bound = {"after": until} if self._settings.venue == "okx" else {"until": until - 1}
        found = self._client.call(
            "fetch_funding_rate_history", symbol, since=since, limit=self._plan.rows, params=bound
        )
        # stamps carry some milliseconds of delay: the row sits on the minute, known at the true stamp
        return [
            [one["timestamp"] // 60_000 * 60_000, one["fundingRate"], np.datetime64(one["timestamp"], "ms")]
            for one in found
        ]

    def _open_interest(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        found = self._client.call(
            "fetch_open_interest_history",
            symbol,
            self._settings.timeframe,
            since=since,
            limit=self._plan.rows,
            params={"until": until - 1},
        )
        if self._settings.venue == "okx":  # [time, contracts, coins, USD]
            return [[int(one["info"][0]), one["info"][2], one["info"][3], None] for one in found]
        keys = ("openInterestAmount", "openInterestValue")[: len(self._spec.fields)]
        return [[one["timestamp"], *(one[key] for key in keys), None] for one in found]

    def _long_short(self, symbol: str, since: int, until: int) -> list[list[Any]]:
        bounds = {"until": until - 1}
        if self._settings.venue == "bybit":  # ccxt hands `since` on to the others only
            bounds = {"startTime": since, "endTime": until - 1}
        found = self._client.call(
            "fetch_long_short_ratio_history",
            symbol,
            self._settings.timeframe,
            since=since,
            limit=self._plan.rows,
            params=bounds,
        )
        return [[one["timestamp"], one["longShortRatio"], None] for one in found]


_PULLS: dict[str, Callable[[ExchangeSource, str, int, int], list[list[Any]]]] = {
    "candles": ExchangeSource._candles,
    "mark": ExchangeSource._mark,
    "funding": ExchangeSource._funding,
    "open_interest": ExchangeSource._open_interest,
    "long_short": ExchangeSource._long_short,
}


def _spec(settings: ExchangeSettings, plan: _Plan, timeframe: Timeframe) -> SourceSpec:
    name = f"exchange.{settings.kind}:{settings.venue}:{settings.market}"
    common = {"publisher": settings.venue, "scope": "instrument", "fields": plan.fields}
    if settings.kind == "funding":
        return SourceSpec(
            name=name,
            frequency="event",
            period=0 * _SECOND,
            lag=0 * _SECOND,
            lag_reason="a rate is final at its settlement, which is its time",
            **common,  # type: ignore[arg-type]
        )
    candle = settings.kind in ("candles", "mark")
    return SourceSpec(
        name=f"{name}:{timeframe}",
        frequency=str(timeframe),
        period=timeframe.delta,
        lag=(0 if candle else 60) * _SECOND,
        lag_reason="a candle is known at its close" if candle else _CAUTIOUS,
        **common,  # type: ignore[arg-type]
    )
