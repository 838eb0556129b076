"""The derived, disposable form of the candles: arrays that we read, and a plain qlib provider folder.

::

    <folder>/arrays/close.f32               every candle of every instrument, a row a candle open
    <folder>/calendars/60min.txt            every candle open, no holes
    <folder>/instruments/all.txt            id, first and last candle
    <folder>/features/btc_usdt/close.60min.bin
    <folder>/bascule.json                   what it was made from, how long it is, and checksums

Arrays are plain little-endian float32 ``[rows, instruments]`` without a header, instruments sorted, so that a
panel is a mapping of the file and nothing is copied. A ``.bin`` holds float32 too: the calendar index of the
first candle, then one value a row up to the last candle. The values of both are those of the prepared panel
(`prepare.py`).

Both only ever grow (`building.py`): bytes that `bascule.json` counts never change, and what lies behind them
is no part of the provider yet. Who read an older `bascule.json` goes on with what it counts.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import zlib
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bascule.core import DataError, Panel, StoreError, Timeframe, UniverseError, moment
from bascule.core.timeframe import Moment, TimeArray
from bascule.data.rows import FloatArray

NAME = "bascule.json"
CURRENT = "current"
SCHEMA = 2
_THREADS = 4
_SMALL = 1 << 20  # bytes
_BLOCK = 16  # instruments: their values in a row of the panel fill a cache line
_FEW = 8  # an eighth of the instruments is read from their bins, more from the arrays
REBUILD = "build the provider again"


@dataclass(frozen=True)
class Member:
    """One instrument: calendar index of its first candle, number of rows."""

    start: int
    rows: int

    @property
    def stop(self) -> int:
        """Past its last row."""
        return self.start + self.rows


@dataclass(frozen=True)
class Provider:
    """A provider folder, as long as its `bascule.json` was when it was opened.

    Attributes:
        path: the folder.
        timeframe: candle length.
        fingerprint: of the candles that it was made from.
        vwap: how `vwap` was made.
        start: first candle open, ns since 1970.
        rows: length of the calendar.
        fields: names of arrays and bins, sorted.
        members: store id → its place in the calendar, in the order of the arrays' columns.
        months: month → digest of the candles that it was made from.
        checks: field → CRC-32 of its array.
    """

    path: Path
    timeframe: Timeframe
    fingerprint: str
    vwap: str
    start: int
    rows: int
    fields: tuple[str, ...]
    members: dict[str, Member]
    months: dict[str, str]
    checks: dict[str, int]

    @property
    def time(self) -> TimeArray:
        """The calendar ``[rows]``."""
        return np.datetime64(self.start, "ns") + np.arange(self.rows) * self.timeframe.delta

    @classmethod
    def open(cls, path: Path) -> Provider:
        """Open a folder.

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
                {name: Member(*member) for name, member in sorted(raw["members"].items())},
                dict(raw["months"]),
                dict(raw["checks"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"the provider is missing or damaged ({type(error).__name__})",
                where=str(place),
                remedy=REBUILD,
            ) from error

    def told(self) -> dict[str, Any]:
        """What `bascule.json` says."""
        return {
            "schema": SCHEMA,
            "timeframe": str(self.timeframe),
            "fingerprint": self.fingerprint,
            "vwap": self.vwap,
            "start": self.start,
            "rows": self.rows,
            "fields": self.fields,
            "members": {name: [member.start, member.rows] for name, member in self.members.items()},
            "months": self.months,
            "checks": self.checks,
        }

    def bin(self, instrument: str, name: str) -> Path:
        """The file of one field of one instrument."""
        return Path(self.bins([instrument], name)[0])

    def bins(self, instruments: Iterable[str], name: str) -> list[str]:
        """The files of one field of instruments."""
        # texts: with thousands of files, objects for paths cost more than the files
        end = f"{name}.{self.timeframe.qlib}.bin"
        return [f"{self.path}/features/{instrument.lower()}/{end}" for instrument in instruments]

    @property
    def calendar(self) -> Path:
        """File of all candle opens."""
        return self.path / "calendars" / f"{self.timeframe.qlib}.txt"

    @property
    def markets(self) -> Path:
        """File of all instruments."""
        return self.path / "instruments" / "all.txt"

    def market_lines(self) -> str:
        """What `markets` holds: id, first and last candle."""
        firsts = texts(self.time[[member.start for member in self.members.values()]], self.timeframe)
        lasts = texts(self.time[[member.stop - 1 for member in self.members.values()]], self.timeframe)
        return lines(map("\t".join, zip(self.members, firsts, lasts, strict=True)))

    def array(self, name: str) -> Path:
        """The file of one field of all instruments."""
        return self.path / "arrays" / f"{name}.f32"

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
        names = known(instruments, self.members, self.path)
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
        listed = time[np.array([self.members[name].start for name in names])]
        arrays = dict(zip(wanted, self._fields(wanted, names, low, high), strict=True))
        return Panel(self.timeframe, time[low:high], names, arrays, listed)

    def _fields(self, fields: Sequence[str], names: Sequence[str], low: int, high: int) -> list[FloatArray]:
        """Fields on the rows ``low:high`` of the calendar, each ``[T, N]``."""
        if len(names) == len(self.members):
            return [self.mapped(name, low, high) for name in fields]
        with ThreadPoolExecutor(_THREADS) as pool:  # reading and turning release the interpreter
            if len(names) * _FEW <= len(self.members):
                return list(pool.map(lambda name: self._of_bins(name, names, low, high), fields))
            place = {name: column for column, name in enumerate(self.members)}
            columns = np.array([place[name] for name in names])
            return list(pool.map(lambda name: self.mapped(name, low, high).take(columns, axis=1), fields))

    def mapped(self, name: str, low: int, high: int) -> FloatArray:
        """One field of all instruments on the rows ``low:high`` ``[T, N]``: a private mapping of the file.

        Who writes to it changes a copy of the pages, never the file. A few rows are copied at once: every
        mapping keeps a file open.

        Raises:
            StoreError: the file is missing or too short.
        """
        path, width = self.array(name), 4 * len(self.members)
        pages: mmap.mmap | bytearray
        skip = low * width // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        try:
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
                # the whole file is looked at, so that a damaged one is told whatever the range
                if os.fstat(stream.fileno()).st_size < width * self.rows:
                    raise StoreError("the array is too short", where=str(path), remedy=REBUILD)
                if (high - low) * width <= _SMALL:
                    stream.seek(low * width)
                    pages, skip = bytearray(stream.read((high - low) * width)), low * width
                else:
                    length = high * width - skip
                    pages = mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_COPY, offset=skip)
        except OSError as error:
            raise StoreError(f"cannot be read ({error})", where=str(path), remedy=REBUILD) from error
        found = np.frombuffer(pages, "<f4", offset=low * width - skip).reshape(high - low, len(self.members))
        return found if sys.byteorder == "little" else found.astype(np.float32)

    def _of_bins(self, name: str, instruments: Sequence[str], low: int, high: int) -> FloatArray:
        """One field on the rows ``low:high`` of the calendar ``[T, N]``, from the files of instruments."""
        found = np.empty((high - low, len(instruments)), np.float32)
        # a few instruments at a time: their rows stay in the cache until they are turned into columns
        block = np.empty((min(_BLOCK, len(instruments)), high - low), "<f4")
        for start in range(0, len(instruments), _BLOCK):
            some = instruments[start : start + _BLOCK]
            for row, instrument in zip(block, some, strict=False):
                member = self.members[instrument]
                first = min(max(low, member.start), high)
                last = max(first, min(high, member.stop))
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
        if size < 4 * (member.rows + 1) or int(head[0]) != member.start:
            raise StoreError("the file is not of the calendar", where=str(path), remedy=REBUILD)

    def verify(self) -> int:
        """Compare all arrays with their checksums, all bins with them, calendar and instruments with both.

        What a writer that was killed has put behind an array or a line is no damage: nobody reads it.

        Returns:
            How many files were read.

        Raises:
            StoreError: one of them differs.
        """
        for name in self.fields:
            values = self.mapped(name, 0, self.rows)
            if zlib.crc32(values.astype("<f4", copy=False).data) != self.checks[name]:
                raise StoreError(
                    "the array has another checksum", where=str(self.array(name)), remedy=REBUILD
                )
            for column, (instrument, member) in enumerate(self.members.items()):
                path = self.bin(instrument, name)
                found = np.empty(member.rows, "<f4")
                self._read(instrument, name, 0, found)
                if found.tobytes() != values[member.start : member.stop, column].astype("<f4").tobytes():
                    raise StoreError("the file is not what the array has", where=str(path), remedy=REBUILD)
        self._verify_texts()
        return (len(self.members) + 1) * len(self.fields) + 2

    def _verify_texts(self) -> None:
        """The files that only qlib reads."""
        found = {}
        for path in (self.calendar, self.markets):
            try:
                found[path] = path.read_bytes()
            except OSError as error:
                raise StoreError(
                    f"the file cannot be read ({error.strerror})", where=str(path), remedy=REBUILD
                ) from None
        calendar = found[self.calendar]
        rows = max(self.rows, calendar.count(b"\n"))
        if calendar != lines(texts(replace(self, rows=rows).time, self.timeframe)).encode():
            raise StoreError(
                "the file is no calendar of the candles", where=str(self.calendar), remedy=REBUILD
            )
        # a killed writer that has made the calendar longer may have made the spans longer, too
        if rows == self.rows and found[self.markets] != self.market_lines().encode():
            raise StoreError("the file is not what the arrays have", where=str(self.markets), remedy=REBUILD)


def known(wanted: Iterable[str] | None, at_hand: Collection[str], path: Path) -> tuple[str, ...]:
    """The wanted instruments, sorted; None = all at hand.

    Raises:
        UniverseError: an unknown instrument was named, or none.
    """
    names = tuple(sorted(at_hand if wanted is None else set(wanted)))
    unknown = [name for name in names if name not in at_hand]
    if unknown or not names:
        raise UniverseError(
            f"unknown instruments {', '.join(unknown)}" if unknown else "no instruments were named",
            where=str(path),
            remedy=f"the store holds {len(at_hand)}: {', '.join(sorted(at_hand)[:8])}, …",
        )
    return names


def lines(found: Iterable[str]) -> str:
    """A text of whole lines."""
    return "\n".join([*found, ""])


def texts(time: TimeArray, timeframe: Timeframe) -> list[str]:
    """Times as qlib writes them in calendars and markets."""
    unit = "datetime64[D]" if timeframe.seconds % 86_400 == 0 else "datetime64[s]"
    return [text.replace("T", " ") for text in time.astype(unit).astype(str).tolist()]
