"""A pool's signal on any part: weighted sum of the members, each standardised across the coins of a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bascule import engine
from bascule.core.panel import FloatArray
from bascule.evaluate import ic_series
from bascule.miners.evaluator import Float64Array
from bascule.miners.problem import Part


def standardised(values: FloatArray, where: np.ndarray) -> FloatArray:
    """Mean 0 and deviation 1 in each row over the cells ``where``; 0 for cells without a value."""
    known = where & np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, values, 0.0).astype(np.float64)
    centred = np.where(known, filled - filled.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    result: FloatArray = np.where(
        deviation > 0, centred / np.where(deviation > 0, deviation, 1.0), 0.0
    ).astype(np.float32)
    return result


def combined(
    texts: Sequence[str], weights: Float64Array, part: Part, *, threads: int | None = None
) -> FloatArray:
    """The signal ``[T, N]`` in the part's rows; NaN in the history before, and where no member has a value.

    Args:
        texts: of the members.
        weights: of these.
        part: rows.
        threads: of the engine; None = as many as there are cores.
    """
    members = part.panel.members
    total = np.zeros(part.panel.shape, np.float32)
    known = np.zeros(part.panel.shape, np.bool_)
    plan = engine.compile(list(texts))
    first = max(0, part.first - (plan.lookback if plan.lookback is not None else part.first))
    window = part.panel.rows(first, None)
    values = engine.evaluate(plan, window, rows=window.shape[0] - (part.first - first), threads=threads)
    for weight, one in zip(weights, values, strict=True):
        total[part.first :] += np.float32(weight) * standardised(one, members[part.first :])
        known[part.first :] |= np.isfinite(one)
    return np.where(known & members, total, np.float32(np.nan))


def pool_ic(
    texts: Sequence[str],
    weights: Float64Array,
    part: Part,
    *,
    rank: bool = False,
    threads: int | None = None,
) -> Float64Array:
    """IC of a pool's signal (see `combined`) in the rows of a part; rank IC where ``rank``."""
    if not len(texts):
        return np.full(len(part.label) - part.first, np.nan)
    signal = combined(texts, weights, part, threads=threads)[part.first :]
    label = part.label[part.first :]
    return ic_series(signal, label, np.isfinite(label), rank=rank)
