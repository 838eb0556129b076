"""Returns by quantile of a factor, and the long-short spread before and after costs.

1. Each row sorts its members into Q buckets by average rank: bucket = ⌊(rank − ½) / n · Q⌋ (ties share one).
2. Bucket return = equal-weighted mean label; averaged over rows.
3. Spread = top − bottom. Its cost: both legs are rebalanced once a horizon, so row t pays ``cost`` on
   Σ|w[t] − w[t − h]| of the equal-weighted legs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError
from bascule.core.panel import BoolArray
from bascule.evaluate.ic import ICSummary, summarise
from bascule.evaluate.rows import Cells, Float64Array, IntArray, finite, row_ranks


@dataclass(frozen=True, eq=False)
class QuantileReturns:
    """Mean label by quantile bucket, bucket 0 = lowest factor values.

    Attributes:
        mean: average over rows of each bucket's return per horizon ``[Q]``.
        rows: rows that entered.
        monotonicity: Spearman correlation of bucket number and mean return: 1 rises throughout, −1 falls.
        series: bucket returns per row ``[T, Q]``, NaN where a row has too few members.
        spread: summary of top − bottom before cost (``mean`` is a return per horizon, ``ir`` per row).
        spread_net: the same after cost.
        turnover: mean of Σ|Δw| of both legs per rebalance (each leg sums to 1; 4 = all replaced).
        earned: top − bottom of each row before cost ``[T]``, NaN where a row has too few members.
        kept: the same after cost ``[T]``.
    """

    mean: Float64Array
    rows: int
    monotonicity: float
    series: Float64Array
    spread: ICSummary
    spread_net: ICSummary
    turnover: float
    earned: Float64Array
    kept: Float64Array

    def directed(self, sign: int) -> tuple[Float64Array, Float64Array]:
        """``earned`` and ``kept`` of a book that is long the top for +1, long the bottom for −1 ``[T]``."""
        earned = sign * self.earned
        return earned, earned - (self.earned - self.kept)


def quantile_returns(
    factor: Cells,
    label: Cells,
    mask: BoolArray | None = None,
    *,
    horizon: int,
    quantiles: int = 5,
    cost: float = 0.0,
) -> QuantileReturns:
    """Equal-weighted returns of the factor's quantile buckets.

    Args:
        factor: values ``[T, N]``.
        label: raw forward returns over ``horizon`` bars ``[T, N]``.
        mask: universe ``[T, N]``.
        horizon: bars of the label, also the rebalancing interval of the spread.
        quantiles: buckets Q, at least 2; a row needs at least Q members with both values.
        cost: cost of trading one unit of notional, as a fraction (0.001 = 10 basis points).
    """
    if quantiles < 2 or horizon < 1 or not cost >= 0.0:
        raise ConfigError(
            f"quantiles {quantiles}, horizon {horizon}, cost {cost}",
            where="quantile_returns",
            remedy="use at least 2 quantiles, a horizon of at least 1 bar and a cost of at least 0",
        )
    bucket, used = buckets(factor, finite(label, mask), quantiles)
    series = np.full((len(factor), quantiles), np.nan)
    filled = np.where(used, label, 0.0)
    for q in range(quantiles):
        inside = bucket == q
        size = inside.sum(axis=1)
        np.divide(np.where(inside, filled, 0.0).sum(axis=1), size, out=series[:, q], where=size > 0)
    whole = np.isfinite(series).all(axis=1)
    mean = series[whole].mean(axis=0) if whole.any() else np.full(quantiles, np.nan)
    spread = np.where(whole, series[:, -1] - series[:, 0], np.nan)
    traded = _turnover(bucket, quantiles, horizon, whole)
    known = traded[np.isfinite(traded)]
    return QuantileReturns(
        mean=mean,
        rows=int(whole.sum()),
        monotonicity=_monotonicity(mean),
        series=series,
        spread=summarise(spread, horizon),
        spread_net=summarise(spread - cost * traded, horizon),
        turnover=float(known.mean()) if len(known) else math.nan,
        earned=spread,
        kept=spread - cost * traded,
    )


def buckets(factor: Cells, mask: BoolArray, quantiles: int) -> tuple[IntArray, BoolArray]:
    """Bucket number of each cell, −1 where it does not count or its row has fewer than Q cells."""
    ranks = row_ranks(factor, mask)
    used = np.isfinite(ranks)
    count = used.sum(axis=1)[:, None]
    used &= count >= quantiles
    scaled = np.where(used, (ranks - 0.5) / np.maximum(count, 1) * quantiles, -1.0)
    return np.floor(scaled).astype(np.int64), used


def _turnover(bucket: IntArray, quantiles: int, horizon: int, whole: BoolArray) -> Float64Array:
    """Σ|w[t] − w[t − horizon]| of the two outer legs ``[T]``; the first rebalances buy from cash."""
    total = np.zeros(len(bucket))
    for q in (0, quantiles - 1):
        inside = bucket == q
        weight = inside / np.maximum(inside.sum(axis=1), 1)[:, None]
        before = np.zeros_like(weight)
        before[horizon:] = weight[:-horizon] if horizon < len(weight) else 0.0
        total += np.abs(weight - before).sum(axis=1)
    return np.where(whole, total, np.nan)


def _monotonicity(mean: Float64Array) -> float:
    if not np.isfinite(mean).all():
        return math.nan
    ranks = row_ranks(mean[None, :])[0]
    steps = np.arange(1.0, len(mean) + 1.0)
    if np.ptp(ranks) == 0.0:
        return math.nan
    return float(np.corrcoef(ranks, steps)[0, 1])
