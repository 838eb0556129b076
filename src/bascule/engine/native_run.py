"""One run of the native core over a panel: what it reads, where it writes, how the work is shared.

The core takes a program (`native_program`), the panel's fields as they lie in memory, and addresses for the
outputs. It cuts rows into tiles and instruments into blocks of 16 and shares blocks and ranges of rows among
threads. None of that changes a bit of any value.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import Panel
from bascule.engine.ages import ages, first_rows
from bascule.engine.native_program import Program
from bascule.expr import Field, Node
from bascule.kernels.native import LANES, Correlation, Input, Output, Run, SlotShape, library
from bascule.kernels.window import Ages, Cells

# rows of a tile: long enough that restarting windows is cheap, short enough for the cache
TILE_ROWS = 128
_HUGE_PAGE = 2 << 20
# bytes of factors that a thread holds at a time while it correlates them
_HELD = 8 << 20

# -- memory ----------------------------------------------------------------------------------------


def buffer(shape: Sequence[int], dtype: type[np.generic] = np.float32) -> Cells:
    """An array on huge pages where the system has them, aligned to 64 bytes; contents undefined.

    First touch of ordinary pages costs more than computing what is written to them.
    """
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    memory: Any
    if size < _HUGE_PAGE:
        memory = np.empty(size + 64, np.uint8)
    else:
        memory = mmap.mmap(-1, (size // _HUGE_PAGE + 2) * _HUGE_PAGE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
    start = -np.frombuffer(memory, np.uint8, 1).ctypes.data % 64
    return np.frombuffer(memory, dtype, count, start).reshape(shape)


def padded(width: int) -> int:
    """Instruments rounded up to whole blocks."""
    return -(-width // LANES) * LANES


# -- what is read ----------------------------------------------------------------------------------


class Source:
    """A panel as the core sees it: arrays, where each instrument begins, which bar row 0 is."""

    def __init__(self, panel: Panel) -> None:
        """Wrap a panel; nothing is copied but fields that are not laid out row by row."""
        self.panel = panel
        self.rows, self.width = panel.shape
        self.starts = first_rows(panel)
        start = int(panel.time[0].astype(np.int64)) if self.rows else 0
        self.origin = start // panel.timeframe.nanoseconds

    def ages(self, start: int, stop: int) -> Ages:
        """Bars since each instrument's first one ``[rows, N]``."""
        return ages(self.starts, start, stop)


def _rows_of(array: Cells) -> Cells:
    """The array, laid out so that a row is contiguous."""
    return array if array.strides[1] == array.itemsize else np.ascontiguousarray(array)


