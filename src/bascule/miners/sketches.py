"""Sketches of signals: what texts that were seen earlier would add to the pool as it stands now.

A gain is told once, against the pool of that moment; a population would go on breeding from gains that are
gone. So a searcher may keep a sketch of each text: its values in a few of the last rows of the *train* part,
standardised across coins. The product of two sketches estimates the mean correlation of two signals, from
which `Pool.gain` follows again. Labels are not read; correlations of sketches serve for diversity too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bascule import engine
from bascule.core.panel import FloatArray
from bascule.miners.combination import standardised
from bascule.miners.evaluator import Float64Array, Score
from bascule.miners.pool import Pool
from bascule.miners.problem import Part


@dataclass(frozen=True)
class Sketch:
    """One signal.

    Attributes:
        vector: of length 1 (all 0 where the signal has no value).
        persistence: mean correlation of a row with the row one label later; low = high turnover.
    """

    vector: FloatArray
    persistence: float


class Sketches:
    """Sketches of canonical texts, made when asked for; they are a pure function of text and part.

    Args:
        part: the train part.
        rows: rows at its end that are looked at.
        step: every which of them.
        threads: of the engine.
    """

    def __init__(self, part: Part, *, rows: int = 1024, step: int = 8, threads: int | None = None) -> None:
        self._part, self._step, self._threads = part, step, threads
        self._rows = min(rows, part.panel.shape[0])
        self._known: dict[str, Sketch] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Make those that are missing, together."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if not missing:
            return
        panel = self._part.panel
        plan = engine.compile(missing)
        back = panel.shape[0] if plan.lookback is None else plan.lookback
        window = panel.rows(max(0, panel.shape[0] - self._rows - back), None)
        values = engine.evaluate(plan, window, rows=self._rows, threads=self._threads)
        members = panel.members[-self._rows :]
        for text, one in zip(missing, values, strict=True):
            self._known[text] = self._sketch(standardised(one, members))

    def _sketch(self, rows: FloatArray) -> Sketch:
        count = np.maximum((rows != 0).sum(axis=1), 1)
        lag = min(self._part.horizon, len(rows) - 1)
        later = (rows[lag:] * rows[: len(rows) - lag]).sum(axis=1) / count[lag:]
        vector = rows[:: self._step].ravel()
        length = float(np.sqrt(vector @ vector))
        return Sketch(vector / length if length > 0 else vector, float(later.mean()))

    def forget(self, keep: Iterable[str]) -> None:
        """Drop all but some."""
        kept = set(keep)
        self._known = {text: sketch for text, sketch in self._known.items() if text in kept}

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
