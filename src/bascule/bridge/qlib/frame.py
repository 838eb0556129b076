"""The data frame of a request, made once and in one block: columns in memory, rows by instrument and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.qlib.evaluation import Computed
from bascule.core.panel import BoolArray

if TYPE_CHECKING:
    import pandas as pd


def frame(
    columns: Sequence[Computed], labels: Sequence[str], names: Sequence[str], time: pd.DatetimeIndex,
    allowed: BoolArray | None,
) -> pd.DataFrame:  # fmt: skip
    """What ``D.features`` returns.

    Args:
        columns: in order, over ``T`` rows and ``N`` names.
        labels: their names.
        names: the instruments ``[N]``, sorted.
        time: the rows ``[T]``.
        allowed: rows of each instrument's spans ``[T, N]``, None = all.

    Returns:
        float32, index (instrument, datetime): a row is there where any column has one and it is allowed.
    """
    import pandas as pd

    present = _union(columns)
    kept = present if allowed is None else present & allowed
    order = np.ascontiguousarray(kept.T)
    full = bool(order.all())
    block = np.empty((len(columns), int(np.count_nonzero(order))), np.float32)
    for row, column in zip(block, columns, strict=True):
        values = column.values
        if column.present is not present:
            values = np.where(column.present, values, np.float32(np.nan))
        if full:
            row.reshape(order.shape)[...] = values.T
        else:
            row[...] = np.ascontiguousarray(values.T)[order]
    return pd.DataFrame(block.T, index=_index(order, names, time), columns=list(labels), copy=False)


def _union(columns: Sequence[Computed]) -> BoolArray:
    """Where any column has a row; the array of the columns itself where they share it."""
    arrays = {id(column.present): column.present for column in columns}
    first, *others = arrays.values()
    for other in others:
        if not np.array_equal(first, other):
            first = first | other
    return first


def _index(order: BoolArray, names: Sequence[str], time: pd.DatetimeIndex) -> pd.MultiIndex:
    """The rows of ``order`` ``[N, T]``; levels hold only what occurs, as qlib's do."""
    import pandas as pd

    some_names, some_times = np.any(order, axis=1), np.any(order, axis=0)
    if order.all():
        left = np.repeat(np.arange(len(order), dtype=np.int32), order.shape[1])
        right = np.tile(np.arange(order.shape[1], dtype=np.int32), len(order))
    else:
        left, right = (codes.astype(np.int32) for codes in np.nonzero(order[some_names][:, some_times]))
    levels: list[Any] = [pd.Index(np.array(names, object)[some_names], dtype=object), time[some_times]]
    codes: list[Any] = [left, right]
    return pd.MultiIndex(levels, codes, names=["instrument", "datetime"], verify_integrity=False)
