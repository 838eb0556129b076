"""A pool of factors that help each other: linear weights, and what one more factor would add.

With factors standardised in every row, c their mean ICs with the label and C their mean correlations, the
combination of least squared error has weights w = (C + λ·1)⁻¹ c and its IC is about √(cᵀ (C + λ·1)⁻¹ c)
(AlphaGen, arXiv 2306.12964, whose gradient steps on 1 − 2 wᵀc + wᵀCw have this optimum).

A candidate with IC a and correlations b to the pool adds, by the inverse of a bordered matrix,
(a − bᵀw)² / (1 + λ − bᵀ(C + λ·1)⁻¹b) to cᵀw. Whoever is too much like a
member can only take its place: what counts is what it is better by, so that small refinements still pay. The
gain's numerator over the standard error of a is the t-statistic of what the candidate knows beyond the pool;
below `least_t` it is taken for noise. The gain, discounted by that, is the searchers' reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from bascule.core import Settings
from bascule.miners.evaluator import Float64Array, FloatArray, Score


class PoolSettings(Settings):
    """How many factors, and when one is let in."""

    size: int = Field(default=10, ge=1, le=200, description="most members")
    ridge: float = Field(default=0.01, ge=0, le=1, description="λ, against weights that lean on noise")
    least_t: float = Field(default=2.5, ge=0, le=20, description="t-statistic of a newcomer's own knowledge")
    most_alike: float = Field(
        default=0.95, gt=0, le=1, description="largest |correlation| with a member, or with all together"
    )


@dataclass
class Pool:
    """Members, their ICs and correlations, their weights.

    Attributes:
        settings: limits.
        scores: of the members.
        ics: mean ICs ``[M]``.
        mutual: mean correlations ``[M, M]``.
        values: of the members ``[T, N]``, for correlating candidates.
        weights: ``[M]``.
    """

    settings: PoolSettings
    scores: list[Score] = field(default_factory=list)
    ics: Float64Array = field(default_factory=lambda: np.zeros(0))
    mutual: Float64Array = field(default_factory=lambda: np.zeros((0, 0)))
    values: list[FloatArray] = field(default_factory=list)
    weights: Float64Array = field(default_factory=lambda: np.zeros(0))

    @property
    def texts(self) -> list[str]:
        """Texts of the members."""
        return [score.text for score in self.scores]

    @property
    def worth(self) -> float:
        """cᵀw, the square of the IC that the fit promises."""
        return float(self.ics @ self.weights) if len(self.ics) else 0.0

    @property
    def ic(self) -> float:
        """IC of the combination on the part it was fitted on, from ICs and correlations."""
        if not len(self.ics):
            return 0.0
        scale = math.sqrt(max(float(self.weights @ self.mutual @ self.weights), 1e-300))
        return float(self.ics @ self.weights) / scale

    def gain(self, score: Score, mutual: Float64Array) -> tuple[float, float]:
        """What a candidate adds to `worth`, and the t-statistic of what it knows beyond the pool.

        A candidate that is too much like a member would take its place: it adds what it is better by.

        Args:
            score: of the candidate.
            mutual: its correlations with the members ``[M]``.
        """
        if not score.usable:
            return 0.0, 0.0
        stay = np.arange(len(self.ics)) != self._alike(mutual)
        matrix, ics, mutual = self._matrix()[np.ix_(stay, stay)], self.ics[stay], mutual[stay]
        new, rest, worth = score.ic, 1.0 + self.settings.ridge, 0.0
        if len(ics):
            weights, inverse_b = np.linalg.solve(matrix, np.stack([ics, mutual], axis=1)).T
            worth = float(ics @ weights)
            new -= float(mutual @ weights)
            rest -= float(mutual @ inverse_b)
        if rest <= 1.0 - self.settings.most_alike**2:  # within the span of the pool
            return 0.0, 0.0
        gain = worth + new * new / rest - self.worth
        # the standard error of the candidate's own IC stands for that of the difference
        return max(0.0, gain), abs(score.t * new / score.ic) if score.ic else 0.0

    def reward(self, score: Score, mutual: Float64Array) -> float:
        """The gain, less where it may be noise: by (t / least_t)² below `least_t`.

        Slow signals have large ICs with large errors. A searcher that is paid for gains that the pool then
        refuses breeds nothing else.
        """
        gain, t = self.gain(score, mutual)
        least = self.settings.least_t
        return gain * min(1.0, (t / least) ** 2) if least > 0 else gain

    def _alike(self, mutual: Float64Array) -> int:
        """The member that a candidate may only replace; -1 = none."""
        closest = int(np.argmax(np.abs(mutual))) if len(mutual) else -1
        return closest if closest >= 0 and abs(mutual[closest]) > self.settings.most_alike else -1

    def admits(self, score: Score, mutual: Float64Array) -> bool:
        """Whether a candidate would be let in."""
        gain, t = self.gain(score, mutual)
        return gain > 0 and t >= self.settings.least_t

    def add(self, score: Score, mutual: Float64Array, values: FloatArray) -> bool:
        """Let a candidate in, for a member too much like it, or for the least useful one of a full pool.

        Returns:
            Whether it stayed.
        """
        if (alike := self._alike(mutual)) >= 0:
            self._remove(alike)
            mutual = np.delete(mutual, alike)
        self.scores.append(score)
        self.values.append(values)
        self.ics = np.append(self.ics, score.ic)
        grown = np.eye(len(self.ics))
        grown[:-1, :-1] = self.mutual
        grown[-1, :-1] = grown[:-1, -1] = mutual
        self.mutual = grown
        self._fit()
        stayed = True
        while len(self.scores) > self.settings.size:
            weakest = self._weakest()
            stayed &= weakest != len(self.scores) - 1
            self._remove(weakest)
        return stayed

    def refill(
        self, scores: Sequence[Score], mutual: Float64Array, values: Callable[[str], FloatArray]
    ) -> None:
        """Become the pool of an earlier run."""
        self.scores, self.mutual = list(scores), mutual
        self.ics = np.array([score.ic for score in scores])
        self.values = [values(score.text) for score in scores]
        self._fit()

    def _weakest(self) -> int:
        """The member without which `worth` falls least: w² / (inverse's diagonal)."""
        inverse = np.linalg.inv(self._matrix())
        return int(np.argmin(self.weights**2 / np.diag(inverse)))

    def _remove(self, number: int) -> None:
        del self.scores[number], self.values[number]
        keep = np.arange(len(self.ics)) != number
        self.ics, self.mutual = self.ics[keep], self.mutual[np.ix_(keep, keep)]
        self._fit()

    def _matrix(self) -> Float64Array:
        matrix: Float64Array = self.mutual + self.settings.ridge * np.eye(len(self.ics))
        return matrix

    def _fit(self) -> None:
        weights = np.linalg.solve(self._matrix(), self.ics) if len(self.ics) else np.zeros(0)
        self.weights = np.asarray(weights, np.float64)
