"""Row-wise (cross-sectional) primitives: average ranks, centred rows, and their correlations; and two small
ones over time.

A row is one time; its cells are the instruments. A cell counts where its mask is True and its value finite.
All sums are float64. Ranks of float32 values sort one 64-bit key a cell (ordered value bits ‖ column), which
NumPy sorts with vector instructions; ties are then averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError
from bascule.core.panel import BoolArray

Cells = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_BREADTH = 5
_CHUNK_CELLS = 1 << 18


def finite(values: Cells, mask: BoolArray | None = None) -> BoolArray:
    """Cells that count: finite, and inside ``mask`` where one is given.

    Raises:
        DataError: ``values`` is not ``[T, N]`` floating, or the mask has another shape.
    """
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            f"received {values.dtype}{list(values.shape)}, expected floats [T, N]",
            where="cross-section",
            remedy="pass one factor at a time, with time down and instruments across",
        )
    found: BoolArray = np.isfinite(values)
    if mask is not None:
        if mask.shape != values.shape or mask.dtype != np.bool_:
            raise DataError(
                f"mask is {mask.dtype}{list(mask.shape)}, expected bool{list(values.shape)}",
                where="cross-section",
                remedy="pass a membership of the values' own shape",
            )
        found &= mask
    return found


def row_sums(values: Cells) -> Float64Array:
    """Sum of each row ``[T]`` in float64, pairwise over columns.

    The order of additions depends on the number of columns alone, never on the number of rows, so that a
    window of rows gives the bits of the whole.
    """
    work = values.astype(np.float64)
    width = work.shape[1]
    while width > 1:
        half = width // 2
        work[:, :half] += work[:, half : 2 * half]
        if width % 2:
            work[:, half] = work[:, width - 1]
        width = half + width % 2
    return work[:, 0].copy() if work.shape[1] else np.zeros(len(work))


def trailing_sums(values: Float64Array, bars: int) -> Float64Array:
    """Sum of each row and the ``bars`` − 1 before it, fewer at the start ``[T, …]``. Values hold no NaN."""
    total: Float64Array = np.cumsum(values, axis=0)
    total[bars:] -= total[:-bars].copy()
    return total


def finite_mean(series: Float64Array) -> float:
    """Mean of the finite values, NaN where there is none."""
    good = series[np.isfinite(series)]
    return float(good.mean()) if len(good) else float("nan")


def row_ranks(values: Cells, mask: BoolArray | None = None) -> Float64Array:
    """Average ranks ``1 … n`` of each row's cells that count, NaN elsewhere ``[T, N]``.

    Equal to ``scipy.stats.rankdata(row, "average")`` on those cells.
    """
    counted = finite(values, mask)
    out = np.full(values.shape, np.nan)
    step = max(1, _CHUNK_CELLS // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        cut = slice(start, start + step)
        _rank_block(values[cut], counted[cut], out[cut])
    return out


def percentiles(values: Cells, mask: BoolArray | None = None) -> Float64Array:
    """Mid-point percentile ``(rank − ½) / n`` in (0, 1) of each row's cells that count, NaN elsewhere."""
    ranks = row_ranks(values, mask)
    count = np.isfinite(ranks).sum(axis=1)
    result: Float64Array = (ranks - 0.5) / np.maximum(count, 1)[:, None]
    return result


def _rank_block(values: Cells, counted: BoolArray, out: Float64Array) -> None:
    order, ordered = _sorted(values, counted)
    width = values.shape[1]
    position = np.broadcast_to(np.arange(1.0, width + 1.0), values.shape)
    live = np.arange(width)[None, :] < counted.sum(axis=1)[:, None]
    tie = (ordered[:, 1:] == ordered[:, :-1]) & live[:, 1:]
    tied = np.flatnonzero(tie.any(axis=1))
    ranks = np.where(live, position, np.nan)
    if len(tied):
        ranks[tied] = np.where(live[tied], _average_ties(tie[tied]), np.nan)
    np.put_along_axis(out, order, ranks, axis=1)


