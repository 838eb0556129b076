"""Monte-Carlo tree search over formulae and their refinements (LLM + MCTS, arXiv 2505.11122).

1. A node of the tree is a formula with its feedback; its children are refinements of it. The root is empty:
   its children are new formulae.
2. Selection goes down by UCT. Every node offers, besides its children, one *virtual* action: to expand it
   once more. Its visits are the expansions so far, its value that of the node itself.
3. Expansion draws an aspect (effectiveness, stability, turnover, diversity, overfitting), the likelier the
   weaker the formula is in it, and asks the proposer to refine it in that aspect, with members of the pool
   as examples and the pool's frequent closed subtrees forbidden.
4. The value of a formula is the weighted mean of its relative ranks among the formulae so far, one rank an
   aspect. It goes up the tree: visits add up, the best value below counts.

Aspects are measured on the train part: √gain over the pool and own IC; |IR|; persistence of the signal over
one label; 1 − largest correlation with a member; shortness. (The paper lets the language model judge the risk
of overfitting; the length of a formula is what can be said without one.)

Proposals of one batch are chosen one after the other, visits counted at once, so that they spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import Settings
from bascule.expr import Node, parse
from bascule.miners.canonical import canonical
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool
from bascule.miners.problem import Part
from bascule.miners.searchers.proposers import ASPECTS, GrammarProposer, Proposer, Request
from bascule.miners.sketches import Sketches
from bascule.miners.trees import frequent_subtrees, size

_TRIES = 8  # for a formula that was not proposed before


class TreeSettings(Settings):
    """How the tree grows."""

    exploration: float = Field(default=0.7, ge=0, description="constant of UCT")
    children: int = Field(default=8, ge=1, description="most refinements of one formula")
    depth: int = Field(default=10, ge=1, description="most refinements in a row")
    effectiveness: float = Field(default=0.6, ge=0, le=1, description="its share in a value; others share")
    temperature: float = Field(default=0.3, gt=0, description="of drawing the weakest aspect; low: always it")
    avoid: int = Field(default=3, ge=0, description="frequent subtrees of the pool that are forbidden")
    examples: int = Field(default=5, ge=0, description="members of the pool that are shown")
    archive: int = Field(default=400, ge=10, description="formulae so far that ranks are taken among")


@dataclass
class Formula:
    """A node of the tree.

    Attributes:
        text: of the formula; empty for the root.
        parent: number of the node above; -1 for the root.
        level: refinements since the root.
        children: numbers of the nodes below.
        visits: times that the way led through it.
        tries: expansions so far, failed ones included.
        value: its own, in [0, 1].
        best: the best value at it or below.
        ranks: by aspect.
    """

    text: str
    parent: int
    level: int
    children: list[int] = field(default_factory=list)
    visits: int = 0
    tries: int = 0
    value: float = 0.0
    best: float = 0.0
    ranks: list[float] = field(default_factory=list)


class TreeSearch:
    """LLM + MCTS; without a language model the grammar's own proposer refines.

    Args:
        grammar: what may be written.
        seed: of all randomness.
        part: the train part, for sketches (no label is read).
        settings: how.
        proposer: who refines; None = `GrammarProposer`.
    """

    name = "mcts"

    def __init__(
        self,
        grammar: Grammar,
        seed: int,
        part: Part,
        settings: TreeSettings | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        self._grammar = grammar
        self._settings = settings or TreeSettings()
        self._rng = np.random.default_rng(seed)
        self._sketches = Sketches.of_part(part)
        self._proposer: Proposer = proposer or GrammarProposer(grammar)
        self._formulae = [Formula("", -1, 0, best=0.5, value=0.5)]
        self._archive: list[list[float]] = []
        self._examples: tuple[str, ...] = ()
        self._avoid: tuple[str, ...] = ()
        self._seen: set[str] = set()
        self._pending: list[int] = []

    # -- going down --------------------------------------------------------------------------------

    def propose(self, count: int) -> Sequence[Node]:
        """Expansions, each of the formula that UCT leads to; visits are counted at once."""
        found: list[Node] = []
        self._pending = []
        for _ in range(count):
            chosen = self._selected()
            node = self._refined(chosen)
            at = chosen
            while at >= 0:
                self._formulae[at].visits += 1
                at = self._formulae[at].parent
            self._formulae[chosen].tries += 1
            self._seen.add(str(canonical(node)))
            self._pending.append(chosen)
            found.append(node)
        return found

    def _selected(self) -> int:
        at = 0
        while True:
            here = self._formulae[at]
            full = at > 0 and here.tries >= self._settings.children
            if full and not here.children:
                return 0  # nothing came of it: a new formula
            log = math.log(here.visits + 2)
            options = [(self._formulae[c].best, self._formulae[c].visits, c) for c in here.children]
            if not full and here.level < self._settings.depth:
                options.append((here.value, here.tries, -1))
            if not options:
                return 0
            weights = [
                value + self._settings.exploration * math.sqrt(log / (n + 1)) for value, n, _ in options
            ]
            to = options[int(np.argmax(weights))][2]
            if to < 0:
                return at
            at = to

    def _refined(self, chosen: int) -> Node:
        here = self._formulae[chosen]
        tried = tuple(self._formulae[child].text for child in here.children)
        for attempt in range(_TRIES):
            request = Request(
                parse(here.text) if here.text and attempt < _TRIES - 2 else None,
                self._aspect(here), dict(zip(ASPECTS, here.ranks, strict=True)) if here.ranks else None,
                self._examples, self._avoid, tried,
            )  # fmt: skip
            node = self._proposer.propose(request, self._rng)
            if node is not None and self._grammar.accepts(node) and str(canonical(node)) not in self._seen:
                return node
        return self._grammar.draw(self._rng)

    def _aspect(self, here: Formula) -> str:
        if not here.ranks:
            return ASPECTS[int(self._rng.integers(len(ASPECTS)))]
        weight = np.exp(-np.array(here.ranks) / self._settings.temperature)
        return ASPECTS[int(self._rng.choice(len(ASPECTS), p=weight / weight.sum()))]

    # -- going up ----------------------------------------------------------------------------------

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Measure, rank, and carry values up."""
        usable = [outcome.score is not None and outcome.score.usable for outcome in outcomes]
        self._sketches.learn(
            o.score.text for o, fine in zip(outcomes, usable, strict=True) if fine and o.score
        )
        measured = [self._measures(o) if fine else None for o, fine in zip(outcomes, usable, strict=True)]
        self._archive += [one for one in measured if one is not None]
        self._archive = self._archive[-self._settings.archive :]
        for parent, outcome, measures in zip(self._pending, outcomes, measured, strict=True):
            if measures is not None:
                self._attach(parent, outcome.node, self._ranks(measures))
        self._pending = []
        grown = [one.value for one in self._formulae[1:]]
        if grown:  # a new formula is worth what formulae are worth in the middle
            self._formulae[0].value = float(np.median(grown))
        order = np.argsort(-np.abs(pool.weights), kind="stable")
        self._examples = tuple(pool.texts[i] for i in order[: self._settings.examples])
        self._avoid = frequent_subtrees((parse(text) for text in pool.texts), self._settings.avoid)

    def _measures(self, outcome: Outcome) -> list[float]:
        """One figure an aspect, more is better."""
        score = outcome.score
        assert score is not None
        return [
            math.sqrt(outcome.gain) + 0.2 * score.cautious,
            abs(score.ir),
            self._sketches.of(score.text).persistence,
            1.0 - outcome.alike,
            -float(size(outcome.node)),
        ]

    def _ranks(self, measures: Sequence[float]) -> list[float]:
        """Share of the archive that is not better, ties half."""
        archive = np.array(self._archive)
        below = (archive < np.array(measures)).mean(axis=0)
        same = (archive == np.array(measures)).mean(axis=0)
        return [float(x) for x in below + 0.5 * same]

    def _attach(self, parent: int, node: Node, ranks: list[float]) -> None:
        share = self._settings.effectiveness
        value = share * ranks[0] + (1 - share) * float(np.mean(ranks[1:]))
        above = self._formulae[parent]
        number = len(self._formulae)
        self._formulae.append(
            Formula(str(node), parent, above.level + 1, value=value, best=value, ranks=ranks)
        )
        above.children.append(number)
        at = parent
        while at >= 0:
            self._formulae[at].best = max(self._formulae[at].best, value)
            at = self._formulae[at].parent

    # -- keeping -----------------------------------------------------------------------------------

    def state(self) -> tuple[State, Arrays]:
        """Generator, tree, archive, and the proposer's own state."""
        return {
            "rng": self._rng.bit_generator.state,
            "formulae": [asdict(one) for one in self._formulae],
            "archive": self._archive,
            "examples": list(self._examples),
            "avoid": list(self._avoid),
            "seen": sorted(self._seen),
            "proposer": self._proposer.state(),
        }, {}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._formulae = [Formula(**one) for one in state["formulae"]]
        self._archive = [list(one) for one in state["archive"]]
        self._examples, self._avoid = tuple(state["examples"]), tuple(state["avoid"])
        self._seen = set(state["seen"])
        self._proposer.restore(state["proposer"])

    def statistics(self) -> dict[str, float]:
        """The tree's size, and what the proposer tells."""
        levels = [one.level for one in self._formulae]
        told = {
            "formulae": float(len(levels) - 1),
            "roots": float(len(self._formulae[0].children)),
            "depth": float(max(levels)),
            "best value": self._formulae[0].best,
            "avoided subtrees": float(len(self._avoid)),
        }
        return told | self._proposer.statistics()
