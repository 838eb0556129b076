"""Evaluation of more rows than fit into memory: read a piece, compute it, hand it on.

Pieces overlap by the plan's look-back, so every value has the bits that one run over all rows would give it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bascule.core import DataError, ExpressionError, Panel, Progress, silent
from bascule.core.files import atomic_file
from bascule.core.panel import FloatArray
from bascule.engine.execute import evaluate
from bascule.engine.native_run import buffer as aligned
from bascule.engine.plan import Plan

# the rows ``[start, stop)`` of a panel that is somewhere else
Reader = Callable[[int, int], Panel]

# cells of one piece, all factors together: 128 MiB, a small part of which is look-back; touching fresh memory
# costs more than computing, so one buffer serves all pieces
_CELLS = 1 << 25
# cells that are turned into rows at a time before they are written
_TURNED = 1 << 20


def pieces(
    plan: Plan,
    read: Reader,
    rows: int,
    *,
    at_once: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[int, FloatArray]]:
    """Values piece by piece.

    Args:
        plan: with a finite look-back and no look-ahead.
        read: gives rows ``[start, stop)`` of the panel, with the true listing times.
        rows: how many the panel has.
        at_once: rows of a piece; None = about 128 MiB of factors.
        threads: as in `evaluate`.
        progress: told about rows done.

    Yields:
        First row and values ``[F, n, N]`` of each piece, in order. The array is used again for the next one.

    Raises:
        ExpressionError: the plan needs all history, or the future.
        DataError: pieces of no rows are asked for.
    """
    if at_once is not None and at_once < 1:
        raise DataError(f"at_once is {at_once}", where="engine.pieces", remedy="give at least one row")
    if plan.lookback is None or plan.lookahead:
        raise ExpressionError(
            "the plan needs " + ("all history" if plan.lookback is None else "the future"),
            where="engine.pieces",
            remedy="use windows above 0 and shifts into the past, or evaluate all rows at once",
        )
    buffer: FloatArray | None = None
    start = 0
    while start < rows:
        lead = min(start, plan.lookback)
        if at_once is None:
            width = read(start, start + 1).shape[1]
            at_once = max(4 * plan.lookback, _CELLS // max(1, len(plan.nodes) * width), 1)
        stop = min(rows, start + at_once)
        panel = read(start - lead, stop)
        shape = (len(plan.nodes), stop - start, panel.shape[1])
        if buffer is None:
            buffer = aligned(shape).reshape(-1)
        out = buffer[: math.prod(shape)].reshape(shape)  # the last piece is shorter
        yield start, evaluate(plan, panel, rows=stop - start, out=out, threads=threads)
        progress(stop, rows, "factors")
        start = stop


def write_npy(
    path: Path,
    plan: Plan,
    read: Reader,
    rows: int,
    *,
    at_once: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> None:
    """Write the values of a plan to one ``.npy`` file of float32 ``[T, F, N]``, in rows so that it grows.

    The file is there when it is whole. Arguments and errors as in `pieces`.
    """
    if rows < 1:
        raise ExpressionError("there are no rows", where="engine.write_npy", remedy="give at least one")
    width = read(0, 1).shape[1]
    with atomic_file(path) as aside, aside.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, len(plan.nodes), width)}
        np.lib.format.write_array_header_2_0(stream, header)
        work = pieces(plan, read, rows, at_once=at_once, threads=threads, progress=progress)
        some = max(1, _TURNED // max(1, len(plan.nodes) * width))
        turned = np.empty((some, len(plan.nodes), width), np.float32)
        for _, values in work:
            # a few rows at a time: a turned copy of the whole piece would double its memory
            for first in range(0, values.shape[1], some):
                rows_here = values[:, first : first + some].transpose(1, 0, 2)
                turned[: len(rows_here)] = rows_here
                stream.write(turned[: len(rows_here)].data)
