"""Orders and trades, as the exchange keeps them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, Field

from bascule.bridge.exchange.book import Side
from bascule.core import Settings

ZERO = Decimal(0)
Status = Literal["PENDING", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]
OPEN_STATES = ("PENDING", "NEW", "PARTIALLY_FILLED")
STOPS = ("STOP_LOSS", "STOP_LOSS_LIMIT", "STOP", "STOP_MARKET")
TARGETS = ("TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TAKE_PROFIT_MARKET")
Lifetime = Literal["GTC", "IOC", "FOK", "GTX"]


class AccountSettings(Settings):
    """What the rehearsing trader owns, and on what terms he trades."""

    balances: dict[str, Decimal] = Field(
        default={"USDT": Decimal(10_000)}, description="asset → amount at the start"
    )
    maker_fee: Decimal | None = Field(
        default=None, ge=0, lt=1, description="share of the value; default 0.001 on spot, 0.0002 on futures"
    )
    taker_fee: Decimal | None = Field(
        default=None, ge=0, lt=1, description="share of the value; default 0.001 on spot, 0.0005 on futures"
    )
    participation: Decimal = Field(
        default=Decimal("0.1"),
        gt=0,
        le=1,
        description="share of the traded volume that resting orders may take",
    )
    leverage: int = Field(
        default=20, ge=1, le=125, description="futures: leverage of a symbol until it is set"
    )
    liquidation_fee: Decimal = Field(
        default=Decimal("0.0125"),
        ge=0,
        lt=1,
        description="futures, crossed margin: share of the value that is kept",
    )
    order_limit: int = Field(default=200, ge=1, description="most open orders of a symbol")

    def fees(self, futures: bool) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of a kind of market."""
        usual = ("0.0002", "0.0005") if futures else ("0.001", "0.001")
        maker, taker = (Decimal(text) for text in usual)
        return (
            maker if self.maker_fee is None else self.maker_fee,
            taker if self.taker_fee is None else self.taker_fee,
        )


class Order(BaseModel):
    """An order. ``PENDING`` is a stop order that was not triggered yet (Binance writes ``NEW``).

    Attributes:
        id: counts from 1, unique on this exchange.
        client_id: the client's own name of it.
        quantity: base units; 0 while an order by value (``budget``) has not met the book.
        budget: quote units to spend, of a spot market order by value.
        price: limit price; None for market orders.
        stop: trigger price, or None.
        algo: placed through the futures' conditional service, which has its own numbers.
        actual: number of the order that a triggered conditional one became.
        lock: account, asset and amount that are held for it (spot only).
    """

    id: int
    client_id: str
    symbol: str
    side: Side
    type: str
    lifetime: Lifetime = "GTC"
    quantity: Decimal = ZERO
    budget: Decimal | None = None
    price: Decimal | None = None
    stop: Decimal | None = None
    post_only: bool = False
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    algo: bool = False
    actual: int | None = None
    status: Status = "NEW"
    executed: Decimal = ZERO
    turnover: Decimal = ZERO
    lock_asset: str = ""
    lock_amount: Decimal = ZERO
    created: int = 0
    updated: int = 0
    triggered: int | None = None
    note: str = ""

    @property
    def is_open(self) -> bool:
        """It can still trade."""
        return self.status in OPEN_STATES

    @property
    def public_status(self) -> str:
        """As Binance writes it."""
        return "NEW" if self.status == "PENDING" else self.status

    @property
    def algo_status(self) -> str:
        """As the futures' conditional service writes it."""
        return "FINISHED" if self.status == "FILLED" else self.public_status

    @property
    def left(self) -> Decimal:
        """Base units not yet traded."""
        return self.quantity - self.executed

    @property
    def is_stop(self) -> bool:
        """It waits for a price before it works."""
        return self.type in STOPS or self.type in TARGETS

    def triggers_at(self, price: Decimal) -> bool:
        """Whether this last price sets the stop order off."""
        if self.stop is None:
            return False
        falling = (self.side == "SELL") == (self.type in STOPS)
        return price <= self.stop if falling else price >= self.stop


class Trade(BaseModel):
    """A fill.

    Attributes:
        id: counts from 1.
        order: `Order.id`.
        fee: in ``fee_asset``.
        realised: profit or loss of the part of a position that it closed (futures).
    """

    id: int
    order: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    turnover: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    ms: int
    realised: Decimal = ZERO


class Position(BaseModel):
    """A futures position, one-way mode.

    Attributes:
        amount: base units, negative = short.
        cost: signed value at entry: the sum of price times signed amount.
        leverage: of orders to come.
        isolated: margin kept apart from the wallet.
    """

    symbol: str
    amount: Decimal = ZERO
    cost: Decimal = ZERO
    leverage: int = 20
    isolated: bool = False
    updated: int = 0

    @property
    def entry(self) -> Decimal:
        """Average entry price, 0 of an empty position."""
        return abs(self.cost / self.amount) if self.amount else ZERO

    def against(self, side: Side) -> Decimal:
        """Base units that an order of this side would close."""
        return abs(self.amount) if (self.amount > 0) == (side == "SELL") else ZERO

    def profit(self, price: Decimal) -> Decimal:
        """Unrealised profit at a price."""
        return self.amount * price - self.cost


class Event(BaseModel):
    """Something to tell the user's data streams."""

    kind: Literal["order", "account"]
    ms: int
    order: Order | None = None
    trade: Trade | None = None
    detail: dict[str, Any] = {}
