"""The derived, disposable form of the candles: a plain qlib provider folder, which we read too.

::

    <folder>/calendars/60min.txt            every candle open, no holes
    <folder>/instruments/all.txt            id, first and last candle
    <folder>/features/btc_usdt/close.60min.bin
    <folder>/bascule.json                   what it was made from, and checksums

A ``.bin`` holds little-endian float32: the calendar index of the first candle, then one value a row up to the
last candle. The values are those of the prepared panel (`prepare.py`). A finished folder is never changed,
but for universes, which are added to it (`memberships.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bascule.core import DataError, Panel, Progress, StoreError, Timeframe, UniverseError, moment
from bascule.core.timeframe import Moment, TimeArray
from bascule.data.prepare import Vwap, prepare
from bascule.data.rows import FloatArray, Int64Array, Rows

NAME = "bascule.json"
SCHEMA = 1
_THREADS = 4
_BLOCK = 16  # instruments: their values in a row of the panel fill a cache line
_LONGEST = 2**24  # a float32 counts exactly up to here
REBUILD = "build the provider again"


@dataclass(frozen=True)
class Member:
    """One instrument: calendar index of its first candle, number of rows, checksum of its bins."""

    start: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class Provider:
    """A finished provider folder.

    Attributes:
        path: the folder.
        timeframe: candle length.
        fingerprint: of the candles that it was made from.
        vwap: how `vwap` was made.
        start: first candle open, ns since 1970.
        rows: length of the calendar.
        fields: names of the bins.
        members: store id → its place in the calendar.
    """

    path: Path
    timeframe: Timeframe
    fingerprint: str
    vwap: str
    start: int
    rows: int
    fields: tuple[str, ...]
    members: dict[str, Member]

    @property
    def time(self) -> TimeArray:
        """The calendar ``[rows]``."""
        return np.datetime64(self.start, "ns") + np.arange(self.rows) * self.timeframe.delta

    @classmethod
    def open(cls, path: Path) -> Provider:
        """Open a finished folder.

        Raises:
            StoreError: it is missing, damaged or of another version.
        """
        place = path / NAME
        try:
            raw: dict[str, Any] = json.loads(place.read_text("utf-8"))
            if raw["schema"] != SCHEMA:
                raise StoreError(
                    f"the provider has schema {raw['schema']}, not {SCHEMA}", where=str(place), remedy=REBUILD
                )
            return cls(
                path,
                Timeframe.parse(raw["timeframe"]),
                raw["fingerprint"],
                raw["vwap"],
                raw["start"],
                raw["rows"],
                tuple(raw["fields"]),
                {name: Member(**member) for name, member in raw["members"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"the provider is missing or damaged ({type(error).__name__})",
                where=str(place),
                remedy=REBUILD,
            ) from error

    def bin(self, instrument: str, name: str) -> Path:
        """The file of one field of one instrument."""
        return self.path / "features" / instrument.lower() / f"{name}.{self.timeframe.qlib}.bin"

    def panel(
        self,
        start: Moment | None,
        end: Moment | None,
        instruments: Sequence[str] | None,
        fields: Sequence[str] | None,
    ) -> Panel:
        """The prepared panel of rows in ``[start, end)``.

        Raises:
            UniverseError: an unknown instrument was named, or none.
            DataError: an unknown field was named, or no row lies in the range.
        """
        names = _known(instruments, self.members, self.path)
        wanted = self.fields if fields is None else tuple(fields)
        unknown = [name for name in wanted if name not in self.fields]
        if unknown:
            raise DataError(
                f"field ${unknown[0]} is not in the store",
                where=str(self.path),
                remedy=f"fields at hand: {', '.join('$' + name for name in self.fields)}",
            )
        time = self.time
        low = 0 if start is None else int(np.searchsorted(time, moment(start)))
        high = len(time) if end is None else int(np.searchsorted(time, moment(end)))
        if low >= high:
            raise DataError(
                f"no candle lies in [{start}, {end})",
                where=str(self.path),
                remedy=f"the store has {time[0]} to {time[-1]}",
            )
        # fields at the same time: reading and turning release the interpreter
        with ThreadPoolExecutor(_THREADS) as pool:
            arrays = list(pool.map(lambda name: self._field(name, names, low, high), wanted))
        listed = time[np.array([self.members[name].start for name in names])]
        return Panel(self.timeframe, time[low:high], names, dict(zip(wanted, arrays, strict=True)), listed)

    def _field(self, name: str, instruments: Sequence[str], low: int, high: int) -> FloatArray:
        """One field on the rows ``low:high`` of the calendar ``[T, N]``."""
        found = np.empty((high - low, len(instruments)), np.float32)
        # a few instruments at a time: their rows stay in the cache until they are turned into columns
        block = np.empty((min(_BLOCK, len(instruments)), high - low), "<f4")
        for start in range(0, len(instruments), _BLOCK):
            some = instruments[start : start + _BLOCK]
            for row, instrument in zip(block, some, strict=False):
                member = self.members[instrument]
                first = min(max(low, member.start), high)
                last = max(first, min(high, member.start + member.rows))
                row[: first - low] = row[last - low :] = np.nan
                # every file is looked at, so that a damaged one is told whatever the range
                self._read(instrument, name, first - member.start, row[first - low : last - low])
            found[:, start : start + len(some)] = block[: len(some)].T
        return found

    def _read(self, instrument: str, name: str, skip: int, out: FloatArray) -> None:
        """Fill ``out`` with values of a file, from its row ``skip`` on.

        Raises:
            StoreError: the file is missing or of the wrong length.
        """
        path, member = self.bin(instrument, name), self.members[instrument]
        head = np.empty(1, "<f4")
        try:
            # not np.memmap: opening one costs more than reading most files
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
                size = os.fstat(stream.fileno()).st_size
                stream.readinto(head.data)
                if len(out):
                    stream.seek(4 * (1 + skip))
                    stream.readinto(out.data)
        except OSError as error:
            raise StoreError(f"cannot be read ({error})", where=str(path), remedy=REBUILD) from error
        if size != 4 * (member.rows + 1) or int(head[0]) != member.start:
            raise StoreError("the file is not of the calendar", where=str(path), remedy=REBUILD)

    def verify(self) -> int:
        """Compare all bins with their checksums, return how many files were read.

        Raises:
            StoreError: one of them differs.
        """
        for instrument, member in self.members.items():
            try:
                found = _digest([self.bin(instrument, name).read_bytes() for name in self.fields])
            except OSError as error:
                raise StoreError("a file is missing", where=str(error.filename), remedy=REBUILD) from error
            if found != member.sha256:
                folder = self.bin(instrument, "close").parent
                raise StoreError("a file has another checksum", where=str(folder), remedy=REBUILD)
        return len(self.members) * len(self.fields)


def _known(wanted: Sequence[str] | None, members: dict[str, Member], path: Path) -> tuple[str, ...]:
    names = tuple(sorted(members if wanted is None else set(wanted)))
    unknown = [name for name in names if name not in members]
    if unknown or not names:
        hand = ", ".join(sorted(members)[:8])
        raise UniverseError(
            f"unknown instruments {', '.join(unknown)}" if unknown else "no instruments were named",
            where=str(path),
            remedy=f"the store holds {len(members)}: {hand}, …",
        )
    return names


def _digest(blobs: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for blob in blobs:
        digest.update(blob)
    return digest.hexdigest()


def build(
    folder: Path, rows: Rows, timeframe: Timeframe, fingerprint: str, vwap: Vwap, progress: Progress
) -> None:
    """Write a provider of sorted rows into the empty ``folder``."""
    axis = timeframe.axis(
        np.datetime64(int(rows.time.min()), "ns"), np.datetime64(int(rows.time.max()), "ns")
    )
    if len(axis) > _LONGEST:
        raise StoreError(
            f"{len(axis)} rows are more than a qlib provider can number ({_LONGEST})",
            where=str(folder),
            remedy="use a longer timeframe",
        )
    bounds = rows.bounds
    members: dict[str, Member] = {}
    lines = []
    fields: tuple[str, ...] = ()
    for code, name in enumerate(rows.ids):
        progress(code, len(rows.ids), f"provider {timeframe}: {name}")
        panel = prepare(_single(rows, name, int(bounds[code]), int(bounds[code + 1]), timeframe), vwap=vwap)
        start = int((panel.time[0] - axis[0]) / timeframe.delta)
        fields = tuple(sorted(panel.fields))
        place = folder / "features" / name.lower()
        place.mkdir(parents=True)
        blobs = []
        for one in fields:
            blob = np.concatenate([[np.float32(start)], panel[one][:, 0]]).astype("<f4").tobytes()
            (place / f"{one}.{timeframe.qlib}.bin").write_bytes(blob)
            blobs.append(blob)
        members[name] = Member(start, len(panel.time), _digest(blobs))
        lines.append("\t".join([name, *texts(panel.time[[0, -1]], timeframe)]))
    (folder / "calendars").mkdir()
    (folder / "calendars" / f"{timeframe.qlib}.txt").write_text("\n".join(texts(axis, timeframe)) + "\n")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text("\n".join(lines) + "\n")
    about = {
        "schema": SCHEMA,
        "timeframe": str(timeframe),
        "fingerprint": fingerprint,
        "vwap": vwap,
        "start": int(axis[0].astype(np.int64)),
        "rows": len(axis),
        "fields": fields,
        "members": {name: asdict(member) for name, member in members.items()},
    }
    (folder / NAME).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    progress(len(rows.ids), len(rows.ids), f"provider {timeframe}")


def _single(rows: Rows, name: str, start: int, stop: int, timeframe: Timeframe) -> Panel:
    """One instrument's raw candles on the regular axis from its first to its last ``[T, 1]``."""
    stamps: Int64Array = rows.time[start:stop]
    step = timeframe.seconds * 1_000_000_000
    at = (stamps - stamps[0]) // step
    time = timeframe.axis(np.datetime64(int(stamps[0]), "ns"), np.datetime64(int(stamps[-1]), "ns"))
    fields = {}
    for column, values in rows.values.items():
        dense = np.full((len(time), 1), np.nan, np.float32)
        dense[at, 0] = values[start:stop]
        fields[column] = dense
    return Panel(timeframe, time, (name,), fields, time[:1].copy())


def texts(time: TimeArray, timeframe: Timeframe) -> list[str]:
    """Times as qlib writes them in calendars and markets."""
    unit = "datetime64[D]" if timeframe.seconds % 86_400 == 0 else "datetime64[s]"
    return [text.replace("T", " ") for text in time.astype(unit).astype(str).tolist()]
