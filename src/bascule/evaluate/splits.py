"""Cross-validation that does not leak: purged and embargoed folds, and their combinations.

1. A label of row t is earned from the open of t + 1 to that of t + 1 + h. So a training row within h + 1 rows
   before a test row, or within h + 1 rows after one, shares candles with it and is *purged*.
2. What comes right after a test part still carries its memory (slow features): further ``embargo`` rows are
   left out there. (López de Prado 2018, "Advances in Financial Machine Learning", ch. 7.)
3. `combinatorial` tests on every choice of k of G groups (ch. 12); `paths` puts the test parts together to
   whole histories, k / G · C(G, k) of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from bascule.core import ConfigError
from bascule.evaluate.rows import IntArray


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to train on and rows to test on.

    Attributes:
        train: row numbers, ascending.
        test: row numbers, ascending.
        groups: which groups are tested.
    """

    train: IntArray
    test: IntArray
    groups: tuple[int, ...]


def purged_folds(rows: int, folds: int, *, horizon: int, embargo: int = 0) -> Iterator[Split]:
    """Each of ``folds`` parts tested once, trained on the rest less purge and embargo.

    Args:
        rows: number of rows.
        folds: parts, at least 2.
        horizon: bars of the label.
        embargo: further rows left out after each test part.
    """
    return combinatorial(rows, folds, 1, horizon=horizon, embargo=embargo)


def combinatorial(rows: int, groups: int, tested: int, *, horizon: int, embargo: int = 0) -> Iterator[Split]:
    """Every choice of ``tested`` of ``groups`` parts as test set.

    Args:
        rows: number of rows.
        groups: parts G of equal length, at least 2.
        tested: parts k in the test set, 1 … G − 1.
        horizon: bars of the label, at least 1.
        embargo: further rows left out after each test part.

    Raises:
        ConfigError: the numbers do not fit, or nothing is left to train on.
    """
    if not 1 <= tested < groups or horizon < 1 or embargo < 0 or rows < groups:
        raise ConfigError(
            f"{tested} of {groups} groups of {rows} rows, horizon {horizon}, embargo {embargo}",
            where="combinatorial",
            remedy="test fewer groups than there are, with a horizon of at least 1 bar",
        )
    edges = np.linspace(0, rows, groups + 1).round().astype(int)
    return _splits(rows, edges, groups, tested, horizon + 1, embargo)


def _splits(
    rows: int, edges: IntArray, groups: int, tested: int, purge: int, embargo: int
) -> Iterator[Split]:
    for chosen in combinations(range(groups), tested):
        test, free = np.zeros(rows, np.bool_), np.ones(rows, np.bool_)
        for group in chosen:
            first, last = int(edges[group]), int(edges[group + 1])
            test[first:last] = True
            free[max(0, first - purge) : min(rows, last + purge + embargo)] = False
        if not free.any():
            raise ConfigError(
                f"nothing is left to train on when groups {list(chosen)} are tested",
                where="combinatorial",
                remedy="use fewer groups, a shorter horizon or a shorter embargo",
            )
        yield Split(np.flatnonzero(free), np.flatnonzero(test), chosen)


def paths(groups: int, tested: int) -> IntArray:
    """For each whole history, which split (in the order of `combinatorial`) tests each group.

    Returns:
        split numbers ``[paths, groups]``; every split's every tested group is used exactly once.
    """
    if not 1 <= tested < groups:
        raise ConfigError(f"{tested} of {groups} groups", where="paths", remedy="test fewer than there are")
    holding: list[list[int]] = [[] for _ in range(groups)]
    for number, chosen in enumerate(combinations(range(groups), tested)):
        for group in chosen:
            holding[group].append(number)
    result = np.array(holding, np.int64).T
    assert len(result) == comb(groups - 1, tested - 1)
    return result
