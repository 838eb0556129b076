"""The writing half of the provider: made once, then grown by the candles that come.

`refresh`
    1. leaves the current folder as it is when it is of the present candles and whole;
    2. grows it when the candles only came to it: no instrument or column is new, none changed, and all new
       ones are later than its calendar. What is new is told by the digests of months, so that only files with
       new candles are read. Values go behind those that `bascule.json` counts, then calendar and markets are
       replaced, and `bascule.json` last: that commits. A killed writer leaves bytes that nobody counts, and
       the next one writes over them;
    3. else makes a new folder aside, a few months at a time, renames it and turns the link. The folder before
       is kept for those who still read it.

Arrays are forced to disk before the commit. The bins, thousands of files of which each append changes a few
bytes, are not: after a power failure one may be too short, which the next `refresh` sees and mends by 3.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from bascule.core import Panel, Progress, StoreError, Timeframe
from bascule.core.files import atomic_file, atomic_folder, point, write_json
from bascule.data import memberships, partitions
from bascule.data.digest import total
from bascule.data.manifest import Partition, Section
from bascule.data.prepare import Vwap, prepare
from bascule.data.provider import CURRENT, NAME, REBUILD, Member, Provider, lines, texts
from bascule.data.rows import FloatArray, Int64Array, Rows, concat, nanoseconds
from bascule.data.universe import UniverseSettings

Universes = Mapping[str, UniverseSettings]
_LONGEST = 2**24  # a float32 counts exactly up to here
_ROWS = 1 << 20  # candles in memory at once, when a folder is made
_THREADS = 6


def refresh(
    home: Path,
    section: Section,
    store: Path,
    timeframe: Timeframe,
    vwap: Vwap,
    universes: Universes,
    progress: Progress,
) -> Path:
    """Make the provider of the present candles the current one; returns its folder. For the one writer.

    Args:
        home: folder of this timeframe's providers.
        section: the candles.
        store: the store.
        timeframe: their length.
        vwap: how `vwap` is made.
        universes: markets that the provider shall have.
        progress: called for every few months.

    Raises:
        StoreError: no candles, or a damaged file of the store.
        DataError: ``vwap="quote"`` without quote volume.
    """
    link = home / CURRENT
    before = link.resolve() if link.is_symlink() else None
    current = None if before is None else _usable(before, vwap)
    mark = section.fingerprint()
    if current is not None and current.fingerprint == mark and _whole(current):
        return current.path
    if current is not None and current.fingerprint != mark:
        fresh = news(current, section, store)
        if fresh is not None:
            try:
                grow(current, fresh, section, universes)
            except StoreError:  # a bin is shorter than it was: below, all are made again
                pass
            else:
                progress(1, 1, f"provider {timeframe}")
                return current.path
    folder = home / f"{mark}-{vwap}"
    reused = _usable(folder, vwap) if folder.is_dir() else None
    if reused is None or reused.fingerprint != mark or not _whole(reused):
        if folder.exists():
            folder = home / f"{mark}-{vwap}-{uuid.uuid4().hex[:6]}"
        with atomic_folder(folder) as aside:
            made = create(aside, section, store, timeframe, vwap, progress)
            for name, settings in universes.items():
                memberships.write(made, name, settings)
    point(link, folder)
    kept = (folder.resolve(), before)
    for other in home.iterdir():
        if other.is_dir() and not other.is_symlink() and other.resolve() not in kept:
            shutil.rmtree(other)
    return folder


def _usable(folder: Path, vwap: Vwap) -> Provider | None:
    """A folder that can be opened and whose arrays are long enough, or None."""
    try:
        found = Provider.open(folder)
        size = 4 * len(found.members) * found.rows
        good = all(found.array(name).stat().st_size >= size for name in found.fields)
    except (StoreError, OSError):
        return None
    return found if good and found.vwap == vwap else None


def _whole(provider: Provider) -> bool:
    """All bins are as long as they should be."""
    try:
        return all(
            os.stat(path).st_size >= 4 * (1 + member.rows)  # noqa: PTH116
            for name in provider.fields
            for path, member in zip(
                provider.bins(provider.members, name), provider.members.values(), strict=True
            )
        )
    except OSError:
        return False


# -- what is new -----------------------------------------------------------------------------------------


def news(provider: Provider, section: Section, store: Path) -> Rows | None:
    """The candles that came since, sorted, if nothing else changed; else None."""
    if {*section.columns, "vwap"} != set(provider.fields) or set(section.spans) != set(provider.members):
        return None
    if not set(provider.months) <= set(section.months):
        return None
    end = provider.start + provider.rows * provider.timeframe.nanoseconds
    found = []
    for month, parts in section.months.items():
        contents = [part.content for part in parts]
        had = provider.months.get(month, total([]))
        if total(contents) == had:
            continue
        known = next((k for k in range(len(parts)) if total(contents[:k]) == had), None)
        if known is not None:
            rows = partitions.read_all(parts[known:], store)
        else:
            whole = partitions.read_all(parts, store)
            if partitions.content(whole.take(whole.time < end)) != had:
                return None
            rows = whole.take(whole.time >= end)
        if (rows.time < end).any():
            return None
        found.append(rows)
    return concat(found).with_columns(section.columns).ordered() if found else None


def _axis(section: Section, timeframe: Timeframe) -> tuple[int, int, dict[str, Member]]:
    """First candle open, length of the calendar, members, sorted."""
    step = timeframe.nanoseconds
    spans = {name: tuple(map(nanoseconds, span)) for name, span in sorted(section.spans.items())}
    start = min(first for first, _ in spans.values())
    members = {
        name: Member((first - start) // step, (last - first) // step + 1)
        for name, (first, last) in spans.items()
    }
    return start, max(member.stop for member in members.values()), members


# -- making and growing ----------------------------------------------------------------------------------


def create(
    folder: Path, section: Section, store: Path, timeframe: Timeframe, vwap: Vwap, progress: Progress
) -> Provider:
    """Write a provider into the empty ``folder``.

    Raises:
        StoreError: more rows than a provider can number, or a damaged file of the store.
        DataError: ``vwap="quote"`` without quote volume.
    """
    start, rows, members = _axis(section, timeframe)
    if rows > _LONGEST:
        raise StoreError(
            f"{rows} rows are more than a qlib provider can number ({_LONGEST})",
            where=str(folder),
            remedy="use a longer timeframe",
        )
    fields = tuple(sorted({*section.columns, "vwap"}))
    made = Provider(
        folder,
        timeframe,
        section.fingerprint(),
        vwap,
        start,
        rows,
        fields,
        members,
        section.contents(),
        dict.fromkeys(fields, 0),
    )
    for place in ("arrays", "calendars", "instruments", *(f"features/{name.lower()}" for name in members)):
        (folder / place).mkdir(parents=True)
    starts = np.array([member.start for member in members.values()], np.int64)
    stops = np.array([member.stop for member in members.values()], np.int64)
    low = 0
    for share, high, part in _chunks(made, section, store):
        progress(int(share * len(members)), len(members), f"provider {timeframe}")
        done = np.clip(low, starts, stops)
        made = replace(made, checks=_put(made, part, low, high, done))
        low = high
    made.calendar.write_text(lines(texts(made.time, timeframe)))
    made.markets.write_text(made.market_lines())
    (folder / NAME).write_text(json.dumps(made.told(), sort_keys=True) + "\n")
    progress(len(members), len(members), f"provider {timeframe}")
    return made


def grow(old: Provider, fresh: Rows, section: Section, universes: Universes) -> Provider:
    """Append sorted candles that are all later than the calendar of ``old``, in its folder.

    Raises:
        StoreError: a bin is shorter than ``old`` says.
    """
    _, rows, members = _axis(section, old.timeframe)
    new = replace(
        old, fingerprint=section.fingerprint(), rows=rows, members=members, months=section.contents()
    )
    done = np.array([member.stop for member in old.members.values()], np.int64)
    new = replace(new, checks=_put(new, fresh, old.rows, rows, done))
    later = lines(texts(new.time[old.rows :], new.timeframe))
    width = len(later) // (rows - old.rows)
    # a killed writer may have put lines behind those that count; all lines are equally long
    kept = new.calendar.read_bytes()[: old.rows * width]
    with atomic_file(new.calendar) as aside:
        aside.write_bytes(kept + later.encode())
    with atomic_file(new.markets) as aside:
        aside.write_text(new.market_lines())
    for name, settings in universes.items():
        memberships.grow(new, old.rows, name, settings)
    write_json(new.path / NAME, new.told())
    return new


def _chunks(made: Provider, section: Section, store: Path) -> Iterator[tuple[float, int, Rows]]:
    """Share done, past the last calendar row, and candles, of a few months at a time."""
    step = made.timeframe.nanoseconds
    months = sorted(section.months.items())
    waiting: list[Partition] = []
    seen, everything = 0, section.rows
    for n, (month, parts) in enumerate(months):
        waiting += parts
        last = n + 1 == len(months)
        if last or sum(part.rows for part in waiting) >= _ROWS:
            edge = int((np.datetime64(month, "M") + 1).astype("datetime64[ns]").astype(np.int64))
            high = made.rows if last else -((made.start - edge) // step)
            yield seen / everything, high, partitions.read_all(waiting, store).with_columns(section.columns)
            seen += sum(part.rows for part in waiting)
            waiting = []


def _put(made: Provider, rows: Rows, low: int, high: int, done: Int64Array) -> dict[str, int]:
    """Write the calendar rows ``[low, high)`` behind what is there; returns the arrays' checksums.

    Args:
        made: the provider as it will be.
        rows: the candles, sorted.
        low: first calendar row.
        high: past the last one.
        done: calendar row up to which each instrument's bins are written already ``[N]``.
    """
    panel = prepare(_dense(made, rows, low, high), vwap="quote" if made.vwap == "quote" else "typical")

    def put(name: str) -> int:
        values = panel[name].astype("<f4", copy=False)
        handle = os.open(made.array(name), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            _write(handle, values.data.cast("B"), values.shape[1] * 4 * low)
            os.fsync(handle)
        finally:
            os.close(handle)
        turned = np.ascontiguousarray(values.T)
        paths = made.bins(made.members, name)
        for column, (path, member) in enumerate(zip(paths, made.members.values(), strict=True)):
            first, last = int(done[column]), min(high, member.stop)
            if first < last:
                _extend_bin(path, member.start, first, turned[column, : last - low], low)
        return zlib.crc32(values.data, made.checks[name])

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(made.fields, pool.map(put, made.fields), strict=True))


def _extend_bin(path: str, start: int, first: int, values: FloatArray, low: int) -> None:
    """Write calendar rows from ``first`` on; ``values`` begin at row ``low``.

    Raises:
        StoreError: the file is shorter than it should be.
    """
    tail = values[max(0, first - low) :]
    if first < low:  # candles are missing since its last one
        tail = np.concatenate([np.full(low - first, np.nan, "<f4"), tail])
    fresh = first == start
    handle = os.open(path, os.O_WRONLY | (os.O_CREAT if fresh else 0), 0o644)
    try:
        if fresh:
            tail, place = np.concatenate([np.array([start], "<f4"), tail]), 0
        else:
            place = 4 * (1 + first - start)
            if os.fstat(handle).st_size < place:
                raise StoreError("the file has become shorter", where=path, remedy=REBUILD)
        _write(handle, memoryview(tail.tobytes()), place)
    finally:
        os.close(handle)


def _write(handle: int, data: memoryview, place: int) -> None:
    """All of ``data`` at an offset: one call may write less than it was given."""
    while len(data):
        count = os.pwrite(handle, data, place)
        data, place = data[count:], place + count


def _dense(made: Provider, rows: Rows, low: int, high: int) -> Panel:
    """The candles on the calendar rows ``[low, high)``, a column a member ``[T, N]``."""
    width = len(made.members)
    column = {name: place for place, name in enumerate(made.members)}
    columns = np.array([column[name] for name in rows.ids], np.int64)
    at = (rows.time - made.start) // made.timeframe.nanoseconds - low
    flat = at * width + columns[rows.codes]
    fields = {}
    for name, values in rows.values.items():
        dense = np.full((high - low, width), np.nan, np.float32)
        dense.reshape(-1)[flat] = values
        fields[name] = dense
    time = made.time[low:high]
    return Panel(made.timeframe, time, tuple(made.members), fields, np.repeat(time[:1], width))
