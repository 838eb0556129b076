"""Typed genetic programming, with the two options of AutoAlpha (arXiv 2002.08245).

1. The population begins with draws of the grammar. A child is made from parents chosen by tournaments:
   crossover between subtrees of the same unit, a new subtree, another operator or field in one place,
   another window, a hoist; or a fresh draw. All children are texts of the grammar, and none is proposed
   twice as long as a few tries find a new one.
2. Fitness, in units of IC: √(reward by the pool as it is *now*, see `sketches`), mixed with the text's own IC
   less its standard error, less a price for each token (parsimony). What the pool took up no longer pays, so
   the population moves on.
3. Replacement: the newcomer takes the place of the least fit, if it is fitter.
4. `hierarchy`: the search begins among short texts, and goes on to longer ones from the best of them
   (AutoAlpha).
5. `diversity`: quality-diversity replacement. A newcomer that resembles someone takes *that one's* place or
   none (AutoAlpha, PCA-QD). Likeness here is the correlation of sketches, i.e. an estimate of the
   mean correlation across coins, instead of that of the values' first principal components: as cheap, and it
   keeps what one component drops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bascule.core import Settings
from bascule.expr import Node, parse
from bascule.miners.canonical import canonical
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.evaluator import Float64Array, Score
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool
from bascule.miners.problem import Part
from bascule.miners.sketches import Sketches
from bascule.miners.trees import Trees, size

_TRIES = 20  # for a child that was not proposed before


class EvolutionSettings(Settings):
    """How a population breeds."""

    population: int = Field(default=120, ge=4, le=10_000, description="individuals")
    tournament: int = Field(default=3, ge=1, le=100, description="of how many the best becomes a parent")
    crossover: float = Field(default=0.35, ge=0, description="weight of crossover among the ways of breeding")
    subtree: float = Field(default=0.2, ge=0, description="weight of a new subtree")
    point: float = Field(default=0.15, ge=0, description="weight of another operator or field")
    window: float = Field(default=0.15, ge=0, description="weight of another window")
    hoist: float = Field(default=0.05, ge=0, description="weight of a subtree in place of what holds it")
    fresh: float = Field(default=0.1, ge=0, description="weight of a draw without parents")
    own: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of a text's own IC in fitness; the rest: √gain",
    )
    parsimony: float = Field(default=0.0002, ge=0, description="price of a token, in IC")
    hierarchy: tuple[int, ...] = Field(
        default=(5, 9), description="lengths to begin with, ascending; empty: the grammar's from the start"
    )
    stage: int = Field(default=400, ge=1, description="proposals within each length of the hierarchy")
    diversity: float | None = Field(
        default=0.7, gt=0, le=1, description="|correlation| from which two are alike; null: none ever are"
    )

    @model_validator(mode="after")
    def _breeds(self) -> Self:
        if not self.crossover + self.subtree + self.point + self.window + self.hoist + self.fresh > 0:
            raise ValueError("all ways of breeding have weight 0")
        if list(self.hierarchy) != sorted(self.hierarchy) or any(length < 3 for length in self.hierarchy):
            raise ValueError("the lengths of the hierarchy must ascend from 3 or more")
        return self


@dataclass
class Individual:
    """A text with its score."""

    node: Node
    score: Score


class Evolution:
    """Genetic programming on typed trees.

    Args:
        grammar: what may be bred.
        seed: of all randomness.
        part: the train part, for sketches (no label is read).
        settings: how.
        first: texts to begin with (warm start).
    """

    name = "evolution"

    def __init__(
        self,
        grammar: Grammar,
        seed: int,
        part: Part,
        settings: EvolutionSettings | None = None,
        *,
        first: Sequence[Node] = (),
    ) -> None:
        self._grammar = grammar
        self._settings = settings or EvolutionSettings()
        self._rng = np.random.default_rng(seed)
        self._sketches = Sketches.of_part(part)
        self._sketches.hold(self._settings.population + 128)
        self._stage, self._trees = 0, self._stage_trees(0)
        self._people: list[Individual] = []
        self._fitness: Float64Array = np.zeros(0)
        self._first = [node for node in first if grammar.accepts(node)]
        self._seen: set[str] = set()
        self._proposed = 0
        self._born: dict[str, int] = {}

    # -- breeding ----------------------------------------------------------------------------------

    def propose(self, count: int) -> Sequence[Node]:
        """Draws first, then children."""
        stage = self._proposed // self._settings.stage
        if stage != self._stage:  # a grammar learns what is legal as it goes: no new one without need
            self._stage, self._trees = stage, self._stage_trees(stage)
        found = []
        for _ in range(count):
            node = self._new()
            self._seen.add(str(canonical(node)))
            found.append(node)
        self._proposed += len(found)
        return found

    def _stage_trees(self, stage: int) -> Trees:
        """Trees of the length of this stage."""
        lengths = [n for n in self._settings.hierarchy if n < self._grammar.settings.length]
        if stage >= len(lengths):
            return Trees(self._grammar)
        shorter = self._grammar.settings.model_copy(update={"length": lengths[stage]})
        return Trees(Grammar(shorter, self._grammar.units))

    def _new(self) -> Node:
        node = None
        for _ in range(_TRIES):
            node = self._one()
            if node is not None and str(canonical(node)) not in self._seen:
                return node
        return node if node is not None else self._trees.grammar.draw(self._rng)

    def _one(self) -> Node | None:
        if self._first:
            return self._first.pop(0)
        settings, rng, trees = self._settings, self._rng, self._trees
        if len(self._people) < min(settings.population, 20) or self._proposed < settings.population:
            return trees.grammar.draw(rng)
        ways = ("crossover", "subtree", "point", "window", "hoist", "fresh")
        weights = np.array([getattr(settings, way) for way in ways], np.float64)
        way = ways[int(rng.choice(len(ways), p=weights / weights.sum()))]
        self._born[way] = self._born.get(way, 0) + 1
        if way == "fresh":
            return trees.grammar.draw(rng)
        parent = self._parent()
        if way == "crossover":
            return trees.crossover(parent, self._parent(), rng)
        change = {
            "subtree": trees.subtree,
            "point": trees.point,
            "window": trees.window,
            "hoist": trees.hoist,
        }
        return change[way](parent, rng)

    def _parent(self) -> Node:
        among = self._rng.integers(len(self._people), size=self._settings.tournament)
        return self._people[int(among[np.argmax(self._fitness[among])])].node

    # -- surviving ---------------------------------------------------------------------------------

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Let newcomers in, with everybody's fitness against the pool as it is now."""
        there = {one.score.text for one in self._people}
        fresh: list[Individual] = []
        for outcome in outcomes:
            score = outcome.score
            if score is not None and score.usable and score.text not in there:
                there.add(score.text)
                fresh.append(Individual(outcome.node, score))
        self._fitness = self._worths(self._people, pool)
        worths = self._worths(fresh, pool)
        near = self._near(fresh)
        for one, worth in sorted(zip(fresh, worths, strict=True), key=lambda p: (-p[1], p[0].score.text)):
            self._enter(one, float(worth), near)

    def _worths(self, people: Sequence[Individual], pool: Pool) -> Float64Array:
        """Fitness less the price of the tokens."""
        fitness = self._sketches.fitness([one.score for one in people], pool, self._settings.own)
        return fitness - self._settings.parsimony * np.array([size(one.node) for one in people])

    def _near(self, fresh: Sequence[Individual]) -> dict[tuple[str, str], float]:
        """|Correlation| of newcomers with everybody; empty where diversity is not asked for."""
        if self._settings.diversity is None:
            return {}
        texts = [one.score.text for one in fresh]
        others = [*(one.score.text for one in self._people), *texts]
        found = np.abs(self._sketches.correlations(texts, others)).tolist()
        return {(text, other): value for text, row in zip(texts, found, strict=True)
                for other, value in zip(others, row, strict=True)}  # fmt: skip

    def _enter(self, one: Individual, worth: float, near: Mapping[tuple[str, str], float]) -> None:
        rival = self._rival(one, near)
        if rival is None:
            if len(self._people) < self._settings.population:
                self._people.append(one)
                self._fitness = np.append(self._fitness, worth)
                return
            rival = int(np.argmin(self._fitness))
        if worth > self._fitness[rival]:
            self._people[rival] = one
            self._fitness[rival] = worth

    def _rival(self, one: Individual, near: Mapping[tuple[str, str], float]) -> int | None:
        """Whom the newcomer resembles most, if that is much."""
        if self._settings.diversity is None or not self._people:
            return None
        alike = [near[one.score.text, other.score.text] for other in self._people]
        closest = int(np.argmax(alike))
        return closest if alike[closest] >= self._settings.diversity else None

    # -- keeping -----------------------------------------------------------------------------------

    def state(self) -> tuple[State, Arrays]:
        """Generator and population; sketches are made again."""
        told = {
            "rng": self._rng.bit_generator.state,
            "people": [{"text": str(one.node), "score": asdict(one.score)} for one in self._people],
            "seen": sorted(self._seen),
            "first": [str(node) for node in self._first],
            "proposed": self._proposed,
            "born": self._born,
        }
        return told, {"fitness": self._fitness}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._people = [Individual(parse(one["text"]), Score(**one["score"])) for one in state["people"]]
        self._seen = set(state["seen"])
        self._first = [parse(text) for text in state["first"]]
        self._proposed = state["proposed"]
        self._born = dict(state["born"])
        self._fitness = np.array(arrays["fitness"], np.float64)

    def statistics(self) -> dict[str, float]:
        """Size and fitness of the population, and how children came to be."""
        told = {"population": float(len(self._people)), "proposed": float(self._proposed)}
        if len(self._people):
            told["best fitness"] = float(self._fitness.max())
            told["median fitness"] = float(np.median(self._fitness))
            told["mean tokens"] = float(np.mean([size(one.node) for one in self._people]))
        return told | {f"by {way}": float(count) for way, count in self._born.items()}
