"""Monthly parquet files of candles: split, merge, write, read with checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from bascule.core import StoreError
from bascule.core.files import atomic_file
from bascule.data.manifest import Partition
from bascule.data.rows import OHLCV, FloatArray, Rows, concat, stamp

Conflicts = Literal["error", "replace"]


def by_month(rows: Rows) -> Iterator[tuple[str, Rows]]:
    """The months of rows, oldest first, each with its rows in the same order."""
    months = rows.time.astype("datetime64[ns]").astype("datetime64[M]")
    order = np.argsort(months, kind="stable")
    names, starts = np.unique(months[order], return_index=True)
    for name, index in zip(names, np.split(order, starts[1:]), strict=True):
        yield str(name), _compact(rows.take(index))


def _compact(rows: Rows) -> Rows:
    """The same rows without the ids that none of them has, and without empty optional columns.

    So that the same candles are the same content, in whatever pieces they came.
    """
    rows = rows.used()
    values = {
        name: column for name, column in rows.values.items() if name in OHLCV or np.isfinite(column).any()
    }
    return Rows(rows.ids, rows.codes, rows.time, values)


def merge(old: Rows, new: Rows, conflicts: Conflicts) -> tuple[Rows, int]:
    """Rows of both, sorted; a candle that both have gets the values that either has.

    Returns:
        The rows, and how many candles were replaced with other values.

    Raises:
        StoreError: both have different values for a candle and ``conflicts`` is ``"error"``.
    """
    both = concat([old, new])
    both = both.take(np.lexsort((both.time, both.codes)))  # stable: the old row comes first
    first = np.flatnonzero((both.codes[1:] == both.codes[:-1]) & (both.time[1:] == both.time[:-1]))
    changed = np.zeros(len(first), bool)
    values: dict[str, FloatArray] = {}
    keep = np.ones(len(both), bool)
    keep[first + 1] = False
    for name, column in both.values.items():
        before, after = column[first], column[first + 1]
        differs = np.isfinite(before) & np.isfinite(after) & (before != after)
        if differs.any() and conflicts == "error":
            i = int(first[np.flatnonzero(differs)[0]])
            raise StoreError(
                f"{int(differs.sum())} stored candles have another {name}; the first is "
                f"{both.ids[both.codes[i]]} {stamp(both.time[i])}: {column[i]:.7g} stored, "
                f"{column[i + 1]:.7g} new",
                where="Store.write",
                remedy="write with conflicts='replace' if the new values are right",
            )
        changed |= differs
        merged = column.copy()
        merged[first] = np.where(np.isfinite(after), after, before)
        values[name] = merged[keep]
    return Rows(both.ids, both.codes[keep], both.time[keep], values), int(changed.sum())


def content(rows: Rows) -> str:
    """A digest of sorted rows, independent of the file format."""
    digest = hashlib.sha256("|".join(rows.ids).encode())
    digest.update(np.ascontiguousarray(rows.codes, "<i4").data)
    digest.update(np.ascontiguousarray(rows.time, "<i8").data)
    for name in sorted(rows.values):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(rows.values[name], "<f4").data)
    return digest.hexdigest()


def write(rows: Rows, store: Path, folder: str, month: str) -> Partition:
    """Write sorted rows of one month below ``store/folder``; the name carries the content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "time": pa.array(rows.time, pa.timestamp("ns", tz="UTC")),
            "instrument": pa.DictionaryArray.from_arrays(pa.array(rows.codes), pa.array(rows.ids)),
            **{name: pa.array(column) for name, column in rows.values.items()},
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["instrument"])
    blob = sink.getvalue().to_pybytes()
    digest = content(rows)
    file = f"{folder}/{month}.{digest[:16]}.parquet"
    with atomic_file(store / file) as aside:
        aside.write_bytes(blob)
    return Partition(file, hashlib.sha256(blob).hexdigest(), digest, len(rows))


def read(part: Partition, store: Path) -> Rows:
    """Read and verify one file; rows sorted by instrument and time.

    Raises:
        StoreError: the file is missing or its bytes are not those that were written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(verified(part, store)))
    names = table["instrument"].combine_chunks()
    names = names if isinstance(names, pa.DictionaryArray) else names.dictionary_encode()
    ids = tuple(names.dictionary.to_pylist())
    return Rows(
        ids,
        names.indices.to_numpy().astype(np.int32),
        table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64),
        {name: table[name].to_numpy() for name in table.column_names if name not in ("time", "instrument")},
    )


def verified(part: Partition, store: Path) -> bytes:
    """The bytes of a file whose checksum is right."""
    path = store / part.file
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    if hashlib.sha256(blob).hexdigest() != part.sha256:
        raise _damaged(path, "has another checksum than when it was written")
    return blob


def _damaged(path: Path, what: str) -> StoreError:
    month = path.name.partition(".")[0]
    return StoreError(
        f"this file of the store {what}",
        where=str(path),
        remedy=f"restore it from a backup, or ingest {month} again into a new store",
    )
