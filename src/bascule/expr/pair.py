"""Statistics of two series over the last N bars, from the bars where both have a value."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.expr.node import Kind, Operator, Series, Type, Window, Windows


@dataclass(frozen=True, eq=False, repr=False)
class PairRolling(Operator):
    """Base of statistics of two series over the last ``n`` bars."""

    left: Series
    right: Series
    n: Window
    kind = Kind.PAIR
    windows = Windows(zero=False)

    def _type(self) -> Type:
        return Type.FLOAT64

    @property
    def back(self) -> int | None:
        return self.n - 1


class Corr(PairRolling):
    """Pearson correlation; NaN where either side is constant."""


class Cov(PairRolling):
    """Covariance (ddof 1)."""
