"""A panel seen as an exchange would show it at a given moment: nothing later than *now* exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.clock import Clock, milliseconds, wall_clock
from bascule.bridge.exchange.path import PathMode, Tick, walk
from bascule.core import Instrument, Panel, SetupError, Timeframe

MarketKind = Literal["spot", "futures"]
DAY_MS = 86_400_000
FUNDING_MS = 8 * 3_600_000
# an instrument without a trade for this long has left the exchange, as far as anybody can tell by then
SILENCE_MS = 7 * DAY_MS
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Candles:
    """Candles of one instrument and interval, oldest first.

    Attributes:
        open_ms: open times in Unix milliseconds ``[n]``.
        fields: open, high, low, close, volume, quote_volume, each ``[n]``.
    """

    open_ms: NDArray[np.int64]
    fields: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.open_ms)


@dataclass(frozen=True)
class Listing:
    """What exchangeInfo says of a symbol. Decimals are of price and quantity."""

    instrument: Instrument
    column: int
    price_decimals: int
    quantity_decimals: int
    onboard_ms: int


class ReplayMarket:
    """The point-in-time view.

    Args:
        source: a panel with open, high, low, close and volume (``quote_volume``, ``funding_rate`` and
            ``open_interest`` are used where present), or instruments alone (store ids or pairs) for runs that
            ask for no candles.
        kind: ``spot`` or ``futures`` (USDT-margined perpetuals).
        clock: the time, asked anew at every request.
        funding_rate: rate paid every eight hours where the panel holds no funding; the default is the
            interest part of Binance's rate (0.01 %).
        spread: distance of best bid and best ask as a fraction of the price.
        path: what is seen of the forming candle, see `path`: ``open`` (its open only) or ``walk``.
        depth_share: quantity of each level of the book, as a share of the last candle's volume.
        depth_floor: least value of a level in quote units.
        min_notional: least value of an order in quote units.
        halts: symbol → Unix milliseconds from which on it is off the exchange (delistings of a fault plan).

    Raises:
        BridgeError: an instrument is not of this kind, two share a symbol, or a price field is missing.
    """

    def __init__(
        self,
        source: Panel | Sequence[str],
        *,
        kind: MarketKind = "spot",
        clock: Clock = wall_clock,
        funding_rate: float = 0.0001,
        spread: float = 0.0002,
        path: PathMode = "open",
        depth_share: float = 0.01,
        depth_floor: float = 10_000.0,
        min_notional: float = 5.0,
        halts: Mapping[str, int] | None = None,
    ) -> None:
        self.kind = kind
        self.clock = clock
        self.spread = spread
        self.default_funding = funding_rate
        self.path = path
        self.depth_share = depth_share
        self.depth_floor = depth_floor
        self.min_notional = Decimal(str(min_notional)).normalize()
        self.halts = dict(halts or {})
        self.panel = source if isinstance(source, Panel) else None
        names = source.instruments if isinstance(source, Panel) else tuple(source)
        missing = [f for f in (*PRICES, "volume") if self.panel is not None and f not in self.panel.fields]
        if missing:
            raise SetupError(
                f"the panel lacks {', '.join(missing)}",
                where="replay exchange",
                remedy="serve a panel with open, high, low, close and volume",
            )
        # length of a candle (one hour where there is no panel), and where the first one opens
        self.step_ms = (self.panel.timeframe if self.panel else Timeframe(3_600)).seconds * 1_000
        first = self.panel.time[0] if self.panel else np.datetime64(0, "ns")
        self._first_ms = int(first.astype("datetime64[ms]").astype(np.int64))
        self.listings = self._list([Instrument.parse(name) for name in names])
        # the rows that hold a candle, per instrument
        self._rows = lru_cache(maxsize=None)(self._find_rows)
        # klines of closed candles as they were written: writing numbers is most of the work of an answer
        self.told: dict[tuple[int, int, int], list[Any]] = {}
        self._levels: dict[int, tuple[int, Decimal]] = {}
        self._ticks = lru_cache(maxsize=8_192)(self._walk)

    def _list(self, instruments: Sequence[Instrument]) -> dict[str, Listing]:
        result: dict[str, Listing] = {}
        for column, instrument in enumerate(instruments):
            if instrument.is_future != (self.kind == "futures"):
                form = "BTC_USDT_USDT" if self.kind == "futures" else "BTC_USDT"
                raise SetupError(
                    f"{instrument.id} is no {self.kind} instrument",
                    where="replay exchange",
                    remedy=f"name {self.kind} instruments like {form}, or choose the other market",
                )
            if instrument.symbol in result:
                raise SetupError(
                    f"two instruments share the symbol {instrument.symbol}", where="replay exchange"
                )
            prices = np.empty(0, np.float32) if self.panel is None else self.panel["close"][:, column]
            traded = np.flatnonzero(np.isfinite(prices))
            onboard = int(self.open_ms(int(traded[0]))) if len(traded) else 0
            # decimals are a constant of the listing; taken over the whole panel they carry no usable future
            result[instrument.symbol] = Listing(
                instrument, column, wire.price_decimals(prices), wire.quantity_decimals(prices), onboard
            )
        return result

    def _find_rows(self, column: int) -> NDArray[np.int64]:
        if self.panel is None:
            return np.empty(0, np.int64)
        complete = np.isfinite(self.panel["open"][:, column]) & np.isfinite(self.panel["close"][:, column])
        halt = self.halts.get(Instrument.parse(self.panel.instruments[column]).symbol)
        if halt is not None:
            complete[max(self._row_of(halt - 1) + 1, 0) :] = False
        return np.flatnonzero(complete)

    def _walk(self, column: int, row: int) -> tuple[Tick, ...]:
        assert self.panel is not None
        opened, high, low, close, volume = (float(self.panel[f][row, column]) for f in (*PRICES, "volume"))
        listing = self.listings[Instrument.parse(self.panel.instruments[column]).symbol]
        return walk(
            (opened, high, low, close, volume),
            open_ms=self.open_ms(row),
            step_ms=self.step_ms,
            decimals=listing.quantity_decimals,
            mode=self.path,
        )

    # -- time --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The clock in Unix milliseconds."""
        return milliseconds(self.clock)

    def open_ms(self, row: int) -> int:
        """Open time of a panel row in Unix milliseconds."""
        if self.panel is None:
            return 0
        return self._first_ms + row * self.step_ms

    def _row_of(self, ms: int) -> int:
        """The row whose candle contains the moment; negative before the panel."""
        return (ms - self.open_ms(0)) // self.step_ms

    # -- views -------------------------------------------------------------------------------------

    def is_trading(self, listing: Listing, now: int) -> bool:
        """False once an instrument is seen to have left: halted, or no candle for seven days."""
        if now >= self.halts.get(listing.instrument.symbol, now + 1):
            return False
        if self.panel is None:
            return True
        # after the panel's end nothing is known, so time stands still there
        now = min(now, self.open_ms(len(self.panel.time)))
        rows = self._rows(listing.column)
        seen = int(np.searchsorted(rows, self._row_of(now), side="right"))
        return seen > 0 and now - self.open_ms(int(rows[seen - 1])) <= SILENCE_MS

    def candles(
        self,
        listing: Listing,
        interval: Timeframe,
        *,
        now: int,
        start: int | None = None,
        end: int | None = None,
        limit: int = 500,
    ) -> Candles:
        """Candles with open time in ``[start, end]`` (milliseconds, both included).

        With ``start`` the first ``limit`` of them, else the last. Rows without a trade are left out, as the
        exchange leaves them out. Of the forming candle there is what was walked of its way (`path`): in mode
        ``open`` all four prices at its open and no volume.
        Longer intervals than the panel's are put together from its candles.
        """
        many = interval.seconds * 1_000 // self.step_ms
        step = many * self.step_ms
        rows = self._rows(listing.column)
        forming = self._row_of(now)
        first = 0 if start is None else self._row_of(-(-start // step) * step)
        last = forming if end is None else min(forming, self._row_of(end // step * step) + many - 1)
        rows = rows[np.searchsorted(rows, first) : np.searchsorted(rows, last, side="right")]
        rows = rows[: limit * many] if start is not None else rows[-limit * many :]
        if not len(rows):
            return Candles(np.empty(0, np.int64), {name: np.empty(0, np.float32) for name in _FIELDS})
        opens = self.open_ms(0) + rows * self.step_ms
        found = _grouped(opens // step * step, self._values(listing.column, rows, forming, now))
        cut = slice(None, limit) if start is not None else slice(-limit, None)
        return Candles(found.open_ms[cut], {name: values[cut] for name, values in found.fields.items()})

    def _values(
        self, column: int, rows: NDArray[np.int64], forming: int, now: int
    ) -> dict[str, NDArray[np.float32]]:
        assert self.panel is not None
        field = {name: self.panel[name][rows, column] for name in (*PRICES, "volume")}
        field["volume"] = np.nan_to_num(field["volume"])
        if "quote_volume" in self.panel.fields:
            field["quote_volume"] = np.nan_to_num(self.panel["quote_volume"][rows, column])
        else:
            typical = (field["high"] + field["low"] + field["close"]) / np.float32(3)
            field["quote_volume"] = typical * field["volume"]
        if rows[-1] == forming:  # of a candle that has not closed only what was walked is known
            seen = [tick for tick in self._ticks(column, forming) if tick.ms <= now]
            prices = [tick.price for tick in seen]
            traded = sum((tick.volume for tick in seen), Decimal(0))
            turned = sum((tick.volume * tick.price for tick in seen), Decimal(0))
            last = {"high": max(prices), "low": min(prices), "close": prices[-1]}
            for name, value in (last | {"volume": traded, "quote_volume": turned}).items():
                field[name][-1] = np.float32(str(value))
        return field

    def ticks(self, listing: Listing, after: int, until: int) -> list[Tick]:
        """Points of the price's way with time in ``(after, until]`` (Unix milliseconds), oldest first."""
        rows = self._rows(listing.column)
        lo = int(np.searchsorted(rows, self._row_of(after)))
        hi = int(np.searchsorted(rows, self._row_of(until), side="right"))
        return [
            tick
            for row in rows[lo:hi]
            for tick in self._ticks(listing.column, int(row))
            if after < tick.ms <= until
        ]

    def last_tick(self, listing: Listing, now: int) -> Tick | None:
        """The newest point of the price's way; None before the first candle."""
        rows = self._rows(listing.column)
        seen = int(np.searchsorted(rows, self._row_of(now), side="right"))
        if not seen:
            return None
        ticks = self._ticks(listing.column, int(rows[seen - 1]))
        return next(tick for tick in reversed(ticks) if tick.ms <= now)

    def last_decimal(self, listing: Listing, now: int) -> Decimal | None:
        """The last price, exactly; None before the first candle."""
        tick = self.last_tick(listing, now)
        return None if tick is None else tick.price

    def last_price(self, listing: Listing, now: int) -> float | None:
        """The last price; None before the first candle."""
        price = self.last_decimal(listing, now)
        return None if price is None else float(price)

    def level_quantity(self, listing: Listing, now: int) -> Decimal:
        """What each level of the book holds: a share of the last candles' volume, or the floor's worth."""
        tick = self.last_tick(listing, now)
        if tick is None:
            return Decimal(0)
        known = self._levels.get(listing.column)
        if known is not None and known[0] == tick.ms:  # it changes with the price, not with the question
            return known[1]
        recent = self.candles(listing, Timeframe(self.step_ms // 1_000), now=now, limit=2)
        share = float(recent.fields["volume"].max()) * self.depth_share
        amount = max(share, self.depth_floor / float(tick.price))
        quantity = Decimal(f"{amount:.{listing.quantity_decimals}f}")
        self._levels[listing.column] = (tick.ms, quantity)
        return quantity

    def events(
        self, field: str, listing: Listing, *, now: int, start: int | None, end: int | None, limit: int
    ) -> list[tuple[int, float]]:
        """Finite values of a panel field as (milliseconds, value), known at ``now``; cut as in `candles`."""
        lo = 0 if start is None else start
        hi = now if end is None else min(end, now)
        if self.panel is None or field not in self.panel.fields:
            return []
        values = self.panel[field][:, listing.column]
        rows = np.flatnonzero(np.isfinite(values))
        times = self.open_ms(0) + rows * self.step_ms
        keep = (times >= lo) & (times <= hi)
        found = [(int(ms), float(v)) for ms, v in zip(times[keep], values[rows[keep]], strict=True)]
        return found[:limit] if start is not None else found[-limit:]

    def funding(
        self, listing: Listing, *, now: int, start: int | None, end: int | None, limit: int
    ) -> list[tuple[int, float]]:
        """Funding settlements as (milliseconds, rate)."""
        if self.panel is not None and "funding_rate" in self.panel.fields:
            return self.events("funding_rate", listing, now=now, start=start, end=end, limit=limit)
        rows = self._rows(listing.column)
        if not len(rows):
            return []
        lo = max(start or 0, listing.onboard_ms)
        hi = min(now if end is None else min(end, now), self.open_ms(int(rows[-1])))
        times = range(-(-lo // FUNDING_MS) * FUNDING_MS, hi + 1, FUNDING_MS)
        chosen = times[:limit] if start is not None else times[-limit:]
        return [(ms, self.default_funding) for ms in chosen]


_FIELDS = (*PRICES, "volume", "quote_volume")


def _grouped(keys: NDArray[np.int64], values: dict[str, NDArray[np.float32]]) -> Candles:
    """Put candles of equal key together."""
    opens, starts = np.unique(keys, return_index=True)
    if len(opens) == len(keys):
        return Candles(opens, values)
    ends = np.append(starts[1:], len(keys)) - 1
    total = {
        name: np.add.reduceat(values[name].astype(np.float64), starts).astype(np.float32)
        for name in ("volume", "quote_volume")
    }
    return Candles(
        opens,
        {
            "open": values["open"][starts],
            "high": np.maximum.reduceat(values["high"], starts),
            "low": np.minimum.reduceat(values["low"], starts),
            "close": values["close"][ends],
            **total,
        },
    )
