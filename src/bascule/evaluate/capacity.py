"""How much money a factor's long-short book can carry.

1. The book holds the top and the bottom quantile, equally weighted, rebalanced once a horizon.
2. A trade of |Δw| of the book in an instrument may take at most a share of what is traded there (close ×
   volume) while the position is built: over the next ``horizon`` bars at most, past volume standing for it.
3. Each trade thus bounds the book; capacity is the bound that all but a small share of the traded weight
   respects.
"""

from __future__ import annotations

import math

import numpy as np

from bascule.core import ConfigError, Panel
from bascule.evaluate.quantiles import buckets
from bascule.evaluate.rows import Cells, Float64Array, trailing_sums


def capacity(
    factor: Cells,
    panel: Panel,
    horizon: int,
    *,
    quantiles: int = 5,
    participation: float = 0.01,
    exceeded: float = 0.1,
) -> float:
    """Largest book, in the quote currency, that trades within ``participation`` of the volume.

    Args:
        factor: values ``[T, N]``.
        panel: gives close, volume and members.
        horizon: bars between rebalances.
        quantiles: buckets; the outer two are held.
        participation: largest share of the traded value that one's own trades may be.
        exceeded: share of the traded weight that may go beyond.

    Returns:
        NaN where nothing is traded.
    """
    if horizon < 1 or quantiles < 2 or not 0.0 < participation <= 1.0 or not 0.0 <= exceeded < 1.0:
        raise ConfigError(
            f"horizon {horizon}, quantiles {quantiles}, participation {participation}, exceeded {exceeded}",
            where="capacity",
            remedy="use shares between 0 and 1, a horizon of at least 1 bar and 2 quantiles",
        )
    window = min(horizon, panel.shape[0])
    rows = np.arange(window - 1, panel.shape[0], horizon)
    traded = traded_value(panel, window)[rows]
    bucket, used = buckets(np.ascontiguousarray(factor[rows]), panel.members[rows], quantiles)
    weight = np.zeros(bucket.shape)
    for side, number in ((1.0, quantiles - 1), (-1.0, 0)):
        inside = used & (bucket == number)
        weight += side * inside / np.maximum(inside.sum(axis=1), 1)[:, None]
    change = np.abs(np.diff(weight, axis=0))
    moved = change > 0.0
    if not moved.any():
        return math.nan
    bound = participation * traded[1:][moved] / change[moved]
    order = np.argsort(bound)
    share = np.cumsum(change[moved][order]) / change[moved].sum()
    return float(bound[order][np.searchsorted(share, exceeded)])


def traded_value(panel: Panel, bars: int) -> Float64Array:
    """Close × volume, summed over the last ``bars`` rows (fewer at the start) ``[T, N]``."""
    value = np.nan_to_num(panel["close"].astype(np.float64) * panel["volume"])
    return trailing_sums(value, bars)
