"""Field texts to qlib's own expression objects, without evaluating them as code.

qlib rewrites a text with regular expressions and calls ``eval`` on it, in a module whose names reach the
whole of Python. Here

1. ``$name`` and ``$$name`` become calls of ``Feature`` and ``PFeature``, as in qlib;
2. Python's parser makes a syntax tree of the text, which runs nothing;
3. `_Builder` walks the tree and knows numbers, quoted texts, arithmetic, comparison, and calls of registered
   operators by their bare name. All else (attributes, other names, subscripts, functions, …) is refused.

What qlib accepts on purpose gives the same objects as in qlib, custom operators included, and so does its
reading of ``1<$a<4`` as ``$a<4``.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from bascule.core import ExpressionError
from bascule.expr import MAX_WINDOW
from bascule.expr.registry import nearest
from bascule.expr.tokens import MAX_LENGTH

MAX_DEPTH = 200
_LARGEST = 2.0**53
_QLIB = "qlib.data.ops"
_SHIFTS = ("Ref", "Delta")
# the marks beside \w are those that qlib allows in field names
_PIT = re.compile(r"\$\$([\w\u3001\uff1a\uff08\uff09]+)")
_FIELD = re.compile(r"\$([\w\u3001\uff1a\uff08\uff09]+)")
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_HINT = "write fields as $close, operators as Mean($close,5)"


def build(text: str, operators: Mapping[str, type], base: type) -> Any:
    """qlib's expression object of a field text.

    Args:
        text: the field, as qlib takes it.
        operators: qlib's registered operators by name.
        base: qlib's class of all expressions.

    Raises:
        ExpressionError: the text holds anything but fields, numbers, quoted texts and operators, is too long
            or nested too deep, or has a negative or an enormous window.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(text, f"the text has {len(text)} characters, more than {MAX_LENGTH}", "simplify it")
    marked = _FIELD.sub(r'Feature("\1")', _PIT.sub(r'PFeature("\1")', text.strip()))
    try:
        tree = ast.parse(marked, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise _refused(text, f"invalid syntax ({error.args[0]})", _HINT) from None
    except (RecursionError, MemoryError):
        raise _refused(text, "the text is nested too deep", "simplify it") from None
    found = _Builder(text, operators, base).item(tree.body, 0)
    if not isinstance(found, base):
        raise _refused(text, "the text reads no field", _HINT)
    return found


def _refused(text: str, message: str, remedy: str) -> ExpressionError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return ExpressionError(f"{message}, in {shown!r}", where="qlib field", remedy=remedy)


class _Builder:
    """One walk over the syntax tree of one text."""

    def __init__(self, text: str, operators: Mapping[str, type], base: type) -> None:
        self._text = text
        self._operators = operators
        self._base = base

    def item(self, node: ast.expr, depth: int) -> Any:
        """The expression, number, text or list that a piece of the tree stands for."""
        if depth > MAX_DEPTH:
            raise self._error(f"the text is nested more than {MAX_DEPTH} levels deep", "simplify it")
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
                return self._literal(value)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(name, args, keywords, depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(type(op), self.item(left, depth + 1), self.item(right, depth + 1))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                value = self._number(self.item(operand, depth + 1), "a sign")
                return -value if isinstance(sign, ast.USub) else value
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(left, ops, others, depth)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.item(item, depth + 1) for item in items]
            case ast.Name(id=name):
                raise self._error(f"unknown name {name[:40]!r}", f"fields are written ${name[:40].lower()}")
        raise self._error(f"{type(node).__name__} is not part of the language", _HINT)

    def _error(self, message: str, remedy: str) -> ExpressionError:
        return _refused(self._text, message, remedy)

    def _literal(self, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._bounded(value)
        return value

    def _bounded(self, value: int | float | complex) -> int | float:
        if isinstance(value, complex) or not math.isfinite(value):
            raise self._error("a number is not finite and real", "correct it")
        if isinstance(value, int) and abs(value) >= _LARGEST:
            raise self._error("a whole number is too large", "write it as a decimal, such as 1e18")
        return value

    def _number(self, value: Any, what: str) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(f"{what} needs a number here", "write -1*$close")
        return value

    def _call(self, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int) -> Any:
        known = self._operators.get(name)
        if known is None:
            near = nearest(name)
            remedy = f"did you mean {near}?" if near else "register it: qlib.init(custom_ops=[…])"
            raise self._error(f"unknown operator {name[:40]!r}", remedy)
        named = {str(word.arg): self.item(word.value, depth + 1) for word in keywords if word.arg}
        if len(named) != len(keywords):
            raise self._error("** is not part of the language", _HINT)
        given = [self.item(argument, depth + 1) for argument in args]
        try:
            made = known(*given, **named)
        except (TypeError, ValueError) as error:
            raise self._error(f"{name}: {error}", "correct its arguments") from error
        self._check_window(name, made)
        return made

    def _check_window(self, name: str, made: Any) -> None:
        """Refuse windows that qlib takes and should not.

        Its regressions set memory aside for every bar of a window, and answer a negative one with zeros.
        """
        window = getattr(made, "N", None)
        if type(made).__module__ != _QLIB or not isinstance(window, int | float):
            return
        if abs(window) > MAX_WINDOW or (window < 0 and name not in _SHIFTS):
            least = -MAX_WINDOW if name in _SHIFTS else 0
            raise self._error(f"{name} with a window of {window}", f"use one from {least} to {MAX_WINDOW}")

    def _binary(self, op: type[ast.operator], left: Any, right: Any) -> Any:
        if isinstance(left, self._base) or isinstance(right, self._base):
            other = right if isinstance(left, self._base) else left
            if not isinstance(other, self._base):
                self._number(other, "arithmetic with an expression")
            return _BINARY[op](left, right)
        a, b = self._number(left, "arithmetic"), self._number(right, "arithmetic")
        try:
            # first in float: an integer power may be astronomically long
            rough = self._bounded(_BINARY[op](float(a), float(b)))
        except (ZeroDivisionError, OverflowError, TypeError) as error:
            raise self._error(f"numbers cannot be computed ({error})", "correct it") from None
        whole = isinstance(a, int) and isinstance(b, int) and not (op is ast.Pow and b < 0)
        if whole and op is not ast.Div:
            return self._bounded(_BINARY[op](a, b) if abs(rough) < _LARGEST else round(rough))
        return rough

    def _compare(self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr], depth: int) -> Any:
        value = self.item(left, depth + 1)
        result: Any = True
        for op, other in zip(ops, others, strict=True):
            if type(op) not in _COMPARE:
                raise self._error(f"{type(op).__name__} is not part of the language", "compare with ==")
            following = self.item(other, depth + 1)
            for side in (value, following):
                if not isinstance(side, self._base):
                    self._number(side, "a comparison")
            # as Python chains comparisons: the last one counts if those before it are true, as objects are
            result = _COMPARE[type(op)](value, following)
            if result is False:
                return False
            value = following
        return result
