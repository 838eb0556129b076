"""Text to nodes: qlib's language, read by a parser of its own and never evaluated as code.

1. `tokens` cuts the text and refuses foreign characters.
2. `_Parser.expression` climbs precedences (Pratt): comparison < ``|`` < ``&`` < ``+ -`` < ``* /`` < unary
   sign < ``**``, as in Python, since qlib's texts are Python's. Depth is bounded.
3. Numbers fold as they meet: a window may be written ``2*5``. A sign before an expression is ``-1*x``.
4. A call looks its name up in `registry` and fits the arguments to the operator's signature; the node checks
   their values. The error of a node is given the place in the text.

``parse(str(node)) == node`` for every node.
"""

from __future__ import annotations

from bascule.core import ExpressionError
from bascule.expr import elementwise
from bascule.expr.node import MAX_DEPTH, Constant, Field, Node, Operator, Role, signature
from bascule.expr.registry import LEFT_TO_QLIB, OPERATORS, nearest
from bascule.expr.tokens import Tag, Token, place, tokens

_LARGEST_INTEGER = 2**53
_COMPARISON, _UNARY, _POWER = 1, 7, 8
_INFIX: dict[str, tuple[int, type[elementwise.Binary]]] = {
    **{
        str(op.symbol): (op.precedence, op)
        for op in (
            elementwise.Add, elementwise.Sub, elementwise.Mul, elementwise.Div, elementwise.And,
            elementwise.Or, elementwise.Gt, elementwise.Ge, elementwise.Lt, elementwise.Le,
            elementwise.Eq, elementwise.Ne,
        )
    },
    "**": (_POWER, elementwise.Power),
}  # fmt: skip
_WORDS = {
    "and": "write ($a>1)&($b>1)",
    "or": "write ($a>1)|($b>1)",
    "not": "write Not($a>1)",
    "if": "write If(condition,left,right)",
    "else": "write If(condition,left,right)",
    "lambda": "functions cannot be defined",
    "in": "this is not part of the language",
    "is": "compare with ==",
}

# a parsed operand: a node, a folded number, or a quoted text
_Item = Node | int | float | str


def parse(text: str) -> Node:
    """Read one factor text.

    Raises:
        ExpressionError: the text is not of the language; the error names the column and a remedy.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"expected a text, received {type(text).__name__}", where="factor text")
    parser = _Parser(text)
    item = parser.expression(0, 0)
    parser.finish()
    if not isinstance(item, Node):
        raise ExpressionError(
            f"{text.strip()[:60]!r} reads no field", where="factor text", remedy="use a field, such as $close"
        )
    return item


class _Parser:
    """One pass over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        self._next = 0

    # -- tokens ------------------------------------------------------------------------------------

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._here
        self._next += 1
        return token

    def _expect(self, symbol: str, remedy: str) -> None:
        token = self._here
        if token.text != symbol or token.tag is not Tag.SYMBOL:
            raise _unexpected(token, f"expected {symbol!r}", remedy)
        self._next += 1

    def finish(self) -> None:
        """Refuse anything after the expression."""
        token = self._here
        if token.tag is not Tag.END:
            remedy = _WORDS.get(token.text.lower(), "join with an operator such as * or +")
            raise _unexpected(token, "the expression ended before", remedy)

    # -- grammar -----------------------------------------------------------------------------------

    def expression(self, least: int, depth: int) -> _Item:
        """Everything from here on that binds at least as tightly as ``least``."""
        if depth > MAX_DEPTH:
            raise _too_deep(self._here)
        left = self._operand(depth)
        compared = False
        while self._here.tag is Tag.SYMBOL and self._here.text in _INFIX:
            precedence, operator = _INFIX[self._here.text]
            if precedence < least:
                break
            token = self._take()
            if precedence == _COMPARISON and compared:
                raise ExpressionError(
                    "comparisons cannot be chained",
                    where=place(token.at),
                    remedy="write ($a>1)&($a<4); parentheses are needed around each comparison",
                )
            compared = compared or precedence == _COMPARISON
            right = self.expression(_UNARY if precedence == _POWER else precedence + 1, depth + 1)
            left = _joined(token, operator, left, right)
        return left

    def _operand(self, depth: int) -> _Item:
        token = self._take()
        if token.tag is Tag.NUMBER:
            return _number(token)
        if token.tag is Tag.FIELD:
            return Field(token.text[1:].lower())
        if token.tag is Tag.TEXT:
            return token.text[1:-1]
        if token.tag is Tag.NAME:
            return self._call(token, depth)
        if token.text == "(":
            inner = self.expression(0, depth + 1)
            self._expect(")", "close the parenthesis")
            return inner
        if token.text in ("-", "+"):
            operand = self.expression(_UNARY, depth + 1)
            return operand if token.text == "+" else _negative(token, operand)
        raise _unexpected(token, "expected a field, a number or an operator", "write such as Mean($close,5)")

    def _call(self, name: Token, depth: int) -> Node:
        opened = self._here.tag is Tag.SYMBOL and self._here.text == "("
        operator = _lookup(name, opened)
        self._take()
        arguments: list[_Item] = []
        if not (self._here.tag is Tag.SYMBOL and self._here.text == ")"):
            arguments.append(self.expression(0, depth + 1))
            while self._here.tag is Tag.SYMBOL and self._here.text == ",":
                self._take()
                arguments.append(self.expression(0, depth + 1))
        self._expect(")", f"close the parenthesis of {name.text}(")
        return _built(name, operator, arguments)


