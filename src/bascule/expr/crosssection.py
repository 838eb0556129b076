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


class CSMadZ(CrossSection):
    """(x - median) / (1.4826 median absolute deviations) of the members.

    NaN where more than half of them are equal.
    """


class CSRankGauss(CrossSection):
    """Normal scores of the ranks among the members: the normal quantile of (rank - 1/2) / count."""


@dataclass(frozen=True, eq=False, repr=False)
class CSWinsorize(CrossSection):
    """x moved into the range between the q- and the (1 - q)-quantile of the members."""

    q: Number
    numbers = (0.0, 0.49)


@dataclass(frozen=True, eq=False, repr=False)
class CSTrimDemean(CrossSection):
    """x - mean of the members without the floor(q * count) smallest and as many largest."""

    q: Number
    numbers = (0.0, 0.49)


@dataclass(frozen=True, eq=False, repr=False)
class CSGroupZScore(CrossSection):
    """(x - mean) / standard deviation of the members that have the same ``by``, such as a liquidity tier.

    NaN where ``by`` is 0 or missing, in groups of fewer than two, and where all of a group are equal.
    """

    by: Series


@dataclass(frozen=True, eq=False, repr=False)
class CSNeutralize(CrossSection):
    """What is left of x after a least-squares line in ``by`` (with intercept) over the members.

    NaN where x or ``by`` is missing; where ``by`` is constant over the members only the mean is taken out.
    """

    by: Series
