"""Statistics over the instruments of one row. Every function takes who counts as a boolean ``[T, N]``."""

from __future__ import annotations

import numpy as np

from bascule.core.panel import BoolArray
from bascule.kernels.order import interpolated
from bascule.kernels.window import AnyFloat, Array


def _taken(x: AnyFloat, members: BoolArray) -> tuple[Array, BoolArray]:
    valid = members & np.isfinite(x)
    return np.where(valid, x, 0.0).astype(np.float64), valid


def _mean(values: Array, count: Array) -> Array:
    return np.asarray(values.sum(axis=1, keepdims=True) / np.maximum(count, 1))


def _count(valid: BoolArray) -> Array:
    return np.asarray(valid.sum(axis=1, keepdims=True), np.float64)


def rank(x: AnyFloat, members: BoolArray) -> Array:
    """Rank as a fraction in (0, 1], ties averaged; NaN for who does not count ``[T, N]``."""
    values, valid = _taken(x, members)
    values[~valid] = np.inf
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.broadcast_to(np.arange(x.shape[1]), x.shape)
    fresh = np.ones(x.shape, np.bool_)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)
    closing = np.ones(x.shape, np.bool_)
    closing[:, :-1] = fresh[:, 1:]
    backwards = np.where(closing, place, x.shape[1])[:, ::-1]
    last = np.minimum.accumulate(backwards, axis=1)[:, ::-1]
    found = np.empty(x.shape)
    np.put_along_axis(found, order, (first + last) / 2.0 + 1.0, axis=1)
    return np.where(valid, found / np.maximum(_count(valid), 1), np.nan)


def demean(x: AnyFloat, members: BoolArray) -> Array:
    """x minus the mean of the row ``[T, N]``."""
    values, valid = _taken(x, members)
    return np.where(valid, values - _mean(values, _count(valid)), np.nan)


def zscore(x: AnyFloat, members: BoolArray) -> Array:
    """x minus the mean over the standard deviation (ddof 1) of the row; NaN where all are equal."""
    values, valid = _taken(x, members)
    count = _count(valid)
    centred = np.where(valid, values - _mean(values, count), 0.0)
    # the rounding of the mean must not make a deviation out of equal values
    spread = np.where(valid, values, -np.inf).max(axis=1) > np.where(valid, values, np.inf).min(axis=1)
    squares = np.square(centred).sum(axis=1, keepdims=True)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid & spread[:, None], centred / deviation, np.nan)


def quantile(x: AnyFloat, members: BoolArray, q: float) -> Array:
    """The q-quantile of the row, linearly interpolated, for each that counts ``[T, N]``."""
    values, valid = _taken(x, members)
    ordered = np.sort(np.where(valid, values, np.nan), axis=1)
    found = interpolated(ordered, _count(valid)[:, 0], q)
    return np.where(valid, found[:, None], np.nan)


def neutralize(x: AnyFloat, by: AnyFloat, members: BoolArray) -> Array:
    """Residual of the least-squares line of x in ``by`` over the row; a constant ``by`` only demeans."""
    valid = members & np.isfinite(x) & np.isfinite(by)
    count = _count(valid)
    centred_x = np.where(valid, x, 0.0).astype(np.float64)
    centred_by = np.where(valid, by, 0.0).astype(np.float64)
    level = _mean(centred_by, count)
    centred_x = np.where(valid, centred_x - _mean(centred_x, count), 0.0)
    centred_by = np.where(valid, centred_by - level, 0.0)
    squares = np.square(centred_by).sum(axis=1, keepdims=True)
    product = (centred_x * centred_by).sum(axis=1, keepdims=True)
    constant = squares <= np.square(1e-12 * level) * np.maximum(count, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(constant, 0.0, product / squares)
    return np.where(valid, centred_x - slope * centred_by, np.nan)
