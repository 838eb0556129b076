"""What a searcher is to the loop (`search.py`): it proposes texts, is told what became of them, and can be
kept as JSON and arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from bascule.expr import Node
from bascule.miners.evaluator import Score
from bascule.miners.pool import Pool

State = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """What a searcher is told of a proposal: train figures, nothing else.

    Attributes:
        node: as proposed.
        score: of its canonical form; None where the text was refused.
        gain: `Pool.reward`: what it would have added to the pool's worth, less where that may be noise.
        alike: largest |correlation| with a member.
        admitted: it went into the pool.
        new: it had not been seen before in this search.
        refusal: why the text was refused, or None.
    """

    node: Node
    score: Score | None
    gain: float = 0.0
    alike: float = 0.0
    admitted: bool = False
    new: bool = False
    refusal: str | None = None


class Searcher(Protocol):
    """A way of searching. All randomness comes from a generator that is part of `state`."""

    name: str

    def propose(self, count: int) -> Sequence[Node]:
        """The next texts, at most ``count``; none at all ends the search."""

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """What became of them; the pool is there to be looked at."""

    def state(self) -> tuple[State, Arrays]:
        """All that is needed to go on, as JSON and as arrays."""

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""

    def statistics(self) -> dict[str, float]:
        """What to show while it runs."""
