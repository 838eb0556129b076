"""Single cells: the NumPy function of each operator, by the operator's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bascule.kernels.window import Cells


def signed_power(left: Any, right: Any) -> Cells:
    """sign(left) * |left|**right."""
    return np.asarray(np.sign(left) * np.power(np.abs(left), right))


def signed_log(x: Cells) -> Cells:
    """sign(x) * ln(1 + |x|)."""
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


UNARY: dict[str, Callable[[Cells], Cells]] = {
    "Abs": np.abs,
    "Sign": np.sign,
    "Log": np.log,
    "SignedLog": signed_log,
    "Not": np.logical_not,
}

# of two booleans Add is or, Mul is and, Greater is or, Less is and: NumPy's own rules
BINARY: dict[str, Callable[[Any, Any], Cells]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Power": np.power,
    "SignedPower": signed_power,
    "Greater": np.maximum,
    "Less": np.minimum,
    "Gt": np.greater,
    "Ge": np.greater_equal,
    "Lt": np.less,
    "Le": np.less_equal,
    "Eq": np.equal,
    "Ne": np.not_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}


def choose(condition: Cells, left: Any, right: Any, *, nan_is_true: bool) -> Cells:
    """left where the condition holds, else right.

    Args:
        condition: boolean, or float where everything but 0 holds.
        left: cells or a number.
        right: cells or a number.
        nan_is_true: what a NaN condition means: true (NumPy, and so qlib), or an unknown result (NaN).
    """
    chosen: Cells = np.where(condition != 0, left, right)
    if condition.dtype == np.bool_ or nan_is_true:
        return chosen
    known: Cells = chosen.astype(np.result_type(chosen.dtype, np.float32), copy=False)
    known[np.isnan(condition)] = np.nan
    return known
