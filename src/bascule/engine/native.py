"""Evaluation of a plan by the compiled core (`bascule.kernels.native`).

1. Nodes that the core does not compute (over all history, across instruments, of another instrument, some of
   a window) cut the plan into stages, by how deeply they are nested in each other (`_Cut`).
2. Each stage is lowered to one flat program (`native_program`), once for a plan.
3. For a range of rows: the programs of the stages give the operands of those nodes as columns, the reference
   kernels turn columns into columns, and the last program gives the outputs.
4. The core cuts rows into tiles and instruments into blocks of 16, shares them among threads and writes the
   outputs. A value depends on the rows of its own windows and on nothing else, so neither threads nor tiles
   nor the range of rows change a bit of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bascule.core import DataError, ExpressionError, Panel, Progress, silent
from bascule.core.cores import cores
from bascule.core.panel import FloatArray
from bascule.engine.across import across, windowed
from bascule.engine.history import over_all_history
from bascule.engine.native_program import Program, program
from bascule.engine.native_run import Job, Source, Target, buffer, correlate, padded, run
from bascule.engine.native_values import native
from bascule.engine.own import own
from bascule.engine.plan import Dialect, Plan
from bascule.engine.reference import unknown_instrument
from bascule.expr import Constant, Kind, Node, OwnOperator, Type, walk
from bascule.expr.instrument import ChangeInstrument
from bascule.kernels.native import LANES, library
from bascule.kernels.window import Cells

# rows that a plan with stages keeps columns for at a time
_STAGE_ROWS = 4096
# rows that a slot of a tile may hold; the core refuses more
_MOST_HISTORY = 1 << 20
# rows between two reports of progress, at least
_REPORT_ROWS = 1024


def usable(plan: Plan) -> bool:
    """Whether the core is there and can compute the plan: none of the future, no endless history in tiles."""
    if plan.lookahead > 0 or library() is None:
        return False
    lowered = lower(plan.nodes, plan.dialect)
    codes = [stage.code for stage in lowered.stages] + [lowered.last]
    return max(int(code.shapes[:, 1].max(initial=0)) for code in codes) <= _MOST_HISTORY


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

    @property
    def foreign(self) -> bool:
        """Whether values of one instrument stand for another, even before that one's listing."""
        return any(isinstance(node, ChangeInstrument) for stage in self.stages for node in stage.barriers)


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
        elif history is not None:  # and before these, what their own windows reach back to
            history += max(node.back or 0 for node in barriers)
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
            reach = [
                s + stage.code.history
                for s, stage in zip(spans, lowered.stages, strict=True)
                if s is not None
            ]
            self.offset = max(0, first - max([lowered.last.history, *reach]))
        for stage in lowered.stages:
            self._compute(stage, source, stop, threads, lowered.dialect)

    def _compute(self, stage: _Stage, source: Source, stop: int, threads: int, dialect: Dialect) -> None:
        width = padded(source.width)
        arrays = [
            np.empty((stop - self.offset, width), np.float64 if wide else np.float32)
            for wide in stage.code.wide
        ]
        job = Job(stage.code, source, self.values, self.offset, (self.offset, stop), threads)
        run(job, Target.columns(arrays))
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
        elif isinstance(node, OwnOperator):
            given = [found[child] for child in node.children]
            values = own(node, given, len(operand), source.panel.members[slice(*rows)])
            values = np.where(source.ages(*rows) >= 0, values, np.nan)
        elif node.kind is Kind.ROLLING:
            values = windowed(node, operand)
        else:
            values = across(node, operand, source.panel.members[slice(*rows)], found.__getitem__)
    return np.ascontiguousarray(values, wanted)


# -- executors -------------------------------------------------------------------------------------


