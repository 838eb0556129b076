"""Text to tokens. Knows no operator; refuses every character that the language does not use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bascule.core import ExpressionError

MAX_LENGTH = 20_000


class Tag(Enum):
    """What a token is."""

    NUMBER = "number"
    FIELD = "field"
    NAME = "name"
    TEXT = "quoted text"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Attributes:
        tag: what it is.
        text: as written.
        at: position in the text, from 0.
    """

    tag: Tag
    text: str
    at: int


# the four marks beside \w are those that qlib allows in field names
_TOKEN = re.compile(
    r"""
    (?P<SPACE>\s+)
  | (?P<NUMBER>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<FIELD>\$[\w、：（）]+)
  | (?P<NAME>[^\W0-9]\w*)
  | (?P<TEXT>'[^'"\\\n]*'|"[^'"\\\n]*")
  | (?P<SYMBOL>\*\*|<=|>=|==|!=|[-+*/<>&|(),])
    """,
    re.VERBOSE,
)

_REMEDIES = {
    "$$": "point-in-time fields are left to qlib",
    ".": "attributes are not part of the language",
    "=": "arguments go by position; compare with ==",
    "%": "this operator is not part of the language",
    "^": "write Power(x,2) or x**2",
    "~": "write Not(x)",
    "!": "write Not(x) or a!=b",
    "[": "indexing is not part of the language",
    "{": "braces are not part of the language",
    ";": "one expression only",
    ":": "one expression only",
    "'": "quotes must be closed, and hold no quote, backslash or line break",
    '"': "quotes must be closed, and hold no quote, backslash or line break",
    "\\": "backslashes are not part of the language",
    "@": "this operator is not part of the language",
    "#": "comments are not part of the language",
}


def place(at: int) -> str:
    """How a position is named in errors: counted from 1, as editors do."""
    return f"factor text, column {at + 1}"


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text``, then one END token.

    Raises:
        ExpressionError: the text is too long, or has a character outside of the language.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the text has {len(text)} characters, more than {MAX_LENGTH}",
            where="factor text",
            remedy="split the factor",
        )
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _stray(text, at)
        tag = str(match.lastgroup)
        if tag != "SPACE":
            _refuse_glued(text, match, tag)
            yield Token(Tag[tag], match[0], at)
        at = match.end()
    yield Token(Tag.END, "", len(text))


def _stray(text: str, at: int) -> ExpressionError:
    found = text[at : at + 2] if text.startswith("$$", at) else text[at]
    return ExpressionError(
        f"unexpected {found!r}",
        where=place(at),
        remedy=_REMEDIES.get(found, "an expression is made of fields ($close), numbers and operators"),
    )


def _refuse_glued(text: str, match: re.Match[str], tag: str) -> None:
    """Refuse ``2x``, ``1_000``, ``0x10``, ``1.2.3`` and ``a.b`` at once, with the place."""
    end = match.end()
    if end < len(text) and tag == "NUMBER" and (text[end].isalnum() or text[end] in "_."):
        raise ExpressionError(
            f"{match[0] + text[end]!r} is not a number",
            where=place(match.start()),
            remedy="write 12, 0.5 or 1e-6",
        )
    if text.startswith("//", match.start()):
        raise ExpressionError("unexpected '//'", where=place(match.start()), remedy="divide with /")
