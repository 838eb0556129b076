"""The factor language: qlib's expressions and a few more, as typed immutable nodes.

`parse` reads a text without evaluating it; `OPERATORS` is the catalogue; ``str(node)`` is canonical text,
which qlib reads too (but for the operators that are ours). Knows no data.
"""

from bascule.expr import crosssection, elementwise, instrument, pair, rolling, shift, trend, weighted
from bascule.expr.node import (
    MAX_DEPTH,
    MAX_WINDOW,
    Constant,
    Field,
    Flag,
    Kind,
    Name,
    Node,
    Number,
    Operator,
    Parameter,
    Role,
    Series,
    Type,
    Value,
    Window,
    Windows,
    field_names,
    signature,
    walk,
)
from bascule.expr.own import CrossOperator, ElementOperator, OwnOperator, PairOperator, RollingOperator
from bascule.expr.parser import parse
from bascule.expr.registry import LEFT_TO_QLIB, OPERATORS

__all__ = [
    "LEFT_TO_QLIB",
    "MAX_DEPTH",
    "MAX_WINDOW",
    "OPERATORS",
    "Constant",
    "CrossOperator",
    "ElementOperator",
    "Field",
    "Flag",
    "Kind",
    "Name",
    "Node",
    "Number",
    "Operator",
    "OwnOperator",
    "PairOperator",
    "Parameter",
    "Role",
    "RollingOperator",
    "Series",
    "Type",
    "Value",
    "Window",
    "Windows",
    "crosssection",
    "elementwise",
    "field_names",
    "instrument",
    "pair",
    "parse",
    "rolling",
    "shift",
    "signature",
    "trend",
    "walk",
    "weighted",
]
