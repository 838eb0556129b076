"""Which nodes are computed together: one kernel call gives a whole family over one operand."""

from __future__ import annotations

from bascule.core import ExpressionError
from bascule.expr import Kind, Node, OwnOperator
from bascule.expr.pair import Corr, Cov
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
    TrimMean,
    TSMadZ,
    Var,
    Winsorize,
)  # fmt: skip
from bascule.expr.trend import Resi, Rsquare, Slope
from bascule.expr.weighted import EMA, WMA, Decay

# several windows of one operand share partial results
_ROLLING: dict[type[Node], str] = {
    Sum: "sums",
    Mean: "sums",
    Count: "counts",
    Std: "moments",
    Var: "moments",
    Slope: "moments",
    Rsquare: "moments",
    Resi: "moments",
    Max: "maxima",
    Min: "minima",
    IdxMax: "argmaxima",
    IdxMin: "argminima",
    Rank: "ranks",
    Mad: "mads",
    Skew: "skews",
    Kurt: "kurts",
    Corr: "pairs",
    Cov: "pairs",
}
# one window of one operand is sorted once
_SORTED: dict[type[Node], str] = {Med: "quantiles", Quantile: "quantiles", Winsorize: "winsorized"}
_SINGLE: dict[type[Node], str] = {TrimMean: "trimmed", TSMadZ: "madz", EMA: "ewm", WMA: "wma", Decay: "decay"}
_BY_KIND: dict[Kind, str] = {
    Kind.LEAF: "load",
    Kind.ELEMENT: "element",
    Kind.SHIFT: "shift",
    Kind.CROSS: "cross",
    Kind.INSTRUMENT: "instrument",
}


def family(node: Node) -> str:
    """The name of the family that computes ``node``.

    Raises:
        ExpressionError: no family does.
    """
    kind = type(node)
    if isinstance(node, OwnOperator):
        return "own"
    name = _ROLLING.get(kind) or _SORTED.get(kind) or _SINGLE.get(kind) or _BY_KIND.get(kind.kind)
    if name is None:
        raise ExpressionError(
            f"the engine has no kernel for {kind.__name__}", where="engine", remedy="give it a family"
        )
    return name


def group(node: Node) -> tuple[object, ...]:
    """Nodes of equal groups are computed by one call."""
    kind = type(node)
    if kind in _ROLLING:
        return (family(node), *node.children)
    if kind in _SORTED:
        return (family(node), *node.args[:2])
    return (family(node), node)
