"""Suggests a causal graph from data: the PC algorithm (Spirtes, Glymour & Scheines 2000; order-independent
form of Colombo & Maathuis 2014) with Fisher's test of partial correlations.

1. Begin with all pairs joined; remove a pair that is independent given some set of neighbours, for sets of
   growing size; remember the set.
2. A triple a – b – c without a – c is a collider a → b ← c if b was not needed to separate a and c.
3. Meek's first three rules orient what is left without new colliders and cycles.

What it gives is a suggestion, never the truth: it believes that nothing is unobserved and everything
linear. Edges that data cannot orient are returned as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError
from bascule.evaluate.rows import Float64Array


@dataclass(frozen=True)
class Suggestion:
    """A partly directed graph.

    Attributes:
        directed: cause → effect.
        undirected: pairs whose direction the data do not tell.
    """

    directed: tuple[tuple[str, str], ...]
    undirected: tuple[tuple[str, str], ...]


def discover(
    data: Mapping[str, NDArray[np.floating[Any]]],
    *,
    significance: float = 0.01,
    most: int = 3,
    later: Sequence[str] = (),
    effective: int | None = None,
) -> Suggestion:
    """Suggest a graph of the variables.

    Args:
        data: equally shaped arrays; cells where all are finite count.
        significance: of the independence tests.
        most: largest separating set.
        later: variables that come after all others in time (returns): arrows never leave them for the others.
        effective: independent observations, if fewer than cells (autocorrelated data).

    Raises:
        DataError: fewer than 30 cells, or a variable does not vary.
    """
    names = tuple(data)
    stacked = np.stack([np.asarray(data[name], np.float64).ravel() for name in names])
    cells = stacked[:, np.isfinite(stacked).all(axis=0)]
    if cells.shape[1] < 30 or (cells.std(axis=1) == 0.0).any():
        raise DataError(
            f"{cells.shape[1]} cells, or a variable that does not vary",
            where="causal.discover",
            remedy="give more data, and leave constants out",
        )
    count = cells.shape[1] if effective is None else min(effective, cells.shape[1])
    joined, apart = _skeleton(np.asarray(np.corrcoef(cells)), count, significance, most)
    arrows = _orient(joined, apart, {names.index(name) for name in later if name in names})
    directed = [(i, j) for i, j in arrows if (j, i) not in arrows]
    loose = [(i, j) for i, j in arrows if (j, i) in arrows and i < j]
    return Suggestion(
        tuple(sorted((names[i], names[j]) for i, j in directed)),
        tuple(sorted((names[i], names[j]) for i, j in loose)),
    )


def _skeleton(
    correlation: Float64Array, count: int, significance: float, most: int
) -> tuple[list[set[int]], dict[frozenset[int], set[int]]]:
    k = len(correlation)
    joined = [set(range(k)) - {i} for i in range(k)]
    apart: dict[frozenset[int], set[int]] = {}
    for size in range(most + 1):
        before = [set(one) for one in joined]  # order-independent: neighbours as they were at this size
        for i, j in permutations(range(k), 2):
            if j not in joined[i]:
                continue
            for given in combinations(sorted(before[i] - {j}), size):
                if _independent(correlation, i, j, given, count, significance):
                    joined[i].discard(j)
                    joined[j].discard(i)
                    apart[frozenset((i, j))] = set(given)
                    break
    return joined, apart


def _independent(
    correlation: Float64Array, i: int, j: int, given: tuple[int, ...], count: int, significance: float
) -> bool:
    from scipy.stats import norm

    index = [i, j, *given]
    inverse = np.linalg.pinv(correlation[np.ix_(index, index)], hermitian=True)
    scale = math.sqrt(abs(inverse[0, 0] * inverse[1, 1]))
    r = float(np.clip(-inverse[0, 1] / scale, -0.9999999, 0.9999999)) if scale > 0.0 else 0.0
    z = math.atanh(r) * math.sqrt(max(count - len(given) - 3, 1))
    return bool(2.0 * norm.sf(abs(z)) > significance)


def _orient(
    joined: list[set[int]], apart: dict[frozenset[int], set[int]], later: set[int]
) -> set[tuple[int, int]]:
    """Arrows (i, j); both (i, j) and (j, i) = not oriented."""
    k = len(joined)
    arrows = {(i, j) for i in range(k) for j in joined[i]}
    arrows -= {(i, j) for i, j in arrows if i in later and j not in later}
    for b in range(k):
        for a, c in combinations(sorted(joined[b]), 2):
            if c not in joined[a] and b not in apart.get(frozenset((a, c)), {b}):
                for outer in (a, c):
                    if (outer, b) in arrows:
                        arrows.discard((b, outer))
    changed = True
    while changed:
        changed = False
        for i, j in sorted(arrows):
            if (j, i) not in arrows:
                continue
            into = {a for a in range(k) if (a, i) in arrows and (i, a) not in arrows}
            out = {b for b in range(k) if (i, b) in arrows and (b, i) not in arrows}
            loose = {b for b in range(k) if (i, b) in arrows and (b, i) in arrows}
            first = any(a not in joined[j] and a != j for a in into)
            second = any((b, j) in arrows and (j, b) not in arrows for b in out)
            enter = [b for b in loose if (b, j) in arrows and (j, b) not in arrows]
            third = any(d not in joined[c] for c, d in combinations(enter, 2))
            if first or second or third:
                arrows.discard((j, i))
                changed = True
    return arrows
