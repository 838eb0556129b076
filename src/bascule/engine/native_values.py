"""From nodes to the values that the native core computes: what, in which precision, from which rows.

1. `Ref` is no work: an operand is a value and a lag. Lags common to all operands move out of an operator, so
   that ``Mean(Ref(x,1),5)`` and ``Ref(Mean(x,5),1)`` are one value. Operators that make a value of a missing
   one keep them: before an instrument's first bar they differ.
2. A node of type float64 is computed in single precision where that costs nothing but the last rounding: its
   factors, and whatever float32 holds exactly. Where rounding could be magnified, by a difference, a
   comparison or another window, its operands are kept in double precision. The rule looks at the expression
   alone, so a text has the same bits whatever else is planned with it.
3. Equal values are one.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bascule.engine.plan import Dialect
from bascule.engine.reference import PANDAS_VARIANCE, QLIB_DEVIATION
from bascule.expr import Constant, Field, Node, Type
from bascule.expr.elementwise import (
    Abs,
    Add,
    And,
    Comparison,
    Div,
    Greater,
    If,
    Less,
    Log,
    Mul,
    Not,
    Or,
    Power,
    Sign,
    SignedLog,
    SignedPower,
    Sub,
)  # fmt: skip
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
    Var,
    Winsorize,
)  # fmt: skip
from bascule.expr.shift import Ref
from bascule.expr.trend import Resi, Rsquare, Slope
from bascule.expr.weighted import EMA, WMA, Decay

# a number this small that is added guards a quotient; its sum with a rounded value loses nothing that counts
_GUARD = 1e-8
FLOOR_RELATIVE, FLOOR_NONE = -1, -2

_MOMENTS: dict[type[Node], int] = {Mean: 0, Std: 1, Var: 2, Slope: 3, Rsquare: 4, Resi: 5, Decay: 6, WMA: 7}
_SHAPE: dict[type[Node], int] = {Skew: 0, Kurt: 1}
_PLAIN: dict[type[Node], str] = {Sum: "SUM", Count: "COUNT", Mad: "DEVIATION", Rank: "RANK"}
_EXTREMA: dict[type[Node], tuple[int, int]] = {Max: (0, 0), Min: (1, 0), IdxMax: (0, 1), IdxMin: (1, 1)}
_ORDER: dict[type[Node], int] = {Med: 0, Quantile: 0, TrimMean: 1, Winsorize: 2}
_PAIRS: dict[type[Node], int] = {Corr: 0, Cov: 1}
_ELEMENT: dict[type[Node], str] = {
    Abs: "ABS", Sign: "SIGN", Log: "LOG", SignedLog: "SIGNED_LOG", Not: "NOT",
    Add: "ADD", Sub: "SUB", Mul: "MUL", Div: "DIV", Power: "POWER", SignedPower: "SIGNED_POWER",
    Greater: "GREATER", Less: "LESS", And: "AND", Or: "OR",
}  # fmt: skip
_OF_BOOLEANS: dict[type[Node], str] = {Add: "OR", Mul: "AND", Greater: "OR", Less: "AND"}
# results that are values where operands are missing, or that depend on where the instrument begins
_OWN_TIME = (Comparison, And, Or, Not, If, Power, Count, IdxMax, IdxMin, WMA)
# relative errors of the operands pass on as they are
_PASSING = (Mul, Div, Abs, Greater, Less, If)
_EXACT = (IdxMax, IdxMin, Count)


class At(NamedTuple):
    """A value some rows ago; a value below zero is the constant number ``~value``."""

    value: int
    lag: int = 0


@dataclass(frozen=True)
class Value:
    """One thing to compute.

    Attributes:
        op: opcode, or "INPUT".
        operands: what it reads.
        wide: the result is kept in double precision.
        extra: arguments that a whole group of values shares.
        window: bars it reads, 1 for single cells.
        statistic: which one of the group's.
    """

    op: str
    operands: tuple[At, ...] = ()
    wide: bool = False
    extra: tuple[int, ...] = ()
    window: int = 1
    statistic: int = 0


def native(node: Node) -> bool:
    """Whether the core computes this operator (its operands apart)."""
    if isinstance(node, Field | Constant):
        return True
    if isinstance(node, Ref):
        return node.n > 0
    known = (_MOMENTS, _SHAPE, _PLAIN, _EXTREMA, _ORDER, _PAIRS, _ELEMENT)
    fine = any(type(node) in table for table in known) or isinstance(node, Comparison | If | EMA)
    return fine and node.back is not None and node.ahead <= 0


class Values:
    """The values of a set of nodes, each once.

    Attributes:
        values: in an order in which operands come first.
        constants: numbers that operands name.
        inputs: the nodes that are given: fields and what was stored.
    """

    def __init__(self, dialect: Dialect, stored: Set[Node] = frozenset()) -> None:
        """Begin with none. ``stored``: nodes that are given like fields."""
        self.values: list[Value] = []
        self.constants: list[float] = []
        self.inputs: list[Node] = []
        self._dialect = dialect
        self._stored = stored
        self._numbers: dict[Value | tuple[Value, Node], int] = {}
        self._known: dict[tuple[Node, bool], At] = {}
        self._exact: dict[Node, bool] = {}

    # -- the tables --------------------------------------------------------------------------------

    def constant(self, number: float) -> int:
        """The number of a constant."""
        for index, known in enumerate(self.constants):
            if known == number or (math.isnan(known) and math.isnan(number)):
                return index
        self.constants.append(number)
        return len(self.constants) - 1

    def _put(self, value: Value, given: Node | None = None) -> int:
        key = value if given is None else (value, given)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]

    def _wide(self, operand: At) -> bool:
        return operand.value >= 0 and self.values[operand.value].wide

    # -- precision ---------------------------------------------------------------------------------

    def exact(self, node: Node) -> bool:
        """Whether float32 holds the node's values as the reference computes them."""
        if node not in self._exact:
            self._exact[node] = self._is_exact(node)
        return self._exact[node]

    def _is_exact(self, node: Node) -> bool:
        if isinstance(node, Constant):
            return float(np.float32(node.value)) == node.value
        if node.type is not Type.FLOAT64:
            return True
        if node in self._stored:
            return False
        if isinstance(node, _EXACT):
            return True
        if isinstance(node, Max | Min | Ref | Abs | Greater | Less):
            return all(self.exact(child) for child in node.children)
        if isinstance(node, If):
            return self.exact(node.left) and self.exact(node.right)
        if isinstance(node, Mul):
            signs = [c for c in node.children if isinstance(c, Constant) and abs(c.value) == 1]
            return bool(signs) and all(self.exact(child) for child in node.children)
        return False

    # -- nodes -------------------------------------------------------------------------------------

    def of(self, node: Node, precise: bool = False) -> At:
        """The value of a node; ``precise``: with all its digits, where it has more than float32 holds."""
        if isinstance(node, Constant):
            return At(~self.constant(node.value))
        precise = precise and not self.exact(node)
        key = (node, precise)
        if key not in self._known:
            self._known[key] = self._made(node, precise)
        return self._known[key]

    def _made(self, node: Node, precise: bool) -> At:
        if node in self._stored or isinstance(node, Field):
            return self._given(node, precise)
        if isinstance(node, Ref):
            operand = self.of(node.x, precise)
            return At(operand.value, operand.lag + node.n)
        if isinstance(node, If):
            return self._choice(node, precise)
        if isinstance(node, Comparison) or type(node) in _ELEMENT:
            return self._element(node, precise)
        if isinstance(node, Corr) and self._dialect == "qlib":
            return self._correlation_of_qlib(node, precise)
        operands = tuple(self.of(child, True) for child in node.children)
        return self._windowed(node, operands, precise)

    def _given(self, node: Node, precise: bool) -> At:
        wide = node.type is Type.FLOAT64
        if node not in self.inputs:
            self.inputs.append(node)
        number = self._put(Value("INPUT", wide=wide), node)
        if not wide or precise:
            return At(number)
        return At(self._put(Value("COPY", (At(number),), extra=(1,))))

    # -- single cells ------------------------------------------------------------------------------

    def _element(self, node: Node, precise: bool) -> At:
        name = type(node).__name__.upper() if isinstance(node, Comparison) else _ELEMENT[type(node)]
        if node.type is Type.BOOL and type(node) in _OF_BOOLEANS:
            name = _OF_BOOLEANS[type(node)]
        if node.type is Type.BOOL and isinstance(node, Abs):
            return self.of(node.x)
        operands, double = self._operands(node, precise)
        return self._cell(name, operands, double, precise, keeps_time=not isinstance(node, _OWN_TIME))

    def _operands(self, node: Node, precise: bool) -> tuple[tuple[At, ...], bool]:
        """The operands of an operator on single cells, and whether it computes in double precision."""
        children = node.children
        if isinstance(node, Sign):
            return tuple(self.of(child) for child in children), False
        if isinstance(node, Comparison | And | Or | Not):
            double = any(child.type is Type.FLOAT64 for child in children)
        else:
            double = node.type is Type.FLOAT64
        if not double:
            return tuple(self.of(child) for child in children), False
        if not precise and (isinstance(node, _PASSING) or self._guards(node)):
            return tuple(self.of(child) for child in children), False
        operands = tuple(self.of(child, True) for child in children)
        single = not precise and not any(self._wide(o) for o in operands) and all(map(self.exact, children))
        return operands, not single

    def _guards(self, node: Node) -> bool:
        """``x + 1e-12``: the number matters only where x is all but zero."""
        return isinstance(node, Add | Sub) and any(
            isinstance(child, Constant) and abs(child.value) <= _GUARD for child in node.children
        )

    def _choice(self, node: If, precise: bool) -> At:
        sides = self.of(node.left, precise), self.of(node.right, precise)
        condition = self.of(node.condition)
        known = node.condition.type is not Type.BOOL and self._dialect != "qlib"
        name = "IF_KNOWN" if known else "IF"
        return self._cell(name, (condition, *sides), precise, precise, keeps_time=False)

    def _cell(self, name: str, operands: tuple[At, ...], double: bool, wide: bool, *, keeps_time: bool) -> At:
        lag = min((o.lag for o in operands if o.value >= 0), default=0) if keeps_time else 0
        moved = tuple(o if o.value < 0 else At(o.value, o.lag - lag) for o in operands)
        if name in ("ADD", "MUL", "AND", "OR"):
            moved = tuple(sorted(moved))
        return At(self._put(Value(name, moved, wide, (int(double),))), lag)

    # -- windows -----------------------------------------------------------------------------------

    def _windowed(self, node: Node, operands: tuple[At, ...], precise: bool) -> At:
        lag = 0 if isinstance(node, _OWN_TIME) else min(o.lag for o in operands)
        moved = tuple(At(o.value, o.lag - lag) for o in operands)
        return At(self._put(self._window(node, moved, precise)), lag)

    def _window(self, node: Node, operands: tuple[At, ...], wide: bool) -> Value:
        kind = type(node)
        qlib = self._dialect == "qlib"
        if isinstance(node, EMA):
            ratio = self.constant(max(node.ratio, 0.0))
            return Value("EMA", operands, wide, (ratio,), (node.back or 0) + 1)
        n = int(node.args[2] if kind in _PAIRS else node.args[1])
        if isinstance(node, Mean) and node.x.type is Type.BOOL:
            return Value("SHARE", operands, wide, (), n)
        if kind in _MOMENTS:
            floor = self.constant(QLIB_DEVIATION) if qlib else FLOOR_RELATIVE
            return Value("MOMENTS", operands, wide, (floor,), n, _MOMENTS[kind])
        if kind in _SHAPE:
            floor = self.constant(PANDAS_VARIANCE) if qlib else FLOOR_RELATIVE
            return Value("SHAPE", operands, wide, (floor,), n, _SHAPE[kind])
        if kind in _EXTREMA:
            least, place = _EXTREMA[kind]
            return Value("EXTREMA", operands, wide, (least,), n, place)
        if kind in _ORDER:
            q = self.constant(node.q if isinstance(node, Quantile | TrimMean | Winsorize) else 0.5)
            return Value("ORDER", operands, wide, (n, _ORDER[kind], q), n)
        if kind in _PAIRS:
            floor = FLOOR_NONE if qlib else FLOOR_RELATIVE
            return Value("PAIRS", operands, wide, (floor,), n, _PAIRS[kind])
        return Value(_PLAIN[kind], operands, wide, (), n)

    def _correlation_of_qlib(self, node: Corr, precise: bool) -> At:
        """NaN where either side's own deviation, not that of the common bars, is next to nothing."""
        operands = tuple(self.of(child, True) for child in node.children)
        found = self._windowed(node, operands, precise)
        bound = At(~self.constant(QLIB_DEVIATION))
        flat = []
        for child in node.children:
            deviation = self._windowed(Std(child, node.n), (self.of(child, True),), True)
            flat.append(self._cell("LE", (deviation, bound), True, False, keeps_time=False))
        either = self._cell("OR", tuple(flat), False, False, keeps_time=False)
        nothing = At(~self.constant(math.nan))
        return self._cell("IF", (either, nothing, found), precise, precise, keeps_time=False)
