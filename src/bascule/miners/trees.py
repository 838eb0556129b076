"""Texts of the grammar as typed trees: their subtrees with units, and small legal changes of them.

Every change returns a text of the grammar (same fields, operators, windows, powers of units, length), or
None where it found no such change. Which change is made is drawn from the generator that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bascule.expr import Constant, Field, Node
from bascule.miners.dimensions import RATIO, Dimension
from bascule.miners.grammar import Action, Grammar

_DRAWS = 12  # texts that are searched for a subtree of the wanted unit
Path = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A subtree and where it hangs.

    Attributes:
        path: numbers of children from the root.
        node: the subtree.
        unit: its dimension.
        size: its tokens.
        action: the token of its top.
    """

    path: Path
    node: Node
    unit: Dimension
    size: int
    action: Action


def size(node: Node) -> int:
    """Tokens of a text: its nodes, numbers not counted, repeated subtrees counted each time."""
    return sum(size(child) for child in node.children) + (0 if isinstance(node, Constant) else 1)


def replaced(root: Node, path: Path, fresh: Node) -> Node:
    """``root`` with another subtree at ``path``."""
    if not path:
        return fresh
    below = list(root.children)
    below[path[0]] = replaced(below[path[0]], path[1:], fresh)
    return root.rebuilt(tuple(below))


def shape(node: Node) -> str:
    """A text with its windows left open: ``Mean(Div($close,$open))``."""
    if isinstance(node, Field | Constant):
        return str(node)
    return f"{type(node).__name__}({','.join(shape(child) for child in node.children)})"


def frequent_subtrees(nodes: Iterable[Node], most: int, least_size: int = 3) -> tuple[str, ...]:
    """Shapes of the subtrees that most texts share, the commonest first.

    Only *closed* ones: a subtree that is never seen but within one larger subtree says nothing beyond it
    (LLM + MCTS, arXiv 2505.11122: subtrees down to the raw features, parameters left open).

    Args:
        nodes: texts.
        most: how many shapes.
        least_size: tokens of the smallest subtree that counts.
    """
    support: Counter[str] = Counter()
    above: dict[str, set[str]] = {}
    for root in nodes:
        found: dict[str, set[str]] = {}
        _collect(root, found, least_size)
        for text, parents in found.items():
            support[text] += 1
            above.setdefault(text, set()).update(parents)
    closed = [
        (count, text)
        for text, count in support.items()
        if count >= 2 and not any(support[parent] == count for parent in above[text])
    ]
    return tuple(text for _, text in sorted(closed, key=lambda one: (-one[0], one[1]))[:most])


def _collect(node: Node, found: dict[str, set[str]], least: int, parent: str | None = None) -> None:
    if size(node) < least:
        return
    text = shape(node)
    found.setdefault(text, set()).update(() if parent is None else (parent,))
    for child in node.children:
        _collect(child, found, least, text)


def shapes(node: Node) -> set[str]:
    """Shapes of all subtrees."""
    return {shape(node)}.union(*(shapes(child) for child in node.children))


