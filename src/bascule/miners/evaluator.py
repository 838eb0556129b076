"""Scores of candidate texts on one part, in batches, with a cache and a count.

1. A text's canonical form is its identity; what is known is not computed again and is no new trial.
2. Unknown ones go to the engine together: shared subexpressions once, IC row by row, values never kept.
   First on the last rows of the part only (`screen`), then, the better share of a batch, on all of them.
3. Texts whose ICs agree in the rows of a fixed sample are one signal (`Fingerprint`), whatever they say.
4. `mutual` correlates candidates with the members of a pool in the same way.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule import engine
from bascule.cluster import Executor, Shared
from bascule.core import Settings
from bascule.evaluate import newey_west_lags, newey_west_t
from bascule.expr import Node
from bascule.miners.canonical import canonical
from bascule.miners.problem import Part

Float64Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]


_SCREENED = 4_000_000


class EvaluationSettings(Settings):
    """How candidates are scored."""

    screen: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of the part's rows for the first look; null: all of a part of at most "
        f"{_SCREENED:,} cells, where planning costs more than computing, else a quarter",
    )
    keep: float = Field(default=0.5, gt=0, le=1, description="share of a batch that is looked at in full")
    threads: int | None = Field(
        default=None, ge=1, description="of the engine; null: as many as there are cores"
    )


@dataclass(frozen=True)
class Score:
    """What is known of a text on the part that is searched.

    Attributes:
        text: canonical.
        ic: mean IC over the rows with labels, 0 counted where the text says nothing; NaN where it never does.
        ir: mean IC over its standard deviation, per row.
        t: Newey-West t-statistic of the mean.
        full: seen on all rows, not on the last ones only.
        same_as: an earlier text with the same signal, or None.
    """

    text: str
    ic: float
    ir: float
    t: float
    full: bool
    same_as: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it may enter a pool."""
        return self.full and self.same_as is None and math.isfinite(self.ic) and math.isfinite(self.t)

    @property
    def cautious(self) -> float:
        """|IC| less one standard error; 0 where that is below 0 or unknown."""
        return abs(self.ic) * max(0.0, 1.0 - 1.0 / abs(self.t)) if self.usable and self.t else 0.0


class Fingerprint:
    """ICs in a few rows, rounded, sign taken off: the same for the same signal."""

    rows = 24
    digits = 4

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._seen = {bytes.fromhex(key): text for key, text in (known or {}).items()}

    def known(self) -> dict[str, str]:
        """Key in hexadecimal → text."""
        return {key.hex(): text for key, text in self._seen.items()}

    def first(self, text: str, series: Float64Array) -> str | None:
        """The earlier text with the same signal; else None, and this one is remembered."""
        at = np.linspace(0, len(series) - 1, 4 * self.rows).astype(int)
        taken = series[at][np.isfinite(series[at])][: self.rows]
        if len(taken) < self.rows // 2:
            return None
        sign = 1.0 if taken[np.argmax(np.abs(taken))] > 0 else -1.0
        key = np.round(taken * sign, self.digits).astype(np.float32).tobytes()
        known = self._seen.setdefault(key, text)
        return None if known == text else known


