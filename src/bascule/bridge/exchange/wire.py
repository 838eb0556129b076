"""Binance's shapes: numbers, klines, refusals."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FINEST = 10  # decimals of a price; freqtrade takes ticks of more than 1e-11
_WIDE = Context(prec=80, rounding=ROUND_HALF_UP)
Json = dict[str, Any] | list[Any]


class Refusal(Exception):
    """A bad request, as Binance answers it.

    Args:
        code: Binance's error code (negative).
        message: Binance's text of that code.
        status: HTTP status.
    """

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def to_json(self) -> Json:
        """The body of the answer."""
        return {"code": self.code, "msg": self.message}


# ccxt knows futures' codes by the address of the real exchange. From any other address it reads the text, so
# these refusals carry a text by which it raises the same kind of error as at Binance
_TEXTS = {
    -2019: "Account has insufficient balance for requested action.",  # Margin is insufficient.
    -2021: "Order would trigger immediately.",  # Order would immediately trigger.
    -2022: "ReduceOnly Order is rejected. (LOT_SIZE)",
    -4164: "Order's notional is too small (unless you choose reduce only). (LOT_SIZE)",
    -5022: "Order would immediately match and take.",  # … could not be executed as maker, …
}


def recognisable(refusal: Refusal) -> Json:
    """The body of a futures refusal, worded so that ccxt takes it for what it is."""
    return {"code": refusal.code, "msg": _TEXTS.get(refusal.code, refusal.message)}


def mandatory(name: str) -> Refusal:
    """A needed parameter was not sent."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, rule: str = "^[0-9]{1,20}$") -> Refusal:
    """A parameter holds characters that it may not hold."""
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{rule}'.")


def number(value: float | np.floating[Any]) -> str:
    """The shortest decimal text, without exponent, that reads back to the same float32; NaN is ``0``."""
    single = np.float32(value)
    if not np.isfinite(single):
        return "0"
    return np.format_float_positional(single, unique=True, trim="-")


def plain(value: Decimal) -> str:
    """A decimal number without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def eight(value: Decimal) -> str:
    """Eight decimals at most."""
    return plain(_WIDE.quantize(value, Decimal(1).scaleb(-8)))


def price_text(value: Decimal) -> str:
    """A price that was divided: eighteen decimals at most."""
    return plain(_WIDE.quantize(value, Decimal(1).scaleb(-18)))


def power_of_ten(exponent: int) -> str:
    """``10**exponent`` as plain decimal text."""
    return "1" + "0" * exponent if exponent >= 0 else "0." + "0" * (-exponent - 1) + "1"


def price_decimals(prices: NDArray[np.float32]) -> int:
    """Decimals of orders' prices: a tick is the last of nine digits of the smallest price, which float32 has.

    At most `_FINEST`: freqtrade trades nothing whose ticks are finer.
    """
    known = prices[np.isfinite(prices) & (prices > 0)]
    if not len(known):
        return 8
    return min(max(8 - math.floor(math.log10(float(known.min()))), 0), _FINEST)


def quantity_decimals(prices: NDArray[np.float32]) -> int:
    """Decimals of an order's quantity: one step is worth a hundredth of a quote unit or less."""
    known = prices[np.isfinite(prices) & (prices > 0)]
    if not len(known):
        return 8
    return min(max(2 + math.ceil(math.log10(float(known.max()))), 0), 8)


def kline(open_ms: int, step_ms: int, values: dict[str, float]) -> list[Any]:
    """One candle. What a panel does not know (number of trades, taker volumes) is 0."""
    return [
        open_ms,
        number(values["open"]),
        number(values["high"]),
        number(values["low"]),
        number(values["close"]),
        number(values["volume"]),
        open_ms + step_ms - 1,
        number(values["quote_volume"]),
        0,
        "0",
        "0",
        "0",
    ]
