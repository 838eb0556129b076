"""The typed grammar: every draw is a valid factor without unit that reads no future.

Two views of the same grammar:

- *tokens*, for policies: reverse Polish. An `Action` pushes a field, or takes operands off the stack and
  pushes what they make; windows and constants are part of it. `Derivation.mask` says which actions are legal:
  units fit (`dimensions.RULES`), and what is left of the length suffices to end in one factor without unit.
- *trees*, for genetic operators: `Grammar.dimension` types every subtree, so that one may stand for another.

The end of a text is an action of its own, legal when the stack holds one `RATIO`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Key
from pydantic import field_validator

from bascule import engine
from bascule.core import ExpressionError, Settings
from bascule.expr import Constant, Field, Node, Operator, field_names, pair, rolling, shift, trend, weighted
from bascule.expr import crosssection as cross
from bascule.expr import elementwise as cell
from bascule.miners.dimensions import FIELDS, RATIO, RULES, Dimension, dimension

_UNARY: tuple[type[Operator], ...] = (cell.Abs, cell.Sign, cell.Log)
_BINARY: tuple[type[Operator], ...] = (cell.Add, cell.Sub, cell.Mul, cell.Div, cell.Greater, cell.Less)
_LAGS: tuple[type[Operator], ...] = (shift.Ref, shift.Delta)
_ROLLING: tuple[type[Operator], ...] = (
    rolling.Mean, rolling.Std, rolling.Max, rolling.Min, rolling.Med, rolling.Mad, rolling.Rank,
    rolling.TSZScore, rolling.TSMinMaxScale, rolling.Skew, rolling.IdxMax, rolling.IdxMin,
    trend.Slope, trend.Rsquare, weighted.EMA, weighted.Decay,
)  # fmt: skip
_PAIRS: tuple[type[Operator], ...] = (pair.Corr,)
_CROSS: tuple[type[Operator], ...] = (cross.CSRank,)
# the least window with which an operator has something to say
_LEAST: Mapping[type[Operator], int] = {rolling.Skew: 5, trend.Rsquare: 3, trend.Slope: 3, pair.Corr: 3}
_CONSTANTS = (cell.Greater, cell.Less)


Bars = Annotated[int, Key(ge=1)]


class GrammarSettings(Settings):
    """Which texts may be drawn."""

    fields: tuple[str, ...] = Key(
        default=("open", "high", "low", "close", "volume", "vwap"), min_length=1, description="of the panel"
    )
    lags: tuple[Bars, ...] = Key(default=(1, 2, 5, 12, 24), min_length=1, description="bars of Ref and Delta")
    windows: tuple[Bars, ...] = Key(default=(5, 10, 24, 48, 96, 168), description="bars of rolling operators")
    constants: tuple[float, ...] = Key(default=(0.0,), description="a ratio may be cut off at these")
    cross_sectional: bool = Key(default=False, description="ranks across coins within the text (slower)")
    length: int = Key(default=14, ge=3, le=60, description="most tokens of a text, its end not counted")
    power: int = Key(default=1, ge=1, le=3, description="largest power of a unit within a text")

    @field_validator("windows")
    @classmethod
    def _closes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        # two series with units become a ratio by Corr alone; without it a text could come to no end
        if not value or max(value) < _LEAST[pair.Corr]:
            raise ValueError(f"one window must be of {_LEAST[pair.Corr]} bars or more, for correlations")
        return value


@dataclass(frozen=True)
class Action:
    """A token.

    Attributes:
        name: such as ``$close``, ``Mean_24``, ``Div``.
        operator: what it applies, None for a field and for the end.
        arity: operands it takes off the stack.
        extra: arguments after the operands: a window, or a constant.
    """

    name: str
    operator: type[Operator] | None
    arity: int
    extra: tuple[int | float, ...] = ()

    def node(self, operands: Sequence[Node]) -> Node:
        """What it makes of its operands."""
        if self.operator is None:
            return Field(self.name[1:])
        extra: tuple[int | Node, ...] = tuple(Constant(e) if isinstance(e, float) else e for e in self.extra)
        return self.operator(*operands, *extra)


END = "end"
_ILLEGAL, _RATIO, _UNIT = 0, 1, 2
# how readily another field is pushed onto a stack of 0, 1, 2 and more operands
_PUSH = (1.0, 1.0, 0.2, 0.04)


@dataclass(frozen=True)
class Derivation:
    """A text half written.

    Attributes:
        grammar: whose.
        stack: operands so far with their dimensions.
        used: tokens so far.
        done: the end was said.
    """

    grammar: Grammar
    stack: tuple[tuple[Node, Dimension], ...] = ()
    used: int = 0
    done: bool = False

    def mask(self) -> NDArray[np.bool_]:
        """Which actions are legal: units fit, and the rest of the length can still end in one ratio.

        Two series become a ratio by one `Corr`, one by one `TSZScore`; but `Corr` wants them to differ, so
        each pair of equal neighbours on the stack costs one token more.
        """
        grammar = self.grammar
        if self.done:
            return np.zeros(len(grammar.actions), np.bool_)
        left, depth = grammar.settings.length - self.used - 1, len(self.stack)
        made = grammar.outcomes(self.stack[-2:])
        # equal neighbours among the operands that stay
        twins = [0, 0]
        for (one, _), (other, _) in pairwise(self.stack):
            twins.append(twins[-1] + (one == other))
        # by arity: tokens needed for the operands that stay, or more than there are
        needed = [depth - n + twins[depth - n] if n <= depth else left + 1 for n in range(3)]
        cost = np.array(needed)[grammar.arities]
        cost += (made == _UNIT) & (grammar.arities == depth)
        legal: NDArray[np.bool_] = (made != _ILLEGAL) & (cost <= left)
        for number in np.flatnonzero(legal & (cost == left) & (grammar.arities < depth)):
            legal[number] = not self._twin(int(number))  # no room for one more
        legal[grammar.end] = len(self.stack) == 1 and self.stack[0][1] == RATIO and self.used > 1
        return legal

    def _twin(self, number: int) -> bool:
        """Whether an action makes what lies below it on the stack."""
        action, keep = self.grammar.actions[number], len(self.stack)
        keep -= action.arity
        below = self.stack[keep - 1][0]
        if type(below) is not (action.operator or Field):
            return False
        return action.node([one for one, _ in self.stack[keep:]]) == below

    def step(self, number: int) -> Derivation:
        """After one more action, which must be legal."""
        action, keep = self.grammar.actions[number], len(self.stack)
        if number == self.grammar.end:
            return Derivation(self.grammar, self.stack, self.used, True)
        keep -= action.arity
        made = self.grammar.result(action, self.stack[keep:]) if keep >= 0 else None
        if made is None:
            raise ExpressionError(
                f"{action.name} is not legal here",
                where="Derivation.step",
                remedy="choose by Derivation.mask",
            )
        top = (action.node([one for one, _ in self.stack[keep:]]), made)
        return Derivation(self.grammar, (*self.stack[:keep], top), self.used + 1)

    @property
    def node(self) -> Node:
        """The text, when it is done."""
        if not self.done:
            raise ExpressionError(
                "the text has no end yet", where="Derivation.node", remedy="step on until Derivation.done"
            )
        return self.stack[0][0]


@dataclass(frozen=True, eq=False)
class Grammar:
    """All actions under some settings."""

    settings: GrammarSettings = field(default_factory=GrammarSettings)
    units: Mapping[str, Dimension] = field(default_factory=lambda: FIELDS)
    actions: tuple[Action, ...] = field(init=False)
    arities: NDArray[np.int64] = field(init=False)
    end: int = field(init=False)
    _outcomes: dict[object, NDArray[np.int8]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        actions = tuple(_actions(self.settings))
        object.__setattr__(self, "actions", actions)
        object.__setattr__(self, "arities", np.array([action.arity for action in actions]))
        object.__setattr__(self, "end", len(actions) - 1)

    def begin(self) -> Derivation:
        """An empty text."""
        return Derivation(self)

    def result(self, action: Action, operands: Sequence[tuple[Node, Dimension]]) -> Dimension | None:
        """The dimension that an action makes of its operands, or None where it may not take them."""
        if action.operator is None:
            return self.units.get(action.name[1:], RATIO)
        kinds = tuple(kind for _, kind in operands)
        nodes = tuple(node for node, _ in operands)
        if len(nodes) == 2 and nodes[0] == nodes[1]:
            return None
        if action.extra and isinstance(action.extra[0], float):
            made = RATIO if kinds[0] == RATIO else None
        else:
            made = RULES[action.operator](kinds)
        if made is None or max(abs(made.price), abs(made.volume)) > self.settings.power:
            return None
        return None if pointless(action.operator, nodes) else made

    def outcomes(self, tops: Sequence[tuple[Node, Dimension]]) -> NDArray[np.int8]:
        """For each action: illegal over these operands, makes a ratio, makes something with a unit."""
        # all that the rules look at
        key = (*((type(node), kind) for node, kind in tops), len(tops) == 2 and tops[0][0] == tops[1][0])
        if key not in self._outcomes:
            made = [
                self.result(action, tops[len(tops) - action.arity :]) if action.arity <= len(tops) else None
                for action in self.actions
            ]
            codes = [_ILLEGAL if one is None else _RATIO if one == RATIO else _UNIT for one in made]
            self._outcomes[key] = np.array(codes, np.int8)
        return self._outcomes[key]

    def dimension(self, node: Node) -> Dimension | None:
        """The dimension of any expression, or None if its units do not fit."""
        return dimension(node, self.units)

    def accepts(self, node: Node) -> bool:
        """Whether a text from elsewhere may be a candidate.

        It has no unit, reads this grammar's fields only, no future, and no endless memory.
        """
        names = set(field_names(node))
        if self.dimension(node) != RATIO or not names or not names <= set(self.settings.fields):
            return False
        plan = engine.compile([node])
        return plan.lookahead == 0 and plan.lookback is not None

    def draw(self, rng: np.random.Generator) -> Node:
        """A random text: legal actions by their `chances`; the end mostly from a length on that is drawn."""
        state = self.begin()
        wanted = rng.integers(3, self.settings.length + 1)  # an even spread of lengths
        while not state.done:
            p = self._weighted(state, state.mask())
            if state.used >= wanted and p[self.end]:
                p[self.end] = 10.0 * p.sum()
            state = state.step(int(rng.choice(len(p), p=p / p.sum())))
        return state.node

    def odds(self, state: Derivation, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Chances of the next action in a random text ``[actions]``, given what is legal.

        As in `draw`, but without its memory: the end, where legal, comes with two over the tokens left, which
        gives texts of the same mean length.
        """
        p = self._weighted(state, mask)
        others = p.sum() - p[self.end]
        if p[self.end] and others:
            p[self.end] = 2.0 * others / max(self.settings.length - state.used, 1)
        odds: NDArray[np.float64] = p / p.sum()
        return odds

    def _weighted(self, state: Derivation, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        p = np.where(mask, self.chances, 0.0)
        # a deep stack can only be cleared by operators of two operands, whatever their sense
        p[self.arities == 0] *= _PUSH[min(len(state.stack), len(_PUSH) - 1)]
        return p

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """Default weights: every kind of action the same, shared among its windows and fields."""
        kinds = [action.operator.__name__ if action.operator else action.name[0] for action in self.actions]
        count = {kind: kinds.count(kind) for kind in kinds}
        weight = np.array([1.0 / count[kind] for kind in kinds])
        for number, action in enumerate(self.actions):
            if action.arity == 0:  # as many leaves as operators of two operands
                weight[number] *= 1.0 if number == self.end else 8.0
            elif action.operator in _BINARY:
                weight[number] *= 3.0
            elif action.operator in _ROLLING:  # there are many, and few of them in a row make sense
                weight[number] *= 0.4
        return weight


def _actions(settings: GrammarSettings) -> list[Action]:
    found = [Action(f"${name}", None, 0) for name in settings.fields]
    found += [Action(op.__name__, op, 1) for op in _UNARY]
    found += [Action(op.__name__, op, 2) for op in _BINARY]
    found += [
        Action(f"{op.__name__}_{value:g}", op, 1, (float(value),))
        for op in _CONSTANTS
        for value in settings.constants
    ]
    found += [Action(f"{op.__name__}_{n}", op, 1, (n,)) for op in _LAGS for n in settings.lags]
    for arity, operators in ((1, _ROLLING), (2, _PAIRS)):
        found += [
            Action(f"{op.__name__}_{n}", op, arity, (n,))
            for op in operators
            for n in settings.windows
            if n >= _LEAST.get(op, 2)
        ]
    if settings.cross_sectional:
        found += [Action(op.__name__, op, 1) for op in _CROSS]
    return [*found, Action(END, None, 0)]


def pointless(operator: type[Operator], nodes: tuple[Node, ...]) -> bool:
    """Whether it gives nothing new: a sign of a sign, an absolute value of what is never negative."""
    never_negative = (cell.Abs, rolling.Std, rolling.Mad, rolling.Rank, rolling.TSMinMaxScale, rolling.IdxMax,
                      rolling.IdxMin, trend.Rsquare, cross.CSRank)  # fmt: skip
    if operator in (cell.Abs, cell.Sign):
        return isinstance(nodes[0], (*never_negative, cell.Sign, Field))
    if operator is cell.Log:
        return isinstance(
            nodes[0], cell.Log | cell.Sign | cell.Sub | shift.Delta | rolling.TSZScore | pair.Corr
        )
    return operator in _CROSS and isinstance(nodes[0], operator)
