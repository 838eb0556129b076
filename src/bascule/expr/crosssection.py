"""Statistics over the instruments of one row that are members of the universe. Ours, beyond qlib.

Who is no member, or has no finite value, is left out and gets NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

from bascule.expr.node import Kind, Number, Operator, Series, Type


@dataclass(frozen=True, eq=False, repr=False)
class CrossSection(Operator):
    """Base of cross-sectional operators on one series."""

    x: Series
    kind = Kind.CROSS

    def _type(self) -> Type:
        return Type.FLOAT64


class CSRank(CrossSection):
    """Rank among the members as a fraction in (0, 1], ties averaged."""


class CSZScore(CrossSection):
    """(x - mean) / standard deviation (ddof 1) of the members; NaN where all are equal."""


class CSDemean(CrossSection):
    """x - mean of the members."""


@dataclass(frozen=True, eq=False, repr=False)
class CSQuantile(CrossSection):
    """The q-quantile of the members, linearly interpolated, the same for each of them."""

    q: Number
    numbers = (0.0, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class CSNeutralize(CrossSection):
    """What is left of x after a least-squares line in ``by`` (with intercept) over the members.

    NaN where x or ``by`` is missing; where ``by`` is constant over the members only the mean is taken out.
    """

    by: Series
