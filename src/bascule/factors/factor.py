"""One factor: a name, its text, and where it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bascule.core import ConfigError, ExpressionError

if TYPE_CHECKING:
    from bascule.expr import Node

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Factor:
    """A named factor text, checked when it is built.

    Attributes:
        name: letters, digits and ``_``; becomes a column name.
        text: in the language of `bascule.expr`.
        family: what it measures, for grouping in reports.
        source: who defined it (paper and formula number where there is one).
        note: one sentence for people.
        horizon: bars ahead that it is meant for, at least 1.
        tags: words to find it by.
        inputs: fields that the text reads, without ``$``, sorted (derived).
        lookback: bars of history that a value needs, None = all of it (derived).

    Raises:
        ConfigError: the name is not one, or the horizon is below 1.
        ExpressionError: the text is not of the language, or reads the future.
    """

    name: str
    text: str
    family: str = "custom"
    source: str = "user"
    note: str = ""
    horizon: int = 1
    tags: tuple[str, ...] = ()
    inputs: tuple[str, ...] = field(init=False, compare=False, repr=False)
    lookback: int | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is not a factor name",
                where="factor",
                remedy="use letters, digits and _, at most 64, not starting with a digit",
            )
        if isinstance(self.horizon, bool) or not isinstance(self.horizon, int) or self.horizon < 1:
            raise ConfigError(
                f"the horizon is {self.horizon!r}",
                where=f"factor {self.name}",
                remedy="give a whole number of bars, at least 1",
            )
        from bascule.engine import compile as plan_of

        try:
            plan = plan_of([self.node])
        except ExpressionError as error:
            place = f"factor {self.name}" + (f", {error.where}" if error.where else "")
            raise ExpressionError(error.message, where=place, remedy=error.remedy) from None
        if plan.lookahead:
            raise ExpressionError(
                f"the text reads {plan.lookahead} bars of the future: {self.text}",
                where=f"factor {self.name}",
                remedy="a factor may use Ref and Delta with positive N only; the future is for labels",
            )
        object.__setattr__(self, "inputs", plan.fields)
        object.__setattr__(self, "lookback", plan.lookback)

    @cached_property
    def node(self) -> Node:
        """The parsed text."""
        from bascule.expr import parse

        return parse(self.text)
