"""The futures account: one wallet in the margin asset, positions in one-way mode, isolated or crossed margin.

1. A fill first closes what lies on the other side: its share of the position's cost (the whole of it at the
   last unit, so that no rounding stays behind) against the price gives the realised profit. With isolated
   margin the same share of the margin goes back to the wallet.
2. What is left opens: with isolated margin value / leverage moves from the wallet to the position.
3. Commission leaves the wallet.
4. At funding times every position pays amount · mark · rate (longs pay a positive rate, shorts receive it).
5. At every tick: an isolated position whose margin and profit fall to its maintenance margin is closed at
   that price, and what is left of the margin goes to the insurance fund; with crossed margin the wallet
   answers for all crossed positions together, and a liquidation fee is kept.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal, localcontext

from bascule.bridge.exchange.account import UNIT, Account, poor, rounded
from bascule.bridge.exchange.book import Side
from bascule.bridge.exchange.brackets import bracket_of, brackets, maintenance
from bascule.bridge.exchange.ledger import EXACT, FREE, FUNDING, INSURANCE, MARKET, isolated
from bascule.bridge.exchange.orders import Event, Order, Position, Trade
from bascule.bridge.exchange.wire import Refusal

ZERO = Decimal(0)


class FuturesAccount(Account):
    """USDT-margined perpetuals."""

    futures = True

    def position(self, symbol: str) -> Position:
        """The symbol's position, empty at first."""
        if symbol not in self.positions:
            self.positions[symbol] = Position(symbol=symbol, leverage=self.settings.leverage)
        return self.positions[symbol]

    def asset(self, symbol: str) -> str:
        """The margin asset."""
        settle: str | None = self.listings[symbol].instrument.settle
        assert settle is not None
        return settle

    def pair(self, symbol: str) -> str:
        """freqtrade's spelling."""
        name: str = self.listings[symbol].instrument.pair
        return name

    # -- margin ------------------------------------------------------------------------------------

    def mark(self, symbol: str) -> Decimal:
        """The mark price: a panel cannot tell it from the last price."""
        return self.prices(symbol) or ZERO

    def margin(self, symbol: str) -> Decimal:
        """Isolated margin of a position."""
        return self.ledger.balance(isolated(symbol), self.asset(symbol))

    def profit(self, symbol: str) -> Decimal:
        """Unrealised profit of a position."""
        return self.position(symbol).profit(self.mark(symbol))

    def initial_margin(self, symbol: str) -> Decimal:
        """Margin that a position's value needs at its leverage."""
        position = self.position(symbol)
        return abs(position.amount) * self.mark(symbol) / position.leverage

    def maintenance(self, symbol: str) -> Decimal:
        """Margin that a position must keep."""
        position = self.position(symbol)
        return maintenance(self.pair(symbol), abs(position.amount) * self.mark(symbol))

    def crossed(self, asset: str) -> list[Position]:
        """Positions with crossed margin in an asset."""
        return [
            p
            for p in self.positions.values()
            if p.amount and not p.isolated and self.asset(p.symbol) == asset
        ]

    def order_margin(self, asset: str) -> Decimal:
        """Margin that open orders may need when they fill."""
        return sum(
            (self._needs(o) for o in self.open_orders() if self.asset(o.symbol) == asset and not o.algo), ZERO
        )

    def _needs(self, order: Order) -> Decimal:
        if order.reduce_only or order.price is None:
            return ZERO
        position = self.position(order.symbol)
        return max(order.left - position.against(order.side), ZERO) * order.price / position.leverage

    def available(self, asset: str) -> Decimal:
        """What new positions may use, in eight decimals; never below zero."""
        crossed = self.crossed(asset)
        profit = sum((self.profit(p.symbol) for p in crossed), ZERO)
        used = sum((self.initial_margin(p.symbol) for p in crossed), ZERO)
        return max(
            rounded(self.ledger.balance(FREE, asset) + profit - used - self.order_margin(asset), ROUND_DOWN),
            ZERO,
        )

    def liquidation_price(self, symbol: str) -> Decimal:
        """Where the position would be liquidated, other things equal; 0 = never.

        Binance's formula: (wallet + deduction - side · amount · entry) / (amount · ratio - side · amount).
        """
        position, pair = self.position(symbol), self.pair(symbol)
        if not position.amount:
            return ZERO
        asset, size = self.asset(symbol), abs(position.amount)
        if position.isolated:
            wallet = self.margin(symbol)
        else:
            others = [p.symbol for p in self.crossed(asset) if p.symbol != symbol]
            wallet = self.ledger.balance(FREE, asset)
            wallet += sum((self.profit(s) - self.maintenance(s) for s in others), ZERO)
        step = bracket_of(pair, size * self.mark(symbol))
        below = size * step.ratio - position.amount
        return max((wallet + step.deduction - position.cost) / below, ZERO) if below else ZERO

    # -- terms -------------------------------------------------------------------------------------

    def set_leverage(self, symbol: str, leverage: int, ms: int) -> Decimal:
        """Set a symbol's leverage; the most that a position may be worth with it.

        Raises:
            Refusal: no bracket allows it, or an isolated position would lose margin.
        """
        position, steps = self.position(symbol), brackets(self.pair(symbol))
        if not 1 <= leverage <= steps[0].leverage:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        if position.amount and position.isolated and leverage < position.leverage:
            raise Refusal(
                -4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions."
            )
        cap = max(step.cap for step in steps if step.leverage >= leverage)
        if abs(position.amount) * self.mark(symbol) > cap:
            raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
        position.leverage = leverage
        self._tell(symbol, "LEVERAGE", ms)
        return cap

    def _tell(self, symbol: str, reason: str, ms: int) -> None:
        self.outbox.append(Event(kind="account", ms=ms, detail={"symbol": symbol, "reason": reason}))

    def set_isolated(self, symbol: str, apart: bool, ms: int) -> None:
        """Set a symbol's margin type.

        Raises:
            Refusal: it is set already, or orders or a position are open.
        """
        position = self.position(symbol)
        if position.isolated == apart:
            raise Refusal(-4046, "No need to change margin type.")
        if self.open_orders(symbol):
            raise Refusal(-4047, "Margin type cannot be changed if there exists open orders.")
        if position.amount:
            raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
        position.isolated = apart
        self._tell(symbol, "MARGIN_TYPE_CHANGE", ms)

    def move_margin(self, symbol: str, amount: Decimal, ms: int) -> None:
        """Add isolated margin (or take it away with a negative amount).

        Raises:
            Refusal: no isolated position, or the money is not there.
        """
        position, asset = self.position(symbol), self.asset(symbol)
        if not position.isolated or not position.amount:
            raise Refusal(-4054, "Cannot add position margin: position is 0.")
        if amount > self.available(asset):
            raise Refusal(-4051, "Isolated balance insufficient.")
        spare = self.margin(symbol) + min(self.profit(symbol), ZERO) - self.initial_margin(symbol)
        if -amount > max(spare, ZERO):
            raise Refusal(-4051, "Isolated balance insufficient.")
        self._to_margin(symbol, amount, ms, "by hand")
        self._tell(symbol, "MARGIN_TRANSFER", ms)

    def _to_margin(self, symbol: str, amount: Decimal, ms: int, reference: str) -> None:
        asset = self.asset(symbol)
        self.ledger.post(
            ms, "margin", reference, (FREE, asset, -amount), (isolated(symbol), asset, amount), symbol=symbol
        )

    # -- orders ------------------------------------------------------------------------------------

    def reserve(self, order: Order) -> None:
        """Orders that would open need margin; reducing ones need a position."""
        position = self.position(order.symbol)
        reduces = position.against(order.side) > 0
        if (order.reduce_only or order.close_position) and not reduces and not order.algo:
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        if not order.algo and self._needs(order) > self.available(self.asset(order.symbol)):
            raise poor(True)

    def release(self, order: Order, ms: int) -> None:
        """Nothing is held: open orders count against what is available."""

    def affordable(self, symbol: str, side: Side, fills: list[tuple[Decimal, Decimal]]) -> bool:
        """Whether margin and fees of the part that opens can be paid, within the bracket of the leverage."""
        position = self.position(symbol)
        quantity = sum((q for _, q in fills), ZERO)
        value = sum((p * q for p, q in fills), ZERO)
        opening = max(quantity - position.against(side), ZERO)
        if not opening:
            return True
        share = opening / quantity
        needed = value * share / position.leverage + value * self.taker_fee
        return needed <= self.available(self.asset(symbol))

    def settle(
        self, order: Order, price: Decimal, quantity: Decimal, turnover: Decimal, *, maker: bool, ms: int
    ) -> Trade:
        """Close, open, pay."""
        symbol, asset = order.symbol, self.asset(order.symbol)
        position = self.position(symbol)
        sign = 1 if order.side == "BUY" else -1
        closing = min(quantity, position.against(order.side))
        realised = self._close(position, price, closing, ms, order.id) if closing else ZERO
        opening = quantity - closing
        if opening:
            position.amount += sign * opening
            position.cost += sign * opening * price
            if position.isolated:
                margin = _portion(opening * price, Decimal(1), Decimal(position.leverage), ROUND_UP)
                self._to_margin(symbol, margin, ms, str(order.id))
        position.updated = ms
        fee = self.commission(turnover, maker)
        trade = self.new_trade(
            order, price, quantity, turnover, fee=fee, asset=asset, maker=maker, ms=ms, realised=realised
        )
        self.pay_fee(trade)
        return trade

    def _close(self, position: Position, price: Decimal, closing: Decimal, ms: int, order: int) -> Decimal:
        symbol, asset = position.symbol, self.asset(position.symbol)
        size, whole = abs(position.amount), closing == abs(position.amount)
        side = 1 if position.amount > 0 else -1
        cost = position.cost if whole else _portion(position.cost, closing, size)
        realised = side * closing * price - cost
        home = isolated(symbol) if position.isolated else FREE
        self.ledger.post(
            ms, "pnl", str(order), (MARKET, asset, -realised), (home, asset, realised), symbol=symbol
        )
        position.amount -= side * closing
        position.cost -= cost
        if position.isolated:
            held = self.margin(symbol)
            # the profit of the closed part leaves with it; the margin in proportion
            back = held if whole else _portion(held - realised, closing, size) + realised
            self._to_margin(symbol, -back, ms, str(order))
        return realised

    # -- what time does ----------------------------------------------------------------------------

    def pay_funding(self, symbol: str, rate: Decimal, ms: int) -> None:
        """Book one settlement of funding for the symbol's position."""
        position, asset = self.position(symbol), self.asset(symbol)
        with localcontext(EXACT):
            amount = rounded(position.amount * self.mark(symbol) * rate)
        home = isolated(symbol) if position.isolated else FREE
        self.ledger.post(
            ms, "funding", symbol, (home, asset, -amount), (FUNDING, asset, amount), symbol=symbol
        )
        self._tell(symbol, "FUNDING_FEE", ms)

    def doomed(self, symbol: str) -> list[str]:
        """Symbols that must be liquidated, now that this symbol's price has moved."""
        position = self.position(symbol)
        if not position.amount:
            return []
        if position.isolated:
            equity = self.margin(symbol) + self.profit(symbol)
            return [symbol] if equity <= self.maintenance(symbol) else []
        asset = self.asset(symbol)
        crossed = [p.symbol for p in self.crossed(asset)]
        equity = self.ledger.balance(FREE, asset) + sum((self.profit(s) for s in crossed), ZERO)
        return crossed if equity <= sum((self.maintenance(s) for s in crossed), ZERO) else []

    def liquidate(self, order: Order, ms: int) -> None:
        """Close a position by force: ``order`` is the exchange's own, for the whole of it."""
        symbol, asset = order.symbol, self.asset(order.symbol)
        position = self.position(symbol)
        apart, price = position.isolated, self.mark(symbol)
        before = self.margin(symbol)
        self.orders[order.id] = order
        trade = self.fill(order, price, order.quantity, maker=False, ms=ms)
        with localcontext(EXACT):
            if apart:
                # the whole of the margin is lost, and not more: what it left over, or lacks, is the fund's
                kept = before + trade.realised - trade.fee
            else:
                kept = rounded(trade.turnover * self.settings.liquidation_fee)
                kept = min(kept, self.ledger.balance(FREE, asset))
        self.ledger.post(
            ms, "liquidation", str(order.id), (FREE, asset, -kept), (INSURANCE, asset, kept), symbol=symbol
        )

    def own_differences(self) -> list[str]:
        """The wallet follows from deposits, trades, funding and liquidations; positions from trades."""
        found = []
        with localcontext(EXACT):
            for asset in self.ledger.assets():
                own = sum((v for (a, s), v in self.ledger.balances().items() if s == asset and _own(a)), ZERO)
                mine = [t for t in self.trades if t.fee_asset == asset]
                outside = sum((self.ledger.balance(a, asset) for a in (FUNDING, INSURANCE)), ZERO)
                expected = self.settings.balances.get(asset, ZERO) - outside
                expected += sum((t.realised - t.fee for t in mine), ZERO)
                if own != expected:
                    found.append(f"{asset}: {own} held, {expected} by trades, funding and liquidations")
            for symbol, position in self.positions.items():
                traded = sum(
                    (
                        t.quantity if t.side == "BUY" else -t.quantity
                        for t in self.trades
                        if t.symbol == symbol
                    ),
                    ZERO,
                )
                if traded != position.amount:
                    found.append(f"{symbol}: position {position.amount}, {traded} by trades")
                if not position.amount and (position.cost or self.margin(symbol)):
                    found.append(f"{symbol}: closed, but cost {position.cost}, margin {self.margin(symbol)}")
        return found


def _own(account: str) -> bool:
    return account == FREE or account.startswith("isolated:")


def _portion(total: Decimal, part: Decimal, whole: Decimal, rounding: str = ROUND_DOWN) -> Decimal:
    """``total · part / whole`` in eight decimals, rounded towards zero unless said otherwise."""
    with localcontext(EXACT) as context:
        context.clear_traps()
        return (total * part / whole).quantize(UNIT, rounding)
