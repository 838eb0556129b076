"""Random search: texts drawn from the typed grammar. The yardstick for every other searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.expr import Node
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool


class RandomSearch:
    """Draws without learning.

    Args:
        grammar: what to draw from.
        seed: of all randomness.
    """

    name = "random"

    def __init__(self, grammar: Grammar, seed: int) -> None:
        self._grammar = grammar
        self._rng = np.random.default_rng(seed)

    def propose(self, count: int) -> Sequence[Node]:
        """Independent draws."""
        return [self._grammar.draw(self._rng) for _ in range(count)]

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Nothing is learned."""

    def state(self) -> tuple[State, Arrays]:
        """The generator."""
        return {"rng": self._rng.bit_generator.state}, {}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The generator."""
        self._rng.bit_generator.state = state["rng"]

    def statistics(self) -> dict[str, float]:
        """Nothing to show."""
        return {}
