"""What every expression is made of: immutable nodes, compared by value, checked when they are built.

An operator is one small class that names its arguments with the annotations below, its `Kind`, its type rule
and its own look-back; everything else (parsing, printing, hashing, checking) is derived from that.

=========  ==========================================================
`Series`   an expression over fields (not a bare number)
`Value`    an expression or a number
`Flag`     an expression of type bool
`Window`   a whole number of bars; which ones are allowed: `Operator.windows`
`Span`     a `Window`, or a smoothing factor in (0, 1)
`Number`   a plain finite number; which ones are allowed: `Operator.numbers`
`Name`     a quoted text: the id of an instrument
=========  ==========================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

from bascule.core import ExpressionError

MAX_WINDOW = 100_000
MAX_DEPTH = 100


class Kind(Enum):
    """How an operator reads the ``[time, instrument]`` plane."""

    LEAF = "leaf"
    ELEMENT = "element-wise"
    SHIFT = "shift in time"
    ROLLING = "rolling"
    PAIR = "pair-rolling"
    CROSS = "cross-sectional"
    INSTRUMENT = "other instrument"


class Type(Enum):
    """The type of a node's values, as qlib (NumPy) would have it."""

    NUMBER = "number"
    BOOL = "bool"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class Role(Enum):
    """What an argument may be; see the table of this module."""

    SERIES = "an expression"
    VALUE = "an expression or a number"
    FLAG = "a boolean expression"
    WINDOW = "a whole number of bars"
    SPAN = "a whole number of bars or a smoothing factor between 0 and 1"
    NUMBER = "a number"
    NAME = "a quoted instrument id"


@dataclass(frozen=True)
class Windows:
    """Which windows an operator takes.

    Attributes:
        least: the smallest window that means something.
        zero: whether 0 (expanding: all history) is allowed.
        negative: whether negative ones (the future; for labels) are allowed.
    """

    least: int = 1
    zero: bool = True
    negative: bool = False

    def refusal(self, n: int) -> str | None:
        """Why ``n`` is refused, or None."""
        if abs(n) > MAX_WINDOW:
            return f"a window of {n} is beyond the largest, {MAX_WINDOW}"
        if n == 0 and not self.zero:
            return "a window of 0 (expanding) is not defined here"
        if n < 0 and not self.negative:
            return f"a window of {n} reads the future"
        if 0 < n < self.least:
            return f"a window of {n} is below the least that is defined, {self.least}"
        return None


@dataclass(frozen=True)
class Parameter:
    """One argument of an operator: its name and what it may be."""

    name: str
    role: Role


class Node:
    """An immutable expression. Equal nodes are equal by value; ``str(node)`` is text that qlib reads too.

    Attributes:
        args: the arguments in order (nodes, windows, numbers, names).
        type: type of the values.
        depth: levels below and including this one.
    """

    kind: ClassVar[Kind]
    windows: ClassVar[Windows] = Windows()
    numbers: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    args: tuple[Any, ...]
    type: Type
    depth: int
    _hash: int

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "args", tuple(getattr(self, p.name) for p in signature(type(self))))
        self._check()
        put(self, "type", self._type())
        put(self, "depth", 1 + max((c.depth for c in self.children), default=0))
        put(self, "_hash", hash((type(self).__name__, self.args)))

    # -- rules, overridden by operators ------------------------------------------------------------

    def _check(self) -> None:
        """Refuse arguments outside of the declared roles."""
        for parameter, value in zip(signature(type(self)), self.args, strict=True):
            problem = _refusal(self, parameter.role, value)
            if problem:
                raise ExpressionError(problem, where=f"{type(self).__name__}, argument {parameter.name}")

    def _type(self) -> Type:
        """The type rule."""
        return promote(self.children)

    @property
    def back(self) -> int | None:
        """Bars before row t that this operator itself reads; None = all history."""
        return 0

    @property
    def ahead(self) -> int:
        """Bars after row t that this operator itself reads (negative: it reads only older ones)."""
        return 0

    # -- value semantics ---------------------------------------------------------------------------

    @property
    def children(self) -> tuple[Node, ...]:
        """The arguments that are nodes, in order."""
        return tuple(a for a in self.args if isinstance(a, Node))

    def rebuilt(self, children: tuple[Node, ...]) -> Node:
        """The same operator over other children (same order and number)."""
        new = iter(children)
        return type(self)(*(next(new) if isinstance(a, Node) else a for a in self.args))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Node):
            return NotImplemented
        return type(self) is type(other) and self._hash == other._hash and self.args == other.args

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"

    def __str__(self) -> str:
        inner = ",".join(repr(a) if isinstance(a, str) else _plain(a) for a in self.args)
        return f"{type(self).__name__}({inner})"


