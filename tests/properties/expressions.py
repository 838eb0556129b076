"""Random expressions over all operators, drawn from their signatures."""

from __future__ import annotations

from hypothesis import strategies as st

from bascule.core import ExpressionError
from bascule.expr import OPERATORS, Constant, Field, Kind, Node, Operator, Role, Type, signature
from bascule.testing.markets import NAMES

LEAVES = st.sampled_from([Field(name) for name in ("open", "high", "low", "close", "volume")])
# few and small, so that windows meet missing stretches and each other
NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, 1e-12])
FLAGS = [OPERATORS[name] for name in ("Gt", "Ge", "Lt", "Le", "Eq", "Ne")]


@st.composite
def _call(draw: st.DrawFn, operator: type[Operator], below: st.SearchStrategy[Node]) -> Node:
    arguments: list[object] = []
    for parameter in signature(operator):
        match parameter.role:
            case Role.SERIES:
                arguments.append(draw(below))
            case Role.VALUE:
                arguments.append(draw(st.one_of(below, NUMBERS.map(Constant))))
            case Role.FLAG:
                arguments.append(draw(st.sampled_from(FLAGS))(draw(below), draw(below)))
            case Role.WINDOW:
                least = max(1, operator.windows.least)
                arguments.append(draw(st.integers(least, least + 9)))
            case Role.SPAN:
                arguments.append(draw(st.sampled_from([1, 1.5, 2, 3, 0.5, 0.9])))
            case Role.NUMBER:
                low, high = max(0.0, operator.numbers[0]), min(1.0, operator.numbers[1])
                arguments.append(draw(st.sampled_from([low, (low + high) / 2, high])))
            case Role.NAME:
                arguments.append(draw(st.sampled_from(NAMES)))
    try:
        return operator(*arguments)
    except ExpressionError:  # two numbers, or a difference of booleans
        return draw(below)


def expressions(operators: list[type[Operator]] | None = None) -> st.SearchStrategy[Node]:
    """Expressions of any operators (default: all), windows from their least up, no future, no window of 0."""
    chosen = operators or list(OPERATORS.values())

    def extend(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        return st.sampled_from(chosen).flatmap(lambda operator: _call(operator, below))

    return st.recursive(LEAVES, extend, max_leaves=8).filter(lambda node: not isinstance(node, Field))


def columnwise() -> list[type[Operator]]:
    """Operators that do not look at other instruments."""
    return [o for o in OPERATORS.values() if o.kind not in (Kind.CROSS, Kind.INSTRUMENT)]


def is_float(node: Node) -> bool:
    """Whether the values are floats."""
    return node.type in (Type.FLOAT32, Type.FLOAT64)
