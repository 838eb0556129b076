"""Evaluation of a plan over a panel: by the compiled core (`native`), or with NumPy, block of rows by block.

The NumPy way:

1. Each stage of the plan but the last computes whole columns that operators over all history need; those
   operators then run over the columns, and what they give is stored as if it were a field.
2. The last stage gives the outputs. For each block of rows every step computes its nodes for the rows of
   their span and drops what nobody needs any more, so intermediates take a few blocks, not a few panels.
3. Rows before an instrument's first bar do not exist: fields are NaN there, a boolean turned into a number is
   NaN there, and so is the output of each operator that would make a value of a missing one.

Values do not depend on where blocks begin: kernels add in an order that only the window knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from bascule.core import DataError, Panel, Progress, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.engine import native
from bascule.engine.ages import ages, first_rows
from bascule.engine.history import over_all_history
from bascule.engine.plan import Dialect, Plan, Stage, compile
from bascule.engine.reference import run, unknown_instrument
from bascule.expr import Field, Node, Type
from bascule.kernels.window import Ages, Cells

Executor = Literal["auto", "native", "reference"]

# Alpha158 on 20,000 x 64: blocks of 16k, 32k and 64k cells took 3.4 to 3.5 CPU s, 4k 3.9 and 128k 4.6
_BLOCK_CELLS = 1 << 15


def evaluate(
    plan: Plan | str | Node | Sequence[str | Node],
    panel: Panel,
    *,
    rows: int | None = None,
    out: FloatArray | None = None,
    threads: int | None = None,
    executor: Executor = "auto",
    progress: Progress = silent,
) -> FloatArray:
    """Values of all expressions of a plan.

    Args:
        plan: a plan, or the texts or nodes to plan first.
        panel: must hold the fields of the plan; a window of a longer history gives the same bits in all rows
            that have `Plan.lookback` rows before them.
        rows: only the last so many rows; None = all.
        out: float32 ``[F, rows, N]`` to write into; None = a new array.
        threads: of the native core, at most; None = one a processor. Values do not depend on it.
        executor: ``"native"`` = the compiled core, ``"reference"`` = NumPy, ``"auto"`` = the core where it is
            built and the plan reads no future.
        progress: told about rows done.

    Returns:
        float32 ``[F, rows, N]``; NaN before an instrument's first candle (`Panel.started`).

    Raises:
        DataError: a field or an instrument is not in the panel, or ``out`` or ``rows`` does not fit.
        ExpressionError: a text is not of the language.
    """
    if not isinstance(plan, Plan):
        plan = compile(plan)
    total, width = panel.shape
    if rows is not None and rows < 0:
        raise DataError(f"rows is {rows}", where="evaluate", remedy="give how many of the last rows, or None")
    wanted = total if rows is None else min(rows, total)
    shape = (len(plan.nodes), wanted, width)
    if out is not None and (out.shape != shape or out.dtype != np.float32):
        raise DataError(
            f"out is {out.dtype}{list(out.shape)}, expected float32{list(shape)}", where="evaluate"
        )
    for name in plan.fields:
        panel[name]  # a missing field is one clear error, at once
    if by_core(plan, executor) and min(shape) > 0:
        return native.evaluate(plan, panel, rows=rows, out=out, threads=threads, progress=progress)
    if out is None:
        out = np.empty(shape, np.float32)
    if min(shape) > 0:
        _reference(plan, panel, out, total - wanted, progress)
    return out


def by_core(plan: Plan, executor: Executor) -> bool:
    """Whether the compiled core is to compute a plan."""
    if executor == "reference":
        return False
    usable = native.usable(plan)
    if executor == "native" and not usable:
        raise DataError(
            "the native core is not built, or the plan reads the future or too much history",
            where="evaluate",
            remedy='use executor="auto", or install again where a C++20 compiler is at hand',
        )
    return usable


def _reference(plan: Plan, panel: Panel, out: FloatArray, first: int, progress: Progress) -> None:
    """Rows from ``first`` on by the NumPy kernels."""
    source = _Source(panel, plan)
    total, width = panel.shape
    work = _Work(progress, total * (len(plan.stages) - 1) + total - first)
    with np.errstate(all="ignore"):
        for stage in plan.stages[:-1]:
            source.materialise(stage, work)
        places = _places(plan.nodes)
        for start, stop in _blocks(plan.stages[-1], first, total, width):
            block = _Block(source, plan.stages[-1], start, stop)
            for node, values in block.outputs():
                for index in places[node]:
                    out[index, start - first : stop - first] = values
            work.advance(stop - start)


def _blocks(stage: Stage, first: int, total: int, width: int) -> list[tuple[int, int]]:
    """Row ranges: small enough for the cache, long enough that shared history is a small part of them."""
    history = max((span.back for span in stage.spans.values()), default=0)
    step = max(_BLOCK_CELLS // max(width, 1), 3 * history, 16)
    return [(start, min(total, start + step)) for start in range(first, total, step)]


def _places(nodes: Sequence[Node]) -> dict[Node, list[int]]:
    """Where each node stands among the outputs; equal expressions stand in several places."""
    places: dict[Node, list[int]] = {}
    for index, node in enumerate(nodes):
        places.setdefault(node, []).append(index)
    return places


class _Work:
    """Counts rows for the progress report."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def advance(self, rows: int) -> None:
        self._done += rows
        self._progress(self._done, self._total, "factors")


