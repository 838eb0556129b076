"""The loop that every searcher runs in: propose, score, reward, remember.

1. A `Searcher` proposes texts. Those that are not of the grammar are refused and counted.
2. The evaluator scores them on the train part; the pool says what each would add (`Outcome.gain`), going by
   sketches of signals, and lets in who adds enough by correlations over all rows.
3. The searcher sees the outcomes: train figures only.
4. Now and then the result is chosen anew from all that was scored, with the help of the valid part
   (`selection`): the search's own pool only says what pays. A searcher whose result does not get better
   there for long is stopped (`patience`).
5. After every few batches the whole state is written to one file at once. A killed search goes on from there
   and ends as an unbroken one would: all randomness is the searcher's own generator, part of its state.

The budget counts proposals of the grammar (known ones too, so that a searcher that goes in circles pays for
it) and CPU seconds of this process, of evaluation and of learning alike; what an executor's other processes
spend is not in them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.cluster import Executor
from bascule.core import Moment, Progress, Settings, StoreError, files, silent
from bascule.evaluate import Ledger, Trial
from bascule.expr import Node
from bascule.miners.combination import pool_ic
from bascule.miners.contract import Arrays, Outcome, Searcher
from bascule.miners.evaluator import EvaluationSettings, Evaluator, Score
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool, PoolSettings
from bascule.miners.problem import Part, Problem
from bascule.miners.selection import SelectionSettings, Selector
from bascule.miners.sketches import Sketches


class SearchSettings(Settings):
    """How long and how carefully to search."""

    proposals: int = Field(default=2_000, ge=1, description="texts to propose, known ones included")
    cpu_seconds: float | None = Field(
        default=None, gt=0, description="stop after these, of this process; null: no limit"
    )
    batch: int = Field(default=32, ge=1, le=4096, description="texts at once")
    look_every: int = Field(default=4, ge=1, description="batches between looks at the valid part")
    patience: int | None = Field(
        default=None, ge=1, description="looks without a better pool before it stops"
    )
    evaluation: EvaluationSettings = Field(default=EvaluationSettings())
    pool: PoolSettings = Field(default=PoolSettings())
    selection: SelectionSettings = Field(default=SelectionSettings())


@dataclass(frozen=True)
class Look:
    """A point of the learning curve.

    Attributes:
        proposals: texts so far.
        trials: different ones that were computed.
        cpu_seconds: spent so far, learning included.
        members: of the pool that is chosen by now.
        train: IC that the search's own pool promises.
        valid: mean IC of the chosen pool on the valid part, which it was chosen with.
    """

    proposals: int
    trials: int
    cpu_seconds: float
    members: int
    train: float
    valid: float


@dataclass
class Search:
    """A search and its result so far.

    Attributes:
        name: of the searcher.
        texts: members of the pool that was chosen last.
        weights: of these.
        scores: of these, as in training.
        looks: the learning curve.
        proposals: texts so far.
        trials: different ones that were computed.
        refused: texts that were not of the grammar.
        cpu_seconds: spent.
        finished: the budget is spent, or patience was lost.
    """

    name: str
    texts: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    proposals: int = 0
    trials: int = 0
    refused: int = 0
    cpu_seconds: float = 0.0
    finished: bool = False

    @property
    def best(self) -> float:
        """The best valid IC so far."""
        return max((look.valid for look in self.looks if math.isfinite(look.valid)), default=-math.inf)

    @property
    def valid(self) -> float:
        """IC on the valid part of the pool that was chosen last; NaN where there is none."""
        return self.looks[-1].valid if self.looks else math.nan


class Miner:
    """One search on one problem.

    Args:
        problem: what is searched for.
        searcher: how.
        grammar: what may be proposed.
        settings: how long.
        folder: where the state is kept; None = nowhere.
        ledger: counts every trial, on the train part and, of those chosen from, on the valid part; None = not
            counted.
        data: name of the data in the ledger.
        executor: where batches are scored; same search, to the bit.
        recipe: what else the searcher was made with, such as seed and settings, as JSON; a state of another
            recipe is refused.
    """

    def __init__(
        self,
        problem: Problem,
        searcher: Searcher,
        grammar: Grammar,
        settings: SearchSettings | None = None,
        *,
        folder: Path | None = None,
        ledger: Ledger | None = None,
        data: str = "panel",
        executor: Executor | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem, self.searcher, self.grammar = problem, searcher, grammar
        self.recipe = dict(recipe or {})
        self.settings = settings or SearchSettings()
        self.evaluator = Evaluator(problem.train, self.settings.evaluation, executor)
        self.sketches = Sketches.of_part(problem.train)
        self.sketches.threads = self.settings.evaluation.threads
        self._selector = Selector(
            problem, self.settings.selection, self.settings.pool.size, self.settings.evaluation
        )
        self.pool = Pool(self.settings.pool)
        self.search = Search(searcher.name)
        self._folder, self._ledger, self._data = folder, ledger, data
        self._stale = 0
        self._shown: set[str] = set()  # on the valid part

    # -- running -----------------------------------------------------------------------------------

    def run(self, progress: Progress = silent, *, now: Moment | None = None) -> Search:
        """Search until the budget is spent; goes on where a killed run of the same folder stood.

        Args:
            progress: told about proposals.
            now: time that the ledger notes; None = the end of the part that is looked at.

        Raises:
            StoreError: the folder's state is damaged, or of another search.
        """
        if self._folder is not None and self._file.exists():
            self._restore()
        batches = 0
        spent, began = self.search.cpu_seconds, time.process_time()
        while not self.search.finished:
            more = self._batch(now)
            batches += 1
            self.search.cpu_seconds = spent + time.process_time() - began
            self.search.finished = not more or self._over()
            if batches % self.settings.look_every == 0 or self.search.finished:
                self._look(now)
                self._save()
            note = f"{self.searcher.name}: pool IC {self.pool.ic:.4f}, {len(self.pool.scores)} factors"
            progress(min(self.search.proposals, self.settings.proposals), self.settings.proposals, note)
        return self.search

    def _over(self) -> bool:
        limit = self.settings.cpu_seconds
        patience = self.settings.patience
        return (
            self.search.proposals >= self.settings.proposals
            or (limit is not None and self.search.cpu_seconds >= limit)
            or (patience is not None and self._stale >= patience)
        )

    def _batch(self, now: Moment | None) -> bool:
        """Propose, score, tell; False where the searcher had nothing to propose."""
        count = min(self.settings.batch, self.settings.proposals - self.search.proposals)
        nodes = list(self.searcher.propose(count))[:count]
        if not nodes:
            return False
        legal = [self.grammar.accepts(node) for node in nodes]
        before = {score.text for score in map(self.evaluator.known, nodes) if score is not None}
        scores = iter(self.evaluator.evaluate([n for n, fine in zip(nodes, legal, strict=True) if fine]))
        pairs = [(node, next(scores) if fine else None) for node, fine in zip(nodes, legal, strict=True)]
        outcomes = self._judged(pairs, before)
        self._count({o.score.text for o in outcomes if o.new and o.score}, self.problem.train, now)
        self.search.proposals += len(nodes)
        self.search.trials = self.evaluator.trials
        self.search.refused += legal.count(False)
        self.searcher.observe(outcomes, self.pool)
        return True

    def _judged(self, pairs: Sequence[tuple[Node, Score | None]], before: set[str]) -> list[Outcome]:
        """Gains against the pool as it stands at each candidate's turn, best first."""
        usable = {
            s.text: s
            for _, s in pairs
            # what is noise by itself is not worth correlating with every member
            if s is not None and s.usable and abs(s.t) >= self.settings.pool.least_t / 2
            if s.text not in self.pool.texts
        }
        near = self._likeness(list(usable), self.pool.texts)
        told: dict[str, tuple[float, float, bool]] = {}
        for text in sorted(usable, key=lambda one: (-abs(usable[one].ic), one)):
            score, row = usable[text], np.array([near[text, member] for member in self.pool.texts])
            gain = self.pool.reward(score, row)
            admitted = self.pool.admits(score, row) and self._admit(score)
            if admitted:
                rest = [one for one in usable if one not in told and one != text]
                near.update(self._likeness(rest, [text]))
            alike = float(np.abs(row).max()) if len(row) else 0.0
            told[text] = gain, alike, admitted
        found, seen = [], set(before)
        for node, its in pairs:
            if its is None:
                found.append(Outcome(node, None, refusal="not of the grammar"))
                continue
            gain, alike, admitted = told.get(its.text, (0.0, 0.0, False))
            found.append(Outcome(node, its, gain, alike, admitted, new=its.text not in seen))
            seen.add(its.text)
        return found

    def _admit(self, score: Score) -> bool:
        """Let a candidate in if it still adds enough by its correlations over all rows."""
        row = self.evaluator.mutual([score.text], self.pool.values)[0]
        if not self.pool.admits(score, row):
            return False
        return self.pool.add(score, row, self.evaluator.values(score.text))

    def _likeness(self, texts: Sequence[str], members: Sequence[str]) -> dict[tuple[str, str], float]:
        """Estimated mean correlation of each text with each member."""
        rows = self.sketches.correlations(texts, members)
        return {
            (one, other): float(rows[i, j]) for i, one in enumerate(texts) for j, other in enumerate(members)
        }

    def _count(self, texts: set[str], part: Part, now: Moment | None) -> None:
        if self._ledger is None or not texts:
            return
        start, end = part.window
        purpose = f"mining {self.searcher.name}"
        trials = [Trial(text, self._data, start, end, part.horizon, purpose) for text in sorted(texts)]
        self._ledger.record(trials, end if now is None else now)

    def _look(self, now: Moment | None) -> None:
        """Choose the result anew from all that is known."""
        chosen = self._selector.select(self.evaluator.scores())
        self._count({*chosen.seen} - self._shown, self.problem.valid, now)
        self._shown |= {*chosen.seen}
        threads = self.settings.evaluation.threads
        series = pool_ic(chosen.texts, np.array(chosen.weights), self.problem.valid, threads=threads)
        seen = np.isfinite(series)
        valid = float(series[seen].mean()) if seen.any() else math.nan
        self._stale = 0 if math.isfinite(valid) and valid > self.search.best else self._stale + 1
        self.search.looks.append(
            Look(
                self.search.proposals, self.search.trials, round(self.search.cpu_seconds, 3),
                len(chosen.scores), self.pool.ic, valid,
            )
        )  # fmt: skip
        self.search.texts, self.search.weights = chosen.texts, list(chosen.weights)
        self.search.scores = list(chosen.scores)

    # -- keeping -----------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        assert self._folder is not None
        return self._folder / "state.npz"

    def _identity(self) -> dict[str, Any]:
        """What a state must have been made with; the budget may be another."""
        settings = self.settings.model_dump(mode="json")
        for key in ("proposals", "cpu_seconds", "patience"):
            settings.pop(key)
        return {
            "searcher": self.searcher.name,
            "problem": self.problem.fingerprint,
            "split": self.problem.settings.model_dump(mode="json"),
            "grammar": self.grammar.settings.model_dump(mode="json"),
            "settings": settings,
            "recipe": self.recipe,
        }

    def _save(self) -> None:
        if self._folder is None:
            return
        state, arrays = self.searcher.state()
        told = {
            "identity": self._identity(),
            "search": asdict(self.search),
            "stale": self._stale,
            "scores": [asdict(score) for score in self.evaluator.scores()],
            "signals": self.evaluator.signals(),
            "pool": [asdict(score) for score in self.pool.scores],
            "searcher": state,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with files.atomic_file(self._file) as aside, aside.open("wb") as stream:
            np.savez(
                stream,
                told=np.frombuffer(json.dumps(told).encode(), np.uint8),
                mutual=self.pool.mutual,
                **{f"searcher.{name}": array for name, array in arrays.items()},  # type: ignore[arg-type]
            )

    def _stored(self) -> tuple[dict[str, Any], NDArray[np.float64], Arrays]:
        """What `_save` wrote: facts, the pool's correlations, the searcher's arrays."""
        try:
            with self._file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                told = json.loads(stored["told"].tobytes())
                mutual = stored["mutual"]
                arrays = {
                    k.removeprefix("searcher."): stored[k] for k in stored.files if k.startswith("searcher.")
                }
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise StoreError(
                f"the state of the search cannot be read: {error}",
                where=str(self._file),
                remedy="restore it from a copy, or remove it to begin anew",
            ) from None
        return told, mutual, arrays

    def _restore(self) -> None:
        told, mutual, arrays = self._stored()
        if told["identity"] != self._identity():
            changed = sorted(k for k, v in self._identity().items() if told["identity"].get(k) != v)
            raise StoreError(
                f"the search there was made with other settings: {', '.join(changed)}",
                where=str(self._folder),
                remedy="use another folder, or the settings of the search to be resumed",
            )
        search = told["search"]
        search["looks"] = [Look(**look) for look in search["looks"]]
        search["scores"] = [Score(**score) for score in search["scores"]]
        self.search = Search(**search)
        self._stale = told["stale"]
        for score in told["scores"]:
            self.evaluator.remember(Score(**score))
        self.evaluator.remember_signals(told["signals"])
        self.pool = Pool(self.settings.pool)
        self.pool.refill([Score(**one) for one in told["pool"]], mutual, self.evaluator.values)
        self.searcher.restore(told["searcher"], arrays)
        self.search.finished = self._over()