class Evaluator:
    """Scores texts on one part.

    Args:
        part: rows and labels.
        settings: how.
        executor: where batches are computed, cut into one piece a worker; default: here. Same scores to the
            bit.
    """

    def __init__(
        self, part: Part, settings: EvaluationSettings | None = None, executor: Executor | None = None
    ) -> None:
        self._executor = executor if executor is not None and executor.workers > 1 else None
        self._placed: dict[str, Shared] = {}
        self.part = part
        self.settings = settings or EvaluationSettings()
        share = self.settings.screen
        if share is None:
            share = 1.0 if part.label[part.first :].size <= _SCREENED else 0.25
        self._screen = part if share == 1 else part.recent(share)
        self._scores: dict[str, Score] = {}
        self._fingerprint = Fingerprint()

    @property
    def trials(self) -> int:
        """Different texts looked at so far."""
        return len(self._scores)

    def known(self, node: Node) -> Score | None:
        """The score of a text that was looked at before."""
        return self._scores.get(str(canonical(node)))

    def scores(self) -> list[Score]:
        """All scores, oldest first."""
        return list(self._scores.values())

    def remember(self, score: Score) -> None:
        """Take over a score from an earlier run."""
        self._scores[score.text] = score

    def signals(self) -> dict[str, str]:
        """Fingerprints with the texts they were first seen in."""
        return self._fingerprint.known()

    def remember_signals(self, signals: Mapping[str, str]) -> None:
        """Take over fingerprints from an earlier run."""
        self._fingerprint = Fingerprint(signals)

    def evaluate(self, nodes: Sequence[Node]) -> list[Score]:
        """Scores in the order of the candidates; each unknown text is computed once."""
        forms = [canonical(node) for node in nodes]
        texts = [str(form) for form in forms]
        fresh = {text: form for text, form in zip(texts, forms, strict=True) if text not in self._scores}
        if fresh:
            self._scores.update({score.text: score for score in self._computed(fresh)})
        return [self._scores[text] for text in texts]

    def _computed(self, fresh: dict[str, Node]) -> list[Score]:
        texts = list(fresh)
        screened = self._series(self._screen, fresh)
        first = [self._score(text, row, full=False) for text, row in screened]
        if self._screen is self.part:
            whole = dict(screened)
        else:
            best = sorted(range(len(texts)), key=lambda i: -_strength(first[i]))
            chosen = sorted(best[: math.ceil(len(texts) * self.settings.keep)])
            whole = dict(self._series(self.part, {texts[i]: fresh[texts[i]] for i in chosen}))
        found = []
        for score in first:
            series = whole.get(score.text)
            if series is not None:
                same = self._fingerprint.first(score.text, series)
                score = replace(self._score(score.text, series, full=True), same_as=same)
            found.append(score)
        return found

    def _series(self, part: Part, nodes: dict[str, Node]) -> list[tuple[str, Float64Array]]:
        """IC of each text in the rows of a part that have a label."""
        if not nodes:
            return []
        threads = self.settings.threads
        if self._executor is None:
            return list(zip(nodes, _ics((list(nodes.values()), threads), _facts(part)), strict=True))
        which = "part" if part is self.part else "screen"
        if which not in self._placed:
            self._placed[which] = self._executor.place(_facts(part))
            weakref.finalize(self, self._placed[which].remove)
        pieces = np.array_split(np.array(list(nodes), object), min(len(nodes), self._executor.workers))
        tasks = {
            f"piece {k + 1}": ([nodes[text] for text in piece], threads) for k, piece in enumerate(pieces)
        }
        found = self._executor.map(_ics, tasks, shared=self._placed[which])
        return list(zip(nodes, (row for piece in found.values() for row in piece), strict=True))

    def _score(self, text: str, series: Float64Array, *, full: bool) -> Score:
        known = np.isfinite(series)
        part = self.part if full else self._screen
        # silence counts as no IC, else pools of factors that seldom speak promise what they cannot hold
        there = np.where(known, series, 0.0)[known | part.labelled[part.first :]]
        if known.sum() < 20 or not there.std() > 0:
            return Score(text, math.nan, math.nan, math.nan, full)
        t = newey_west_t(there, newey_west_lags(len(there), self.part.horizon)) if full else math.nan
        mean = float(there.mean())
        return Score(text, mean, mean / float(there.std()), float(t), full)

    # -- members of a pool -------------------------------------------------------------------------

    def values(self, text: str) -> FloatArray:
        """Values ``[T, N]`` of one text over the part's rows, NaN where there is no label."""
        values: FloatArray = engine.evaluate([text], self.part.panel, threads=self.settings.threads)[0].copy()
        values[~np.isfinite(self.part.label)] = np.nan
        return values

    def mutual(self, texts: Sequence[str], members: Sequence[FloatArray]) -> Float64Array:
        """Mean correlation of each text with each member ``[F, M]``, over the rows with labels as ICs are.

        Rows in which one of the two says nothing count as 0. Means over the rows of each pair alone would
        not make a matrix of correlations: some combination would have a negative variance, and a searcher
        finds it.
        """
        if not members or not texts:
            return np.zeros((len(texts), len(members)))
        found = engine.ic(
            list(texts), self.part.panel, np.stack(members), min_breadth=self.part.min_breadth,
            threads=self.settings.threads,
        ).plain  # fmt: skip
        assert found is not None
        rows = max(1, int(self.part.labelled.sum()))
        total: Float64Array = np.where(np.isfinite(found), found, 0.0).sum(axis=2) / rows
        return total


def _facts(part: Part) -> dict[str, Any]:
    """What a worker needs to know of a part."""
    return {"panel": part.panel, "label": part.label, "first": part.first, "breadth": part.min_breadth}


def _ics(task: tuple[Sequence[Node], int | None], shared: Mapping[str, Any]) -> list[Float64Array]:
    """IC of each text in the rows of the part."""
    nodes, threads = task
    first, plan = shared["first"], engine.compile(list(nodes))
    # rows before the part are history, no more of it than the look-back
    start = max(0, first - (first if plan.lookback is None else plan.lookback))
    found = engine.ic(
        plan, shared["panel"].rows(start, None), shared["label"][None, start:], min_breadth=shared["breadth"],
        threads=threads,
    ).plain  # fmt: skip
    assert found is not None
    return [found[i, 0, first - start :] for i in range(len(nodes))]


def _strength(score: Score) -> float:
    return abs(score.ic) if math.isfinite(score.ic) else -1.0
