"""Factors beside each other: how alike they are, and what each adds to a pool.

1. `Sample.of` draws rows evenly (one label length apart or more, so that their labels do not overlap), ranks
   and standardises every factor and the label in each, and puts the mean where a value is missing.
2. `Sample.correlation`: mean cross-sectional rank correlation of each pair; `clusters` joins what is alike
   (average linkage on 1 − |correlation|; scipy).
3. `pool`: the linear combination with the largest rank IC in the rows of the *first* sample (C⁻¹·μ with a
   ridge), its IC measured in the rows of the *second*. Weights know nothing of those.
4. `contributions`: how much its rank IC falls when a factor is left out and the rest is fitted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bascule.core import ConfigError, DataError, Panel, Progress, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.ic import Part, ic_series, summarise
from bascule.evaluate.labels import forward_return
from bascule.evaluate.rows import MIN_BREADTH, Float64Array, IntArray, finite_mean, row_ranks

MAX_ROWS = 2_000


@dataclass(frozen=True, eq=False)
class Sample:
    """Standardised ranks of some rows.

    Attributes:
        factors: ``[F, R, N]``, each row of mean 0 and length 1; 0 where a value is missing.
        label: the same of the forward return ``[R, N]``.
        valid: which factor has values in which row ``[F, R]``.
        known: cells in which at least one factor has a value ``[R, N]``.
        returns: the forward return itself ``[R, N]``, NaN where there is none, or no member.
        stride: rows of the panel between two rows of the sample.
        horizon: bars of the label.
    """

    factors: FloatArray
    label: FloatArray
    valid: BoolArray
    known: BoolArray
    returns: FloatArray
    stride: int
    horizon: int

    @classmethod
    def of(
        cls,
        values: FloatArray,
        panel: Panel,
        horizon: int,
        *,
        max_rows: int = MAX_ROWS,
        progress: Progress = silent,
    ) -> Sample:
        """Draw from factor values ``[F, T, N]``.

        Raises:
            DataError: shapes do not fit.
        """
        if values.ndim != 3 or values.shape[1:] != panel.shape:
            raise DataError(
                f"values {list(values.shape)} do not fit panel {list(panel.shape)}",
                where="Sample.of",
                remedy="pass values [factor, time, instrument] of this panel",
            )
        label = forward_return(panel, horizon)
        usable = max(1, panel.shape[0] - horizon - 1)
        stride = max(horizon, -(-usable // max_rows))
        rows = np.arange(0, usable, stride)
        members = panel.members[rows] & np.isfinite(label[rows])
        factors = np.zeros((len(values), len(rows), panel.shape[1]), np.float32)
        valid = np.zeros((len(values), len(rows)), np.bool_)
        known = np.zeros(members.shape, np.bool_)
        for index, factor in enumerate(values):
            factors[index], valid[index] = _standardised(factor[rows], members)
            known |= np.isfinite(factor[rows]) & members & valid[index][:, None]
            progress(index + 1, len(values), "ranks")
        ranked, there = _standardised(label[rows], members)
        valid &= there[None, :]
        returns = np.where(members, label[rows], np.float32(np.nan))
        return cls(factors, ranked, valid, known, returns, stride, horizon)

    @classmethod
    def joined(cls, samples: Sequence[Sample]) -> Sample:
        """One sample of all factors of several that were drawn from the same rows."""
        first = samples[0]
        return replace(
            first,
            factors=np.concatenate([one.factors for one in samples]),
            valid=np.concatenate([one.valid for one in samples]),
            known=np.logical_or.reduce([one.known for one in samples]),
        )

    def correlation(self) -> Float64Array:
        """Mean rank correlation of each pair over the rows where both have values ``[F, F]``."""
        live = (self.factors * self.valid[:, :, None]).reshape(len(self.factors), -1)
        shared = self.valid.astype(np.float32) @ self.valid.T.astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (live @ live.T).astype(np.float64) / shared
        np.fill_diagonal(found, 1.0)
        return found

    def ic(self, weights: Float64Array, *, rank: bool = True) -> Float64Array:
        """IC with the forward return of a weighted sum of the factors in each row ``[R]``."""
        rows = self.factors.reshape(len(self.factors), -1)
        signal = (weights.astype(np.float32) @ rows).reshape(self.returns.shape)
        return ic_series(signal, self.returns, self.known, rank=rank)

    def part(self, weights: Float64Array) -> Part:
        """What that sum foresees in these rows."""
        # labels of rows a horizon apart do not overlap
        plain, ranked = (summarise(self.ic(weights, rank=rank), 1) for rank in (False, True))
        return Part(plain, ranked, float(self.known.sum() / max(1, np.isfinite(self.returns).sum())))


def _standardised(values: FloatArray, members: BoolArray) -> tuple[FloatArray, BoolArray]:
    ranks = row_ranks(np.ascontiguousarray(values), members)
    known = np.isfinite(ranks)
    count = known.sum(axis=1)
    centred = np.where(known, ranks - ((count + 1) / 2.0)[:, None], 0.0)
    norm = np.sqrt((centred**2).sum(axis=1))
    good = (norm > 0.0) & (count >= MIN_BREADTH)
    scaled = np.where(good[:, None], centred / np.where(good, norm, 1.0)[:, None], 0.0)
    return scaled.astype(np.float32), good


def clusters(correlation: Float64Array, threshold: float = 0.7) -> IntArray:
    """Number of each factor's group, 0 … by first appearance ``[F]``.

    Args:
        correlation: ``[F, F]``.
        threshold: mean |correlation| from which groups are joined, in (0, 1).
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if not 0.0 < threshold < 1.0:
        raise ConfigError(f"a threshold of {threshold}", where="clusters", remedy="use one between 0 and 1")
    if len(correlation) < 2:
        return np.zeros(len(correlation), np.int64)
    # who has nothing in common with anybody is far from all
    distance = np.clip(1.0 - np.abs(np.nan_to_num(correlation)), 0.0, 1.0)
    distance = (distance + distance.T) / 2.0
    np.fill_diagonal(distance, 0.0)
    labels = fcluster(linkage(squareform(distance), "average"), 1.0 - threshold, "distance")
    order: dict[int, int] = {}
    return np.array([order.setdefault(int(label), len(order)) for label in labels], np.int64)


