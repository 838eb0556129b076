"""The reading half of the store: any number of processes, at any time, without a lock.

A reader takes the state of one manifest. When writers meanwhile remove a file of that state (they keep the
files of the state before theirs), it starts again with the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from bascule.core import Panel, Progress, StoreError, Timeframe, UniverseError, moment, silent
from bascule.core.timeframe import Moment
from bascule.data import memberships, partitions, pointintime, slow
from bascule.data.manifest import Manifest, Section, Table
from bascule.data.provider import CURRENT, REBUILD, Provider, known
from bascule.data.sections import read_rows
from bascule.data.universe import UniverseSettings

if TYPE_CHECKING:
    import pandas as pd

_AGAIN = 5  # times that a reader who is overtaken by writers starts again
Found = TypeVar("Found")


class Reader:
    """Candles and slow data of a store on disk."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes at hand, shortest first."""
        return tuple(sorted(Timeframe.parse(name) for name in Manifest.read(self.path).sections))

    def instruments(self, timeframe: Timeframe | str) -> tuple[str, ...]:
        """Store ids of a timeframe, sorted."""
        return tuple(sorted(self.section(timeframe).spans))

    def span(self, timeframe: Timeframe | str) -> tuple[np.datetime64, np.datetime64]:
        """Open times of the first and the last candle of a timeframe."""
        spans = self.section(timeframe).spans.values()
        return moment(min(first for first, _ in spans)), moment(max(last for _, last in spans))

    def section(self, timeframe: Timeframe | str) -> Section:
        """What the manifest says of a timeframe: months, spans, repairs, row count.

        Raises:
            StoreError: there is no store, or it has no such candles.
        """
        return Manifest.read(self.path).section(Timeframe.of(timeframe), self.path)

    def fingerprint(self, timeframe: Timeframe | str) -> str:
        """A digest (16 hex digits) of all candles of a timeframe."""
        return self.section(timeframe).fingerprint()

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
        return self._steady(lambda: self._frame(Timeframe.of(timeframe), start, end, instruments))

    def _frame(
        self,
        timeframe: Timeframe,
        start: Moment | None,
        end: Moment | None,
        instruments: Sequence[str] | None,
    ) -> pd.DataFrame:
        section = self.section(timeframe)
        names = known(instruments, section.spans, self.path)
        rows = read_rows(section, self.path, start, end)
        if instruments is not None:
            rows = rows.take(np.isin(rows.ids, names)[rows.codes])
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
        return self._provider(Timeframe.of(timeframe)).path

    def panel(
        self,
        timeframe: Timeframe | str,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        instruments: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        slow_fields: Sequence[str] = (),
        universe: str | None = None,
    ) -> Panel:
        """The prepared panel of rows in ``[start, end)``, from the provider.

        `listed` is the first candle in the store, also for a window that starts later.

        Args:
            timeframe: which.
            start: first candle open.
            end: candles open before it.
            instruments: store ids; default all.
            fields: of the candles; default all.
            slow_fields: tables (``onchain``) or their fields (``onchain.mvrv``), joined point-in-time.
            universe: a universe of `save_universe`, as the panel's membership.

        Raises:
            StoreError: no provider was built, or it is older than the candles; no such table or universe.
            UniverseError: an unknown instrument was named, or none.
            DataError: an unknown field was named, or no row lies in the range.
        """

        def load() -> Panel:
            provider = self._provider(Timeframe.of(timeframe))
            panel = provider.panel(start, end, instruments, fields)
            if universe is not None:
                panel = panel.with_universe(memberships.read(provider, universe, panel))
            for name, wanted in _tables(slow_fields).items():
                table = self._table(name)
                panel = pointintime.join(
                    panel, slow.read(table, self.path), cast(slow.Scope, table.scope), fields=wanted
                )
            return panel

        return self._steady(load)

    @property
    def tables(self) -> dict[str, Table]:
        """Slow data at hand, by name."""
        return dict(Manifest.read(self.path).tables)

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table of slow data, revisions too.

        Raises:
            StoreError: no such table, or a damaged file.
        """
        return self._steady(lambda: slow.read(self._table(name), self.path))

    def universes(self, timeframe: Timeframe | str) -> dict[str, UniverseSettings]:
        """The universes that are kept for a timeframe."""
        told = Manifest.read(self.path).universes.get(str(Timeframe.of(timeframe)), {})
        return {name: UniverseSettings.read(values) for name, values in told.items()}

    def has_members(self, name: str, timeframe: Timeframe | str) -> bool:
        """Whether a kept universe has had any member so far.

        Raises:
            StoreError: no provider was built, or it has no such universe.
        """
        return self._steady(lambda: memberships.any_members(self._provider(Timeframe.of(timeframe)), name))

    def verify(self, progress: Progress = silent) -> int:
        """Read everything and compare it with its checksums; returns the number of files.

        Raises:
            StoreError: the first damaged or missing file, and what to do.
        """
        manifest = Manifest.read(self.path)
        parts = manifest.parts()
        for step, part in enumerate(parts):
            progress(step, len(parts), f"verify {part.file}")
            partitions.verified(part, self.path)
        count = len(parts)
        for name in manifest.sections:
            link = self.path / "provider" / name / CURRENT
            if link.is_symlink():
                count += Provider.open(link.resolve()).verify()
        progress(len(parts), len(parts), "verify")
        return count

    # -- inside ------------------------------------------------------------------------------------

    def _table(self, name: str) -> Table:
        tables = Manifest.read(self.path).tables
        if name not in tables:
            raise StoreError(
                f"the store has no table {name!r}",
                where=str(self.path),
                remedy=f"tables at hand: {', '.join(sorted(tables)) or 'none'}",
            )
        return tables[name]

    def _steady(self, read: Callable[[], Found]) -> Found:
        """Read again when writers removed the files of the state that was being read."""
        for left in reversed(range(_AGAIN)):
            before = Manifest.read(self.path).version
            try:
                return read()
            except StoreError:
                if not left or Manifest.read(self.path).version == before:
                    raise
        raise AssertionError("unreachable")

    def _provider(self, timeframe: Timeframe) -> Provider:
        section = self.section(timeframe)
        link = self.path / "provider" / str(timeframe) / CURRENT
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


def _tables(wanted: Sequence[str]) -> dict[str, list[str] | None]:
    """Table → its fields, None = all."""
    found: dict[str, list[str] | None] = {}
    for text in wanted:
        name, _, field = text.partition(".")
        if not field:
            found[name] = None
        elif found.setdefault(name, []) is not None:
            found[name] = [*(found[name] or ()), field]
    return found