class Trees:
    """Typed trees of one grammar.

    Args:
        grammar: which texts there are.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._actions = {_key(action): action for action in grammar.actions[:-1]}

    # -- looking -----------------------------------------------------------------------------------

    def places(self, node: Node) -> list[Place]:
        """All subtrees, the root first; empty where the text is not of the grammar's tokens and units."""
        found: list[Place] = []
        return found if self._place(node, (), found) is not None else []

    def _place(self, node: Node, path: Path, found: list[Place]) -> Place | None:
        action = self._action(node)
        if action is None:
            return None
        at = len(found)
        below = []
        for number, child in enumerate(node.children):
            if not isinstance(child, Constant):
                one = self._place(child, (*path, number), found)
                if one is None:
                    return None
                below.append(one)
        unit = self.grammar.result(action, [(one.node, one.unit) for one in below])
        if unit is None:
            return None
        place = Place(path, node, unit, 1 + sum(one.size for one in below), action)
        found.insert(at, place)
        return place

    def _action(self, node: Node) -> Action | None:
        if isinstance(node, Field):
            return self._actions.get(f"${node.name}")
        extra = tuple(
            arg.value if isinstance(arg, Constant) else arg
            for arg in node.args
            if not isinstance(arg, Node) or isinstance(arg, Constant)
        )
        return self._actions.get((type(node), extra))

    def legal(self, node: Node) -> bool:
        """Whether the grammar itself could have drawn this text."""
        found = self.places(node)
        return bool(found) and found[0].unit == RATIO and 1 < found[0].size <= self.grammar.settings.length

    # -- drawing -----------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator, unit: Dimension, most: int) -> Node | None:
        """A random subtree of a unit, of at most ``most`` tokens, all sizes alike."""
        for _ in range(_DRAWS):
            drawn = self.places(self.grammar.draw(rng))
            fitting = [place for place in drawn if place.unit == unit and place.size <= most]
            if fitting:
                wanted = rng.choice(sorted({place.size for place in fitting}))
                return _any([place.node for place in fitting if place.size == wanted], rng)
        names = [n for n in self.grammar.settings.fields if self.grammar.units.get(n, RATIO) == unit]
        return Field(_any(names, rng)) if names else None

    # -- changing ----------------------------------------------------------------------------------

    def crossover(self, one: Node, other: Node, rng: np.random.Generator) -> Node | None:
        """``one`` with a subtree of ``other`` in place of one of the same unit."""
        mine, theirs = self.places(one), self.places(other)
        if not mine or not theirs:
            return None
        place = _any(mine, rng)
        room = self.grammar.settings.length - mine[0].size + place.size
        fitting = [p.node for p in theirs if p.unit == place.unit and p.size <= room and p.node != place.node]
        return self._checked(one, replaced(one, place.path, _any(fitting, rng))) if fitting else None

    def subtree(self, node: Node, rng: np.random.Generator) -> Node | None:
        """With a new subtree in place of one."""
        found = self.places(node)
        if not found:
            return None
        place = _any(found, rng)
        fresh = self.draw(rng, place.unit, self.grammar.settings.length - found[0].size + place.size)
        return None if fresh is None else self._checked(node, replaced(node, place.path, fresh))

    def point(self, node: Node, rng: np.random.Generator) -> Node | None:
        """With another field or operator in one place, operands kept."""
        found = self.places(node)
        if not found:
            return None
        place = _any(found, rng)
        below = [p for p in found if p.path[:-1] == place.path and len(p.path) == len(place.path) + 1]
        operands = [(p.node, p.unit) for p in below]
        others = [
            action
            for action in self._actions.values()
            if action.arity == place.action.arity
            and action.operator is not (place.action.operator or object)
            and action is not place.action
            and self.grammar.result(action, operands) == place.unit
        ]
        if not others:
            return None
        # operators alike, however many windows they have
        operator = _any(sorted({a.operator.__name__ if a.operator else a.name for a in others}), rng)
        action = _any([a for a in others if operator in (a.name, a.operator and a.operator.__name__)], rng)
        return self._checked(node, replaced(node, place.path, action.node([one for one, _ in operands])))

    def window(self, node: Node, rng: np.random.Generator, step: int | None = None) -> Node | None:
        """With one window or lag a step longer or shorter.

        Args:
            node: the text.
            rng: draws the place, and the step if it is not given.
            step: places along the grammar's windows; None = one or two either way.
        """
        timed = [p for p in self.places(node) if p.action.extra and isinstance(p.action.extra[0], int)]
        if not timed:
            return None
        place = _any(timed, rng)
        same = [a for a in self._actions.values() if a.operator is place.action.operator]
        same.sort(key=lambda action: action.extra)
        jump = int(rng.choice((-2, -1, -1, 1, 1, 2))) if step is None else step
        to = min(max(same.index(place.action) + jump, 0), len(same) - 1)
        fresh = same[to].node([child for child in place.node.children if not isinstance(child, Constant)])
        return self._checked(node, replaced(node, place.path, fresh))

    def hoist(self, node: Node, rng: np.random.Generator) -> Node | None:
        """Shorter: a subtree gives way to one of its own of the same unit."""
        found = self.places(node)
        pairs = [
            (outer, inner)
            for outer in found
            for inner in found
            if inner.unit == outer.unit and len(inner.path) > len(outer.path)
            and inner.path[: len(outer.path)] == outer.path
        ]  # fmt: skip
        if not pairs:
            return None
        outer, inner = _any(pairs, rng)
        return self._checked(node, replaced(node, outer.path, inner.node))

    def wrap(self, node: Node, rng: np.random.Generator, operators: Sequence[str]) -> Node | None:
        """The whole text within one more operator of one operand, named without its window."""
        around = [
            action
            for action in self._actions.values()
            if action.arity == 1 and action.operator and action.operator.__name__ in operators
        ]
        return self._checked(node, _any(around, rng).node([node])) if around else None

    def join(self, one: Node, other: Node, rng: np.random.Generator) -> Node | None:
        """Two texts within one operator of two operands."""
        around = [a for a in self._actions.values() if a.arity == 2]
        return self._checked(one, _any(around, rng).node([one, other]))

    def _checked(self, old: Node, new: Node) -> Node | None:
        return new if new != old and self.legal(new) else None


def _key(action: Action) -> object:
    return action.name if action.operator is None else (action.operator, action.extra)


def _any(among: Sequence[T], rng: np.random.Generator) -> T:
    return among[int(rng.integers(len(among)))]