@dataclass(frozen=True)
class Target:
    """Where outputs go.

    Attributes:
        addresses: of each output's first row in the first block.
        row: elements between rows.
        block: elements between blocks of 16 instruments.
    """

    addresses: NDArray[np.int64]
    row: int
    block: int

    @classmethod
    def table(cls, values: Cells) -> Target:
        """Outputs ``[F, rows, N]``, N a multiple of 16 or the run ending before the last part of a block."""
        step = values.strides[0]
        addresses = values.ctypes.data + np.arange(len(values), dtype=np.int64) * step
        return cls(addresses, values.strides[1] // values.itemsize, LANES)

    @classmethod
    def lanes(cls, values: Cells) -> Target:
        """Outputs by blocks ``[F, blocks, rows, 16]``, C-contiguous."""
        addresses = values.ctypes.data + np.arange(len(values), dtype=np.int64) * values.strides[0]
        return cls(addresses, LANES, values.strides[1] // values.itemsize)

    @classmethod
    def columns(cls, arrays: Sequence[Cells]) -> Target:
        """One array ``[rows, N]`` for each output, all of one shape, N a multiple of 16."""
        addresses = np.array([array.ctypes.data for array in arrays], np.int64)
        return cls(addresses, arrays[0].shape[1], LANES)


@dataclass(frozen=True)
class Job:
    """A program over rows of a panel.

    Attributes:
        code: the program.
        source: the panel.
        columns: stored nodes it reads, whose row 0 is the panel's row ``offset``.
        offset: panel row where reading begins; at least `Program.history` rows before the first, or 0.
        rows: panel rows to compute.
        threads: at most so many.
    """

    code: Program
    source: Source
    columns: Mapping[Node, Cells]
    offset: int
    rows: tuple[int, int]
    threads: int = 1

    def request(self, target: Target, *, blocks: tuple[int, int] | None, stream: bool) -> tuple[Run, object]:
        """What the core is asked, and what must live until it has answered."""
        code, source = self.code, self.source
        held = [self._input(node) for node in code.inputs]
        starts = np.ascontiguousarray(source.starts - self.offset)
        first, last = self.rows[0] - self.offset, self.rows[1] - self.offset
        block = blocks or (0, padded(source.width) // LANES)
        outputs = np.stack([target.addresses, np.array(code.wide, np.int64)], axis=1)
        inputs = (Input * len(held))(
            *(
                Input(a.ctypes.data, a.strides[0] // a.itemsize, int(isinstance(n, Field)))
                for a, n in zip(held, code.inputs, strict=True)
            )
        )
        request = Run(
            inputs=inputs,
            rows=source.rows - self.offset,
            instruments=source.width,
            origin=source.origin + self.offset,
            starts=starts.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
            program=code.code.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            length=len(code.code),
            constants=code.constants.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            n_constants=len(code.constants),
            shapes=code.shapes.ctypes.data_as(ctypes.POINTER(SlotShape)),
            n_slots=len(code.shapes),
            n_inputs=len(held),
            tile_rows=min(TILE_ROWS, max(1, last - first)),
            outputs=outputs.ctypes.data_as(ctypes.POINTER(Output)),
            n_outputs=len(code.wide),
            out_block=target.block,
            out_row=target.row,
            first=first,
            last=last,
            first_block=block[0],
            last_block=block[1],
            chunk_rows=_chunk(code, last - first, block[1] - block[0], self.threads),
            threads=self.threads,
            stream=int(stream),
        )
        return request, (held, starts, outputs)

    def _input(self, node: Node) -> Cells:
        if node in self.columns:
            return _rows_of(self.columns[node])
        assert isinstance(node, Field)
        return _rows_of(self.source.panel[node.name][self.offset :])


def run(job: Job, target: Target, *, blocks: tuple[int, int] | None = None, stream: bool = False) -> None:
    """Do a job.

    Args:
        job: what to compute.
        target: where outputs go; their row 0 is the first of the job, their block 0 is ``blocks[0]``.
        blocks: blocks of 16 instruments to compute; None = all.
        stream: write past the caches; outputs must be aligned to 64 bytes, with no part rows.
    """
    core = library()
    assert core is not None
    request, held = job.request(target, blocks=blocks, stream=stream)
    core.run(request)
    del held


def correlate(
    job: Job,
    labels: Cells,
    mask: Cells | None,
    plain: Cells | None,
    rank: Cells | None,
    least: int,
) -> None:
    """Correlate the outputs of a job with labels, row by row across instruments, without keeping them.

    Args:
        job: what to compute.
        labels: float32 ``[H, T, N]``, C-contiguous.
        mask: bool ``[T, N]``, C-contiguous: which cells count; None = all.
        plain: float64 ``[F, H, rows]``, C-contiguous, for Pearson correlations, or None.
        rank: the same for rank correlations.
        least: a row with fewer common cells gives NaN.
    """
    core = library()
    assert core is not None
    count = len(job.code.wide)
    request, held = job.request(Target(np.zeros(count, np.int64), LANES, LANES), blocks=None, stream=False)
    rows = job.rows[1] - job.rows[0]
    cells = max(1, count * padded(job.source.width))
    chunk = min(rows, max(256, 4 * job.code.history, _HELD // (4 * cells)))
    first = request.first

    def address(array: Cells | None, row: int = 0) -> int | None:
        return None if array is None else array.ctypes.data + row * array.strides[-2 if array.ndim > 1 else 0]

    core.correlate(
        request,
        Correlation(
            labels=address(labels, job.offset),
            n_labels=len(labels),
            label_rows=labels.shape[1],
            label_row=labels.shape[2],
            mask=address(mask, job.offset),
            mask_row=labels.shape[2],
            plain=address(plain),
            rank=address(rank),
            out_rows=rows,
            first=first,
            least=least,
            chunk_rows=max(1, chunk),
        ),
    )
    del held


def _chunk(code: Program, rows: int, blocks: int, threads: int) -> int:
    """Rows of a work item: all, or so many that threads find enough items to share evenly."""
    if threads <= 1 or blocks >= 8 * threads:
        return max(1, rows)
    items = -(-8 * threads // max(1, blocks))
    least = max(8 * code.history, 8 * TILE_ROWS)
    return max(least, -(-rows // items // TILE_ROWS) * TILE_ROWS, 1)
