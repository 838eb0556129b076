"""The matching engine: one trader's orders against the replayed market.

1. `advance` brings the account up to the clock: all ticks of the symbols that have open orders or positions,
   and all funding settlements, since the last call, in order of time (funding before ticks, symbols by name).
   Nothing depends on how often it is called.
2. At a tick, first positions are held against their margin and liquidated (`futures`); then, oldest first,
   stop orders whose price is reached are set off and resting limit orders filled, together by at most
   ``participation`` of the tick's volume. So an order in a thin market fills in parts. How a single order
   trades is told in `matching`.
3. A new order is held against the market (`place`), then meets the book.
4. When a symbol leaves the exchange its orders expire; a futures position is settled at the last price.

Every fill is booked exactly (`ledger`); the engine itself never rounds money.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.account import poor
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.intake import Request
from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.matching import ZERO, Matching
from bascule.bridge.exchange.orders import AccountSettings, Order
from bascule.bridge.exchange.path import Tick
from bascule.bridge.exchange.wire import Refusal

_FUNDING, _TICK, _HALT = 0, 1, 2


@dataclass(order=True, frozen=True)
class _Moment:
    ms: int
    rank: int
    symbol: str
    number: int  # ticks of one symbol in one millisecond keep their order


class Engine(Matching):
    """See above; arguments and attributes are those of `Matching`."""

    def __init__(self, market: ReplayMarket, settings: AccountSettings | None = None) -> None:
        super().__init__(market, settings)
        # the public market never changes after this, only the clock and the account do
        self._halted = {s: ms for s, ms in market.halts.items() if s in market.listings}

    # -- time --------------------------------------------------------------------------------------

    def advance(self, now: int | None = None) -> None:
        """Let everything happen up to now (Unix milliseconds, default the market's clock)."""
        until = self.market.now_ms() if now is None else now
        if until <= self.at:
            return
        active = {o.symbol for o in self.account.open_orders()}
        active |= {s for s, p in self.account.positions.items() if p.amount}
        if active:
            start = self.at
            self._seen = {s: p for s in active if (p := self._price(s)) is not None}
            streams = [self._moments(symbol, start, until) for symbol in sorted(active)]
            for moment, event in heapq.merge(*streams, key=lambda pair: pair[0]):
                self.at = max(self.at, moment.ms)
                self._happens(moment, event)
            self._seen = {}
        self.at = until

    def _moments(
        self, symbol: str, after: int, until: int
    ) -> Iterator[tuple[_Moment, Tick | Decimal | None]]:
        listing = self.market.listings[symbol]
        found: list[tuple[_Moment, Tick | Decimal | None]] = []
        if self.market.kind == "futures":
            for ms, rate in self.market.funding(
                listing, now=until, start=after + 1, end=until, limit=1_000_000
            ):
                found.append((_Moment(ms, _FUNDING, symbol, 0), Decimal(wire.number(rate))))
        for number, tick in enumerate(self.market.ticks(listing, after, until)):
            found.append((_Moment(tick.ms, _TICK, symbol, number), tick))
        halt = self._halted.get(symbol)
        if halt is not None and after < halt <= until:
            found.append((_Moment(halt, _HALT, symbol, 0), None))
        yield from sorted(found, key=lambda pair: pair[0])

    def _happens(self, moment: _Moment, event: Tick | Decimal | None) -> None:
        account = self.account
        if isinstance(event, Tick):
            self._seen[moment.symbol] = event.price
            self._tick(moment.symbol, event)
        elif event is None:
            self._halt(moment.symbol, moment.ms)
        elif isinstance(account, FuturesAccount) and account.position(moment.symbol).amount:
            account.pay_funding(moment.symbol, event, moment.ms)

    def _tick(self, symbol: str, tick: Tick) -> None:
        account = self.account
        if isinstance(account, FuturesAccount):
            for victim in account.doomed(symbol):
                self._liquidate(account, victim, tick.ms)
        budget = tick.volume * self.settings.participation
        for order in account.open_orders(symbol):
            if order.status == "PENDING":
                if order.triggers_at(tick.price):
                    self._trigger(order, tick.ms)
            elif order.is_open and order.price is not None:
                budget -= self._rest(order, tick, budget)

    def _liquidate(self, account: FuturesAccount, symbol: str, ms: int) -> None:
        for order in account.open_orders(symbol):
            account.end(order, "CANCELED", ms, "liquidation")
        forced = self._whole(symbol, account.position(symbol).amount, "LIQUIDATION", f"autoclose-{ms}", ms)
        account.liquidate(forced, ms)

    def _halt(self, symbol: str, ms: int) -> None:
        account = self.account
        for order in account.open_orders(symbol):
            account.end(order, "EXPIRED", ms, "the symbol has left the exchange")
        position = account.positions.get(symbol)
        price = self._price(symbol)
        if position and position.amount and price is not None:
            settled = self._whole(symbol, position.amount, "SETTLEMENT", f"settlement-{ms}", ms)
            account.orders[settled.id] = settled
            account.fill(settled, price, settled.quantity, maker=False, ms=ms)

    def _whole(self, symbol: str, amount: Decimal, kind: str, name: str, ms: int) -> Order:
        """The exchange's own order that closes a position of this signed amount."""
        return Order(
            id=self.next_id(),
            client_id=name,
            symbol=symbol,
            side="SELL" if amount > 0 else "BUY",
            type=kind,
            lifetime="IOC",
            quantity=abs(amount),
            reduce_only=True,
            created=ms,
            updated=ms,
        )

    # -- orders ------------------------------------------------------------------------------------

    def place(self, request: Request, listing: Listing) -> Order:
        """Take an order in; it may be filled at once.

        Raises:
            Refusal: it is not accepted; nothing has changed.
        """
        self.advance()
        symbol = listing.instrument.symbol
        self._check(request, listing)
        order = Order(
            id=self.next_id(),
            client_id=request.client_id or f"replay-{self.next_id()}",
            symbol=symbol,
            side=request.side,
            type=request.type,
            lifetime=request.lifetime,
            quantity=request.quantity or ZERO,
            budget=request.budget,
            price=request.price,
            stop=request.stop,
            post_only=request.post_only,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
            working_type=request.working_type,
            algo=request.algo,
            created=self.at,
            updated=self.at,
        )
        if request.is_stop:
            self._place_stop(order, listing)
        elif order.type == "MARKET":
            self._place_market(order, listing)
        else:
            self._place_limit(order, listing)
        return order

    def _check(self, request: Request, listing: Listing) -> None:
        symbol, futures = listing.instrument.symbol, self.account.futures
        if not self.market.is_trading(listing, self.at):
            if futures:
                raise Refusal(-4140, "Invalid symbol status for opening position.")
            raise Refusal(-1013, "Market is closed.")
        price = self._price(symbol)
        if price is None:
            raise Refusal(-1013, "Market is closed.")
        mine = self.account.open_orders(symbol)
        if request.client_id and any(o.client_id == request.client_id for o in mine):
            if futures:
                raise Refusal(-4116, "ClientOrderId is duplicated.")
            raise Refusal(-2010, "Duplicate order sent.")
        if len(mine) >= self.settings.order_limit:
            raise Refusal(-1013 if not futures else -4045, "Filter failure: MAX_NUM_ORDERS")
        value = request.budget
        if value is None and request.quantity is not None:
            value = request.quantity * (request.price or request.stop or price)
        # an order that only reduces may be as small as what is left
        if value is not None and value < self.market.min_notional and not request.reduce_only:
            if futures:
                least = self.market.min_notional
                raise Refusal(
                    -4164,
                    f"Order's notional must be no smaller than {least} (unless you choose reduce only).",
                )
            raise Refusal(-1013, "Filter failure: NOTIONAL")

    def _place_stop(self, order: Order, listing: Listing) -> None:
        price = self._price(order.symbol)
        if price is not None and order.triggers_at(price):
            if self.account.futures:
                raise Refusal(-2021, "Order would immediately trigger.")
            raise Refusal(-2010, "Stop price would trigger immediately.")
        order.status = "PENDING"
        self.account.add(order)

    def _place_market(self, order: Order, listing: Listing) -> None:
        if order.budget is not None:
            order.quantity = self._worth(order, listing)
            if order.quantity <= 0:
                raise Refusal(-1013, "Filter failure: LOT_SIZE")
        fills = self._sweep(order, listing)
        pays_first = order.side == "BUY" or self.account.futures
        if pays_first and not self.account.affordable(order.symbol, order.side, fills):
            raise poor(self.account.futures)
        self.account.add(order)
        self._take(order, listing, fills, self.at)
        if order.is_open:
            self.account.end(order, "EXPIRED", self.at, "the book is empty")

    def _place_limit(self, order: Order, listing: Listing) -> None:
        fills = self._sweep(order, listing)
        if order.post_only and fills:
            if self.account.futures:
                message = (
                    "Due to the order could not be executed as maker, the Post Only order will be rejected."
                )
                raise Refusal(-5022, message)
            raise Refusal(-2010, "Order would immediately match and take.")
        if fills and self.account.futures and not self.account.affordable(order.symbol, order.side, fills):
            raise poor(True)
        self.account.add(order)
        self._work(order, listing, fills, self.at)

    def find(self, symbol: str, *, number: int | None, client_id: str | None) -> Order | None:
        """An order by number or by the client's name (the newest of that name); no conditional one."""
        for order in reversed(self.account.orders.values()):
            if order.symbol != symbol or order.algo:
                continue
            if order.id == number or (number is None and order.client_id == client_id):
                return order
        return None

    def cancel(self, order: Order) -> Order:
        """Cancel an open order.

        Raises:
            Refusal: it is not open any more.
        """
        if not order.is_open:
            raise Refusal(-2011, "Unknown order sent.")
        self.account.end(order, "CANCELED", self.at)
        return order
