"""The store: parquet files are the truth, a qlib provider folder is derived from them.

::

    <store>/manifest.json                       the state; replacing it is the commit
    <store>/candles/1h/2024-01.<digest>.parquet one month, or what was appended to it; content in the name
    <store>/tables/onchain/2024.<digest>.parquet slow data (`slow.py`)
    <store>/provider/1h/<fingerprint>-typical/  derived; fingerprint of when it was made (`provider.py`)
    <store>/provider/1h/current                 symbolic link to the provider in use

`Store.write`
    1. takes the one writer's lock, and removes what a killed writer left and what no state needs any more
       (`transaction.py`);
    2. refuses rows with errors (`health.blocking`), or repairs them as it was told, and counts that;
    3. writes rows that are newer than all that is stored into files of their own, and merges others with the
       months that they touch (`partitions.updated`);
    4. replaces the manifest. Until then readers see the old state, whose files are all still there; they
       go when the next writer starts. A reader that is overtaken twice reads again.

`Store.resample` derives longer timeframes (`resample.py`), `Store.compact` makes one file of each month.
`Store.build_provider` grows the provider by what was appended, or writes a new folder aside and turns the
link (`building.py`). `Store.panel` joins slow data point-in-time (`pointintime.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bascule.core import Progress, StoreError, Timeframe, silent
from bascule.core.files import TEMPORARY
from bascule.core.timeframe import Moment
from bascule.data import building, memberships, partitions, slow
from bascule.data.derived import derive
from bascule.data.lock import writer_lock
from bascule.data.manifest import Manifest, Parts, Section
from bascule.data.partitions import Conflicts
from bascule.data.prepare import Vwap
from bascule.data.reading import Reader
from bascule.data.repair import Repair, repair_rows
from bascule.data.rows import Rows, nanoseconds
from bascule.data.sections import extended, refuse_errors
from bascule.data.transaction import transaction
from bascule.data.universe import UniverseSettings

if TYPE_CHECKING:
    import pandas as pd

_WRITERS = 4  # months that are written at the same time


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


class Store(Reader):
    """Candles on disk, by timeframe. Any number of readers, one writer at a time.

    Args:
        path: the folder.
        patience: seconds that a writer waits for another one before it gives up.
    """

    def __init__(self, path: Path | str, *, patience: float = 0.0) -> None:
        super().__init__(path)
        self.patience = patience

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
    def open(cls, path: Path | str, *, patience: float = 0.0) -> Store:
        """Open a store; writers wait up to ``patience`` seconds for each other.

        Raises:
            StoreError: there is none, or it is damaged or of another version.
        """
        store = cls(path, patience=patience)
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
        timeframe = Timeframe.of(timeframe)
        rows, repaired = repair_rows(Rows.from_frame(frame), repair)
        refuse_errors(rows, timeframe, repair)
        rows = rows.ordered()
        with transaction(self.path, self.patience) as manifest:
            section = manifest.sections.get(str(timeframe), Section())
            if section.source:
                raise StoreError(
                    f"the {timeframe} candles are made from {section.source}",
                    where=str(self.path),
                    remedy=f"write {section.source} candles, then resample again",
                )
            months = dict(section.months)
            newest = {name: nanoseconds(span[1]) for name, span in section.spans.items()}
            split = list(partitions.by_month(rows))
            replaced = 0
            folder = f"candles/{timeframe}"

            def put(item: tuple[str, Rows]) -> tuple[Parts, int]:
                month, new = item
                held = section.months.get(month, ())
                return partitions.updated(held, new, newest, conflicts, self.path, folder, month)

            # several at a time: packing and waiting for the disk release the interpreter
            with ThreadPoolExecutor(_WRITERS) as pool:
                for step, (parts, changed) in enumerate(pool.map(put, split)):
                    month = split[step][0]
                    progress(step, len(split), f"store {timeframe}: {month}")
                    months[month] = parts
                    replaced += changed
            after = extended(section, rows, months, repaired)
            written = Written(
                after.rows - section.rows,
                replaced,
                tuple(month for month, parts in after.months.items() if section.months.get(month) != parts),
                repaired,
            )
            if after != section:
                sections = {**manifest.sections, str(timeframe): after}
                manifest.changed(sections=sections).write(self.path)
            progress(len(split), len(split), f"store {timeframe}")
        return written

    def write_table(
        self,
        name: str,
        frame: pd.DataFrame,
        *,
        scope: slow.Scope,
        units: Mapping[str, str] | None = None,
        revisions: slow.Revisions = "error",
        now: Moment | None = None,
    ) -> Written:
        """Add slow data: ``time``, ``available_time``, ``instrument`` and fields (a `sources.Fetched.frame`).

        Args:
            name: of the table; fields are asked for as ``name`` or ``name.field``.
            frame: the rows.
            scope: what ``instrument`` holds (`pointintime.join`).
            units: field → unit.
            revisions: other values for stored rows: ``"error"`` refuses them, ``"revise"`` keeps what was
                known and adds them as known from ``now`` on, ``"replace"`` forgets what was known.
            now: present time, for revisions.

        Raises:
            StoreError: as `write`, or another scope.
            DataError: the frame is not of this form.
        """
        if not name.isidentifier() or name != name.lower():
            raise StoreError(
                f"{name!r} is no table name", where="Store", remedy="use lower-case, digits and _"
            )
        plain = slow.canonical(frame, where=f"table {name}")
        with transaction(self.path, self.patience) as manifest:
            table = manifest.tables.get(name)
            after, added, replaced = slow.updated(
                table, plain, self.path, name, scope=scope, units=units or {}, revisions=revisions, now=now
            )
            if after != table:
                manifest.changed(tables={**manifest.tables, name: after}).write(self.path)
        before = {} if table is None else table.years
        years = tuple(year for year, part in after.years.items() if before.get(year) != part)
        return Written(added, replaced, years, {})

    def resample(
        self,
        source: Timeframe | str,
        targets: Sequence[Timeframe | str],
        *,
        progress: Progress = silent,
    ) -> tuple[str, ...]:
        """Derive candles of longer timeframes, or bring them up to date; returns the months written.

        Raises:
            StoreError: there are no source candles, or the target holds candles from outside.
            ConfigError: a target is no multiple of the source, or longer than a day.
        """
        written: list[str] = []
        with transaction(self.path, self.patience) as manifest:
            sections = dict(manifest.sections)
            for step, target in enumerate(sorted(Timeframe.of(one) for one in targets)):
                progress(step, len(targets), f"resample {target}")
                after, months = derive(manifest, Timeframe.of(source), target, self.path)
                sections[str(target)] = after
                written += [f"{target} {month}" for month in months]
            if sections != manifest.sections:
                manifest.changed(sections=sections).write(self.path)
            progress(len(targets), len(targets), "resample")
        return tuple(written)

    def compact(self, progress: Progress = silent) -> int:
        """Make one file of each month; returns how many files there are less. Candles stay as they are."""
        fewer = 0
        with transaction(self.path, self.patience) as manifest:
            sections = dict(manifest.sections)
            for name, section in manifest.sections.items():
                months = dict(section.months)
                many = [month for month, parts in months.items() if len(parts) > 1]
                for step, month in enumerate(many):
                    progress(step, len(many), f"compact {name}: {month}")
                    rows = partitions.read_all(months[month], self.path)
                    fewer += len(months[month]) - 1
                    months[month] = (partitions.write(rows, self.path, f"candles/{name}", month),)
                sections[name] = replace(section, months=months)
            if fewer:
                manifest.changed(sections=sections).write(self.path)
        return fewer

    def save_universe(
        self,
        name: str,
        timeframe: Timeframe | str,
        settings: UniverseSettings,
        *,
        progress: Progress = silent,
        empty: Literal["error", "keep"] = "error",
    ) -> Path:
        """Keep a universe: its membership history is made with every provider, also for qlib's markets.

        Args:
            name: lower case; also of the file.
            timeframe: of the candles.
            settings: who is a member.
            progress: called when it is done.
            empty: what to do when no row has a member (yet): refuse it, or keep a universe without members,
                which gets them when candles come.

        Returns:
            ``instruments/<name>.txt`` of the current provider.

        Raises:
            StoreError: no provider was built, or the name is not plain.
            UniverseError: no row has a member, and ``empty`` is ``"error"``.
        """
        timeframe = Timeframe.of(timeframe)
        memberships.must_be_plain(name)
        with transaction(self.path, self.patience) as manifest:
            current = self._provider(timeframe)
            memberships.write(current, name, settings, empty=empty == "keep")
            told = settings.model_dump(mode="json")
            ours = {**manifest.universes.get(str(timeframe), {}), name: told}
            if ours != manifest.universes.get(str(timeframe)):
                manifest.changed(universes={**manifest.universes, str(timeframe): ours}).write(self.path)
        progress(1, 1, f"universe {name}")
        return memberships.file_of(current, name)

    def build_provider(
        self, timeframe: Timeframe | str, *, vwap: Vwap = "typical", progress: Progress = silent
    ) -> Path:
        """Derive the provider of the present candles and make it the current one; returns its folder.

        Nothing is done when the current one is up to date; when candles only came to it, it grows by them
        (`building.py`). Universes that are kept grow with it.

        Raises:
            StoreError: no such candles, a damaged file, or another writer is at work.
            DataError: ``vwap="quote"`` without quote volume.
        """
        timeframe = Timeframe.of(timeframe)
        with transaction(self.path, self.patience) as manifest:
            section = manifest.section(timeframe, self.path)
            told = manifest.universes.get(str(timeframe), {})
            universes = {name: UniverseSettings.read(values) for name, values in told.items()}
            home = self.path / "provider" / str(timeframe)
            return building.refresh(home, section, self.path, timeframe, vwap, universes, progress)


def _is_empty(folder: Path) -> bool:
    """Nothing is there but what a killed `Store.create` may have left."""
    return folder.is_dir() and all(
        item.name == ".lock" or item.name.startswith(TEMPORARY) for item in folder.iterdir()
    )
