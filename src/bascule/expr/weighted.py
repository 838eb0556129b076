"""Means that weigh newer bars more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bascule.core import ExpressionError
from bascule.expr.node import MAX_WINDOW, Kind, Operator, Series, Span, Type, Windows
from bascule.expr.rolling import Rolling

# an EMA reads so many bars that the weight of all older ones is below this share
FORGOTTEN = 1e-9


class WMA(Rolling):
    """qlib's WMA: the mean of w*x with weights w = 1 … n over their sum, thus the weighted mean over n.

    That is n times too small (qlib #1993), kept so that texts mean the same in both; `Decay` is the weighted
    mean itself.
    """


class Decay(Rolling):
    """Linearly weighted mean: weights N (newest) … 1 (oldest) over their sum, NaN left out. Ours."""

    windows = Windows(zero=False)


@dataclass(frozen=True, eq=False, repr=False)
class EMA(Operator):
    """Exponentially weighted mean; N >= 1: span (alpha = 2/(N+1)), 0 < N < 1: alpha, N = 0: all history.

    Weights go by bar, NaN is left out and the last value carries over it. Bars whose weights together are
    below one part in 10^9 are not read, so that a window of rows gives the bits of the whole history.
    """

    x: Series
    n: Span
    kind = Kind.ROLLING

    def _check(self) -> None:
        super()._check()
        if self.n and self.back is not None and self.back >= MAX_WINDOW:
            raise ExpressionError(
                f"an EMA of {self.n} remembers {self.back} bars, more than {MAX_WINDOW}",
                where="EMA",
                remedy="use a shorter span or a larger smoothing factor",
            )

    def _type(self) -> Type:
        return Type.FLOAT64

    @property
    def ratio(self) -> float:
        """Weight of a bar over that of the next newer one, (1 - alpha); not for N = 0."""
        return 1.0 - self.n if self.n < 1 else 1.0 - 2.0 / (self.n + 1.0)

    @property
    def back(self) -> int | None:
        if self.n == 0:
            return None
        if self.ratio <= 0.0:
            return 0
        return math.ceil(math.log(FORGOTTEN) / math.log(self.ratio))
