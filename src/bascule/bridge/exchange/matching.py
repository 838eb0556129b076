"""One order against the market of a moment: how much of it trades, at what prices, what becomes of the rest.

1. A resting limit order fills at its own price, and only when the market trades *through* it (a tick beyond
   the price, not at it), by at most what is left of the tick's volume.
2. A market order, or a limit order that crosses the book, takes level after level of the made-up book
   (`book`): large orders pay for their size. What the book or the limit does not give rests, or expires.
3. Stop orders become market or limit orders at the tick that reaches them, which may lie beyond their price:
   a gap is paid for. A futures one becomes an order of its own number.
4. What only reduces never trades more than the position, and ends with it.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from bascule.bridge.exchange.account import Account
from bascule.bridge.exchange.book import Depth, Level
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.orders import AccountSettings, Order
from bascule.bridge.exchange.path import Tick
from bascule.bridge.exchange.spot import SpotAccount
from bascule.bridge.exchange.wire import Refusal

ZERO = Decimal(0)


class Matching:
    """What `engine.Engine` does with a single order.

    Args:
        market: the market.
        settings: the trader's terms.

    Attributes:
        account: the trader's account.
        depth: what earlier orders have taken from the book.
        at: Unix milliseconds up to which everything has happened.
    """

    def __init__(self, market: ReplayMarket, settings: AccountSettings | None = None) -> None:
        self.market = market
        self.settings = settings or AccountSettings()
        self.at = market.now_ms()
        self.depth = Depth()
        # last prices inside the stretch of time that is being worked through
        self._seen: dict[str, Decimal] = {}
        kind = FuturesAccount if market.kind == "futures" else SpotAccount
        self.account: Account = kind(self.settings, market.listings, self._price, self.at)

    def next_id(self) -> int:
        """A number that no order has."""
        return next(reversed(self.account.orders), 0) + 1

    def _price(self, symbol: str) -> Decimal | None:
        if symbol in self._seen:
            return self._seen[symbol]
        return self.market.last_decimal(self.market.listings[symbol], self.at)

    # -- resting ------------------------------------------------------------------------------------

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
        return min(order.left, position.against(order.side) if position else ZERO)

    def _after_reduction(self, order: Order, ms: int) -> None:
        """A reducing order has nothing left to do once the position is gone."""
        if order.is_open and self._fillable(order) <= 0:
            self.account.end(order, "EXPIRED", ms, "the position is closed")

    # -- the book -----------------------------------------------------------------------------------

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

    # -- stops --------------------------------------------------------------------------------------

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
