"""One text for one signal: rewrites under which a factor ranks the coins of every row as before.

1. Operands of commutative operators are ordered; lags go inward and add up (`Ref(Ref(x,a),b)`, and over
   element-wise operators); doubled operators collapse (`Abs(Abs(x))`, `Sign(Sign(x))`, `CSRank(CSRank(x))`).
2. At the root, what neither changes the order nor, up to a constant factor in time, the size of values goes:
   a factor or summand that is a number, and the sign of a difference (a pool's weight carries it).

Two texts with the same canonical form are one trial. The converse need not hold; `evaluator.Fingerprint`
catches signals that agree by numbers.
"""

from __future__ import annotations

from bascule.expr import Constant, Kind, Node, pair, shift, walk
from bascule.expr import crosssection as cross
from bascule.expr import elementwise as cell

_COMMUTATIVE = (cell.Add, cell.Mul, cell.Greater, cell.Less, pair.Corr, pair.Cov)
_IDEMPOTENT = (cell.Abs, cell.Sign, cross.CSRank, cross.CSZScore, cross.CSDemean)


def canonical(node: Node) -> Node:
    """The canonical form; see the module."""
    known: dict[Node, Node] = {}
    for item in walk(node):
        fresh = item.rebuilt(tuple(known[child] for child in item.children)) if item.children else item
        known[item] = _simplified(fresh)
    return _bare(known[node])


def _simplified(node: Node) -> Node:
    if isinstance(node, shift.Ref) and node.n > 0:
        return _lagged(node.x, node.n)
    if isinstance(node, _IDEMPOTENT) and type(node.children[0]) is type(node):
        return node.children[0]
    if isinstance(node, cell.Abs) and isinstance(node.x, cell.Sign):
        return node
    if isinstance(node, _COMMUTATIVE):
        first, second = node.children
        if str(second) < str(first):
            return node.rebuilt((second, first))
    return node


def _lagged(node: Node, n: int) -> Node:
    """``Ref(node, n)`` with the lag as far inside as it goes."""
    if isinstance(node, Constant):
        return node
    if isinstance(node, shift.Ref) and node.n >= 0:
        return _lagged(node.x, node.n + n)
    if node.kind is Kind.ELEMENT:
        return _simplified(node.rebuilt(tuple(_lagged(child, n) for child in node.children)))
    return shift.Ref(node, n)


def _bare(node: Node) -> Node:
    """Without what a pool's weight can undo."""
    while isinstance(node, cell.Add | cell.Sub | cell.Mul | cell.Div):
        left, right = node.children
        if isinstance(right, Constant) and not (isinstance(node, cell.Mul | cell.Div) and right.value == 0):
            node = left
        elif (
            isinstance(left, Constant)
            and isinstance(node, cell.Add | cell.Sub | cell.Mul)
            and (not isinstance(node, cell.Mul) or left.value != 0)
        ):
            node = right
        else:
            break
    if isinstance(node, cell.Sub) and str(node.children[1]) < str(node.children[0]):
        node = cell.Sub(node.children[1], node.children[0])
    return node
