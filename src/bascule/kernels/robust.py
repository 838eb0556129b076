"""Robust forms of a row's values, for labels and features: outliers keep their place and lose their weight.

All take values ``[T, N]`` and who counts ``[T, N]`` and work within each row, so that no row depends on
another one; who does not count, or has no finite value, gets NaN. The rolling forms of one instrument are
operators of the language (`TrimMean`, `Winsorize`, `TSZScore`).

===================  =========================================================================
`rank_gauss`         normal scores of the ranks (van der Waerden)
`mad_zscore`         distance from the median in 1.4826 median absolute deviations
`winsorize`          values moved into the range between two quantiles of the row
`trimmed_demean`     distance from the trimmed mean of the row
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
from bascule.kernels.window import AnyFloat, Array

_NORMAL = 1.4826  # MAD of a normal distribution → its standard deviation
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
    scale = _NORMAL * cross.quantile(np.abs(away), members, 0.5)
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
