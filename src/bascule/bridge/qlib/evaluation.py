"""All columns of a request over all its instruments.

1. qlib loads the calendar rows ``[max(0, first - left), last + right]`` for a column (`columns.Column`).
   Columns that do not depend on where the load begins share the widest; each other window is a load of
   its own.
2. Within a load, columns whose files have the same rows are one plan and one call of the engine. A name is
   listed, for the engine, at the first row of its file or of the load.
3. Cells that the engine must not compute are marked as left to qlib: names for which a column's files have
   unequal rows (qlib aligns some operators, refuses others), and names for which a guard finds trouble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from bascule.bridge.qlib.columns import Column, Guard, guards
from bascule.bridge.qlib.files import Files, Rows
from bascule.core import Panel
from bascule.core.panel import BoolArray, FloatArray
from bascule.engine import Plan, compile, evaluate
from bascule.expr import Field, Node

UNEQUAL = "its files have unequal rows, which qlib aligns or refuses"
Universe = Callable[[int, int], BoolArray]


@dataclass
class Computed:
    """One column over the asked rows and names.

    Attributes:
        values: float32 ``[T, N]``.
        present: where qlib has a row ``[T, N]``; shared between columns.
        left: names that qlib must compute ``[N]``.
        reasons: why, as operator and reason.
    """

    values: FloatArray
    present: BoolArray
    left: BoolArray
    reasons: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Group:
    """Columns of one load whose files have the same rows."""

    low: int
    high: int
    rows: Rows
    columns: list[Column]
    unequal: list[BoolArray]


def computed(
    columns: Sequence[Column], files: Files, first: int, last: int, universe: Universe
) -> dict[str, Computed]:
    """Values of columns by text.

    Args:
        columns: at least one.
        files: of all their leaves.
        first: first calendar row asked for.
        last: the last one, included.
        universe: gives the members ``[rows, names of the files]`` of a range of calendar rows.
    """
    loads = _loads(columns, first, last, files.last())
    files.load(min(low for low, _ in loads), max(high for _, high in loads))
    found: dict[str, Computed] = {}
    seen: dict[bytes, BoolArray] = {}
    for (low, high), members in loads.items():
        for group in _groups(members, files, low, high):
            crosses = any(column.crosses for column in group.columns)
            panel = files.panel(low, high, group.rows, universe(low, high) if crosses else None)
            found.update(_group(group, panel, files, first, last, seen))
    return found


def _loads(columns: Sequence[Column], first: int, last: int, end: int) -> dict[tuple[int, int], list[Column]]:
    """Columns by the calendar rows ``[low, high)`` that are loaded for them."""

    def rows(column: Column) -> tuple[int, int]:
        # no file reaches beyond its end, and a look-ahead may be long
        return max(0, first - column.left), max(last + 1, min(last + 1 + column.right, end))

    free = [column for column in columns if not column.anchored]
    loads: dict[tuple[int, int], list[Column]] = defaultdict(list)
    if free:
        windows = [rows(column) for column in free]
        loads[min(low for low, _ in windows), max(high for _, high in windows)].extend(free)
    for column in columns:
        if column.anchored:
            loads[rows(column)].append(column)
    return loads


def _groups(columns: Sequence[Column], files: Files, low: int, high: int) -> list[_Group]:
    groups: dict[bytes, _Group] = {}
    for column in columns:
        own = sorted(leaf for leaf in column.leaves if leaf[0] is None)
        others = sorted(leaf for leaf in column.leaves if leaf[0] is not None)
        ranges = [files.rows(leaf, low, high) for leaf in own + others]
        rows = ranges[0]
        unequal = np.zeros(len(files.names), np.bool_)
        if column.ours:
            rows = np.stack([_least(ranges, low), np.max([r[:, 1] for r in ranges], axis=0)], axis=1)
        else:
            for other in ranges[1:]:
                unequal |= (other != rows).any(axis=1)
        group = groups.setdefault(rows.tobytes(), _Group(low, high, rows, [], []))
        group.columns.append(column)
        group.unequal.append(unequal)
    return list(groups.values())


def _least(ranges: Sequence[Rows], low: int) -> Rows:
    """First row of any of the files that have rows."""
    far = np.iinfo(np.int64).max
    starts = np.min([np.where(r[:, 0] < r[:, 1], r[:, 0], far) for r in ranges], axis=0)
    return np.where(starts == far, low, starts)


def _group(
    group: _Group, panel: Panel, files: Files, first: int, last: int, seen: dict[bytes, BoolArray]
) -> dict[str, Computed]:
    keep = files.asked
    whole = len(keep) == len(files.names)
    values = evaluate(_plan(tuple(column.node for column in group.columns)), panel, rows=group.high - first)[
        :, : last + 1 - first
    ]
    rows = np.clip(group.rows[keep], first, last + 1)
    key = rows.tobytes()
    if key not in seen:
        at = np.arange(first, last + 1)[:, None]
        seen[key] = (at >= rows[:, 0]) & (at < rows[:, 1])
    wanted = {c.text: () if c.ours else guards(c.node, group.high - group.low) for c in group.columns}
    trouble = _trouble({guard for some in wanted.values() for guard in some}, panel, group)
    found = {}
    for index, (column, unequal) in enumerate(zip(group.columns, group.unequal, strict=True)):
        mine = values[index] if whole else values[index][:, keep]
        left = unequal[keep]
        reasons = [(_first_field(column), UNEQUAL)] if left.any() else []
        for guard in wanted[column.text]:
            bad = trouble[guard][keep]
            if bad.any():
                left = left | bad
                reasons.append((guard.operator, guard.reason))
        found[column.text] = Computed(mine, seen[key], left, reasons)
    return found


def _first_field(column: Column) -> str:
    return f"${sorted(name for _, name in column.leaves)[0]}"


def _trouble(wanted: set[Guard], panel: Panel, group: _Group) -> dict[Guard, BoolArray]:
    """The names ``[N]`` for which each guard finds what it looks for."""
    found: dict[Guard, BoolArray] = {}
    series = [guard for guard in wanted if not isinstance(guard.series, Field)]
    arrays = {guard: panel[guard.series.name] for guard in wanted if isinstance(guard.series, Field)}
    if series:
        values = evaluate(_plan(tuple(guard.series for guard in series)), panel)
        arrays.update(zip(series, values, strict=True))
    at = np.arange(group.low, group.high)[:, None]
    for guard, array in arrays.items():
        if guard.halts:
            there = np.isfinite(array)
            since = np.logical_or.accumulate(there, axis=0)
            found[guard] = np.any(since & ~there & (at < group.rows[:, 1]), axis=0)
        else:
            found[guard] = np.any(np.isinf(array), axis=0)
    return found


@lru_cache(maxsize=64)
def _plan(nodes: tuple[Node, ...]) -> Plan:
    """The plan of nodes; the same columns are asked for again and again."""
    return compile(nodes, dialect="qlib")
