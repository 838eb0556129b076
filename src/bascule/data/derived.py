"""Candles that the store makes itself, of shorter ones; kept up to date month by month."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bascule.core import StoreError, Timeframe
from bascule.data import partitions
from bascule.data.digest import total
from bascule.data.manifest import Manifest, Section
from bascule.data.resample import must_divide, resample
from bascule.data.rows import nanoseconds
from bascule.data.sections import extended


def derive(
    manifest: Manifest, source: Timeframe, target: Timeframe, store: Path
) -> tuple[Section, list[str]]:
    """The section of ``target`` after what changed of its source was resampled, and the months written.

    A source that is derived itself is passed by: its own source is taken.

    Raises:
        StoreError: there are no source candles, or the target holds candles from outside.
        ConfigError: the timeframes do not fit.
    """
    section = manifest.section(source, store)
    if section.source:
        source = Timeframe.parse(section.source)
        section = manifest.section(source, store)
    must_divide(source, target)
    before = manifest.sections.get(str(target), Section(source=str(source)))
    if before.source != str(source):
        held = f"made from {before.source}" if before.source else "from outside"
        raise StoreError(
            f"the store has {target} candles {held}",
            where=str(store),
            remedy="keep resampled candles and those of a venue in different stores",
        )
    end = max(nanoseconds(last) for _, last in section.spans.values()) + source.nanoseconds
    after = replace(before, columns=section.columns)
    written = []
    for month, parts in sorted(section.months.items()):
        # a month that is over does not depend on where the data ends
        close = np.datetime64(month, "M") + 1
        edge = min(end, int(close.astype("datetime64[ns]").astype(np.int64)))
        origin = f"{total(part.content for part in parts)}@{edge}"
        if before.origin.get(month) == origin:
            continue
        rows = resample(partitions.read_all(parts, store), source, target, edge)
        after = replace(after, origin={**after.origin, month: origin})
        if not len(rows):
            continue
        ((name, whole),) = partitions.by_month(rows)
        if total(part.content for part in after.months.get(name, ())) != partitions.content(whole):
            file = partitions.write(whole, store, f"candles/{target}", name)
            after = extended(after, whole, {**after.months, name: (file,)}, {})
            written.append(month)
    return after, written