class _Source:
    """The panel as the blocks see it, and the nodes that earlier stages stored."""

    def __init__(self, panel: Panel, plan: Plan) -> None:
        self.panel = panel
        self.dialect: Dialect = plan.dialect
        self.total, self.width = panel.shape
        self.stored: dict[Node, Cells] = {}
        self.first = first_rows(panel)

    def ages(self, start: int, stop: int) -> Ages:
        return ages(self.first, start, stop)

    def materialise(self, stage: Stage, work: _Work) -> None:
        """Run a stage over all rows and the operators over all history on what it gives."""
        shape = (self.total, self.width)
        columns = {
            n: np.empty(shape, np.float32 if n.type is not Type.FLOAT64 else np.float64)
            for n in stage.outputs
        }
        for start, stop in _blocks(stage, 0, self.total, self.width):
            block = _Block(self, stage, start, stop)
            for node, values in block.outputs():
                columns[node][start:stop] = values
            work.advance(stop - start)
        ages = self.ages(0, self.total)
        for node in stage.expands:
            values = over_all_history(node, columns[node.children[0]], ages, self.dialect)
            self.stored[node] = np.where(ages >= 0, values, np.nan)


class _Block:
    """One block of rows while its steps run; see `reference.Block` for the meaning of its methods."""

    def __init__(self, source: _Source, stage: Stage, start: int, stop: int) -> None:
        self.dialect = source.dialect
        self.width = source.width
        self._source = source
        self._stage = stage
        self._start, self._stop = start, stop
        self._values: dict[Node, Cells] = {}

    def outputs(self) -> Iterator[tuple[Node, Cells]]:
        """Run all steps; each output's rows of this block as soon as it is there, masked, as floats."""
        wanted = set(self._stage.outputs)
        for step in self._stage.steps:
            self._values.update(run(step, self))
            for node in wanted.intersection(step.nodes):
                yield node, self.masked(self.shifted(node, self._start, self._stop), self._start)
            for node in step.frees:
                del self._values[node]

    def rows(self, node: Node) -> tuple[int, int]:
        span = self._stage.spans[node]
        start = min(max(0, self._start - span.back), self._source.total)
        return start, max(start, min(self._source.total, self._stop + span.ahead))

    def upto(self, operand: Node, stop: int) -> Cells:
        start, _ = self.rows(operand)
        return self._values[operand][: max(0, stop - start)]

    def floats(self, operand: Node, stop: int) -> Cells:
        return self._float(operand, self.upto(operand, stop), self.rows(operand)[0])

    def between(self, operand: Node, start: int, stop: int) -> Cells:
        first, _ = self.rows(operand)
        return self._values[operand][start - first : stop - first]

    def shifted(self, operand: Node, start: int, stop: int) -> Cells:
        first, last = self.rows(operand)
        low, high = max(start, first), min(stop, last)
        found = self._float(operand, self._values[operand][max(0, low - first) : max(0, high - first)], low)
        if (low, high) == (start, stop):
            return found
        padded = np.full((stop - start, self.width), np.nan, found.dtype)
        if high > low:
            padded[low - start : high - start] = found
        return padded

    def _float(self, operand: Node, values: Cells, start: int) -> Cells:
        if operand.type is not Type.BOOL or values.dtype != np.bool_:
            return values
        return self.masked(values.astype(np.float32), start)

    def ages(self, start: int, stop: int) -> Ages:
        return self._source.ages(start, stop)

    def masked(self, values: Cells, start: int) -> Cells:
        young = start < self._source.first
        if not young.any():
            return values
        return np.where(self.ages(start, start + len(values)) >= 0, values, values.dtype.type(np.nan))

    def members(self, start: int, stop: int) -> BoolArray:
        return self._source.panel.members[start:stop]

    def load(self, node: Node, start: int, stop: int) -> Cells:
        if isinstance(node, Field):
            # NumPy's logarithms and powers of strided arrays may differ in the last bit
            values = np.ascontiguousarray(self._source.panel[node.name][start:stop])
            return self.masked(values, start)
        return self._source.stored[node][start:stop]

    def column(self, instrument: str) -> int:
        names = self._source.panel.instruments
        if instrument not in names:
            raise unknown_instrument(instrument, names)
        return names.index(instrument)
