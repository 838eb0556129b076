"""The store: parquet files are the truth, a qlib provider folder is derived from them.

::

    <store>/manifest.json                       the state; replacing it is the commit
    <store>/candles/1h/2024-01.<digest>.parquet one month; its name carries its content
    <store>/provider/1h/<fingerprint>-typical/  derived (`provider.py`)
    <store>/provider/1h/current                 symbolic link to the provider in use

`Store.write`
    1. takes the one writer's lock, and removes what a killed writer left and what no state needs any more;
    2. refuses rows with errors (`health.blocking`), or repairs them as it was told, and counts that;
    3. merges them with the months that they touch and writes these months as new files (`partitions.py`);
    4. replaces the manifest. Until then readers see the old state, whose files are all still there; they
       go when the next writer starts.

`Store.build_provider` writes a new folder aside, renames it, and turns the link; the folder before is kept
for those who still read it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import Panel, Progress, StoreError, Timeframe, UniverseError, moment, silent
from bascule.core.files import TEMPORARY, atomic_folder, point, sweep
from bascule.core.timeframe import Moment
from bascule.data import partitions
from bascule.data.health import blocking
from bascule.data.lock import writer_lock
from bascule.data.manifest import Manifest, Partition, Section
from bascule.data.partitions import Conflicts
from bascule.data.prepare import Vwap
from bascule.data.provider import REBUILD, Provider, build
from bascule.data.repair import Repair, repair_rows
from bascule.data.rows import OHLCV, Rows, concat, stamp

if TYPE_CHECKING:
    import pandas as pd

_CURRENT = "current"


@dataclass(frozen=True)
class Written:
    """What a write did.

    Attributes:
        added: candles that are new.
        replaced: stored candles that got other values.
        months: months whose files were written.
        repaired: repair → rows moved or dropped.
    """

    added: int
    replaced: int
    months: tuple[str, ...]
    repaired: dict[str, int]


class Store:
    """Candles on disk, by timeframe. Any number of readers, one writer at a time."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    # -- opening -----------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path | str) -> Store:
        """Make an empty store.

        Raises:
            StoreError: something is there already.
        """
        store = cls(path)
        if store.path.exists() and not _is_empty(store.path):
            raise StoreError(
                "the place is not empty", where=str(path), remedy="open the store there, or use a new folder"
            )
        store.path.mkdir(parents=True, exist_ok=True)
        with writer_lock(store.path):
            Manifest().write(store.path)
        return store

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store.

        Raises:
            StoreError: there is none, or it is damaged or of another version.
        """
        store = cls(path)
        Manifest.read(store.path)
        return store

    # -- writing -----------------------------------------------------------------------------------

    def write(
        self,
        frame: pd.DataFrame,
        timeframe: Timeframe | str,
        progress: Progress = silent,
        *,
        repair: Collection[Repair] = (),
        conflicts: Conflicts = "error",
    ) -> Written:
        """Add candles (canonical long frame, any order of instruments); nothing is changed if it fails.

        Args:
            frame: the candles.
            timeframe: their length.
            progress: called for every month.
            repair: what may be mended (`repair.repair_rows`); by default rows with errors are refused.
            conflicts: ``"error"`` refuses other values for stored candles, ``"replace"`` takes them. A
                value that the store does not have yet (a new column) is filled in either way.

        Raises:
            StoreError: rows with errors, conflicting values, or another writer is at work.
            DataError: the frame is not canonical.
        """
        timeframe = _parsed(timeframe)
        rows, repaired = repair_rows(Rows.from_frame(frame), repair)
        _refuse_errors(rows, timeframe, repair)
        rows = rows.ordered()
        with writer_lock(self.path):
            manifest = Manifest.read(self.path)
            self._sweep(manifest)
            section = manifest.sections.get(str(timeframe), Section())
            parts = dict(section.months)
            split = list(partitions.by_month(rows))
            replaced = 0
            for step, (month, new) in enumerate(split):
                progress(step, len(split), f"store {timeframe}: {month}")
                if month in parts:
                    new, changed = partitions.merge(partitions.read(parts[month], self.path), new, conflicts)
                    replaced += changed
                if month not in parts or partitions.content(new) != parts[month].content:
                    parts[month] = partitions.write(new, self.path, f"candles/{timeframe}", month)
            after = _extended(section, rows, parts, repaired)
            written = Written(
                after.rows - section.rows,
                replaced,
                tuple(month for month, part in after.months.items() if section.months.get(month) != part),
                repaired,
            )
            if after != section:
                sections = {**manifest.sections, str(timeframe): after}
                Manifest(manifest.version + 1, sections).write(self.path)
            progress(len(split), len(split), f"store {timeframe}")
        return written

    def build_provider(
        self, timeframe: Timeframe | str, *, vwap: Vwap = "typical", progress: Progress = silent
    ) -> Path:
        """Derive the provider of the present candles and make it the current one; returns its folder.

        Nothing is done when the current one is up to date.

        Raises:
            StoreError: no such candles, a damaged file, or another writer is at work.
            DataError: ``vwap="quote"`` without quote volume.
        """
        timeframe = _parsed(timeframe)
        with writer_lock(self.path):
            manifest = Manifest.read(self.path)
            self._sweep(manifest)
            section = manifest.section(timeframe, self.path)
            mark = section.fingerprint()
            home = self.path / "provider" / str(timeframe)
            folder = home / f"{mark}-{vwap}"
            link = home / _CURRENT
            before = link.resolve() if link.is_symlink() else None
            if not folder.exists():
                rows = self._read(section, None, None)
                with atomic_folder(folder) as aside:
                    build(aside, rows, timeframe, mark, vwap, progress)
            if before != folder.resolve():
                point(link, folder)
                for other in home.iterdir():
                    if (
                        other.is_dir()
                        and not other.is_symlink()
                        and other.resolve()
                        not in (
                            folder.resolve(),
                            before,
                        )
                    ):
                        shutil.rmtree(other)
        return folder

    # -- reading -----------------------------------------------------------------------------------

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes at hand, shortest first."""
        return tuple(sorted(Timeframe.parse(name) for name in Manifest.read(self.path).sections))

    def instruments(self, timeframe: Timeframe | str) -> tuple[str, ...]:
        """Store ids of a timeframe, sorted."""
        return tuple(sorted(self._section(timeframe).spans))

    def span(self, timeframe: Timeframe | str) -> tuple[np.datetime64, np.datetime64]:
        """Open times of the first and the last candle of a timeframe."""
        spans = self._section(timeframe).spans.values()
        return moment(min(first for first, _ in spans)), moment(max(last for _, last in spans))

    def section(self, timeframe: Timeframe | str) -> Section:
        """What the manifest says of a timeframe: months, spans, repairs, row count."""
        return self._section(timeframe)

    def fingerprint(self, timeframe: Timeframe | str) -> str:
        """A digest (16 hex digits) of all candles of a timeframe."""
        return self._section(timeframe).fingerprint()

    def frame(
        self,
        timeframe: Timeframe | str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        instruments: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """The candles as they were written (canonical long frame), with opens in ``[start, end)``.

        Raises:
            StoreError: a file is damaged, or there are no such candles.
            UniverseError: an unknown instrument was named, or no candle is left.
        """
        section = self._section(timeframe)
        if instruments is not None:
            unknown = sorted(set(instruments) - set(section.spans))
            if unknown or not instruments:
                raise UniverseError(
                    f"unknown instruments {', '.join(unknown)}" if unknown else "no instruments were named",
                    where=str(self.path),
                    remedy=f"the store holds {len(section.spans)}: {', '.join(sorted(section.spans)[:8])}, …",
                )
        rows = self._read(section, start, end)
        if instruments is not None:
            wanted = np.isin(rows.ids, list(instruments))
            rows = rows.take(wanted[rows.codes])
        if not len(rows):
            raise UniverseError(
                f"no candle lies in [{start}, {end})",
                where=str(self.path),
                remedy="check dates and instruments",
            )
        return rows.frame()

    def provider(self, timeframe: Timeframe | str) -> Path:
        """The current provider folder of a timeframe, for ``qlib.init(provider_uri=…)``.

        Raises:
            StoreError: none was built, or the candles changed since.
        """
        return self._provider(_parsed(timeframe)).path

    def panel(
        self,
        timeframe: Timeframe | str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        instruments: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
    ) -> Panel:
        """The prepared panel of rows in ``[start, end)``, from the memory-mapped provider.

        `listed` is the first candle in the store, also for a window that starts later.

        Raises:
            StoreError: no provider was built, or it is older than the candles.
            UniverseError: an unknown instrument was named, or none.
            DataError: an unknown field was named, or no row lies in the range.
        """
        return self._provider(_parsed(timeframe)).panel(start, end, instruments, fields)

    def verify(self, progress: Progress = silent) -> int:
        """Read everything and compare it with its checksums; returns the number of files.

        Raises:
            StoreError: the first damaged or missing file, and what to do.
        """
        manifest = Manifest.read(self.path)
        parts = [part for section in manifest.sections.values() for part in section.months.values()]
        for step, part in enumerate(parts):
            progress(step, len(parts), f"verify {part.file}")
            partitions.verified(part, self.path)
        count = len(parts)
        for name in manifest.sections:
            link = self.path / "provider" / name / _CURRENT
            if link.is_symlink():
                count += Provider.open(link.resolve()).verify()
        progress(len(parts), len(parts), "verify")
        return count

    # -- inside ------------------------------------------------------------------------------------

    def _section(self, timeframe: Timeframe | str) -> Section:
        return Manifest.read(self.path).section(_parsed(timeframe), self.path)

    def _read(self, section: Section, start: Moment | None, end: Moment | None) -> Rows:
        first = "0000-00" if start is None else str(moment(start).astype("datetime64[M]"))
        last = "9999-99" if end is None else str(moment(end).astype("datetime64[M]"))
        parts = [
            partitions.read(part, self.path)
            for month, part in sorted(section.months.items())
            if first <= month <= last
        ]
        if not parts:
            raise UniverseError(
                f"no candle lies in [{start}, {end})", where=str(self.path), remedy="check the dates"
            )
        rows = concat(parts).with_columns(section.columns)
        if start is None and end is None:
            return rows
        inside = np.ones(len(rows), bool)
        if start is not None:
            inside &= rows.time >= moment(start).astype(np.int64)
        if end is not None:
            inside &= rows.time < moment(end).astype(np.int64)
        return rows.take(inside)

    def _provider(self, timeframe: Timeframe) -> Provider:
        section = self._section(timeframe)
        link = self.path / "provider" / str(timeframe) / _CURRENT
        if not link.is_symlink():
            raise StoreError(f"no provider was built for {timeframe}", where=str(self.path), remedy=REBUILD)
        current = Provider.open(link.resolve())
        if current.fingerprint != section.fingerprint():
            raise StoreError(
                f"the {timeframe} provider is older than the candles",
                where=str(link),
                remedy=REBUILD,
            )
        return current

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what killed writers left and files that the present state does not need."""
        needed = manifest.files()
        sweep(self.path)
        for folder in (*self.path.glob("candles/*"), *self.path.glob("provider/*")):
            sweep(folder)
        for path in self.path.glob("candles/*/*.parquet"):
            if str(path.relative_to(self.path)) not in needed and TEMPORARY not in path.name:
                path.unlink()


def _parsed(timeframe: Timeframe | str) -> Timeframe:
    return Timeframe.parse(timeframe) if isinstance(timeframe, str) else timeframe


def _is_empty(folder: Path) -> bool:
    """Nothing is there but what a killed `Store.create` may have left."""
    return folder.is_dir() and all(
        item.name == ".lock" or item.name.startswith(TEMPORARY) for item in folder.iterdir()
    )


def _refuse_errors(rows: Rows, timeframe: Timeframe, repair: Collection[Repair]) -> None:
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


def _extended(section: Section, rows: Rows, parts: dict[str, Partition], repaired: dict[str, int]) -> Section:
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
        months=dict(sorted(parts.items())),
        spans=spans,
        repaired={**section.repaired, **counts},
    )
