"""From weights to amounts that an exchange takes.

1. Each target becomes whole steps of the instrument's lot size, rounded toward zero: no limit is passed.
2. A position below the least order value is not opened; an order below it is not sent: the position stays.
3. What rounding left over is given out again, largest remainder first, one step each, never beyond the
   target's next step, and never more in all than was left over.

`toward_zero` is the rounding of weights themselves to float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bascule.core import DataError
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.rows import Float64Array


@dataclass(frozen=True, eq=False)
class OrderRules:
    """What an exchange takes, all ``[N]``.

    Attributes:
        price: of one coin, in the quote currency, > 0; NaN = cannot be traded.
        step: smallest difference between amounts, in coins, > 0.
        min_notional: least value of an order, in the quote currency.
    """

    price: Float64Array
    step: Float64Array
    min_notional: Float64Array

    def __post_init__(self) -> None:
        known = np.isfinite(self.price)
        if not self.price.shape == self.step.shape == self.min_notional.shape:
            raise DataError("price, step and min_notional differ in shape", where="OrderRules")
        if (
            (self.price[known] <= 0.0).any()
            or not (self.step > 0.0).all()
            or not (self.min_notional >= 0.0).all()
        ):
            raise DataError("prices and steps must be above 0, min_notional at least 0", where="OrderRules")


@dataclass(frozen=True, eq=False)
class Rounded:
    """A portfolio that can be ordered.

    Attributes:
        weights: shares of equity ``[N]``.
        amounts: coins, negative = short ``[N]``.
        unsent: orders that were too small and so are not sent ``[N]``.
        missed: Σ|weights − targets|.
    """

    weights: Float64Array
    amounts: Float64Array
    unsent: BoolArray
    missed: float


def round_weights(
    targets: Float64Array, capital: float, rules: OrderRules, *, held: Float64Array | None = None
) -> Rounded:
    """Round target weights.

    Args:
        targets: shares of equity ``[N]``.
        capital: equity in the quote currency.
        rules: of the exchange.
        held: coins held now ``[N]``, default none.

    Raises:
        DataError: shapes do not fit, or the capital is not above 0.
    """
    if targets.shape != rules.price.shape or not capital > 0.0:
        raise DataError(
            f"targets {list(targets.shape)}, rules {list(rules.price.shape)}, capital {capital}",
            where="round_weights",
        )
    held = np.zeros(len(targets)) if held is None else held
    tradable = np.isfinite(rules.price)
    price = np.where(tradable, rules.price, 1.0)
    lot = rules.step * price
    wanted = np.where(tradable, np.abs(targets), 0.0) * capital
    # a target that is a whole number of steps but for rounding is that number
    steps = np.floor(wanted / lot * (1.0 + 1e-12))
    small = steps * lot < rules.min_notional
    left = float(np.where(small, 0.0, wanted - steps * lot).sum())
    steps = np.where(small, 0.0, steps)
    remainder = np.where((steps > 0.0) & tradable, wanted - steps * lot, 0.0)
    for n in np.argsort(-remainder, kind="stable"):
        if remainder[n] <= 0.5 * lot[n] or lot[n] > left:
            continue
        steps[n] += 1.0
        left -= float(lot[n])
    amounts = np.sign(targets) * steps * rules.step
    order = np.abs(amounts - held) * price
    unsent = (~tradable & (held != 0.0)) | ((order > 0.0) & (order < rules.min_notional * (1.0 - 1e-12)))
    # what is closed may be sold whatever it is worth on most venues, but not on all: it stays too
    amounts = np.where(unsent, held, amounts)
    weights = amounts * price / capital
    return Rounded(weights, amounts, unsent, float(np.abs(weights - targets).sum()))


def toward_zero(weights: Float64Array) -> FloatArray:
    """To float32, rounded toward zero after giving up a billionth, so that no limit is passed by rounding."""
    exact = weights * (1.0 - 1e-9)
    result = exact.astype(np.float32)
    above = np.abs(result.astype(np.float64)) > np.abs(exact)
    result[above] = np.nextafter(result[above], np.float32(0.0))
    return result
