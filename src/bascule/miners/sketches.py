"""Sketches of signals: how much texts resemble each other, and what they would add to the pool as it is now.

1. A sketch is a text's values in rows spread evenly over the *train* part, about `_CELLS` values in all,
   standardised across coins, scaled so that the product of two sketches is their mean correlation over these
   rows. A row in which one of the two says nothing counts as 0, as in `Evaluator.mutual`, of which the
   product is an estimate: its error is about 1/√_CELLS for signals that are fresh in each of the rows.
2. From it follows what the pool would gain (`Pool.gain`). A gain is told once, against the pool of that
   moment; a population would go on breeding from gains that are gone, so searchers ask again.
3. Labels are not read. A sketch is a pure function of text and part; the part keeps the latest `_HELD`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bascule import engine
from bascule.core.panel import FloatArray
from bascule.miners.combination import standardised
from bascule.miners.evaluator import Float64Array, Score
from bascule.miners.pool import Pool
from bascule.miners.problem import Part

_CELLS = 16_384
_LEAST_ROWS = 128
_HELD = 512
_LAGGED = 4  # every which of the rows is compared with a later one
_ROOM = 4_000_000  # values that are computed at once


@dataclass(frozen=True)
class Sketch:
    """One signal.

    Attributes:
        vector: see the module; all 0 where the signal has no value.
        persistence: mean correlation of a row with the row one label later; low = high turnover.
    """

    vector: FloatArray
    persistence: float


class Sketches:
    """Sketches of canonical texts, made when asked for.

    Args:
        part: the train part.

    Attributes:
        threads: of the engine; None = as many as there are cores.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self.threads: int | None = None
        first, (stop, width) = part.first, part.panel.shape
        wanted = min(max(_CELLS // max(width, 1), _LEAST_ROWS), stop - first)
        self._rows = first + np.arange(wanted) * (stop - first) // wanted
        early = self._rows[self._rows + part.horizon < stop][::_LAGGED]
        self._pairs = early, early + part.horizon
        self._known: dict[str, Sketch] = {}
        self._held = _HELD

    @classmethod
    def of_part(cls, part: Part) -> Sketches:
        """Those of a part, shared by all who look at it."""
        found = part.notes.get("sketches")
        if not isinstance(found, Sketches):
            found = part.notes["sketches"] = cls(part)
        return found

    def hold(self, count: int) -> None:
        """Keep at least so many."""
        self._held = max(self._held, count)

    def learn(self, texts: Iterable[str]) -> None:
        """Make those that are missing, together; those asked for are the latest now."""
        wanted = list(dict.fromkeys(texts))
        missing = [text for text in wanted if text not in self._known]
        panel = self._part.panel
        at_once = max(1, _ROOM // max(panel.shape[0] * panel.shape[1], 1))
        for start in range(0, len(missing), at_once):
            some = missing[start : start + at_once]
            values = engine.evaluate(some, panel, threads=self.threads)
            self._known.update((text, self._sketch(one)) for text, one in zip(some, values, strict=True))
        for text in wanted:
            self._known[text] = self._known.pop(text)
        for text in list(self._known)[: max(0, len(self._known) - max(self._held, len(wanted)))]:
            del self._known[text]

    def _sketch(self, values: FloatArray) -> Sketch:
        vector = self._scaled(values, self._rows).ravel() / np.float32(np.sqrt(len(self._rows)))
        early, late = (self._scaled(values, rows) for rows in self._pairs)
        return Sketch(vector, float((early * late).sum() / max(len(early), 1)))

    def _scaled(self, values: FloatArray, rows: np.ndarray) -> FloatArray:
        """Some rows, each of mean 0 and length 1, or all 0 where fewer coins speak than make a row count."""
        some = values[rows]
        members = self._part.panel.members[rows]
        count = (members & np.isfinite(some)).sum(axis=1, keepdims=True)
        scale = np.where(count >= self._part.min_breadth, 1 / np.sqrt(np.maximum(count, 1)), 0.0)
        return standardised(some, members) * scale.astype(np.float32)

    def of(self, text: str) -> Sketch:
        """The sketch of a canonical text."""
        self.learn([text])
        return self._known[text]

    def correlations(self, texts: Sequence[str], others: Sequence[str]) -> Float64Array:
        """Estimated mean correlations ``[len(texts), len(others)]``."""
        self.learn([*texts, *others])
        if not texts or not others:
            return np.zeros((len(texts), len(others)))
        left = np.stack([self._known[text].vector for text in texts])
        right = np.stack([self._known[text].vector for text in others])
        found: Float64Array = (left @ right.T).astype(np.float64)
        return found

    def fitness(self, scores: Sequence[Score], pool: Pool, own: float) -> Float64Array:
        """√gain of each text, mixed with its own IC less a standard error, in units of IC ``[F]``.

        Args:
            scores: of the texts.
            pool: as it is now.
            own: share of the own IC.
        """
        gains = self.gains(scores, pool)
        return np.array(
            [
                (1 - own) * math.sqrt(max(gain, 0.0)) + own * score.cautious
                for score, gain in zip(scores, gains, strict=True)
            ]
        )

    def gains(self, scores: Sequence[Score], pool: Pool) -> Float64Array:
        """What each text would be rewarded with by the pool now ``[F]``; 0 for its members."""
        mutual = self.correlations([score.text for score in scores], pool.texts)
        members = set(pool.texts)
        return np.array(
            [
                0.0 if score.text in members else pool.reward(score, row)
                for score, row in zip(scores, mutual, strict=True)
            ]
        )
