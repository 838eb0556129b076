"""Correlation of two arrays ``[T, N]`` across the instruments of each row: plain, or of ranks."""

from __future__ import annotations

import numpy as np

from bascule.core.panel import BoolArray
from bascule.kernels import cross
from bascule.kernels.moments import ROUNDING
from bascule.kernels.window import AnyFloat, Array


def correlations(x: AnyFloat, y: AnyFloat, members: BoolArray | None, least: int, *, rank: bool) -> Array:
    """Correlation of each row over the cells where both are finite ``[T]``.

    Args:
        x: a factor ``[T, N]``.
        y: a label ``[T, N]``.
        members: which cells count; None = all.
        least: a row with fewer common cells gives NaN; so does one where a side is constant.
        rank: rank both sides first, ties averaged.
    """
    valid = np.isfinite(x) & np.isfinite(y)
    if members is not None:
        valid &= members
    count = valid.sum(axis=1)
    sides = [_centred(cross.rank(side, valid) if rank else side, valid, count) for side in (x, y)]
    squares = [np.einsum("tn,tn->t", side, side) for side, _ in sides]
    varies = [s > (ROUNDING * level) ** 2 * count for s, (_, level) in zip(squares, sides, strict=True)]
    product = np.einsum("tn,tn->t", sides[0][0], sides[1][0])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.clip(product / (np.sqrt(squares[0]) * np.sqrt(squares[1])), -1.0, 1.0)
    return np.where((count >= least) & varies[0] & varies[1], found, np.nan)


def _centred(side: AnyFloat, valid: BoolArray, count: Array) -> tuple[Array, Array]:
    """Values less their row's mean, 0 where they do not count, and that mean."""
    values = np.where(valid, side, 0.0).astype(np.float64)
    mean = values.sum(axis=1) / np.maximum(count, 1)
    return np.where(valid, values - mean[:, None], 0.0), mean
