"""The spot account: coins, free and locked."""

from __future__ import annotations

from decimal import Decimal, localcontext

from bascule.bridge.exchange.account import Account, poor
from bascule.bridge.exchange.book import Side
from bascule.bridge.exchange.ledger import EXACT, FREE, LOCKED, MARKET
from bascule.bridge.exchange.orders import Order, Trade

ZERO = Decimal(0)


class SpotAccount(Account):
    """Buys pay in quote and receive base, less a fee in base; sells the other way about."""

    def reserve(self, order: Order) -> None:
        """Sells lock their base units; buys with a price lock its value."""
        asset = self.listings[order.symbol].instrument
        with localcontext(EXACT):
            if order.side == "SELL":
                order.lock_asset, amount = asset.base, order.quantity
            elif order.price is not None or order.stop is not None:
                price = order.price if order.price is not None else order.stop
                assert price is not None
                order.lock_asset, amount = asset.quote, price * order.quantity
            else:
                return
            if self.ledger.balance(FREE, order.lock_asset) < amount:
                raise poor(False)
        order.lock_amount = amount
        self._move(order, amount, order.created, "lock")

    def _move(self, order: Order, amount: Decimal, ms: int, kind: str) -> None:
        self.ledger.post(
            ms,
            kind,
            str(order.id),
            (FREE, order.lock_asset, -amount),
            (LOCKED, order.lock_asset, amount),
            symbol=order.symbol,
        )

    def release(self, order: Order, ms: int) -> None:
        """Unlock what was not used."""
        if order.lock_amount:
            self._move(order, -order.lock_amount, ms, "unlock")
            order.lock_amount = ZERO

    def affordable(self, symbol: str, side: Side, fills: list[tuple[Decimal, Decimal]]) -> bool:
        """A buyer needs the fills' value in quote, a seller their quantity in base."""
        asset = self.listings[symbol].instrument
        with localcontext(EXACT):
            if side == "SELL":
                return self.ledger.balance(FREE, asset.base) >= sum((q for _, q in fills), ZERO)
            return self.ledger.balance(FREE, asset.quote) >= sum((p * q for p, q in fills), ZERO)

    def settle(
        self, order: Order, price: Decimal, quantity: Decimal, turnover: Decimal, *, maker: bool, ms: int
    ) -> Trade:
        """Exchange base for quote, and pay the fee out of what came in."""
        asset = self.listings[order.symbol].instrument
        base, quote = asset.base, asset.quote
        if order.side == "BUY":
            limit = order.price if order.price is not None else order.stop
            held = min(order.lock_amount, limit * quantity) if order.lock_amount and limit else ZERO
            given = [(LOCKED, quote, -held), (FREE, quote, held - turnover), (MARKET, quote, turnover)]
            got, received = (FREE, base, quantity), quantity
            back = (MARKET, base, -quantity)
            asset_in = base
        else:
            held = min(order.lock_amount, quantity)
            given = [(LOCKED, base, -held), (FREE, base, held - quantity), (MARKET, base, quantity)]
            got, received = (FREE, quote, turnover), turnover
            back = (MARKET, quote, -turnover)
            asset_in = quote
        order.lock_amount -= held
        fee = self.commission(received, maker)
        trade = self.new_trade(order, price, quantity, turnover, fee=fee, asset=asset_in, maker=maker, ms=ms)
        self.ledger.post(ms, "trade", str(trade.id), *given, got, back, symbol=order.symbol)
        self.pay_fee(trade)
        return trade

    def own_differences(self) -> list[str]:
        """What is locked is what open orders hold, nothing is below zero, and trades explain every change."""
        found = []
        with localcontext(EXACT):
            held: dict[str, Decimal] = {}
            for order in self.orders.values():
                if order.lock_amount:
                    held[order.lock_asset] = held.get(order.lock_asset, ZERO) + order.lock_amount
                    if not order.is_open:
                        found.append(f"order {order.id} has ended and still holds {order.lock_amount}")
            expected = dict(self.settings.balances)
            for trade in self.trades:
                asset = self.listings[trade.symbol].instrument
                sign = 1 if trade.side == "BUY" else -1
                for name, change in (
                    (asset.base, sign * trade.quantity),
                    (asset.quote, -sign * trade.turnover),
                    (trade.fee_asset, -trade.fee),
                ):
                    expected[name] = expected.get(name, ZERO) + change
            for asset_name in self.ledger.assets():
                free, locked = (self.ledger.balance(a, asset_name) for a in (FREE, LOCKED))
                if locked != held.get(asset_name, ZERO):
                    found.append(f"{asset_name}: {locked} locked, orders hold {held.get(asset_name, ZERO)}")
                if free < 0 or locked < 0:
                    found.append(f"{asset_name}: negative balance (free {free}, locked {locked})")
                if free + locked != expected.get(asset_name, ZERO):
                    found.append(f"{asset_name}: {free + locked} held, {expected.get(asset_name)} by trades")
        return found
