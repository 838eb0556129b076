"""Monthly parquet files of candles: split, merge, write, read with checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bascule.core import StoreError
from bascule.core.files import atomic_file
from bascule.data.digest import digest, total
from bascule.data.manifest import Partition, Parts
from bascule.data.rows import OHLCV, FloatArray, Rows, concat, stamp

if TYPE_CHECKING:
    import pyarrow as pa

Conflicts = Literal["error", "replace"]
_READERS = 4
FEW = 48
"""Appended files of a month beside its first one, from which on it is written as a whole."""


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
    """A digest of rows, independent of their order and of the file format."""
    return digest(rows.ids, rows.codes, [rows.time], rows.values)


def updated(
    parts: Parts,
    new: Rows,
    newest: Mapping[str, int],
    conflicts: Conflicts,
    store: Path,
    folder: str,
    month: str,
) -> tuple[Parts, int]:
    """The files of a month after new rows of it were added.

    Rows that are all newer than what is stored of their instruments go into a file of their own, so that an
    append costs what is appended; from `FEW` such files on the month is written as a whole again.

    Args:
        parts: files now.
        new: sorted rows of the month.
        newest: store id → its newest candle in all months, ns since 1970.
        conflicts: as `Store.write`.
        store: the store.
        folder: folder below it.
        month: ``2024-01``.

    Returns:
        The files, and how many stored candles got other values.
    """
    if not parts:
        return (write(new, store, folder, month),), 0
    first = new.time[new.bounds[:-1]]
    later = all(time > newest.get(name, time - 1) for name, time in zip(new.ids, first, strict=True))
    if later and len(parts) <= FEW:
        return (*parts, write(new, store, folder, month)), 0
    old = read_all(parts, store)
    merged, changed = merge(old, new, conflicts)
    if content(merged) == total(part.content for part in parts) and len(parts) <= FEW:
        return parts, 0
    return (write(merged, store, folder, month),), changed


def read_all(parts: Sequence[Partition], store: Path) -> Rows:
    """Rows of files that begin where those before them end, sorted by instrument and time."""
    if len(parts) == 1:
        return read(parts[0], store).ordered()
    with ThreadPoolExecutor(_READERS) as pool:  # checksums and unpacking release the interpreter
        return concat(list(pool.map(lambda part: read(part, store), parts))).ordered()


def write(rows: Rows, store: Path, folder: str, month: str) -> Partition:
    """Write sorted rows of one month below ``store/folder``; the name carries the content."""
    import pyarrow as pa

    table = pa.table(
        {
            "time": pa.array(rows.time, pa.timestamp("ns", tz="UTC")),
            "instrument": pa.DictionaryArray.from_arrays(pa.array(rows.codes), pa.array(rows.ids)),
            **{name: pa.array(column) for name, column in rows.values.items()},
        }
    )
    return write_parquet(table, content(rows), store, folder, month)


def write_parquet(table: pa.Table, told: str, store: Path, folder: str, name: str) -> Partition:
    """Write an arrow table with the digest ``told`` as ``folder/name.<digest>.parquet``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["instrument"])
    blob = sink.getvalue().to_pybytes()
    file = f"{folder}/{name}.{told[:16]}.parquet"
    with atomic_file(store / file) as aside:
        aside.write_bytes(blob)
    return Partition(file, hashlib.sha256(blob).hexdigest(), told, table.num_rows)


def read(part: Partition, store: Path) -> Rows:
    """Read and verify one file; rows sorted by instrument and time.

    Raises:
        StoreError: the file is missing or its bytes are not those that were written.
    """
    import pyarrow as pa

    table = read_parquet(part, store)
    names = table["instrument"].combine_chunks()
    names = names if isinstance(names, pa.DictionaryArray) else names.dictionary_encode()
    ids = tuple(names.dictionary.to_pylist())
    return Rows(
        ids,
        names.indices.to_numpy().astype(np.int32),
        table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64),
        {name: table[name].to_numpy() for name in table.column_names if name not in ("time", "instrument")},
    )


def read_parquet(part: Partition, store: Path) -> pa.Table:
    """Read and verify one file.

    Raises:
        StoreError: the file is missing or its bytes are not those that were written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(verified(part, store)))


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
