"""What could have happened with the same trades: block bootstrap of trade histories.

1. Trades in order of their exits are a series of gains, each a share of the equity.
2. Histories of the same length are put together from random stretches of it (stationary bootstrap, Politis &
   Romano 1994): stretches keep what neighbouring trades share, such as one market's bad week.
3. Each history compounds to a total return and a largest fall. Their quantiles are the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError
from bascule.evaluate.bootstrap import block_length
from bascule.evaluate.rows import Float64Array

LEAST = 10  # trades; fewer say nothing
_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Histories:
    """Resampled histories.

    Attributes:
        trades: in each history.
        block: mean length of a stretch, in trades.
        total: return of each history ``[R]``.
        drawdown: largest fall of each ``[R]``.
        without_best: return of the real history without its best trades (1 %, at least one).
        best: how many trades those are.
    """

    trades: int
    block: float
    total: Float64Array
    drawdown: Float64Array
    without_best: float
    best: int

    @property
    def loss_probability(self) -> float:
        """Share of histories that lose."""
        return float((self.total <= 0.0).mean())

    def quantiles(self) -> dict[str, float]:
        """5th, 50th and 95th percentile of return and fall."""
        levels = (0.05, 0.5, 0.95)
        found = {f"total {q:.0%}": float(np.quantile(self.total, q)) for q in levels}
        return found | {f"drawdown {q:.0%}": float(np.quantile(self.drawdown, q)) for q in levels}


def resample(earned: Float64Array, *, histories: int, block: int | None, seed: int) -> Histories | None:
    """Histories from the gains of trades; None if there are too few trades to say anything.

    Args:
        earned: gain of each trade after costs, share of the equity then, in order of exits ``[K]``.
        histories: how many.
        block: mean stretch in trades; None = by Politis & White (2004) from the data.
        seed: of the draws.

    Raises:
        ConfigError: a gain is not finite or below -1.
    """
    if not np.isfinite(earned).all() or (earned <= -1.0).any():
        raise ConfigError(
            "a trade's gain is not a share of the equity", where="robustness", remedy="check the trades"
        )
    count = len(earned)
    if count < LEAST:
        return None
    length = block_length(earned) if block is None else float(min(block, count))
    rng = np.random.default_rng(seed)
    logs = np.log1p(earned)
    total, fall = np.empty(histories), np.empty(histories)
    step = max(1, _CELLS // count)
    for first in range(0, histories, step):
        many = min(step, histories - first)
        path = np.cumsum(logs[_stretches(rng, many, count, length)], axis=1)
        peak = np.maximum(np.maximum.accumulate(path, axis=1), 0.0)
        total[first : first + many] = np.expm1(path[:, -1])
        fall[first : first + many] = -np.expm1((path - peak).min(axis=1))
    best = max(1, count // 100)
    kept = np.sort(logs)[: count - best]
    return Histories(count, length, total, fall, float(np.expm1(kept.sum())), best)


def _stretches(
    rng: np.random.Generator, many: int, count: int, length: float
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Positions of resampled trades ``[many, count]``: a stretch ends with probability 1/length a trade."""
    anew = rng.random((many, count)) < 1.0 / length
    anew[:, 0] = True
    at = np.where(anew, rng.integers(0, count, (many, count)), 0)
    place = np.arange(count)
    begun = np.maximum.accumulate(np.where(anew, place, 0), axis=1)
    result: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    result = (np.take_along_axis(at, begun, axis=1) + place - begun) % count
    return result
