"""Recordings of liquidations on disk: parquet parts, one folder a venue and UTC day.

::

    <folder>/binance/2024-01-05/part-<first moment>-<number>.parquet    what came until it was written
    <folder>/binance/2024-01-05/day.parquet                             all parts of a day that is over

A part carries the spans of time in which the connection stood, so that "no liquidation" and "nobody listened"
stay apart. It is filed under the day of its first moment and may reach into the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import DataError
from bascule.core.files import atomic_file
from bascule.data.sources.feeds import Event

if TYPE_CHECKING:
    import pandas as pd

Span = tuple[np.datetime64, np.datetime64]
_SPANS = b"bascule.spans"
_COLUMNS = ("time", "received", "instrument", "side", "price", "amount")
_WHOLE = "day.parquet"


def write_part(path: Path, events: Sequence[Event], spans: Sequence[Span]) -> None:
    """Write one part: events (times UTC), and the spans in which the connection stood."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(one, name) for one in events] for name in _COLUMNS}
    stamp = pa.timestamp("ns", tz="UTC")
    types = [stamp, stamp, pa.string(), pa.string(), pa.float64(), pa.float64()]
    arrays = [
        pa.array(np.array(columns[n], "datetime64[ns]") if t == stamp else columns[n], t)
        for n, t in zip(_COLUMNS, types, strict=True)
    ]
    note = json.dumps([[int(a.astype(np.int64)), int(b.astype(np.int64))] for a, b in spans]).encode()
    table = pa.Table.from_arrays(arrays, names=list(_COLUMNS)).replace_schema_metadata({_SPANS: note})
    with atomic_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_parts(parts: Sequence[Path]) -> tuple[pd.DataFrame, list[Span]]:
    """Events of all parts without repetitions (times naive UTC), and the spans listened to, joined.

    Raises:
        DataError: a part cannot be read.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frames, spans = [], []
    for part in parts:
        try:
            table = pq.read_table(part)
            told = json.loads((table.schema.metadata or {}).get(_SPANS, b"[]"))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"cannot be read: {str(error).splitlines()[0]}",
                where=str(part),
                remedy="move this recording away; its time then counts as not listened to",
            ) from error
        spans += [(np.datetime64(a, "ns"), np.datetime64(b, "ns")) for a, b in told]
        if table.num_rows:
            frames.append(table.to_pandas())
    if not frames:
        return pd.DataFrame(columns=_COLUMNS), joined(spans)
    events = pd.concat(frames, ignore_index=True).sort_values(["time", "received"], kind="stable")
    # after a new connection venues may repeat the last event
    events = events.drop_duplicates([c for c in _COLUMNS if c != "received"], ignore_index=True)
    for name in ("time", "received"):
        events[name] = events[name].dt.tz_localize(None)
    return events, joined(spans)


def joined(spans: Sequence[Span]) -> list[Span]:
    """The same spans, sorted, with those that touch or overlap made one."""
    result: list[Span] = []
    for since, until in sorted(spans):
        if result and since <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], until))
        else:
            result.append((since, until))
    return result


def compact(folder: Path, venue: str, today: np.datetime64) -> int:
    """Join the parts of days before ``today`` into one file a day; return how many parts that were.

    A kill between writing and removing leaves both: readers drop what they see twice.
    """
    count = 0
    for day in sorted((folder / venue).glob("[0-9]*-[0-9]*-[0-9]*")):
        parts = sorted(day.glob("part-*.parquet"))
        if not parts or np.datetime64(day.name, "D") >= today.astype("datetime64[D]"):
            continue
        events, spans = read_parts([*parts, *day.glob(_WHOLE)])
        rows = [Event(*row) for row in events.itertuples(index=False, name=None)]
        write_part(day / _WHOLE, rows, spans)
        for part in parts:
            part.unlink()
        count += len(parts)
    return count
