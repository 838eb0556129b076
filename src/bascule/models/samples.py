"""From panels to training samples: one sample is one instrument at one time.

1. `target` turns raw forward returns into what a model learns: each row is compared within itself, over
   members with a label, so that the market's own move and the level of volatility drop out.
2. `choose_rows` thins rows on an absolute time grid: labels of neighbouring rows overlap and teach nearly the
   same. An automatic stride has no common divisor with the bars of a day: every hour stays in the sample.
3. `gather` copies chosen cells into a matrix; `standardise` compares features within each time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import gcd
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Panel
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import MIN_BREADTH, percentiles
from bascule.evaluate.rows import Float64Array, IntArray
from bascule.models.folds import Window

LabelKind = Literal["rank", "gauss", "zscore", "raw"]
FeatureKind = Literal["raw", "rank"]
_UNIT = float(np.sqrt(12.0))


@dataclass(frozen=True, eq=False)
class Samples:
    """Cells of a panel as rows of a matrix, by time, then by instrument.

    Attributes:
        features: float32 ``[n, F]``, columns contiguous.
        target: float32 ``[n]``, NaN where not asked for.
        row: panel row of each sample ``[n]``.
        column: instrument of each sample ``[n]``.
    """

    features: FloatArray
    target: FloatArray
    row: IntArray
    column: IntArray

    def __len__(self) -> int:
        return len(self.row)

    def update(self, digest: Any) -> None:
        """Feed all bytes into a hash."""
        for array in (self.features.T, self.target, self.row, self.column):
            digest.update(np.ascontiguousarray(array).data)


def target(label: FloatArray, members: BoolArray, kind: LabelKind) -> FloatArray:
    """What a model learns, float32 ``[T, N]``; NaN outside members and in rows of fewer than 5 labels.

    ``rank``: percentile within the row, centred and scaled to unit variance (qlib's CSRankNorm);
    ``gauss``: the normal quantile of that percentile;
    ``zscore``: deviation from the row's mean in units of its deviation, cut at ±3; ``raw``: the label.
    """
    used = members & np.isfinite(label)
    used &= used.sum(axis=1)[:, None] >= MIN_BREADTH
    if kind == "rank":
        return ((percentiles(label, used) - 0.5) * _UNIT).astype(np.float32)
    if kind == "gauss":
        from scipy.special import ndtri

        return np.asarray(ndtri(percentiles(label, used)), np.float32)
    values = np.where(used, label, np.nan).astype(np.float64)
    if kind == "zscore":
        count = np.maximum(used.sum(axis=1), 1)[:, None]
        values -= np.where(used, values, 0.0).sum(axis=1)[:, None] / count
        deviation = np.sqrt(np.where(used, values**2, 0.0).sum(axis=1)[:, None] / count)
        values = np.clip(values / np.where(deviation > 0.0, deviation, np.nan), -3.0, 3.0)
    return values.astype(np.float32)


def rows_of(panel: Panel, window: Window) -> IntArray:
    """Row numbers of a half-open time range."""
    first, last = np.searchsorted(panel.time, np.array(window))
    return np.arange(first, last)


def choose_rows(
    panel: Panel, used: BoolArray, rows: IntArray, stride: int | None, max_samples: int
) -> tuple[IntArray, int]:
    """Those of ``rows`` that lie on the stride's absolute time grid, and the stride.

    Args:
        panel: gives the axis.
        used: cells that can be samples ``[T, N]``.
        rows: row numbers, ascending.
        stride: keep every stride-th row; None: the smallest that leaves about ``max_samples`` samples and has
            no common divisor with the bars of a day.
        max_samples: see ``stride``.
    """
    bars_a_day = panel.timeframe.bars_a_day
    if stride is None:
        stride = max(1, -(-int(used[rows].sum()) // max_samples))
        while gcd(stride, bars_a_day) != 1:
            stride += 1
    tick = panel.time[rows].astype(np.int64) // panel.timeframe.delta.astype(np.int64)
    return rows[tick % stride == 0], stride


def gather(values: FloatArray, rows: IntArray, used: BoolArray, aim: FloatArray | None = None) -> Samples:
    """Copy the cells ``used`` of these rows into samples; cells without any feature are left out.

    Args:
        values: ``[F, T, N]``.
        rows: panel rows, ascending.
        used: ``[T, N]``.
        aim: targets ``[T, N]``.
    """
    inside = used[rows]
    some = np.zeros_like(inside)
    for factor in values:
        some |= ~np.isnan(factor[rows])
        if some.all():
            break
    inside &= some
    at, column = np.nonzero(inside)
    features = np.empty((len(values), len(at)), np.float32)
    for f, factor in enumerate(values):
        features[f] = factor[rows][inside]
    wanted = np.full(len(at), np.nan, np.float32) if aim is None else aim[rows][inside]
    return Samples(features.T, wanted, rows[at], column)


def standardise(features: FloatArray, time: NDArray[Any]) -> FloatArray:
    """Percentile of each feature among the samples of the same time, less ½; missing values become 0.

    Args:
        features: ``[n, F]``.
        time: time (or row number) of each sample ``[n]``; samples of one time must stand together.
    """
    if len(time) != len(features):
        raise DataError(
            f"{len(time)} times for {len(features)} samples",
            where="standardise",
            remedy="this model compares instruments within a time: pass the time of every sample",
        )
    if not len(time):
        return features.copy()
    fresh = np.concatenate([[True], time[1:] != time[:-1]])
    group = np.cumsum(fresh) - 1
    place = np.arange(len(time)) - np.flatnonzero(fresh)[group]
    dense = np.full((int(group[-1]) + 1, int(place.max()) + 1), np.nan, np.float32)
    out = np.empty((features.shape[1], len(time)), np.float32)
    for f in range(features.shape[1]):
        dense[group, place] = features[:, f]
        ranked: Float64Array = percentiles(dense)[group, place] - 0.5
        out[f] = np.where(np.isfinite(ranked), ranked, 0.0)
    return out.T


def digest(*parts: Samples) -> str:
    """SHA-256 of samples, in hex."""
    found = hashlib.sha256()
    for part in parts:
        part.update(found)
    return found.hexdigest()
