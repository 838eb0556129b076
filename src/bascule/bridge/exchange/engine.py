"""The matching engine: one trader's orders against the replayed market.

1. `advance` brings the account up to the clock: all ticks of the symbols that have open orders or positions,
   and all funding settlements, since the last call, in order of time (funding before ticks, symbols by name).
   Nothing depends on how often it is called.
2. At a tick, first positions are held against their margin and liquidated (`futures`); then stop orders whose
   price is reached are set off; then resting limit orders are filled.
3. A resting limit order fills at its own price, and only when the market trades *through* it (a tick beyond
   the price, not at it), oldest first, by at most ``participation`` of the tick's volume for all of them
   together. So an order in a thin market fills in parts.
4. A market order, or a limit order that crosses the book, takes level after level of the made-up book
   (`book`): large orders pay for their size. What the book or the limit does not give rests, or expires.
5. Stop orders become market or limit orders at the tick that reaches them, which may lie beyond their price:
   a gap is paid for.
6. When a symbol leaves the exchange its orders expire; a futures position is settled at the last price.

Every fill is booked exactly (`ledger`); the engine itself never rounds money.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.account import Account, poor
from bascule.bridge.exchange.book import Depth, Level
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.intake import Request
from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.orders import AccountSettings, Order
from bascule.bridge.exchange.path import Tick
from bascule.bridge.exchange.spot import SpotAccount
from bascule.bridge.exchange.wire import Refusal

ZERO = Decimal(0)
_FUNDING, _TICK, _HALT = 0, 1, 2


@dataclass(order=True, frozen=True)
class _Moment:
    ms: int
    rank: int
    symbol: str
    number: int  # ticks of one symbol in one millisecond keep their order


class Engine:
    """See above.

    Args:
        market: the market.
        settings: the trader's terms.

    Attributes:
        account: the trader's account.
        at: Unix milliseconds up to which everything has happened.
    """

    def __init__(self, market: ReplayMarket, settings: AccountSettings | None = None) -> None:
        self.market = market
        self.settings = settings or AccountSettings()
        self.at = market.now_ms()
        self.depth = Depth()
        self._seen: dict[str, Decimal] = {}
        kind = FuturesAccount if market.kind == "futures" else SpotAccount
        self.account: Account = kind(self.settings, market.listings, self._price, self.at)
        # the public market never changes after this, only the clock and the account do
        self._halted = {s: ms for s, ms in market.halts.items() if s in market.listings}

    def _price(self, symbol: str) -> Decimal | None:
        if symbol in self._seen:
            return self._seen[symbol]
        return self.market.last_decimal(self.market.listings[symbol], self.at)

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

    def _rest(self, order: Order, tick: Tick, budget: Decimal) -> Decimal:
        """Fill a resting order at a tick; what it took of the volume."""
        assert order.price is not None
        through = tick.price < order.price if order.side == "BUY" else tick.price > order.price
        if not through:
            return ZERO
        self._after_reduction(order, tick.ms)
        step = self._step(order.symbol)
        quantity = min(self._fillable(order), budget.quantize(step, ROUND_DOWN))
        if quantity <= 0 or not order.is_open:
            return ZERO
        self.account.fill(order, order.price, quantity, maker=True, ms=tick.ms)
        self._after_reduction(order, tick.ms)
        return quantity

    def _step(self, symbol: str) -> Decimal:
        return Decimal(1).scaleb(-self.market.listings[symbol].quantity_decimals)

    def _fillable(self, order: Order) -> Decimal:
        """What may still trade: a reducing order no more than the position."""
        if not (order.reduce_only or order.close_position):
            return order.left
        position = self.account.positions.get(order.symbol)
        amount = position.amount if position else ZERO
        against = abs(amount) if (amount > 0) == (order.side == "SELL") else ZERO
        return min(order.left, against)

    def _after_reduction(self, order: Order, ms: int) -> None:
        """A reducing order has nothing left to do once the position is gone."""
        if order.is_open and self._fillable(order) <= 0:
            self.account.end(order, "EXPIRED", ms, "the position is closed")

    def _liquidate(self, account: FuturesAccount, symbol: str, ms: int) -> None:
        for order in account.open_orders(symbol):
            account.end(order, "CANCELED", ms, "liquidation")
        amount = account.position(symbol).amount
        forced = Order(
            id=self.next_id(),
            client_id=f"autoclose-{ms}",
            symbol=symbol,
            side="SELL" if amount > 0 else "BUY",
            type="LIQUIDATION",
            lifetime="IOC",
            quantity=abs(amount),
            reduce_only=True,
            created=ms,
            updated=ms,
        )
        account.liquidate(forced, ms)

    def _halt(self, symbol: str, ms: int) -> None:
        account = self.account
        for order in account.open_orders(symbol):
            account.end(order, "EXPIRED", ms, "the symbol has left the exchange")
        position = account.positions.get(symbol)
        price = self._price(symbol)
        if position and position.amount and price is not None:
            settled = Order(
                id=self.next_id(),
                client_id=f"settlement-{ms}",
                symbol=symbol,
                side="SELL" if position.amount > 0 else "BUY",
                type="SETTLEMENT",
                lifetime="IOC",
                quantity=abs(position.amount),
                reduce_only=True,
                created=ms,
                updated=ms,
            )
            account.orders[settled.id] = settled
            account.fill(settled, price, settled.quantity, maker=False, ms=ms)

    # -- orders ------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """A number that no order has."""
        return next(reversed(self.account.orders), 0) + 1

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

    def _worth(self, order: Order, listing: Listing) -> Decimal:
        """Quantity that a market order by value gets from the book."""
        assert order.budget is not None
        left, quantity, step = order.budget, ZERO, self._step(order.symbol)
        for price, amount in self._book(listing, order):
            got = min(amount, (left / price).quantize(step, ROUND_DOWN))
            quantity += got
            left -= got * price
            if got < amount:
                break
        return quantity

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

    def _work(self, order: Order, listing: Listing, fills: list[Level], ms: int) -> None:
        """A limit order meets the book: take, then rest or expire."""
        whole = sum((q for _, q in fills), ZERO) >= order.left
        if order.lifetime == "FOK" and not whole:
            self.account.end(order, "EXPIRED", ms, "the book does not hold enough")
            return
        self._take(order, listing, fills, ms)
        if order.is_open and order.lifetime in ("IOC", "FOK"):
            self.account.end(order, "EXPIRED", ms, "not filled at once")

    def _sweep(self, order: Order, listing: Listing) -> list[Level]:
        """What the book gives an order now: prices and quantities, up to its limit."""
        left, fills = self._fillable(order), []
        for price, amount in self._book(listing, order):
            beyond = order.price is not None and (
                price > order.price if order.side == "BUY" else price < order.price
            )
            if left <= 0 or beyond:
                break
            got = min(left, amount)
            fills.append((price, got))
            left -= got
        return fills

    def _book(self, listing: Listing, order: Order) -> list[Level]:
        price = self._price(order.symbol)
        return [] if price is None else self.depth.left(self.market, listing, self.at, order.side, price)

    def _take(self, order: Order, listing: Listing, fills: list[Level], ms: int) -> None:
        for price, quantity in fills:
            self.account.fill(order, price, quantity, maker=False, ms=ms)
        last = self._price(order.symbol)
        if last is not None:
            self.depth.take(order.symbol, last, order.side, sum((q for _, q in fills), ZERO))
        if fills:
            self._after_reduction(order, ms)

    def _trigger(self, order: Order, ms: int) -> None:
        """A stop order's price is reached. A futures one becomes an order of its own number."""
        listing, account = self.market.listings[order.symbol], self.account
        order.triggered = ms
        working = order
        if order.algo:
            working = self._from_algo(order, ms)
            order.status, order.actual = "FILLED", working.id
            account.touch(order, ms)
            try:
                account.add(working)
            except Refusal as refusal:
                working.status, working.note = "EXPIRED", refusal.message
                account.orders[working.id] = working
                account.touch(working, ms)
                return
        else:
            order.status = "NEW"
            account.touch(order, ms)
        if working.price is not None:
            self._work(working, listing, self._sweep(working, listing), ms)
            return
        fills = self._sweep(working, listing)
        if working.lock_asset != listing.instrument.base and not self._payable(working, fills):
            account.end(working, "EXPIRED", ms, "not enough money at the trigger")
            return
        self._take(working, listing, fills, ms)
        if working.is_open:
            account.end(working, "EXPIRED", ms, "the book is empty")

    def _payable(self, order: Order, fills: list[Level]) -> bool:
        """A triggered market order: what was held for it counts as free."""
        if self.account.futures:
            return order.reduce_only or self.account.affordable(order.symbol, order.side, fills)
        self.account.release(order, self.at)
        return self.account.affordable(order.symbol, order.side, fills)

    def _from_algo(self, order: Order, ms: int) -> Order:
        position = self.account.positions.get(order.symbol)
        whole = abs(position.amount) if position else ZERO
        return order.model_copy(
            update={
                "id": self.next_id(),
                "type": "MARKET" if order.price is None else "LIMIT",
                "algo": False,
                "quantity": whole if order.close_position else order.quantity,
                "reduce_only": order.reduce_only or order.close_position,
                "stop": None,
                "status": "NEW",
                "created": ms,
                "updated": ms,
            }
        )

    def find(
        self, symbol: str, *, number: int | None, client_id: str | None, algo: bool = False
    ) -> Order | None:
        """An order by number or by the client's name (the newest of that name)."""
        for order in reversed(self.account.orders.values()):
            if order.symbol != symbol or order.algo != algo:
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
