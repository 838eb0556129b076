"""Operators over all history (a window of 0): row after row from the panel's first, over whole columns."""

from __future__ import annotations

import numpy as np

from bascule.engine.plan import Dialect
from bascule.engine.reference import PANDAS_VARIANCE
from bascule.expr import Node
from bascule.expr.rolling import (
    Count,
    IdxMax,
    IdxMin,
    Kurt,
    Mad,
    Max,
    Mean,
    Med,
    Min,
    Quantile,
    Rank,
    Skew,
    Std,
    Sum,
    Var,
)  # fmt: skip
from bascule.expr.shift import Ref
from bascule.expr.trend import Resi, Rsquare, Slope
from bascule.expr.weighted import EMA, WMA
from bascule.kernels import expanding, moments, shape, sums
from bascule.kernels.window import Ages, AnyFloat, Cells


def first_value(x: AnyFloat, ages: Ages) -> Cells:
    """The value of each instrument's first bar in the panel, for every row ``[T, N]``."""
    first = np.clip(-ages[0], 0, len(x) - 1)
    return np.broadcast_to(x[first, np.arange(x.shape[1])], x.shape)


def over_all_history(node: Node, x: AnyFloat, ages: Ages, dialect: Dialect) -> Cells:
    """Values of an operator with a window of 0 ``[T, N]``.

    Args:
        node: the operator.
        x: its operand over all rows.
        ages: bars since each instrument's first one.
        dialect: as in the plan.
    """
    match node:
        case Ref():
            return first_value(x, ages)
        case Sum():
            return sums.total(*expanding.sums(x))
        case Mean():
            return sums.mean(*expanding.sums(x))
        case Count():
            return expanding.sums(np.where(np.isnan(x), np.nan, 1.0))[1]
        case Max():
            return expanding.maximum(x)
        case Min():
            return -expanding.maximum(-x)
        case IdxMax():
            return expanding.argmaximum(x, ages)
        case IdxMin():
            return expanding.argmaximum(-x, ages)
        case Med():
            return expanding.quantile(x, 0.5)
        case Quantile():
            return expanding.quantile(x, node.q)
        case Rank():
            return expanding.rank(x)
        case Mad():
            return expanding.mad(x)
        case WMA():
            return expanding.wma(x, ages)
        case EMA():
            return expanding.ewm(x, ages)
        case Var() | Std() | Slope() | Rsquare() | Resi():
            return _line(node, x, ages, dialect)
        case Skew() | Kurt():
            state, third, fourth = expanding.powers(x)
            floor = PANDAS_VARIANCE if dialect == "qlib" else None
            if isinstance(node, Skew):
                return shape.skew(state, third, floor)
            return shape.kurt(state, fourth, floor)
    raise NotImplementedError(type(node).__name__)


def _line(node: Node, x: AnyFloat, ages: Ages, dialect: Dialect) -> Cells:
    line = expanding.line(x, ages)
    match node:
        case Var():
            return moments.variance(line)
        case Std():
            return moments.deviation(line)
        case Slope():
            return moments.slope(line)
        case Resi():
            return moments.residual(line, x)
    # qlib has no threshold here
    return moments.rsquare(line, 0.0 if dialect == "qlib" else None)
