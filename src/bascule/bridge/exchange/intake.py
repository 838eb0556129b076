"""What a client may ask for: an order request read from a query and held against the market's filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.book import Side
from bascule.bridge.exchange.market import Listing, MarketKind
from bascule.bridge.exchange.orders import STOPS, TARGETS, Lifetime
from bascule.bridge.exchange.wire import Refusal

SPOT_TYPES = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
FUTURES_TYPES = ("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET")
MOST = Decimal(10) ** 12
# a TAKE_PROFIT is a market order on spot, and a limit order on futures
LIMITED: dict[MarketKind, tuple[str, ...]] = {
    "spot": ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"),
    "futures": ("LIMIT", "STOP", "TAKE_PROFIT"),
}


@dataclass(frozen=True)
class Request:
    """A well-formed wish for an order. Fields as in `orders.Order`; ``quantity`` None = by value or whole."""

    side: Side
    type: str
    lifetime: Lifetime
    quantity: Decimal | None
    budget: Decimal | None
    price: Decimal | None
    stop: Decimal | None
    client_id: str
    reduce_only: bool
    close_position: bool
    working_type: str
    algo: bool

    @property
    def post_only(self) -> bool:
        """It must not take liquidity."""
        return self.type == "LIMIT_MAKER" or self.lifetime == "GTX"

    @property
    def is_stop(self) -> bool:
        """It waits for a trigger price."""
        return self.type in STOPS or self.type in TARGETS


def decimal(query: Mapping[str, str], name: str) -> Decimal | None:
    """A number of a query, None where it is absent.

    Raises:
        Refusal: it is no plain decimal number.
    """
    text = query.get(name)
    if text is None or text == "":
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not re.fullmatch(r"[0-9.eE+-]{1,40}", text):
        raise wire.illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$")
    return value


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of a query; False where it is absent."""
    text = query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise wire.illegal(name, "true or false")
    return text == "true"


def read(query: Mapping[str, str], listing: Listing, kind: MarketKind, *, algo: bool = False) -> Request:
    """An order request in Binance's words.

    Args:
        query: the parameters.
        listing: the symbol's.
        kind: which types are known.
        algo: it came through the futures' conditional service.

    Raises:
        Refusal: a parameter is missing, malformed or breaks a filter.
    """
    side, type_ = _one_of(query, "side", ("BUY", "SELL"), -1117, "Invalid side."), _type(query, kind, algo)
    default = "GTC" if type_ != "MARKET" else "IOC"
    lifetime = query.get("timeInForce") or default
    if lifetime not in (("GTC", "IOC", "FOK") if kind == "spot" else ("GTC", "IOC", "FOK", "GTX")):
        raise Refusal(-1115, "Invalid timeInForce.")
    client_id = query.get("clientAlgoId" if algo else "newClientOrderId") or ""
    if client_id and not re.fullmatch(r"[.A-Z:/a-z0-9_-]{1,36}", client_id):
        raise wire.illegal("newClientOrderId", "^[\\.A-Z\\:/a-z0-9_-]{1,36}$")
    request = Request(
        side=side,  # type: ignore[arg-type]
        type=type_,
        lifetime=lifetime,  # type: ignore[arg-type]
        quantity=decimal(query, "quantity"),
        budget=decimal(query, "quoteOrderQty") if type_ == "MARKET" and kind == "spot" else None,
        price=decimal(query, "price") if type_ in LIMITED[kind] else None,
        stop=decimal(query, "triggerPrice" if algo else "stopPrice"),
        client_id=client_id,
        reduce_only=flag(query, "reduceOnly"),
        close_position=flag(query, "closePosition"),
        working_type=query.get("workingType") or "CONTRACT_PRICE",
        algo=algo,
    )
    _complete(request, kind)
    _filters(request, listing, kind)
    return request


def _one_of(query: Mapping[str, str], name: str, known: tuple[str, ...], code: int, message: str) -> str:
    value = query.get(name)
    if not value:
        raise wire.mandatory(name)
    if value not in known:
        raise Refusal(code, message)
    return value


def _type(query: Mapping[str, str], kind: MarketKind, algo: bool) -> str:
    known = SPOT_TYPES if kind == "spot" else FUTURES_TYPES
    found = _one_of(query, "type", known, -1116, "Invalid orderType.")
    conditional = found in STOPS or found in TARGETS
    if kind == "futures" and conditional and not algo:
        raise Refusal(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if algo and not conditional:
        raise Refusal(-1116, "Invalid orderType.")
    return found


def _complete(request: Request, kind: MarketKind) -> None:
    if request.quantity is None and request.budget is None and not request.close_position:
        raise wire.mandatory("quantity")
    if request.quantity is not None and request.budget is not None:
        raise Refusal(-1128, "Combination of optional parameters invalid.")
    if request.type in LIMITED[kind] and request.price is None:
        raise wire.mandatory("price")
    if request.is_stop and request.stop is None:
        raise wire.mandatory("stopPrice")
    if request.stop is not None and not request.is_stop:
        raise Refusal(-1106, "Parameter 'stopPrice' sent when not required.")


def _filters(request: Request, listing: Listing, kind: MarketKind) -> None:
    step, tick = (
        Decimal(1).scaleb(-listing.quantity_decimals),
        Decimal(1).scaleb(-listing.price_decimals),
    )
    refuse = _spot_refusal if kind == "spot" else _futures_refusal
    if request.quantity is not None:
        if not step <= request.quantity <= MOST:
            raise refuse("LOT_SIZE", "quantity")
        if request.quantity % step:
            raise refuse("LOT_SIZE", "precision")
    if request.budget is not None and not 0 < request.budget <= MOST:
        raise refuse("LOT_SIZE", "quantity")
    for price in (request.price, request.stop):
        if price is None:
            continue
        if not tick <= price <= MOST:
            raise refuse("PRICE_FILTER", "price")
        if price % tick:
            raise refuse("PRICE_FILTER", "precision")


def _spot_refusal(name: str, _problem: str) -> Refusal:
    return Refusal(-1013, f"Filter failure: {name}")


def _futures_refusal(name: str, problem: str) -> Refusal:
    if problem == "precision":
        return Refusal(-1111, "Precision is over the maximum defined for this asset.")
    if problem == "quantity":
        return Refusal(-4003, "Quantity less than or equal to zero.")
    return Refusal(-4014, f"Price not increased by tick size. ({name})")
