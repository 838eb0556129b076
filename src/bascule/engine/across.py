"""Values of operators that the NumPy kernels compute for both executors, on columns of their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bascule.core.panel import BoolArray
from bascule.expr import Node
from bascule.expr.crosssection import (
    CSDemean,
    CSGroupZScore,
    CSMadZ,
    CSNeutralize,
    CSQuantile,
    CSRank,
    CSRankGauss,
    CSTrimDemean,
    CSWinsorize,
    CSZScore,
)
from bascule.expr.rolling import TSMadZ
from bascule.kernels import cross, order, robust
from bascule.kernels.window import Cells

# operators on one series without a number
_PLAIN: dict[type[Node], Callable[[Any, BoolArray], Cells]] = {
    CSRank: cross.rank,
    CSZScore: cross.zscore,
    CSDemean: cross.demean,
    CSMadZ: robust.mad_zscore,
    CSRankGauss: robust.rank_gauss,
}


def across(node: Node, x: Cells, members: BoolArray, other: Callable[[Node], Cells]) -> Cells:
    """Values ``[T, N]``.

    Args:
        node: a cross-sectional operator.
        x: its first operand ``[T, N]``.
        members: who counts ``[T, N]``.
        other: gives the values of another operand.
    """
    plain = _PLAIN.get(type(node))
    if plain is not None:
        return plain(x, members)
    match node:
        case CSQuantile():
            return cross.quantile(x, members, node.q)
        case CSWinsorize():
            return robust.winsorize(x, members, node.q)
        case CSTrimDemean():
            return robust.trimmed_demean(x, members, node.q)
        case CSNeutralize():
            return cross.neutralize(x, other(node.by), members)
        case CSGroupZScore():
            return robust.group_zscore(x, other(node.by), members)
    raise NotImplementedError(type(node).__name__)


def windowed(node: Node, x: Cells) -> Cells:
    """Values ``[T, N]`` of a statistic of a window that the native core leaves to NumPy.

    Args:
        node: the operator.
        x: its operand ``[T, N]``; earlier rows count as missing.
    """
    if isinstance(node, TSMadZ):
        return order.mad_zscores(x, node.n, len(x))
    raise NotImplementedError(type(node).__name__)
