"""What spot and futures accounts have in common: orders, trades, the ledger, news for streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext

from bascule.bridge.exchange.book import Side
from bascule.bridge.exchange.ledger import DEPOSIT, EXACT, FEES, FREE, Ledger
from bascule.bridge.exchange.market import Listing
from bascule.bridge.exchange.orders import AccountSettings, Event, Order, Position, Trade
from bascule.bridge.exchange.wire import Refusal

UNIT = Decimal("0.00000001")  # Binance books fees and margins with eight decimals
Prices = Callable[[str], Decimal | None]


class Account(ABC):
    """One trader's account.

    Args:
        settings: balances and terms.
        listings: symbol → listing.
        prices: symbol → last price, as of the moment being processed.
        now: Unix milliseconds of the first deposit.

    Attributes:
        orders: number → order, all that ever were.
        trades: all fills, oldest first.
        positions: symbol → position (futures; empty on spot).
        outbox: what the user's data streams have not been told yet.
        changed: numbers of orders changed since the last save.
    """

    futures = False

    def __init__(
        self, settings: AccountSettings, listings: dict[str, Listing], prices: Prices, now: int
    ) -> None:
        self.settings = settings
        self.listings = listings
        self.prices = prices
        self.maker_fee, self.taker_fee = settings.fees(self.futures)
        self.ledger = Ledger()
        self.orders: dict[int, Order] = {}
        self._open: dict[int, Order] = {}
        self.trades: list[Trade] = []
        self.positions: dict[str, Position] = {}
        self.outbox: list[Event] = []
        self.changed: set[int] = set()
        for asset, amount in sorted(settings.balances.items()):
            self.ledger.post(now, "deposit", asset, (DEPOSIT, asset, -amount), (FREE, asset, amount))

    def restore(
        self,
        orders: Iterable[Order],
        trades: Iterable[Trade],
        positions: Iterable[Position],
        ledger: Ledger,
    ) -> None:
        """Take over a saved state."""
        self.orders = {order.id: order for order in sorted(orders, key=lambda order: order.id)}
        self._open = {number: order for number, order in self.orders.items() if order.is_open}
        self.trades = list(trades)
        self.positions = {position.symbol: position for position in positions}
        self.ledger = ledger

    # -- orders ------------------------------------------------------------------------------------

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Orders that can still trade, oldest first."""
        return [o for o in self._open.values() if symbol in (None, o.symbol)]

    def add(self, order: Order) -> None:
        """Take an accepted order into the books.

        Raises:
            Refusal: it cannot be paid for; nothing has changed.
        """
        self.reserve(order)
        self.orders[order.id] = order
        self.touch(order, order.created)

    def touch(self, order: Order, ms: int, trade: Trade | None = None) -> None:
        """Note that an order changed and tell the streams."""
        order.updated = ms
        self.changed.add(order.id)
        if order.is_open:
            self._open[order.id] = order
        else:
            self._open.pop(order.id, None)
        self.outbox.append(
            Event(
                kind="order",
                ms=ms,
                order=order.model_copy(),
                trade=None if trade is None else trade.model_copy(),
            )
        )

    def fill(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool, ms: int) -> Trade:
        """Book one fill of an order."""
        with localcontext(EXACT):
            turnover = price * quantity
            trade = self.settle(order, price, quantity, turnover, maker=maker, ms=ms)
            order.executed += quantity
            order.turnover += turnover
        self.trades.append(trade)
        if order.left == 0:
            order.status = "FILLED"
            self.release(order, ms)
        else:
            order.status = "PARTIALLY_FILLED"
        self.touch(order, ms, trade)
        self.outbox.append(Event(kind="account", ms=ms, detail={"symbol": order.symbol, "reason": "ORDER"}))
        return trade

    def end(self, order: Order, status: str, ms: int, note: str = "") -> None:
        """An order stops without (further) fills: what was held for it is free again."""
        order.status = status  # type: ignore[assignment]
        order.note = note
        self.release(order, ms)
        self.touch(order, ms)

    def new_trade(
        self,
        order: Order,
        price: Decimal,
        quantity: Decimal,
        turnover: Decimal,
        *,
        fee: Decimal,
        asset: str,
        maker: bool,
        ms: int,
        realised: Decimal = Decimal(0),
    ) -> Trade:
        """The record of a fill."""
        return Trade(
            id=len(self.trades) + 1,
            order=order.id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            turnover=turnover,
            fee=fee,
            fee_asset=asset,
            maker=maker,
            ms=ms,
            realised=realised,
        )

    def pay_fee(self, trade: Trade) -> None:
        """Book a fill's commission."""
        self.ledger.post(
            trade.ms,
            "fee",
            str(trade.id),
            (FREE, trade.fee_asset, -trade.fee),
            (FEES, trade.fee_asset, trade.fee),
            symbol=trade.symbol,
        )

    def commission(self, value: Decimal, maker: bool) -> Decimal:
        """Fee of a value, in the value's asset, rounded to eight decimals."""
        rate = self.maker_fee if maker else self.taker_fee
        return rounded(value * rate)

    def differences(self) -> list[str]:
        """What does not reconcile, in words; empty when every unit is accounted for."""
        found = self.ledger.differences()
        with localcontext(EXACT):
            traded: dict[int, tuple[Decimal, Decimal]] = {}
            paid: dict[str, Decimal] = {}
            for trade in self.trades:
                quantity, turnover = traded.get(trade.order, (Decimal(0), Decimal(0)))
                traded[trade.order] = (quantity + trade.quantity, turnover + trade.turnover)
                paid[trade.fee_asset] = paid.get(trade.fee_asset, Decimal(0)) + trade.fee
            nothing = (Decimal(0), Decimal(0))
            found += [
                f"order {order.id}: fills do not sum to what it executed"
                for order in self.orders.values()
                if traded.get(order.id, nothing) != (order.executed, order.turnover)
            ]
            found += [
                f"fees in {asset}: {self.ledger.balance(FEES, asset)} booked, {fee} by trades"
                for asset, fee in paid.items()
                if fee != self.ledger.balance(FEES, asset)
            ]
            return found + self.own_differences()

    # -- what differs ------------------------------------------------------------------------------

    @abstractmethod
    def reserve(self, order: Order) -> None:
        """Hold what the order may cost.

        Raises:
            Refusal: there is not enough.
        """

    @abstractmethod
    def release(self, order: Order, ms: int) -> None:
        """Give back what is still held."""

    @abstractmethod
    def affordable(self, symbol: str, side: Side, fills: list[tuple[Decimal, Decimal]]) -> bool:
        """Whether fills (price, quantity) of a new market order could be paid for."""

    @abstractmethod
    def settle(
        self, order: Order, price: Decimal, quantity: Decimal, turnover: Decimal, *, maker: bool, ms: int
    ) -> Trade:
        """Book a fill; exact arithmetic is in force."""

    @abstractmethod
    def own_differences(self) -> list[str]:
        """What does not reconcile in this kind of account."""


def rounded(value: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
    """To eight decimals, half up unless said otherwise. The caller may have exact arithmetic in force."""
    with localcontext(EXACT) as context:
        context.clear_traps()
        return value.quantize(UNIT, rounding)


def poor(futures: bool) -> Refusal:
    """Not enough money, in Binance's words."""
    if futures:
        return Refusal(-2019, "Margin is insufficient.")
    return Refusal(-2010, "Account has insufficient balance for requested action.")