# -- errors ----------------------------------------------------------------------------------------


def _unexpected(token: Token, message: str, remedy: str) -> ExpressionError:
    found = "the end of the text" if token.tag is Tag.END else repr(token.text[:40])
    return ExpressionError(f"{message}, found {found}", where=place(token.at), remedy=remedy)


def _too_deep(token: Token) -> ExpressionError:
    return ExpressionError(
        f"the expression is nested more than {MAX_DEPTH} levels deep",
        where=place(token.at),
        remedy="simplify it",
    )


def _lookup(name: Token, opened: bool) -> type[Operator]:
    known = OPERATORS.get(name.text)
    if known is not None and opened:
        return known
    if known is not None:
        message, remedy = f"{name.text} is an operator", f"call it: {_usage(known)}"
    elif name.text in LEFT_TO_QLIB and opened:
        message, remedy = f"{name.text} is left to qlib", LEFT_TO_QLIB[name.text]
    elif name.text.lower() in _WORDS:
        message, remedy = f"{name.text!r} is not part of the language", _WORDS[name.text.lower()]
    else:
        near = nearest(name.text)
        message = f"unknown operator {name.text[:40]!r}" if opened else f"unknown name {name.text[:40]!r}"
        remedy = f"did you mean {near}?" if near else f"known operators: {', '.join(OPERATORS)}"
        if not opened and not near:
            remedy = f"fields are written ${name.text[:40].lower()}"
    return _fail(name, message, remedy)


def _fail(token: Token, message: str, remedy: str) -> type[Operator]:
    raise ExpressionError(message, where=place(token.at), remedy=remedy)


def _usage(operator: type[Operator]) -> str:
    return f"{operator.__name__}({', '.join(p.name for p in signature(operator))})"


# -- numbers ---------------------------------------------------------------------------------------


def _number(token: Token) -> int | float:
    if token.text.isdigit():
        # bounded before the conversion: int() of thousands of digits is slow
        value: int | float = int(token.text) if len(token.text) <= 16 else _LARGEST_INTEGER
    else:
        value = float(token.text)
    return _bounded(token, value)


def _bounded(token: Token, value: int | float | complex) -> int | float:
    if isinstance(value, complex) or value != value or abs(value) == float("inf"):
        raise ExpressionError("the number is not finite and real", where=place(token.at), remedy="correct it")
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        raise ExpressionError(
            "the whole number is too large",
            where=place(token.at),
            remedy="write it as a decimal, such as 1e18",
        )
    return value


def _folded(token: Token, left: int | float, right: int | float) -> int | float:
    """Two numbers under an operator of arithmetic, as Python would compute them."""
    try:
        match token.text:
            case "+":
                return _bounded(token, left + right)
            case "-":
                return _bounded(token, left - right)
            case "*":
                return _bounded(token, left * right)
            case "/":
                return _bounded(token, left / right)
            case "**":
                # first in float: an integer power may be astronomically long
                rough = float(left) ** float(right)
                whole = isinstance(left, int) and isinstance(right, int) and right >= 0
                small = not isinstance(rough, complex) and abs(rough) < _LARGEST_INTEGER
                return _bounded(token, left**right if whole and small else rough)
    except (ZeroDivisionError, OverflowError) as error:
        raise ExpressionError(
            f"{left} {token.text} {right} cannot be computed: {error}",
            where=place(token.at),
            remedy="correct it",
        ) from None
    raise ExpressionError(
        f"{token.text!r} between two numbers", where=place(token.at), remedy="use a field, such as $close"
    )


# -- nodes -----------------------------------------------------------------------------------------


def _operand_node(token: Token, item: _Item) -> Node:
    if isinstance(item, Node):
        return item
    if isinstance(item, str):
        raise ExpressionError(f"unexpected text {item!r}", where=place(token.at), remedy="remove the quotes")
    return Constant(item)


def _joined(token: Token, operator: type[elementwise.Binary], left: _Item, right: _Item) -> _Item:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _folded(token, left, right)
    return _built(token, operator, [_operand_node(token, left), _operand_node(token, right)])


def _negative(token: Token, item: _Item) -> _Item:
    if isinstance(item, int | float):
        return -item
    return _built(token, elementwise.Mul, [Constant(-1), _operand_node(token, item)])


def _built(token: Token, operator: type[Operator], items: list[_Item]) -> Node:
    """The operator over the arguments, or its refusal with the place in the text."""
    parameters = signature(operator)
    if len(items) != len(parameters):
        raise ExpressionError(
            f"{operator.__name__} takes {len(parameters)} arguments, received {len(items)}",
            where=place(token.at),
            remedy=f"write {_usage(operator)}",
        )
    arguments = [
        Constant(item)
        if isinstance(item, int | float) and p.role in (Role.SERIES, Role.VALUE, Role.FLAG)
        else item
        for item, p in zip(items, parameters, strict=True)
    ]
    try:
        node: Node = operator(*arguments)
    except ExpressionError as error:
        inner = f" ({error.where})" if error.where else ""
        raise ExpressionError(
            f"{error.message}{inner}",
            where=place(token.at),
            remedy=error.remedy or f"write {_usage(operator)}: " + _described(operator),
        ) from None
    if node.depth > MAX_DEPTH:
        raise _too_deep(token)
    return node


def _described(operator: type[Operator]) -> str:
    return ", ".join(f"{p.name} is {p.role.value}" for p in signature(operator))