def evaluate(
    plan: Plan,
    panel: Panel,
    *,
    rows: int | None = None,
    out: FloatArray | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> FloatArray:
    """Values of a plan ``[F, rows, N]``; arguments as in `bascule.engine.evaluate`, which calls this."""
    source = Source(panel)
    wanted = source.rows if rows is None else min(rows, source.rows)
    first = source.rows - wanted
    whole = buffer((len(plan.nodes), wanted, padded(source.width))) if out is None else out
    lowered = lower(plan.nodes, plan.dialect)
    for job in _jobs(lowered, source, first, cores(threads), progress):
        start, stop = job.rows
        _write(job, whole[:, start - first : stop - first])
        if lowered.foreign:
            unborn = source.ages(start, stop) < 0
            whole[:, start - first : stop - first, : source.width][:, unborn] = np.nan
        progress(stop - first, wanted, "factors")
    return whole[:, :, : source.width] if out is None else out


def evaluate_lanes(
    plan: Plan, panel: Panel, *, out: FloatArray | None = None, threads: int | None = None
) -> FloatArray:
    """Values of a plan by blocks of 16 instruments ``[F, blocks, T, 16]``: the fastest layout to write.

    Instrument n is in block ``n // 16``, lane ``n % 16``; lanes past the last instrument repeat it.

    Args:
        plan: without operators that the core leaves to the reference kernels.
        panel: as in `evaluate`.
        out: a `buffer` to reuse.
        threads: as in `evaluate`.

    Raises:
        DataError: ``out`` does not fit.
        ExpressionError: the plan needs stages, or the core is not to be had.
    """
    if not usable(plan) or lower(plan.nodes, plan.dialect).stages:
        raise ExpressionError(
            "the plan looks across instruments, over all history or ahead, or the core is not built",
            where="evaluate_lanes",
            remedy="use evaluate",
        )
    source = Source(panel)
    shape = (len(plan.nodes), padded(source.width) // LANES, source.rows, LANES)
    found = buffer(shape) if out is None else out
    if found.shape != shape or found.dtype != np.float32 or not found.flags.c_contiguous:
        raise DataError(f"out must be contiguous float32{list(shape)}", where="evaluate_lanes")
    code = lower(plan.nodes, plan.dialect).last
    job = Job(code, source, {}, 0, (0, source.rows), cores(threads))
    run(job, Target.lanes(found), stream=found.ctypes.data % 64 == 0)
    return found


def correlations(
    plan: Plan,
    panel: Panel,
    labels: Cells,
    mask: Cells | None,
    plain: Cells | None,
    rank: Cells | None,
    least: int,
    threads: int | None,
) -> None:
    """Fill ``plain`` and ``rank`` ``[F, H, T]``; `bascule.engine.ic` calls this with checked arguments."""
    source = Source(panel)
    lowered = lower(plan.nodes, plan.dialect)
    if lowered.foreign:  # what is lent to an instrument before its listing counts for nothing
        unborn = source.ages(0, source.rows) < 0
        mask = ~unborn if mask is None else np.ascontiguousarray(mask & ~unborn)
    for job in _jobs(lowered, source, 0, cores(threads), silent):
        start, stop = job.rows
        pieces = [None if p is None else np.empty((*p.shape[:2], stop - start)) for p in (plain, rank)]
        correlate(job, labels, mask, pieces[0], pieces[1], least)
        for whole, piece in zip((plain, rank), pieces, strict=True):
            if whole is not None:
                whole[:, :, start:stop] = piece


def _jobs(lowered: Lowered, source: Source, first: int, threads: int, progress: Progress) -> Iterator[Job]:
    """The last program over ranges of rows from ``first`` on, with the columns it reads."""
    total = source.rows
    # what needs all history is computed once
    endless = any(stage.history is None for stage in lowered.stages)
    columns = _Columns(lowered, source, first, total, threads) if endless else None
    step = _rows_at_once(lowered, total - first, progress)
    for start in range(first, total, step):
        stop = min(total, start + step)
        given = columns or _Columns(lowered, source, start, stop, threads)
        yield Job(lowered.last, source, given.values, given.offset, (start, stop), threads)


def _rows_at_once(lowered: Lowered, rows: int, progress: Progress) -> int:
    """Rows between two reports of progress, and of columns that stages keep."""
    if any(stage.history is not None for stage in lowered.stages):
        return _STAGE_ROWS
    if progress is silent:
        return max(1, rows)
    # each range begins with the history before it, which should be a small part of the work
    return max(_REPORT_ROWS, 32 * lowered.last.history)


def _write(job: Job, out: Cells) -> None:
    """Whole blocks go to the output; a last block that it has no room for goes by a copy."""
    width = job.source.width
    blocks = padded(width) // LANES
    fits = out.strides[2] == out.itemsize and out.strides[1] % out.itemsize == 0
    whole = min(blocks, out.shape[2] // LANES) if fits else 0
    aligned = out.ctypes.data % 64 == 0 and out.strides[0] % 64 == 0 and out.strides[1] % 64 == 0
    if whole:
        run(job, Target.table(out), blocks=(0, whole), stream=aligned)
    if whole < blocks:
        rest = np.empty((len(out), blocks - whole, out.shape[1], LANES), np.float32)
        run(job, Target.lanes(rest), blocks=(whole, blocks))
        for block in range(whole, blocks):
            piece = out[:, :, block * LANES : min(width, (block + 1) * LANES)]
            piece[...] = rest[:, block - whole, :, : piece.shape[2]]