@dataclass(frozen=True, eq=False, repr=False)
class Field(Node):
    """A field of the panel, such as ``$close``.

    Attributes:
        name: lower case, without ``$``.
    """

    name: str
    kind = Kind.LEAF

    def _check(self) -> None:
        if not self.name or self.name != self.name.lower():
            raise ExpressionError(f"{self.name!r} is not a field name", where="Field", remedy="lower case")

    def _type(self) -> Type:
        return Type.FLOAT32

    def __str__(self) -> str:
        return f"${self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Node):
    """A finite number. Like NumPy's Python scalars it takes the precision of what it meets."""

    value: float
    kind = Kind.LEAF

    def _check(self) -> None:
        if isinstance(self.value, bool) or not math.isfinite(self.value):
            raise ExpressionError(f"{self.value!r} is not a finite number", where="Constant")
        object.__setattr__(self, "value", float(self.value) + 0.0)  # -0.0 is 0.0
        object.__setattr__(self, "args", (self.value,))

    def _type(self) -> Type:
        return Type.NUMBER

    def __str__(self) -> str:
        return _plain(self.value)


class Operator(Node):
    """Base of all nodes that have a name in the language."""


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def promote(nodes: tuple[Node, ...]) -> Type:
    """The type of arithmetic over ``nodes``: float64 beats float32, a number has no say among floats.

    A bool that meets a number is counted in float64.
    """
    kinds = {node.type for node in nodes}
    if Type.FLOAT64 in kinds:
        return Type.FLOAT64
    if Type.FLOAT32 in kinds:
        return Type.FLOAT32
    return Type.BOOL if kinds == {Type.BOOL} else Type.FLOAT64


Series = Annotated[Node, Role.SERIES]
Value = Annotated[Node, Role.VALUE]
Flag = Annotated[Node, Role.FLAG]
Window = Annotated[int, Role.WINDOW]
Span = Annotated[float, Role.SPAN]
Number = Annotated[float, Role.NUMBER]
Name = Annotated[str, Role.NAME]


def signature(operator: type[Node]) -> tuple[Parameter, ...]:
    """The arguments of an operator, in order, read from its annotations."""
    key: Any = operator  # mypy takes a class with its own __hash__ for unhashable
    return _signature(key)


@cache
def _signature(operator: Any) -> tuple[Parameter, ...]:
    hints = get_type_hints(operator, include_extras=True)
    names = [f.name for f in fields(operator)]
    return tuple(Parameter(name, _role(hints[name])) for name in names)


def _role(hint: Any) -> Role:
    for extra in get_args(hint)[1:]:
        if isinstance(extra, Role):
            return extra
    return Role.NAME if hint is str else Role.NUMBER


def _refusal(node: Node, role: Role, value: Any) -> str | None:
    """Why ``value`` cannot be an argument of this role, or None."""
    operand = isinstance(value, Node) and role in (Role.SERIES, Role.VALUE, Role.FLAG)
    if operand:
        if role is not Role.VALUE and isinstance(value, Constant):
            return f"expected {role.value}, received the number {value}"
        if role is Role.FLAG and value.type is not Type.BOOL:
            return f"expected {role.value}, received {value} of type {value.type.value}"
        return None
    if role is Role.NAME:
        fine = isinstance(value, str) and value and not set(value) & set("'\"\\\n")
        return None if fine else f"expected {role.value}, received {_shown(value)}"
    if isinstance(value, Node | str | bool) or not isinstance(value, int | float):
        return f"expected {role.value}, received {_shown(value)}"
    if not math.isfinite(value):
        return f"expected {role.value}, received {value}"
    if role is Role.NUMBER:
        low, high = node.numbers
        return None if low <= value <= high else f"{value} is outside of [{low:g}, {high:g}]"
    if role is Role.SPAN and 0 < value < 1:
        return None
    if role is Role.SPAN and value >= 1:
        return node.windows.refusal(math.ceil(value))
    if role in (Role.WINDOW, Role.SPAN):
        if value != int(value) or (isinstance(value, float) and value != 0):
            return _fractional(value)
        return node.windows.refusal(int(value))
    return f"expected {role.value}, received {_shown(value)}"


def _fractional(value: float) -> str:
    hint = "; for an exponentially weighted mean write EMA(x, alpha)" if 0 < value < 1 else ""
    return f"a window is a whole number of bars, received {value}{hint}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def walk(node: Node) -> Iterator[Node]:
    """Every distinct node of the expression, each once, children before parents."""
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        item, expanded = stack.pop()
        if item in seen:
            continue
        if expanded:
            seen.add(item)
            yield item
        else:
            stack.append((item, True))
            stack.extend((child, False) for child in reversed(item.children))


def field_names(node: Node) -> tuple[str, ...]:
    """The names of all fields that the expression reads, sorted, without ``$``."""
    return tuple(sorted({item.name for item in walk(node) if isinstance(item, Field)}))
