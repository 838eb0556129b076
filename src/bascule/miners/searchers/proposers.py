"""Who writes the next formula: one small seam, with or without a language model behind it.

A search that refines formulae asks for one by a `Request`: refine this one in this respect, in view of these
examples, without these subtrees. `GrammarProposer` answers with a legal change of the tree that suits the
respect; `language.LanguageProposer` lets a language model write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bascule.expr import Node, parse
from bascule.miners.contract import State
from bascule.miners.grammar import Grammar
from bascule.miners.trees import Trees, shapes

# what a formula can be better at
ASPECTS = ("effectiveness", "stability", "turnover", "diversity", "overfitting")
_TRIES = 16


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        node: the formula to refine; None = a new one.
        aspect: one of `ASPECTS`, in which it should become better.
        ranks: how it compares with earlier ones in each aspect, 0 = worst, 1 = best.
        examples: formulae that are in use, to learn from.
        avoid: shapes of subtrees (`trees.shape`) that are in use too often.
        tried: refinements of this formula so far.
    """

    node: Node | None
    aspect: str = "effectiveness"
    ranks: Mapping[str, float] | None = None
    examples: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()


class Proposer(Protocol):
    """Writes formulae."""

    def propose(self, request: Request, rng: np.random.Generator) -> Node | None:
        """One formula that the grammar accepts; None where none was found."""

    def state(self) -> State:
        """All that is needed to go on, as JSON."""

    def restore(self, state: State) -> None:
        """Go on from a state."""

    def statistics(self) -> dict[str, float]:
        """What to show while it runs."""


class GrammarProposer:
    """Typed changes that suit the aspect; no language model.

    ============= ==================================================================
    effectiveness another operator, field or subtree; a part of a formula in use
    stability     standardised in time, or smoothed; a longer window
    turnover      smoothed; a longer window
    diversity     a new subtree; crossed or joined with a new draw
    overfitting   shorter: a subtree in place of what holds it
    ============= ==================================================================

    Args:
        grammar: what may be written.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._trees = Trees(grammar)
        self._made: dict[str, int] = {}

    def propose(self, request: Request, rng: np.random.Generator) -> Node | None:
        """A change that avoids frequent subtrees if a few tries find one."""
        avoid = set(request.avoid)
        node = None
        for _ in range(_TRIES):
            node = self._one(request, rng) or node
            if node is not None and not (avoid & shapes(node)) and str(node) not in request.tried:
                break
        self._made[request.aspect] = self._made.get(request.aspect, 0) + 1
        return node

    def _one(self, request: Request, rng: np.random.Generator) -> Node | None:
        node, trees = request.node, self._trees
        if node is None:
            return trees.grammar.draw(rng)
        ways = self._ways(node, request, rng)[request.aspect]
        return ways[int(rng.integers(len(ways)))]()

    def _ways(
        self, node: Node, request: Request, rng: np.random.Generator
    ) -> Mapping[str, tuple[Callable[[], Node | None], ...]]:
        trees, draw = self._trees, self._trees.grammar.draw

        def other() -> Node:
            if not request.examples:
                return draw(rng)
            return parse(request.examples[int(rng.integers(len(request.examples)))])

        def longer() -> Node | None:
            return trees.window(node, rng, 1)

        def smooth() -> Node | None:
            return trees.wrap(node, rng, ("Mean", "EMA", "Decay", "Med"))

        def scale() -> Node | None:
            return trees.wrap(node, rng, ("TSZScore", "Rank", "TSMinMaxScale"))

        def window() -> Node | None:
            return trees.window(node, rng)

        def point() -> Node | None:
            return trees.point(node, rng)

        def subtree() -> Node | None:
            return trees.subtree(node, rng)

        return {
            "effectiveness": (point, window, subtree, lambda: trees.crossover(node, other(), rng)),
            "stability": (scale, smooth, longer),
            "turnover": (smooth, longer, longer),
            "diversity": (subtree, lambda: trees.crossover(node, draw(rng), rng),
                          lambda: trees.join(node, draw(rng), rng)),
            "overfitting": (lambda: trees.hoist(node, rng), lambda: trees.hoist(node, rng), window),
        }  # fmt: skip

    def state(self) -> State:
        """Counts only."""
        return {"made": self._made}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Counts only."""
        self._made = dict(state["made"])

    def statistics(self) -> dict[str, float]:
        """Refinements by aspect."""
        return {f"for {aspect}": float(count) for aspect, count in self._made.items()}
