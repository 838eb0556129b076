"""Probability of backtest overfitting, by combinatorially symmetric cross-validation.

1. The rows of a table of returns (or ICs), one column a strategy, are cut into S blocks.
2. For each choice of S/2 blocks as training part the strategy with the best Sharpe ratio there is picked.
3. Its relative rank among all strategies in the other half gives a logit; PBO is the share of choices in
   which the picked one ends up below the median (logit ≤ 0): Bailey, Borwein, López de Prado & Zhu 2017,
   "The Probability of Backtest Overfitting".

Sums and squares of blocks are computed once; each choice is a product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bascule.core import ConfigError
from bascule.evaluate.rows import Float64Array, row_ranks


@dataclass(frozen=True, eq=False)
class Overfitting:
    """Outcome of `overfitting`.

    Attributes:
        probability: share of splits in which the best of the training half is below the median of the other.
        logits: of the relative rank, one for each split in which one was picked and varies in both halves.
        inside: Sharpe ratio of the picked one in its training half, one for each split.
        outside: the same in the other half.
    """

    probability: float
    logits: Float64Array
    inside: Float64Array
    outside: Float64Array

    @property
    def loss(self) -> float:
        """Share of splits in which the picked one loses in the other half."""
        return float((self.outside < 0.0).mean())


def overfitting(performance: Float64Array, blocks: int = 16) -> Overfitting:
    """How likely it is that the best of these strategies was picked for its luck.

    Args:
        performance: returns or ICs ``[T, S]``, S ≥ 2 strategies, higher is better; NaN counts as no
            observation.
        blocks: even, 4 to 20, at most T / 2.
    """
    rows, width = performance.shape
    if blocks % 2 or not 4 <= blocks <= 20 or rows < 2 * blocks or width < 2:
        raise ConfigError(
            f"{blocks} blocks of {rows} rows and {width} strategies",
            where="overfitting",
            remedy="use an even number of blocks from 4 to 20, two rows a block, two strategies",
        )
    edges = np.linspace(0, rows, blocks + 1).round().astype(int)[:-1]
    known = np.isfinite(performance)
    filled = np.where(known, performance, 0.0)
    count, total, square = (np.add.reduceat(x, edges, axis=0) for x in (known * 1.0, filled, filled**2))
    half = np.array(list(combinations(range(blocks), blocks // 2)))
    logits, inside, outside = (np.empty(len(half)) for _ in range(3))
    step = max(1, 2_000_000 // width)
    for start in range(0, len(half), step):
        cut = slice(start, min(start + step, len(half)))
        chosen = np.zeros((cut.stop - start, blocks))
        np.put_along_axis(chosen, half[cut], 1.0, axis=1)
        train = _sharpe(chosen @ count, chosen @ total, chosen @ square)
        test = _sharpe((1 - chosen) @ count, (1 - chosen) @ total, (1 - chosen) @ square)
        best = np.argmax(np.where(np.isfinite(train), train, -np.inf), axis=1)
        each = np.arange(len(best))
        rank = row_ranks(test)[each, best] / (np.isfinite(test).sum(axis=1) + 1.0)
        logits[cut] = np.log(rank / (1.0 - rank))
        inside[cut], outside[cut] = train[each, best], test[each, best]
    # nobody was picked where no strategy varies in the training half
    good = np.isfinite(logits) & np.isfinite(inside)
    if not good.any():
        raise ConfigError("no strategy varies", where="overfitting", remedy="pass returns that vary")
    return Overfitting(float((logits[good] <= 0.0).mean()), logits[good], inside[good], outside[good])


def _sharpe(count: Float64Array, total: Float64Array, square: Float64Array) -> Float64Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = (square - count * mean**2) / (count - 1.0)
        result: Float64Array = mean / np.sqrt(np.where(variance > 1e-20 * (square / count), variance, np.nan))
    return result
