"""From all that a search has seen to the pool that is its result.

A pool that grows by what each newcomer adds in training chases what the ones before left over, and that is
mostly noise: what it promises there does not hold afterwards. So the result is chosen anew, from all that was
scored:

1. The `candidates` with the largest |t| in training are scored on the valid part, too.
2. Their ICs over both parts together, each part by its number of rows, have standard errors; who reaches
   `least_t` counts, and none whose sign differs between the parts.
3. From the largest |t| downwards a candidate is taken if it is not too much like one before (`apart`), until
   the pool is full.
4. Weights are (C + λ·1)⁻¹ c with the ICs c over both parts and correlations C by sketches. λ is large on
   purpose: differences of similar factors are noise, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from bascule.core import Settings
from bascule.expr import parse
from bascule.miners.evaluator import EvaluationSettings, Evaluator, Score
from bascule.miners.problem import Problem
from bascule.miners.sketches import Sketches


class SelectionSettings(Settings):
    """How the result is chosen."""

    candidates: int = Field(default=100, ge=1, le=10_000, description="that are scored on the valid part")
    apart: float = Field(default=0.6, gt=0, le=1, description="largest |correlation| between two members")
    least_t: float = Field(default=2.5, ge=0, le=20, description="|t| over train and valid together")
    ridge: float = Field(default=0.3, ge=0, le=100, description="λ of the weights")


@dataclass(frozen=True)
class Selection:
    """A pool.

    Attributes:
        scores: of the members, as in training.
        weights: of these.
        seen: texts that were scored on the valid part for it.
    """

    scores: tuple[Score, ...]
    weights: tuple[float, ...]
    seen: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """Of the members."""
        return [score.text for score in self.scores]


class Selector:
    """Chooses pools.

    Args:
        problem: with the part that chooses.
        settings: how.
        size: most members.
        evaluation: of the search; the valid part is never screened.
    """

    def __init__(
        self, problem: Problem, settings: SelectionSettings, size: int, evaluation: EvaluationSettings
    ) -> None:
        self.settings, self._size = settings, size
        self._valid = Evaluator(problem.valid, evaluation.model_copy(update={"screen": 1.0}))
        self._sketches = Sketches.of_part(problem.train)
        rows = [len(part.label) - part.first for part in (problem.train, problem.valid)]
        self._share = rows[1] / sum(rows)

    def select(self, scores: Sequence[Score]) -> Selection:
        """The pool of these; empty where nothing stands out."""
        usable = [score for score in scores if score.usable and score.t]
        usable.sort(key=lambda one: (-abs(one.t), one.text))
        best = usable[: self.settings.candidates]
        seen = tuple(score.text for score in best)
        again = self._valid.evaluate([parse(score.text) for score in best])
        both = [(one, *self._together(one, other)) for one, other in zip(best, again, strict=True)]
        standing = [(one, ic, t) for one, ic, t in both if abs(t) >= self.settings.least_t]
        standing.sort(key=lambda one: (-abs(one[2]), one[0].text))
        texts = [one.text for one, _, _ in standing]
        alike = self._sketches.correlations(texts, texts)
        chosen: list[int] = []
        for number in range(len(standing)):
            if len(chosen) == self._size:
                break
            if not (np.abs(alike[number, chosen]) > self.settings.apart).any():
                chosen.append(number)
        if not chosen:
            return Selection((), (), seen)
        matrix = alike[np.ix_(chosen, chosen)]
        np.fill_diagonal(matrix, 1.0 + self.settings.ridge)
        weights = np.linalg.solve(matrix, np.array([standing[number][1] for number in chosen]))
        return Selection(tuple(standing[number][0] for number in chosen), tuple(map(float, weights)), seen)

    def _together(self, train: Score, valid: Score) -> tuple[float, float]:
        """IC over both parts and its t-statistic; 0 where the parts differ in sign or one says nothing."""
        if not (math.isfinite(valid.t) and valid.ic * train.ic > 0):
            return 0.0, 0.0
        rest = 1 - self._share
        ic = rest * train.ic + self._share * valid.ic
        error = math.hypot(rest * train.ic / train.t, self._share * valid.ic / valid.t)
        return ic, ic / error
