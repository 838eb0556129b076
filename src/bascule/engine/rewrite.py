"""Rewrites: small functions node → node that keep the meaning and leave fewer kinds of node to compute."""

from __future__ import annotations

from collections.abc import Callable

from bascule.expr import Node, walk
from bascule.expr.elementwise import Div, Sub
from bascule.expr.instrument import ChangeInstrument, Mask
from bascule.expr.rolling import Max, Mean, Min, Std, TSMinMaxScale, TSZScore
from bascule.expr.shift import Delta, Ref


def delta_is_a_difference(node: Node) -> Node:
    """``Delta(x, n)`` is ``x - Ref(x, n)``."""
    return Sub(node.x, Ref(node.x, node.n)) if isinstance(node, Delta) else node


def zscore_is_a_quotient(node: Node) -> Node:
    """``TSZScore(x, n)`` is ``(x - Mean(x, n)) / Std(x, n)``."""
    if not isinstance(node, TSZScore):
        return node
    return Div(Sub(node.x, Mean(node.x, node.n)), Std(node.x, node.n))


def scale_is_a_quotient(node: Node) -> Node:
    """``TSMinMaxScale(x, n)`` is ``(x - Min(x, n)) / (Max(x, n) - Min(x, n))``."""
    if not isinstance(node, TSMinMaxScale):
        return node
    low = Min(node.x, node.n)
    return Div(Sub(node.x, low), Sub(Max(node.x, node.n), low))


def mask_is_change_instrument(node: Node) -> Node:
    """``Mask(x, i)`` is ``ChangeInstrument(i, x)``."""
    return ChangeInstrument(node.instrument, node.x) if isinstance(node, Mask) else node


REWRITES: tuple[Callable[[Node], Node], ...] = (
    delta_is_a_difference,
    zscore_is_a_quotient,
    scale_is_a_quotient,
    mask_is_change_instrument,
)


def rewritten(node: Node, known: dict[Node, Node]) -> Node:
    """``node`` with all rewrites applied, children first.

    Args:
        node: the expression.
        known: results so far, filled as it goes, so that common parts are worked on once.
    """
    for item in walk(node):
        if item in known:
            continue
        fresh = item.rebuilt(tuple(known[child] for child in item.children)) if item.children else item
        for rewrite in REWRITES:
            fresh = rewrite(fresh)
        known[item] = fresh
    return known[node]
