"""Cross-sectional steps on ``[T, N]`` rows: robust scores, weighted centring, taking factors out of others.

Sums run over a whole row at once; no step looks at another row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array

_NORMAL = 1.4826  # MAD of a normal distribution → its standard deviation
_MEAN_DEVIATION = 1.2533  # mean absolute deviation → standard deviation, likewise


def medians(values: Float64Array, counted: BoolArray) -> Float64Array:
    """Median of each row's cells that count ``[T]``; NaN for a row without any."""
    ordered = np.sort(np.where(counted, values, np.inf), axis=1)
    count = counted.sum(axis=1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, max(values.shape[1] - 1, 0))
    rows = np.arange(len(values))
    middle = 0.5 * (ordered[rows, low] + ordered[rows, high])
    result: Float64Array = np.where(count > 0, middle, np.nan)
    return result


def robust_scores(values: Float64Array, counted: BoolArray, winsor: float, min_count: int) -> Float64Array:
    """(x − median) / robust deviation, pulled in to ±``winsor``; NaN where a row does not vary ``[T, N]``.

    The deviation is 1.4826·MAD; where more than half of a row is equal (funding at its base rate) the mean
    absolute deviation in its place.
    """
    centre = medians(values, counted)
    apart = np.where(counted, np.abs(values - centre[:, None]), 0.0)
    count = np.maximum(counted.sum(axis=1), 1)
    spread = _NORMAL * medians(apart, counted)
    mean = _MEAN_DEVIATION * apart.sum(axis=1) / count
    # rounding of equal values is no spread
    floor = 1e-7 * np.abs(centre) + 1e-300
    scale = np.where(spread > floor, spread, mean)
    good = (scale > floor) & (counted.sum(axis=1) >= min_count)
    score = (values - centre[:, None]) / np.where(good, scale, 1.0)[:, None]
    result: Float64Array = np.where(counted & good[:, None], np.clip(score, -winsor, winsor), np.nan)
    return result


def standardise(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Weighted mean 0 and plain deviation 1 over each row's finite cells ``[T, N]``.

    NaN for rows that do not vary. The weighted mean makes a portfolio held in these weights neutral (Barra).
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    share = np.where(known, weights, 0.0)
    total = share.sum(axis=1)
    mean = (filled * share).sum(axis=1) / np.where(total > 0.0, total, 1.0)
    count = np.maximum(known.sum(axis=1), 1)
    plain = filled.sum(axis=1) / count
    deviation = np.sqrt((np.where(known, values - plain[:, None], 0.0) ** 2).sum(axis=1) / count)
    good = (deviation > 1e-9) & (total > 0.0)
    scaled = (values - mean[:, None]) / np.where(good, deviation, 1.0)[:, None]
    result: Float64Array = np.where(known & good[:, None], scaled, np.nan)
    return result


def take_out(values: Float64Array, others: Sequence[Float64Array], weights: Float64Array) -> Float64Array:
    """Residual of a weighted regression of each row on a constant and ``others`` ``[T, N]``.

    Cells that lack one of the others count as average in it (0): scores are centred already.
    """
    known = np.isfinite(values)
    columns = np.stack([np.ones_like(values), *(np.nan_to_num(other, nan=0.0) for other in others)], axis=1)
    share = np.where(known, weights, 0.0)
    target = np.where(known, values, 0.0)
    weighted = columns * share[:, None, :]
    gram = weighted @ columns.transpose(0, 2, 1)
    right = (weighted * target[:, None, :]).sum(axis=2)
    # a ridge far below rounding of the result keeps rows in which an other does not vary solvable
    scale = np.maximum(np.trace(gram, axis1=1, axis2=2), 1e-300)
    gram += (1e-12 * scale)[:, None, None] * np.eye(gram.shape[1])
    slopes = np.linalg.solve(gram, right[:, :, None])
    fitted = (columns * slopes).sum(axis=1)
    result: Float64Array = np.where(known, values - fitted, np.nan)
    return result
