"""Evaluation of a plan by the compiled core (`bascule.kernels.native`).

1. Nodes that the core does not compute (over all history, across instruments, of another instrument) cut the
   plan into stages, by how deeply they are nested in each other (`_Cut`).
2. Each stage is lowered to one flat program (`native_program`), once for a plan.
3. For a range of rows: the programs of the stages give the operands of those nodes as columns, the reference
   kernels turn columns into columns, and the last program gives the outputs.
4. The core cuts rows into tiles and instruments into blocks of 16, shares them among threads and writes the
   outputs. A value depends on the rows of its own windows and on nothing else, so neither threads nor tiles
   nor the range of rows change a bit of it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bascule.core import Panel
from bascule.core.panel import FloatArray
from bascule.engine.history import over_all_history
from bascule.engine.native_program import Program, program
from bascule.engine.native_values import native
from bascule.engine.plan import Dialect, Plan
from bascule.engine.reference import unknown_instrument
from bascule.expr import Constant, Field, Kind, Node, Type, walk
from bascule.expr.crosssection import CSDemean, CSNeutralize, CSQuantile, CSRank, CSZScore
from bascule.expr.instrument import ChangeInstrument
from bascule.kernels import cross
from bascule.kernels.native import LANES, Input, Output, Run, SlotShape, library

Cells = np.ndarray[Any, np.dtype[Any]]

# rows of a tile: long enough that restarting windows is cheap, short enough for the cache (benchmarks/engine.py)
TILE_ROWS = 128
# rows that a plan with stages keeps columns for at a time
_STAGE_ROWS = 4096
_NEVER = np.int64(1) << 40
_HUGE_PAGE = 2 << 20


def usable(plan: Plan) -> bool:
    """Whether the core is there and can compute the plan (one that reads the future is left to NumPy)."""
    return plan.lookahead == 0 and library() is not None


# -- memory ----------------------------------------------------------------------------------------


def buffer(shape: Sequence[int], dtype: type[np.generic] = np.float32) -> Cells:
    """An array on huge pages where the system has them, aligned to 64 bytes; contents undefined.

    First touch of ordinary pages costs more than computing what is written to them.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, (size // _HUGE_PAGE + 2) * _HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = -np.frombuffer(memory, np.uint8, 1).ctypes.data % 64
    return np.frombuffer(memory, dtype, int(np.prod(shape)), start).reshape(shape)


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
        step = panel.timeframe.delta.astype(np.int64)
        start = panel.time[0].astype(np.int64) if self.rows else np.int64(0)
        listed = panel.listed.astype(np.int64)
        # a listing between two candles counts from the next one, as Panel.started has it
        self.starts = np.where(np.isnat(panel.listed), _NEVER, -((start - listed) // step))
        self.origin = int(start // step)

    def ages(self, start: int, stop: int) -> Cells:
        """Bars since each instrument's first one ``[rows, N]``."""
        return np.arange(start, stop)[:, None] - self.starts[None, :]


def _rows_of(array: Cells) -> Cells:
    """The array, laid out so that a row is contiguous."""
    return array if array.strides[1] == array.itemsize else np.ascontiguousarray(array)


@dataclass(frozen=True)
class Target:
    """Where outputs go, in elements: an array for each, and strides of rows and of blocks of 16 lanes."""

    arrays: Sequence[Cells]
    row: int
    block: int


def run(
    code: Program,
    source: Source,
    columns: Mapping[Node, Cells],
    offset: int,
    target: Target,
    rows: tuple[int, int],
    *,
    blocks: tuple[int, int] | None = None,
    threads: int = 1,
    stream: bool = False,
) -> None:
    """Run a program over rows ``[rows[0], rows[1])`` of the panel.

    Args:
        code: the program.
        source: the panel.
        columns: stored nodes it reads, whose row 0 is the panel's row ``offset``.
        offset: panel row where reading begins; at least `Program.history` rows before the first, or 0.
        target: where outputs go; their row 0 is ``rows[0]``, their block 0 is ``blocks[0]``.
        rows: panel rows to compute.
        blocks: blocks of 16 instruments to compute; None = all.
        threads: at most so many.
        stream: write past the caches; outputs must be aligned to 64 bytes, with no part rows.
    """
    core = library()
    assert core is not None
    held = [
        _rows_of((columns[n] if n in columns else source.panel[_name(n)][offset:])) for n in code.inputs
    ]
    starts = np.ascontiguousarray(source.starts - offset)
    first, last = rows[0] - offset, rows[1] - offset
    block = blocks or (0, padded(source.width) // LANES)
    request = Run(
        inputs=(Input * len(held))(*(Input(a.ctypes.data, a.strides[0] // a.itemsize) for a in held)),
        rows=source.rows - offset,
        instruments=source.width,
        origin=source.origin + offset,
        starts=starts.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
        program=code.code.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
        length=len(code.code),
        constants=code.constants.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        n_constants=len(code.constants),
        shapes=code.shapes.ctypes.data_as(ctypes.POINTER(SlotShape)),
        n_slots=len(code.shapes),
        n_inputs=len(held),
        tile_rows=min(TILE_ROWS, max(1, last - first)),
        outputs=(Output * len(code.wide))(
            *(Output(a.ctypes.data, int(w)) for a, w in zip(target.arrays, code.wide, strict=True))
        ),
        n_outputs=len(code.wide),
        out_block=target.block,
        out_row=target.row,
        first=first,
        last=last,
        first_block=block[0],
        last_block=block[1],
        chunk_rows=_chunk(code, last - first, block[1] - block[0], threads),
        threads=threads,
        stream=int(stream),
    )
    core.run(request)


def _name(node: Node) -> str:
    assert isinstance(node, Field)
    return node.name


def _chunk(code: Program, rows: int, blocks: int, threads: int) -> int:
    """Rows of a work item: all, or so many that threads find enough items to share evenly."""
    if threads <= 1 or blocks >= 8 * threads:
        return max(1, rows)
    items = -(-8 * threads // max(1, blocks))
    least = max(8 * code.history, 8 * TILE_ROWS)
    return max(least, -(-rows // items // TILE_ROWS) * TILE_ROWS, 1)


def cores(threads: int | None) -> int:
    """A number of threads; None = the processors this process may use."""
    if threads is not None:
        return max(1, threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- stages ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stage:
    """Operands as columns, and what the reference kernels make of them.

    Attributes:
        code: gives the operands.
        operands: its outputs.
        barriers: nodes that are computed from them.
        history: rows before the outputs' first for which the barriers are needed; None = from the beginning.
    """

    code: Program
    operands: tuple[Node, ...]
    barriers: tuple[Node, ...]
    history: int | None


@dataclass(frozen=True)
class Lowered:
    """A plan for the core: stages before the last, and the program of the outputs."""

    stages: tuple[_Stage, ...]
    last: Program
    dialect: Dialect


@lru_cache(maxsize=128)
def lower(nodes: tuple[Node, ...], dialect: Dialect) -> Lowered:
    """Cut into stages and lower each."""
    levels: dict[Node, int] = {}
    for root in nodes:
        for node in walk(root):
            below = max((levels[child] for child in node.children), default=0)
            levels[node] = below + (not native(node))
    stored: set[Node] = set()
    cut: list[tuple[Program, tuple[Node, ...], tuple[Node, ...]]] = []
    for level in range(1, max(levels[root] for root in nodes) + 1):
        barriers = tuple(n for n in levels if levels[n] == level and not native(n))
        operands = tuple(
            dict.fromkeys(c for n in barriers for c in n.children if not isinstance(c, Constant))
        )
        cut.append((program(operands, dialect, stored=stored, columns=True), operands, barriers))
        stored |= set(barriers)
    last = program(nodes, dialect, stored=stored)
    return Lowered(_with_history(cut, last), last, dialect)


def _with_history(
    cut: list[tuple[Program, tuple[Node, ...], tuple[Node, ...]]], last: Program
) -> tuple[_Stage, ...]:
    """How far before the outputs each stage's columns are needed, backwards over the stages."""
    needs: dict[Node, int | None] = {}

    def note(code: Program, history: int | None) -> None:
        for node, shape in zip(code.inputs, code.shapes, strict=False):
            before = needs.get(node, 0)
            needs[node] = None if history is None or before is None else max(before, history + int(shape[1]))

    note(last, 0)
    stages: list[_Stage] = []
    for code, operands, barriers in reversed(cut):
        spans = [needs.get(node, 0) for node in barriers]
        history = None if any(s is None for s in spans) else max(s for s in spans if s is not None)
        if any(node.back is None for node in barriers):
            history = None
        stages.insert(0, _Stage(code, operands, barriers, history))
        note(code, history)
    return tuple(stages)


class _Columns:
    """Stored nodes over the rows ``[offset, stop)`` of a panel."""

    def __init__(self, lowered: Lowered, source: Source, first: int, stop: int, threads: int) -> None:
        self.values: dict[Node, Cells] = {}
        self.offset = max(0, first - lowered.last.history)
        spans = [stage.history for stage in lowered.stages]
        if any(span is None for span in spans):
            self.offset = 0
        else:
            reach = [s + stage.code.history for s, stage in zip(spans, lowered.stages, strict=True) if s is not None]
            self.offset = max(0, first - max([lowered.last.history, *reach]))
        for stage in lowered.stages:
            self._compute(stage, source, stop, threads, lowered.dialect)

    def _compute(self, stage: _Stage, source: Source, stop: int, threads: int, dialect: Dialect) -> None:
        width = padded(source.width)
        arrays = [
            np.empty((stop - self.offset, width), np.float64 if wide else np.float32) for wide in stage.code.wide
        ]
        run(
            stage.code, source, self.values, self.offset, Target(arrays, width, LANES), (self.offset, stop),
            threads=threads,
        )  # fmt: skip
        found = {n: a[:, : source.width] for n, a in zip(stage.operands, arrays, strict=True)}
        for node in stage.barriers:
            self.values[node] = _barrier(node, found, source, (self.offset, stop), dialect)


def _barrier(
    node: Node, found: Mapping[Node, Cells], source: Source, rows: tuple[int, int], dialect: Dialect
) -> Cells:
    """Values of a node that the core leaves to the reference kernels, in its own type."""
    wanted = np.float64 if node.type is Type.FLOAT64 else np.float32
    operand = found[next(c for c in node.children if not isinstance(c, Constant))]
    with np.errstate(all="ignore"):
        if node.back is None:
            ages = source.ages(*rows)
            values = np.where(ages >= 0, over_all_history(node, operand, ages, dialect), np.nan)
        elif isinstance(node, ChangeInstrument):
            names = source.panel.instruments
            if node.instrument not in names:
                raise unknown_instrument(node.instrument, names)
            column = names.index(node.instrument)
            values = np.broadcast_to(operand[:, [column]], operand.shape)
        else:
            values = _across(node, operand, found, source.panel.members[slice(*rows)])
    return np.ascontiguousarray(values, wanted)


def _across(node: Node, operand: Cells, found: Mapping[Node, Cells], members: Cells) -> Cells:
    match node:
        case CSRank():
            return cross.rank(operand, members)
        case CSZScore():
            return cross.zscore(operand, members)
        case CSDemean():
            return cross.demean(operand, members)
        case CSQuantile():
            return cross.quantile(operand, members, node.q)
        case CSNeutralize():
            return cross.neutralize(operand, found[node.by], members)
    raise NotImplementedError(type(node).__name__)


# -- executors -------------------------------------------------------------------------------------


def evaluate(
    plan: Plan,
    panel: Panel,
    *,
    rows: int | None = None,
    out: FloatArray | None = None,
    threads: int | None = None,
) -> FloatArray:
    """Values of a plan, ``[F, rows, N]``; arguments as in `bascule.engine.evaluate`, which calls this."""
    source = Source(panel)
    wanted = source.rows if rows is None else min(rows, source.rows)
    first, width = source.rows - wanted, padded(source.width)
    if out is None:
        whole: Cells = buffer((len(plan.nodes), wanted, width))
        _fill(plan, source, list(whole), first, source.rows, cores(threads))
        return whole[:, :, : source.width]
    _fill(plan, source, list(out), first, source.rows, cores(threads))
    return out


def _fill(plan: Plan, source: Source, arrays: Sequence[Cells], first: int, stop: int, threads: int) -> None:
    """Write rows ``[first, stop)`` of all outputs, each ``[rows, at least N]``."""
    lowered = lower(plan.nodes, plan.dialect)
    step = _STAGE_ROWS if lowered.stages and all(s.history is not None for s in lowered.stages) else stop - first
    for start in range(first, stop, max(1, step)):
        end = min(stop, start + step)
        columns = _Columns(lowered, source, start, end, threads)
        pieces = [array[start - first : end - first] for array in arrays]
        _write(lowered.last, source, columns, pieces, (start, end), threads)


def _write(
    code: Program, source: Source, columns: _Columns, pieces: Sequence[Cells], rows: tuple[int, int], threads: int
) -> None:
    """Whole blocks go to the outputs; a last block that the outputs have no room for goes by a copy."""
    stride = pieces[0].strides[0] // 4
    blocks = padded(source.width) // LANES
    whole = min(blocks, pieces[0].shape[1] // LANES)
    aligned = all(a.ctypes.data % 64 == 0 for a in pieces) and stride % LANES == 0
    if whole:
        run(
            code, source, columns.values, columns.offset, Target(pieces, stride, LANES), rows,
            blocks=(0, whole), threads=threads, stream=aligned,
        )  # fmt: skip
    if whole < blocks:
        rest = np.empty((len(pieces), rows[1] - rows[0], LANES), np.float32)
        run(
            code, source, columns.values, columns.offset, Target(list(rest), LANES, 0), rows,
            blocks=(whole, blocks), threads=threads,
        )  # fmt: skip
        for piece, values in zip(pieces, rest, strict=True):
            piece[:, whole * LANES : source.width] = values[:, : source.width - whole * LANES]
