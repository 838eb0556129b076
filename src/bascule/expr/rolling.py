"""Statistics of the last N bars of one instrument, in float64.

NaN and infinite values are skipped, one observation is enough unless stated otherwise, a window without any
gives NaN. N = 0: all history (expanding).
"""

from __future__ import annotations

from dataclasses import dataclass

from bascule.expr.node import Kind, Number, Operator, Series, Type, Window, Windows


@dataclass(frozen=True, eq=False, repr=False)
class Rolling(Operator):
    """Base of statistics of one series over the last ``n`` bars, the current one included."""

    x: Series
    n: Window
    kind = Kind.ROLLING

    def _type(self) -> Type:
        return Type.FLOAT64

    @property
    def back(self) -> int | None:
        return self.n - 1 if self.n else None


# -- sums and moments ------------------------------------------------------------------------------


class Sum(Rolling):
    """Sum."""


class Mean(Rolling):
    """Arithmetic mean."""


class Count(Rolling):
    """Number of values that are not NaN (infinite ones count); 0 where there are none."""


class Var(Rolling):
    """Variance (ddof 1); NaN with fewer than two values."""


class Std(Rolling):
    """Standard deviation (ddof 1); NaN with fewer than two values."""


class Skew(Rolling):
    """Skewness, bias-corrected; NaN with fewer than three values, 0 for a constant window."""

    windows = Windows(least=3)


class Kurt(Rolling):
    """Excess kurtosis, bias-corrected; NaN with fewer than four values, -3 for a constant window."""

    windows = Windows(least=4)


class Mad(Rolling):
    """Mean absolute deviation from the mean."""


# -- order statistics ------------------------------------------------------------------------------


class Max(Rolling):
    """Largest value."""


class Min(Rolling):
    """Smallest value."""


class IdxMax(Rolling):
    """Position (1 = oldest bar of the window) of the first largest value, or of the first NaN if any."""


class IdxMin(Rolling):
    """Position (1 = oldest bar of the window) of the first smallest value, or of the first NaN if any."""


class Med(Rolling):
    """Median."""


class Rank(Rolling):
    """Rank of the current value among the last N, as a fraction, ties averaged; NaN if it is NaN."""


@dataclass(frozen=True, eq=False, repr=False)
class Quantile(Rolling):
    """The q-quantile, linearly interpolated."""

    q: Number
    numbers = (0.0, 1.0)


# -- ours, beyond qlib -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class TrimMean(Rolling):
    """Mean after dropping the floor(q * count) smallest and as many largest values. Ours."""

    q: Number
    numbers = (0.0, 0.49)
    windows = Windows(zero=False)


@dataclass(frozen=True, eq=False, repr=False)
class Winsorize(Rolling):
    """The current value, moved into the range between the q- and the (1 - q)-quantile of the window. Ours."""

    q: Number
    numbers = (0.0, 0.49)
    windows = Windows(zero=False)


class TSZScore(Rolling):
    """(current - mean) / standard deviation of the window; NaN for a constant window. Ours."""

    windows = Windows(least=2)


class TSMadZ(Rolling):
    """(current - median) / (1.4826 median absolute deviations) of the window; NaN where these are 0. Ours."""

    windows = Windows(least=3, zero=False)


class TSMinMaxScale(Rolling):
    """(current - min) / (max - min) of the window; NaN for a constant window. Ours."""

    windows = Windows(least=2)
