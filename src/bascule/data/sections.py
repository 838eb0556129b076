"""Candles of one timeframe in the store: what is refused, what a write makes of a section, how it is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from bascule.core import StoreError, Timeframe, UniverseError, moment
from bascule.core.timeframe import Moment
from bascule.data import partitions
from bascule.data.health import blocking
from bascule.data.manifest import Parts, Section
from bascule.data.repair import Repair
from bascule.data.rows import OHLCV, Rows, stamp


def refuse_errors(rows: Rows, timeframe: Timeframe, repair: Collection[Repair]) -> None:
    """Raise `StoreError` if rows have errors that `health` names."""
    if not len(rows):
        raise StoreError("no row is left", where="Store.write", remedy="check the source")
    errors = blocking(rows, timeframe)
    if errors:
        kinds = ", ".join(sorted({issue.name for issue in errors}))
        one = errors[0]
        raise StoreError(
            f"{sum(issue.count for issue in errors)} rows have errors ({kinds}); "
            f"{one.name} in {one.instrument}: {one.example}",
            where="Store.write",
            remedy="mend the source, or allow repair=('sort', 'duplicates', 'impossible'), or some of them"
            if not repair
            else "mend the source: the chosen repair does not cover this",
        )


def extended(section: Section, rows: Rows, months: dict[str, Parts], repaired: dict[str, int]) -> Section:
    """The section after a write of sorted ``rows``."""
    bounds = rows.bounds
    spans = dict(section.spans)
    for code, name in enumerate(rows.ids):
        if bounds[code] == bounds[code + 1]:
            continue
        first, last = stamp(rows.time[bounds[code]]), stamp(rows.time[bounds[code + 1] - 1])
        old = spans.get(name, (first, last))
        spans[name] = (min(old[0], first), max(old[1], last))
    extra = {name for name, values in rows.values.items() if name not in OHLCV and np.isfinite(values).any()}
    extra |= set(section.columns) - set(OHLCV)
    counts = {name: section.repaired.get(name, 0) + count for name, count in repaired.items()}
    return replace(
        section,
        columns=(*OHLCV, *sorted(extra)),
        months=dict(sorted(months.items())),
        spans=spans,
        repaired={**section.repaired, **counts},
    )


def read_rows(section: Section, store: Path, start: Moment | None, end: Moment | None) -> Rows:
    """The candles of a section with opens in ``[start, end)``, sorted."""
    first = "0000-00" if start is None else str(moment(start).astype("datetime64[M]"))
    last = "9999-99" if end is None else str(moment(end).astype("datetime64[M]"))
    parts = [
        part for month, files in sorted(section.months.items()) if first <= month <= last for part in files
    ]
    if not parts:
        raise UniverseError(f"no candle lies in [{start}, {end})", where=str(store), remedy="check the dates")
    rows = partitions.read_all(parts, store).with_columns(section.columns)
    if start is None and end is None:
        return rows
    inside = np.ones(len(rows), bool)
    if start is not None:
        inside &= rows.time >= moment(start).astype(np.int64)
    if end is not None:
        inside &= rows.time < moment(end).astype(np.int64)
    return rows.take(inside)
