"""A column of ``D.features`` as the engine sees it: its node, the rows that qlib loads for it, what it reads.

qlib's own expression object is the source: its class names the operator, its `get_extended_window_size` says
how far before and after the asked rows qlib loads. Only classes that qlib itself defines are taken over; a
custom operator, also one that overrides a name of qlib's, is left to qlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bascule.core import ExpressionError
from bascule.engine import compile
from bascule.expr import (
    LEFT_TO_QLIB,
    MAX_DEPTH,
    OPERATORS,
    Constant,
    Field,
    Kind,
    Node,
    Role,
    signature,
    walk,
)
from bascule.expr.instrument import ChangeInstrument, Mask
from bascule.expr.rolling import Mean
from bascule.expr.shift import Delta
from bascule.expr.trend import Resi, Rsquare, Slope
from bascule.expr.weighted import EMA

# argument of our operator -> attribute of qlib's
_ATTRIBUTES = {
    "x": "feature",
    "n": "N",
    "q": "qscore",
    "left": "feature_left",
    "right": "feature_right",
    "condition": "condition",
    "instrument": "instrument",
}
_QLIB = ("qlib.data.base", "qlib.data.ops")
_EVERYTHING = 2**40
# kinds whose values are finite or NaN whatever goes in
_FINITE = (Kind.ROLLING, Kind.PAIR)

# whose file (None: the instrument's own) and which field of it
Leaf = tuple[str | None, str]


class Unplanned(Exception):
    """The engine does not compute this; qlib does.

    Attributes:
        operator: what is left to qlib, for the warning.
        reason: why.
    """

    def __init__(self, operator: str, reason: str) -> None:
        super().__init__(f"{operator}: {reason}")
        self.operator = operator
        self.reason = reason


@dataclass(frozen=True)
class Column:
    """One field text.

    Attributes:
        text: as qlib normalises it.
        node: what the engine computes.
        left: calendar rows that qlib loads before the first one asked for.
        right: the same after the last one.
        anchored: the values depend on where the loaded rows begin and end.
        leaves: the files that are read.
        ours: qlib has no such operator, so that nothing can be left to it.
    """

    text: str
    node: Node
    left: int
    right: int
    anchored: bool
    leaves: frozenset[Leaf]
    ours: bool = False

    @property
    def crosses(self) -> bool:
        """Whether the values depend on the other instruments of the request."""
        return any(node.kind is Kind.CROSS for node in walk(self.node))


def column(text: str, expression: Any) -> Column:
    """What the engine needs to know of one of qlib's expression objects.

    Raises:
        Unplanned: qlib must compute it.
    """
    node = _node(expression, 0)
    try:
        left, right = expression.get_extended_window_size()
    except TypeError as error:
        raise Unplanned(type(expression).__name__, f"qlib cannot tell its window ({error})") from error
    if not (isinstance(left, int) and isinstance(right, int)):
        raise Unplanned(type(expression).__name__, "its window is not a whole number of bars")
    return Column(text, node, left, right, _anchored(node), frozenset(_leaves(node, None)))


def column_of_ours(text: str, node: Node) -> Column:
    """The same for a text that only the engine knows, such as one with ``CSRank``."""
    plan = compile(node, dialect="qlib")
    left = plan.lookback if plan.lookback is not None else _EVERYTHING
    return Column(text, node, left, plan.lookahead, False, frozenset(_leaves(node, None)), True)


def _node(item: Any, depth: int) -> Node:
    """Our node of one of qlib's expression objects."""
    name = type(item).__name__
    if type(item).__module__ not in _QLIB:
        raise Unplanned(name, "it is a custom operator")
    if depth > MAX_DEPTH:
        raise Unplanned(name, f"it is nested more than {MAX_DEPTH} levels deep")
    if name == "Feature":
        return Field(item._name.lower())
    operator = OPERATORS.get(name)
    if operator is None:
        raise Unplanned(name, LEFT_TO_QLIB.get(name, "the engine does not know it"))
    arguments = []
    for parameter in signature(operator):
        value = getattr(item, _ATTRIBUTES[parameter.name])
        if parameter.role in (Role.SERIES, Role.VALUE, Role.FLAG):
            arguments.append(_operand(name, value, depth))
        else:
            arguments.append(value)
    try:
        return operator(*arguments)
    except ExpressionError as error:
        raise Unplanned(name, error.message) from error


def _operand(name: str, value: Any, depth: int) -> Node:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Constant(value)
    if isinstance(value, bool | str | list) or value is None:
        raise Unplanned(name, f"it was given {value!r}")
    return _node(value, depth + 1)


def _anchored(node: Node) -> bool:
    """Whether the rows that qlib loads beside the asked ones are too few for the values to be independent.

    An exponential mean and an expanding window begin where the load begins; `Delta` gets one row too few
    before, and none after for a negative window. All others get what they need.
    """
    return any(item.back is None or isinstance(item, EMA | Delta) for item in walk(node))


def _leaves(node: Node, other: str | None) -> Iterator[Leaf]:
    if isinstance(node, Field):
        yield other, node.name
    if isinstance(node, ChangeInstrument | Mask):
        other = node.instrument
    for child in node.children:
        yield from _leaves(child, other)


@dataclass(frozen=True)
class Guard:
    """A series to look at before a column may be computed, where qlib goes on from bar to bar.

    Attributes:
        operator: whose sake it is for.
        series: what to look at.
        halts: False: an infinite value is trouble (qlib's regressions stay spoilt after one); True: NaN after
            a number is trouble (the series is a mean: for so long nothing was traded).
    """

    operator: str
    series: Node
    halts: bool

    @property
    def reason(self) -> str:
        """Why qlib must compute the instrument."""
        if self.halts:
            return "qlib carries it over a halt of any length"
        return "one infinite value spoils all later rows of qlib's"


def guards(node: Node, rows: int) -> tuple[Guard, ...]:
    """What may make the engine's values differ from qlib's on some instruments.

    Args:
        node: the column.
        rows: how many rows are loaded.
    """
    found: dict[Node, Guard] = {}
    for item in walk(node):
        if isinstance(item, Slope | Rsquare | Resi) and item.x.kind not in _FINITE:
            found[item.x] = Guard(type(item).__name__, item.x, False)
        elif isinstance(item, EMA) and item.back is not None and rows > item.back:
            # with 0.4 of what the engine reads left empty, what it does not read still weighs below 1e-5
            watch = Mean(item.x, max(1, math.floor(0.4 * item.back)))
            found[watch] = Guard("EMA", watch, True)
    return tuple(found.values())
