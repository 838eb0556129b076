"""What a search is worth on rows that nothing was chosen on.

1. `open_test` measures the pool, and each member, on the test part: mean IC, rank IC, Newey-West t.
2. Looking is a trial: the pool goes into the ledger as one on the test rows. The more was ever tried there,
   by whatever command, the larger a t it needs (Šidák, `evaluate.deflated_threshold`).
3. Members of one pool are many tests: Benjamini-Hochberg says which of them stand on their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bascule.core import Moment
from bascule.core.files import fingerprint
from bascule.evaluate import (
    ICSummary,
    Ledger,
    Trial,
    benjamini_hochberg,
    deflated_threshold,
    p_values,
    summarise,
)
from bascule.miners.combination import pool_ic
from bascule.miners.evaluator import Float64Array
from bascule.miners.problem import Part, Problem
from bascule.miners.search import Search


@dataclass(frozen=True, eq=False)
class Member:
    """A factor of the pool on the test part.

    Attributes:
        text: of the factor.
        weight: in the pool.
        train: mean IC on the train part.
        test: IC on the test part, sign as it is.
        stands: significant among the members on its own, and with the sign it had in training.
    """

    text: str
    weight: float
    train: float
    test: ICSummary
    stands: bool


@dataclass(frozen=True, eq=False)
class Judgement:
    """A search, judged.

    Attributes:
        search: what was judged.
        ic: of the pool on the test part.
        rank_ic: the same of ranks.
        series: IC of the pool in each row of the test part.
        valid: mean IC of the pool on the valid part, which it was chosen with.
        members: of the pool.
        looks: different trials that ever touched these rows, this one included.
        threshold: t-statistic that the best of so many worthless ones reaches with 5 % probability.
    """

    search: Search
    ic: ICSummary
    rank_ic: ICSummary
    series: Float64Array
    valid: float
    members: tuple[Member, ...]
    looks: int
    threshold: float

    @property
    def found(self) -> bool:
        """Whether the pool foresees anything: positive IC beyond the deflated threshold."""
        return bool(self.members) and math.isfinite(self.ic.t) and self.ic.t > self.threshold


def open_test(
    search: Search,
    problem: Problem,
    *,
    ledger: Ledger | None = None,
    data: str = "panel",
    now: Moment | None = None,
) -> Judgement:
    """Measure a search's pool on the test part; counted in the ledger, if there is one.

    Args:
        search: finished.
        problem: the one that was searched.
        ledger: where looks at the test part are counted.
        data: name of the data in the ledger.
        now: time that the ledger notes; None = the end of the panel's last candle.
    """
    part = problem.test()
    weights = np.array(search.weights)
    looks = _looked(search, part, ledger, data, now)
    plain, ranked = (pool_ic(search.texts, weights, part, rank=rank) for rank in (False, True))
    series = [pool_ic([text], np.ones(1), part) for text in search.texts]
    tests = [summarise(one, part.horizon) for one in series]
    kept = benjamini_hochberg(p_values([test.t for test in tests])).kept if tests else np.zeros(0, np.bool_)
    members = tuple(
        Member(text, weight, score.ic, test, bool(keep) and test.mean * score.ic > 0)
        for text, weight, score, test, keep in zip(
            search.texts, search.weights, search.scores, tests, kept, strict=True
        )
    )
    return Judgement(
        search, summarise(plain, part.horizon), summarise(ranked, part.horizon), plain, search.valid, members,
        looks, deflated_threshold(looks),
    )  # fmt: skip


def _looked(search: Search, part: Part, ledger: Ledger | None, data: str, now: Moment | None) -> int:
    """Different trials on these rows so far, this one included."""
    if ledger is None or not search.texts:
        return 1
    what = f"pool {fingerprint([search.texts, search.weights])}"
    start, end = part.window
    trial = Trial(what, data, start, end, part.horizon, f"judging {search.name}")
    ledger.record([trial], end if now is None else now)
    return max(1, ledger.count(data, start).trials)
