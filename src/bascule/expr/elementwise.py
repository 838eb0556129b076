"""Operators on single cells: arithmetic, comparison, logic, choice. They keep the precision of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bascule.core import ExpressionError
from bascule.expr.node import Constant, Flag, Kind, Node, Operator, Series, Type, Value


@dataclass(frozen=True, eq=False, repr=False)
class Unary(Operator):
    """Base of operators on one series."""

    x: Series
    kind = Kind.ELEMENT


class Abs(Unary):
    """Absolute value."""


class Sign(Unary):
    """-1, 0 or 1; computed in float32."""

    def _type(self) -> Type:
        return Type.FLOAT32


class _FloatUnary(Unary):
    def _type(self) -> Type:
        return Type.FLOAT32 if self.x.type is Type.BOOL else self.x.type


class Log(_FloatUnary):
    """Natural logarithm; Log(0) is -inf, of a negative number NaN."""


class SignedLog(_FloatUnary):
    """sign(x) * ln(1 + |x|): defined for every number. Ours, beyond qlib."""


@dataclass(frozen=True, eq=False, repr=False)
class Not(Operator):
    """Logical not of a boolean."""

    x: Flag
    kind = Kind.ELEMENT


@dataclass(frozen=True, eq=False, repr=False)
class Binary(Operator):
    """Base of operators on two values, of which at least one is an expression.

    Attributes:
        symbol: how the operator is written between its operands, None = as a call.
        precedence: how tightly it binds, as in Python.
    """

    left: Value
    right: Value
    kind = Kind.ELEMENT
    symbol: ClassVar[str | None] = None
    precedence: ClassVar[int] = 0

    def _check(self) -> None:
        super()._check()
        if isinstance(self.left, Constant) and isinstance(self.right, Constant):
            raise ExpressionError(
                "both operands are numbers", where=type(self).__name__, remedy="use a field, such as $close"
            )

    def __str__(self) -> str:
        if self.symbol is None:
            return super().__str__()
        left, right = _wrapped(self.left, self.precedence), _wrapped(self.right, self.precedence + 1)
        return f"{left}{self.symbol}{right}"


def _wrapped(node: Node, least: int) -> str:
    """The text of an operand, in parentheses where it binds less tightly than ``least``."""
    text = str(node)
    loose = isinstance(node, Binary) and node.symbol is not None and node.precedence < least
    negative = isinstance(node, Constant) and node.value < 0
    return f"({text})" if loose or negative else text


class Add(Binary):
    """Sum of two values; of two booleans: or."""

    symbol = "+"
    precedence = 5


class Sub(Binary):
    """Difference of two values."""

    symbol = "-"
    precedence = 5

    def _check(self) -> None:
        super()._check()
        if self.left.type is Type.BOOL and self.right.type is Type.BOOL:
            raise ExpressionError(
                "the difference of two booleans is not defined", where="Sub", remedy="use Ne(a,b), or 1*a-b"
            )


class Mul(Binary):
    """Product of two values; of two booleans: and."""

    symbol = "*"
    precedence = 6


class Div(Binary):
    """Quotient of two values; x/0 is inf or NaN."""

    symbol = "/"
    precedence = 6

    def _type(self) -> Type:
        found = super()._type()
        return Type.FLOAT64 if found is Type.BOOL else found


class Power(Binary):
    """Left to the power of right; NaN**0 is 1."""

    def _type(self) -> Type:
        found = super()._type()
        return Type.FLOAT64 if found is Type.BOOL else found


class SignedPower(Power):
    """sign(left) * |left|**right: defined for every base. Ours, beyond qlib."""


class Greater(Binary):
    """The greater of two values; NaN where either is NaN."""


class Less(Binary):
    """The lesser of two values; NaN where either is NaN."""


class Comparison(Binary):
    """Base of comparisons: boolean, False where either side is NaN."""

    precedence = 1

    def __str__(self) -> str:
        # both sides are wrapped: comparisons do not chain
        return f"{_wrapped(self.left, 2)}{self.symbol}{_wrapped(self.right, 2)}"

    def _type(self) -> Type:
        return Type.BOOL


class Gt(Comparison):
    """left > right."""

    symbol = ">"


class Ge(Comparison):
    """left >= right."""

    symbol = ">="


class Lt(Comparison):
    """left < right."""

    symbol = "<"


class Le(Comparison):
    """left <= right."""

    symbol = "<="


class Eq(Comparison):
    """left == right."""

    symbol = "=="


class Ne(Comparison):
    """left != right; True where either side is NaN."""

    symbol = "!="


@dataclass(frozen=True, eq=False, repr=False)
class Logical(Binary):
    """Base of logic on two booleans."""

    left: Flag
    right: Flag

    def _check(self) -> None:
        try:
            super()._check()
        except ExpressionError as error:
            error.remedy = "compare first, with parentheses: ($a>1)&($b<2)"
            raise


class And(Logical):
    """Both."""

    symbol = "&"
    precedence = 3


class Or(Logical):
    """Either."""

    symbol = "|"
    precedence = 2


@dataclass(frozen=True, eq=False, repr=False)
class If(Operator):
    """left where the condition holds, else right."""

    condition: Series
    left: Value
    right: Value
    kind = Kind.ELEMENT

    def _type(self) -> Type:
        kinds = {self.left.type, self.right.type}
        if Type.FLOAT64 in kinds:
            return Type.FLOAT64
        if Type.FLOAT32 in kinds:
            return Type.FLOAT32
        return Type.BOOL if kinds == {Type.BOOL} else Type.FLOAT64