@dataclass(frozen=True, eq=False)
class Pool:
    """A linear combination of factors.

    Attributes:
        weights: one a factor, fitted on the first sample ``[F]``.
        inside: in the rows it was fitted on: never a result, only a warning.
        outside: in the other rows.
    """

    weights: Float64Array
    inside: Part
    outside: Part


def pool(fit: Sample, test: Sample, *, ridge: float = 0.05) -> Pool:
    """Combine factors on one sample, measure on another.

    Args:
        fit: rows to fit weights on.
        test: later rows.
        ridge: added to the diagonal of the mutual correlations, > 0: keeps weights of twins small.
    """
    if not ridge > 0.0 or len(fit.factors) != len(test.factors):
        raise ConfigError(
            f"ridge {ridge}, {len(fit.factors)} and {len(test.factors)} factors",
            where="pool",
            remedy="use a ridge above 0 and the same factors in both samples",
        )
    weights = _weights(*_moments(fit), ridge)
    return Pool(weights, fit.part(weights), test.part(weights))


def _moments(sample: Sample) -> tuple[Float64Array, Float64Array]:
    ics = np.einsum("frn,rn->fr", sample.factors, sample.label)
    count = np.maximum(sample.valid.sum(axis=1), 1)
    return np.nan_to_num(sample.correlation()), ics.sum(axis=1) / count


def _weights(correlation: Float64Array, mean: Float64Array, ridge: float) -> Float64Array:
    solved = np.linalg.solve(correlation + ridge * np.eye(len(mean)), mean)
    return np.asarray(solved / max(float(np.abs(solved).sum()), 1e-300), np.float64)


def contributions(
    fit: Sample, test: Sample, names: Sequence[str], *, ridge: float = 0.05, progress: Progress = silent
) -> dict[str, float]:
    """What the pool's rank IC in the ``test`` rows loses without each factor (negative: better without)."""
    correlation, mean = _moments(fit)
    every = np.arange(len(names))
    # signals are linear in the factors: all rows are projected once for each set of weights
    whole = finite_mean(test.ic(_weights(correlation, mean, ridge)))
    found: dict[str, float] = {}
    for index, name in enumerate(names):
        rest = every[every != index]
        weights = np.zeros(len(names))
        if len(rest):
            weights[rest] = _weights(correlation[np.ix_(rest, rest)], mean[rest], ridge)
            found[name] = whole - finite_mean(test.ic(weights))
        else:
            found[name] = whole
        progress(index + 1, len(names), name)
    return found
