"""Plain qlib ``.bin`` folders, whoever wrote them: which calendar rows a file has, and panels of them.

A file holds little-endian float32: the calendar row of its first value, then one value a row. Files of one
instrument may cover different rows, and a file may be absent. Our own providers, which know all this from
their manifest, are read by `provider.Provider`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bascule.core import StoreError
from bascule.core.panel import FloatArray

Rows = NDArray[np.int64]
_REMEDY = "write the file again: float32, first the calendar row of the first value, then the values"


def extents(paths: Sequence[Path | str]) -> Rows:
    """The calendar rows that files have values for.

    Args:
        paths: one file each; a file that does not exist has no rows.

    Returns:
        first and past-the-last row ``[len(paths), 2]``, ``(0, 0)`` where there is none.

    Raises:
        StoreError: a file is empty or its first number is not a row.
    """
    found = np.zeros((len(paths), 2), np.int64)
    for index, path in enumerate(paths):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot be read ({error.strerror})", where=str(path), remedy=_REMEDY) from error
        try:
            head = os.pread(handle, 4, 0)
            values = os.fstat(handle).st_size // 4 - 1
        finally:
            os.close(handle)
        start = float(np.frombuffer(head, "<f4")[0]) if len(head) == 4 else -1.0
        if not (start >= 0 and start.is_integer()):
            raise StoreError("the file does not begin with a row", where=str(path), remedy=_REMEDY)
        if values:
            found[index] = int(start), int(start) + values
    return found


def read(paths: Sequence[Path | str], rows: Rows, low: int, high: int) -> FloatArray:
    """The values of files in the calendar rows ``[low, high)``.

    Args:
        paths: one file each.
        rows: what `extents` gave for them.
        low: first row wanted.
        high: past the last row wanted.

    Returns:
        float32 ``[high - low, len(paths)]``, C-contiguous, NaN where a file has no row.

    Raises:
        StoreError: a file has become shorter.
    """
    found = np.full((len(paths), max(0, high - low)), np.nan, "<f4")
    for index, (path, (start, stop)) in enumerate(zip(paths, rows.tolist(), strict=True)):
        first, last = max(low, start), min(high, stop)
        if first >= last:
            continue
        place = found[index, first - low : last - low]
        # straight into place: mapping thousands of small files costs more than copying them
        handle = os.open(path, os.O_RDONLY)
        try:
            done = os.preadv(handle, [place.data], 4 * (first - start) + 4)
        finally:
            os.close(handle)
        if done != place.nbytes:
            raise StoreError("the file has become shorter", where=str(path), remedy="ask again")
    return np.ascontiguousarray(found.T, np.float32)
