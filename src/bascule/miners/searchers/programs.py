"""Evolving programs over registers: AlphaEvolve (arXiv 2103.16196), as far as programs are factor texts.

1. `machine.Machine` writes and mutates programs, and compiles each to the factor text that it stands for.
2. The canonical text is a program's fingerprint: one whose fingerprint is known is not proposed again, unless
   a few tries find no other.
3. Regularised evolution: the best of a tournament is mutated (insert, remove, replace, alter), the child
   enters, the oldest leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import StoreError
from bascule.expr import Node
from bascule.miners.canonical import canonical
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.evaluator import Float64Array, Score
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool
from bascule.miners.problem import Part
from bascule.miners.searchers.machine import FUNCTIONS, Machine, MachineSettings, Operation, Program
from bascule.miners.sketches import Sketches

_TRIES = 60  # for a program whose text was not proposed before


class ProgramSettings(MachineSettings):
    """Size of programs and of the population."""

    population: int = Field(default=100, ge=4, le=10_000, description="programs alive")
    tournament: int = Field(default=5, ge=1, le=100, description="of how many the best is mutated")
    fresh: float = Field(default=0.1, ge=0, le=1, description="share of proposals that are new programs")
    own: float = Field(
        default=0.1, ge=0, le=1, description="share of a text's own IC in fitness; the rest: √gain"
    )


@dataclass
class Living:
    """A program of the population with its text and score."""

    program: Program
    node: Node
    score: Score


class ProgramSearch:
    """AlphaEvolve, restricted to programs that compile to a factor text.

    Args:
        grammar: fields, operators, windows, units.
        seed: of all randomness.
        part: the train part, for sketches (no label is read).
        settings: how.
    """

    name = "programs"

    def __init__(
        self, grammar: Grammar, seed: int, part: Part, settings: ProgramSettings | None = None
    ) -> None:
        self._settings = settings or ProgramSettings()
        self._machine = Machine(grammar, self._settings)
        self._rng = np.random.default_rng(seed)
        self._sketches = Sketches.of_part(part)
        self._sketches.hold(self._settings.population + 128)
        self._people: list[Living] = []  # oldest first
        self._fitness: Float64Array = np.zeros(0)
        self._pending: list[Program] = []
        self._seen: set[str] = set()
        self._counts = {"known fingerprints": 0, "no factor": 0, "lines pruned": 0}

    def propose(self, count: int) -> Sequence[Node]:
        """Texts of new programs and of mutants."""
        self._pending = []
        found = []
        for _ in range(count):
            program, node = self._new()
            self._pending.append(program)
            found.append(node)
        return found

    def _new(self) -> tuple[Program, Node]:
        young = len(self._people) < self._settings.population // 2
        if not young and self._rng.random() >= self._settings.fresh:
            program = self._people[self._winner()].program
            for _ in range(_TRIES):
                child = self._machine.mutated(program, self._rng)
                node = self._text(child)
                if node is not None and self._is_new(node):
                    return child, node
                program = program if node is None else child  # neutral mutations add up
        for _ in range(_TRIES):
            program = self._machine.draw(self._rng)
            node = self._text(program)
            if node is not None and self._is_new(node):
                break
        # of a small grammar all is known in the end: a known text costs budget, so the search ends
        assert node is not None, "what is drawn makes a factor"
        return program, node

    def _text(self, program: Program) -> Node | None:
        node, pruned = self._machine.run(program)
        if node is None:
            self._counts["no factor"] += 1
        else:
            kept = sum(len(getattr(pruned, name)) for name in FUNCTIONS)
            self._counts["lines pruned"] += sum(len(getattr(program, name)) for name in FUNCTIONS) - kept
        return node

    def _is_new(self, node: Node) -> bool:
        text = str(canonical(node))
        if text in self._seen:
            self._counts["known fingerprints"] += 1
            return False
        self._seen.add(text)
        return True

    def _winner(self) -> int:
        among = self._rng.integers(len(self._people), size=self._settings.tournament)
        return int(among[np.argmax(self._fitness[among])])

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Usable children enter, the oldest leave; fitness is against the pool as it is now."""
        for program, outcome in zip(self._pending, outcomes, strict=True):
            if outcome.score is not None and outcome.score.usable:
                self._people.append(Living(program, outcome.node, outcome.score))
        self._pending = []
        self._people = self._people[-self._settings.population :]
        scores = [one.score for one in self._people]
        self._fitness = self._sketches.fitness(scores, pool, self._settings.own)

    # -- keeping -----------------------------------------------------------------------------------

    def state(self) -> tuple[State, Arrays]:
        """Generator, programs, fingerprints."""
        people = [
            {"program": asdict(one.program), "score": asdict(one.score)} for one in self._people
        ]  # fmt: skip
        return {
            "rng": self._rng.bit_generator.state,
            "people": people,
            "seen": sorted(self._seen),
            "counts": self._counts,
        }, {"fitness": self._fitness}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._people = []
        for one in state["people"]:
            program = Program(**{f: tuple(Operation(**op) for op in one["program"][f]) for f in FUNCTIONS})
            node, _ = self._machine.run(program)
            if node is None:
                raise StoreError(
                    "a stored program makes no factor under these settings",
                    where="state of programs",
                    remedy="resume with the searcher's settings of before, or search anew",
                )
            self._people.append(Living(program, node, Score(**one["score"])))
        self._seen = set(state["seen"])
        self._counts = dict(state["counts"])
        self._fitness = np.array(arrays["fitness"], np.float64)

    def statistics(self) -> dict[str, float]:
        """Size and fitness of the population, and what pruning and fingerprints saved."""
        told = {"population": float(len(self._people))} | {k: float(v) for k, v in self._counts.items()}
        if len(self._people):
            told["best fitness"] = float(self._fitness.max())
            told["median fitness"] = float(np.median(self._fitness))
        return told