def _sorted(values: Cells, counted: BoolArray) -> tuple[IntArray, NDArray[Any]]:
    """Column order and sort keys of each row, cells that do not count last."""
    if values.dtype == np.float32:
        # + 0.0 turns -0.0 into 0.0, so that both tie
        bits = (values + np.float32(0.0)).view(np.uint32)
        negative = bits >> np.uint32(31) != 0
        key = np.where(negative, ~bits, bits | np.uint32(0x80000000))
        key[~counted] = np.uint32(0xFFFFFFFF)
        packed = (key.astype(np.uint64) << np.uint64(32)) | np.arange(values.shape[1], dtype=np.uint64)
        packed.sort(axis=1)
        return (packed & np.uint64(0xFFFFFFFF)).astype(np.int64), packed >> np.uint64(32)
    filled = np.where(counted, values, np.inf)
    order = np.argsort(filled, axis=1, kind="stable")
    return order, np.take_along_axis(filled, order, axis=1)


def _average_ties(tie: BoolArray) -> Float64Array:
    """Ranks by sorted position, averaged over runs; ``tie[:, j]``: position j + 1 equals position j."""
    rows, width = tie.shape[0], tie.shape[1] + 1
    index = np.broadcast_to(np.arange(width), (rows, width))
    edge = np.ones((rows, width), bool)
    edge[:, 1:] = ~tie
    first = np.maximum.accumulate(np.where(edge, index, 0), axis=1)
    edge[:, :-1], edge[:, -1] = ~tie, True
    last = np.minimum.accumulate(np.where(edge, index, width)[:, ::-1], axis=1)[:, ::-1]
    result: Float64Array = (first + last) / 2.0 + 1.0
    return result


@dataclass(frozen=True, eq=False)
class CrossSection:
    """Rows made ready for many correlations.

    Attributes:
        values: the raw cells ``[T, N]``.
        counted: which cells count ``[T, N]``.
        count: how many ``[T]``.
        centred: values, or their ranks, less the row's mean; 0 where a cell does not count ``[T, N]``.
        norm: root of the row's sum of squares ``[T]``.
        rank: True if ``centred`` holds ranks.
    """

    values: Cells
    counted: BoolArray
    count: IntArray
    centred: Float64Array
    norm: Float64Array
    rank: bool

    @classmethod
    def of(cls, values: Cells, mask: BoolArray | None = None, *, rank: bool) -> CrossSection:
        """Centre each row of ``values`` (or of its ranks) over the cells that count."""
        counted = finite(values, mask)
        count = counted.sum(axis=1)
        if rank:
            centred = row_ranks(values, counted)
            centred -= ((count + 1) / 2.0)[:, None]
            centred[~counted] = 0.0
        else:
            centred = np.where(counted, values, 0.0).astype(np.float64)
            centred -= (centred.sum(axis=1) / np.maximum(count, 1))[:, None]
            centred[~counted] = 0.0
            if values.dtype != np.float32:
                # equal float32 values have an exact mean in float64; the rounding of wider ones would leave
                # noise that correlates with anything
                highest = np.where(counted, values, -np.inf).max(axis=1, initial=-np.inf)
                lowest = np.where(counted, values, np.inf).min(axis=1, initial=np.inf)
                centred[highest <= lowest] = 0.0
        norm = np.sqrt(np.einsum("tn,tn->t", centred, centred))
        return cls(values, counted, count, centred, norm, rank)

    def rows(self, index: IntArray | slice) -> CrossSection:
        """These rows alone."""
        return CrossSection(
            self.values[index],
            self.counted[index],
            self.count[index],
            self.centred[index],
            self.norm[index],
            self.rank,
        )

    def correlate(self, other: CrossSection, min_breadth: int = MIN_BREADTH) -> Float64Array:
        """Correlation of each pair of rows over the cells that count in both ``[T]``.

        NaN where fewer than ``min_breadth`` cells count in both or one side does not vary. Rows whose cells
        differ are centred (and ranked) anew on the common cells, so that the result is exact.
        """
        result = self.dot(other, min_breadth)
        differ = np.flatnonzero((self.counted != other.counted).any(axis=1))
        if len(differ):
            common = self.counted[differ] & other.counted[differ]
            left = CrossSection.of(self.values[differ], common, rank=self.rank)
            right = CrossSection.of(other.values[differ], common, rank=other.rank)
            result[differ] = left.dot(right, min_breadth)
        return result

    def dot(self, other: CrossSection, min_breadth: int = MIN_BREADTH) -> Float64Array:
        """Correlation ``[T]`` of rows that are known to count the same cells; elsewhere use `correlate`."""
        product = np.einsum("tn,tn->t", self.centred, other.centred)
        scale = self.norm * other.norm
        good = (self.count >= min_breadth) & (scale > 0.0)
        result = np.full(len(product), np.nan)
        np.divide(product, scale, out=result, where=good)
        return np.clip(result, -1.0, 1.0, out=result)
