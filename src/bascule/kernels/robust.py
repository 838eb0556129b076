"""Robust forms of a row's values, for labels and features: outliers keep their place and lose their weight.

All take values ``[T, N]`` and who counts ``[T, N]`` and work within each row, so that no row depends on
another one; who does not count, or has no finite value, gets NaN. In the language they are `CSRankGauss`,
`CSMadZ`, `CSWinsorize`, `CSTrimDemean` and `CSGroupZScore`; the rolling forms of one instrument are
`TrimMean`, `Winsorize`, `TSMadZ`, `TSZScore`.

===================  =========================================================================
`rank_gauss`         normal scores of the ranks (van der Waerden)
`mad_zscore`         distance from the median in 1.4826 median absolute deviations
`winsorize`          values moved into the range between two quantiles of the row
`trimmed_demean`     distance from the trimmed mean of the row
`group_zscore`       standard score within the groups of a row that another value makes
`within`             any of these (or of `cross`) within each group, such as a liquidity tier
===================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError
from bascule.core.panel import BoolArray
from bascule.kernels import cross
from bascule.kernels.order import NORMAL_MAD
from bascule.kernels.window import AnyFloat, Array

Transform = Callable[[AnyFloat, BoolArray], Array]


def rank_gauss(x: AnyFloat, members: BoolArray) -> Array:
    """Φ⁻¹((rank - ½) / n), ties averaged: normal whatever the distribution of ``x`` ``[T, N]``.

    Source: normal scores (van der Waerden 1952) of mid-point ranks.
    """
    from scipy.special import ndtri

    valid = members & np.isfinite(x)
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    scores: Array = ndtri(cross.rank(x, members) - 0.5 / count)
    return scores


def mad_zscore(x: AnyFloat, members: BoolArray, limit: float | None = None) -> Array:
    """(x - median) / (1.4826 · MAD) of the row, clipped to ± ``limit``; NaN where the MAD is 0 ``[T, N]``.

    The MAD is 0 where more than half of the row has one value: then there is no scale to be told.

    Source: Hampel 1974, "The influence curve and its role in robust estimation", JASA 69.
    """
    away = x - cross.quantile(x, members, 0.5)
    scale = NORMAL_MAD * cross.quantile(np.abs(away), members, 0.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(scale > 0, away / scale, np.nan)
    return score if limit is None else np.clip(score, -limit, limit)


def winsorize(x: AnyFloat, members: BoolArray, q: float) -> Array:
    """Values moved into the range between the q- and the (1 - q)-quantile of the row ``[T, N]``.

    Raises:
        DataError: q is not in [0, 0.5).
    """
    _must_trim(q)
    valid = members & np.isfinite(x)
    moved = np.clip(
        np.where(valid, x, np.nan), cross.quantile(x, members, q), cross.quantile(x, members, 1.0 - q)
    )
    return np.asarray(moved, np.float64)


def trimmed_demean(x: AnyFloat, members: BoolArray, q: float) -> Array:
    """x minus the row's mean without its floor(q · n) smallest and as many largest values ``[T, N]``.

    Raises:
        DataError: q is not in [0, 0.5).
    """
    _must_trim(q)
    valid = members & np.isfinite(x)
    ordered = np.sort(np.where(valid, x, np.nan).astype(np.float64), axis=1)  # NaN last
    count = valid.sum(axis=1, keepdims=True)
    dropped = np.floor(q * count)
    place = np.arange(x.shape[1])
    kept = (place >= dropped) & (place < count - dropped)
    total = np.where(kept, ordered, 0.0).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, x - total / (count - 2 * dropped), np.nan)


def group_zscore(x: AnyFloat, groups: AnyFloat, members: BoolArray) -> Array:
    """(x - mean) / standard deviation (ddof 1) of those with an equal value in ``groups`` ``[T, N]``.

    Any number of groups costs the same. NaN where the group is 0 or missing, has fewer than two, or is of
    equal values.

    Args:
        x: values ``[T, N]``.
        groups: label of each cell ``[T, N]``.
        members: who counts ``[T, N]``.
    """
    found = np.full(x.shape, np.nan)
    valid = members & np.isfinite(x) & np.isfinite(groups) & (groups != 0)
    row, column = np.nonzero(valid)
    if not len(row):
        return found
    # grouped within rows; stable, so that a group's values are added in the order of the instruments
    order = np.lexsort((groups[valid], row))
    row, column = row[order], column[order]
    label, values = groups[row, column], x[row, column].astype(np.float64)
    fresh = np.ones(len(row), np.bool_)
    fresh[1:] = (row[1:] != row[:-1]) | (label[1:] != label[:-1])
    starts, group = np.flatnonzero(fresh), np.cumsum(fresh) - 1
    count = np.bincount(group)
    centred = values - (np.bincount(group, values) / count)[group]
    deviation = np.sqrt(np.bincount(group, centred * centred) / np.maximum(count - 1, 1))
    # the rounding of the mean must not make a deviation out of equal values
    spread = np.maximum.reduceat(values, starts) > np.minimum.reduceat(values, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        found[row, column] = np.where(spread[group], centred / deviation[group], np.nan)
    return found


def within(
    transform: Transform, x: AnyFloat, groups: NDArray[np.integer[Any]], members: BoolArray, least: int = 2
) -> Array:
    """``transform`` within each group of each row: per-tier standardisation ``[T, N]``.

    Args:
        transform: of this module or of `cross`, e.g. `cross.zscore`.
        x: values ``[T, N]``.
        groups: label of each cell ``[T, N]``; 0 is no group (`data.universe.tiers`).
        members: who counts ``[T, N]``.
        least: smallest group of a row that is transformed; members of smaller ones get NaN.

    Raises:
        DataError: the groups are not of the shape of ``x``.
    """
    if groups.shape != x.shape:
        raise DataError(
            f"groups have shape {list(groups.shape)}, values {list(x.shape)}",
            where="within",
            remedy="give a label for each cell",
        )
    out = np.full(x.shape, np.nan)
    finite = members & np.isfinite(x)
    for label in np.unique(groups):
        mine = finite & (groups == label)
        mine &= mine.sum(axis=1, keepdims=True) >= least
        if label and mine.any():
            out[mine] = transform(x, mine)[mine]
    return out


def _must_trim(q: float) -> None:
    if not 0 <= q < 0.5:
        raise DataError(f"received q = {q}", where="robust", remedy="give a share from 0 to below 0.5")
