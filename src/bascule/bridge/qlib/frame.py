"""The data frame of a request, made once and in one block: columns in memory, rows by instrument and time.

Memory for all rows that may come is set aside at the start (the system provides it when it is written to), so
that the values of some instruments after others go to where they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.qlib.evaluation import Computed
from bascule.core.panel import BoolArray

if TYPE_CHECKING:
    import pandas as pd

# above this share of rows that did not come, the rest is copied and the memory given back
_WASTE = 0.1


class Frame:
    """What ``D.features`` returns, while it grows: float32, index (instrument, datetime)."""

    def __init__(self, labels: Sequence[str], time: pd.DatetimeIndex, most: int) -> None:
        """An empty frame.

        Args:
            labels: the columns.
            time: the rows ``[T]`` of each instrument.
            most: no more rows than these will come in all.
        """
        self._labels = list(labels)
        self._time = time
        self._block = np.empty((len(labels), most), np.float32)
        self._rows = 0
        self._names: list[str] = []
        self._present: list[BoolArray] = []

    def add(self, names: Sequence[str], columns: Sequence[Computed], allowed: BoolArray | None) -> None:
        """Append instruments.

        Args:
            names: the instruments ``[N]``, sorted, all after those before.
            columns: as the labels, over ``T`` rows and ``N`` names.
            allowed: rows of each instrument's spans ``[T, N]``, None = all.
        """
        present = _union(columns)
        kept = present if allowed is None else present & allowed
        order = np.ascontiguousarray(kept.T)
        full = bool(order.all())
        rows = slice(self._rows, self._rows + int(np.count_nonzero(order)))
        for row, column in zip(self._block[:, rows], columns, strict=True):
            values = column.values
            if column.present is not present:
                values = np.where(column.present, values, np.float32(np.nan))
            if full:
                row.reshape(order.shape)[...] = values.T
            else:
                row[...] = np.ascontiguousarray(values.T)[order]
        self._rows = rows.stop
        some = np.any(order, axis=1)
        self._names += [name for name, there in zip(names, some.tolist(), strict=True) if there]
        self._present.append(order[some])

    def finish(self) -> pd.DataFrame:
        """The frame; its levels hold only what occurs, as qlib's do."""
        import pandas as pd

        block = self._block[:, : self._rows]
        if self._rows < (1 - _WASTE) * self._block.shape[1]:
            block = block.copy()
        order = np.concatenate(self._present)
        times = np.any(order, axis=0)
        left: Any
        right: Any
        if order.all():
            left = np.repeat(np.arange(len(order), dtype=np.int32), order.shape[1])
            right = np.tile(np.arange(order.shape[1], dtype=np.int32), len(order))
        else:
            left, right = (codes.astype(np.int32) for codes in np.nonzero(order[:, times]))
        levels: list[Any] = [pd.Index(self._names, dtype=object), self._time[times]]
        index = pd.MultiIndex(levels, [left, right], names=["instrument", "datetime"], verify_integrity=False)
        return pd.DataFrame(block.T, index=index, columns=self._labels, copy=False)


def _union(columns: Sequence[Computed]) -> BoolArray:
    """Where any column has a row; the array of the columns itself where they share it."""
    arrays = {id(column.present): column.present for column in columns}
    first, *others = arrays.values()
    for other in others:
        if not np.array_equal(first, other):
            first = first | other
    return first
