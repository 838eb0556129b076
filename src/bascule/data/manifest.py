"""The manifest of a store: the one file whose replacement commits a change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bascule.core import StoreError, Timeframe
from bascule.core.files import fingerprint, write_json
from bascule.data.digest import total

NAME = "manifest.json"
SCHEMA = 2


@dataclass(frozen=True)
class Partition:
    """Rows of one month (of slow data: year) in one file.

    Attributes:
        file: path below the store.
        sha256: checksum of the file.
        content: digest of the rows themselves, whatever wrote the file (`digest.digest`).
        rows: number of rows.
    """

    file: str
    sha256: str
    content: str
    rows: int


Parts = tuple[Partition, ...]


@dataclass(frozen=True)
class Section:
    """All candles of one timeframe.

    Attributes:
        columns: value columns, in order.
        months: ``2024-01`` → its files: one, and one for each append since it was last written as a whole.
        spans: store id → first and last candle open, UTC text.
        repaired: repair → rows moved or dropped, over all writes.
        source: the timeframe that these candles are derived from, "" for candles from outside.
        origin: for derived ones, month → digest of what it was derived from.
    """

    columns: tuple[str, ...] = ()
    months: dict[str, Parts] = field(default_factory=dict)
    spans: dict[str, tuple[str, str]] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    source: str = ""
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of candles."""
        return sum(part.rows for part in self.parts)

    @property
    def parts(self) -> Parts:
        """All files, oldest month first."""
        return tuple(part for _, parts in sorted(self.months.items()) for part in parts)

    def contents(self) -> dict[str, str]:
        """Month → digest of its candles, in whatever files."""
        return {month: total(part.content for part in parts) for month, parts in self.months.items()}

    def fingerprint(self) -> str:
        """A digest (16 hex digits) of columns and candles: equal data, equal digest, in whatever files."""
        return fingerprint([self.columns, self.contents()])


@dataclass(frozen=True)
class Table:
    """A table of slow data.

    Attributes:
        columns: value columns, in order.
        scope: what its `instrument` column holds: instrument, asset, venue or global.
        units: column → unit.
        years: year of availability → its file.
        first: first time of availability, UTC text.
        last: last time of availability, UTC text.
    """

    columns: tuple[str, ...]
    scope: str
    units: dict[str, str]
    years: dict[str, Partition]
    first: str
    last: str

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.years.values())

    def fingerprint(self) -> str:
        """A digest (16 hex digits) of columns and rows."""
        contents = {year: part.content for year, part in self.years.items()}
        return fingerprint([self.columns, self.scope, contents])


@dataclass(frozen=True)
class Manifest:
    """The state of a store.

    Attributes:
        version: number of commits.
        sections: timeframe → its candles.
        tables: name → slow data.
        universes: timeframe → name → settings of a universe (`memberships.py`).
    """

    version: int = 0
    sections: dict[str, Section] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    universes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Path) -> Manifest:
        """Read the manifest of the store at ``store``.

        Raises:
            StoreError: there is no store, or its manifest is damaged or of another version.
        """
        path = store / NAME
        if not path.is_file():
            raise StoreError("there is no store", where=str(store), remedy="ingest data first")
        try:
            raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if raw["schema"] != SCHEMA:
                raise StoreError(
                    f"the store has schema {raw['schema']}, this version reads {SCHEMA}",
                    where=str(path),
                    remedy="ingest the data again into a new store",
                )
            sections = {name: _section(value) for name, value in raw["sections"].items()}
            tables = {name: _table(value) for name, value in raw["tables"].items()}
            return cls(int(raw["version"]), sections, tables, dict(raw["universes"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreError(
                f"the manifest is damaged ({type(error).__name__}: {error})",
                where=str(path),
                remedy="restore it from a backup, or ingest the data again into a new store",
            ) from error

    def write(self, store: Path) -> None:
        """Commit: replace the manifest of the store at ``store`` in one step."""
        write_json(store / NAME, {"schema": SCHEMA, **asdict(self)})

    def section(self, timeframe: Timeframe, store: Path) -> Section:
        """The candles of a timeframe.

        Raises:
            StoreError: the store has none.
        """
        try:
            return self.sections[str(timeframe)]
        except KeyError:
            hand = ", ".join(self.sections) or "none"
            raise StoreError(
                f"the store has no {timeframe} candles",
                where=str(store),
                remedy=f"ingest them; timeframes at hand: {hand}",
            ) from None

    def files(self) -> set[str]:
        """All partition files that this state needs, relative to the store."""
        return {part.file for part in self.parts()}

    def parts(self) -> Parts:
        """All files."""
        candles = tuple(part for section in self.sections.values() for part in section.parts)
        return candles + tuple(part for table in self.tables.values() for part in table.years.values())

    def changed(self, **changes: Any) -> Manifest:
        """The next state."""
        return replace(self, version=self.version + 1, **changes)


def _section(raw: dict[str, Any]) -> Section:
    return Section(
        tuple(raw["columns"]),
        {month: tuple(Partition(**part) for part in parts) for month, parts in raw["months"].items()},
        {name: (span[0], span[1]) for name, span in raw["spans"].items()},
        dict(raw["repaired"]),
        str(raw["source"]),
        dict(raw["origin"]),
    )


def _table(raw: dict[str, Any]) -> Table:
    return Table(
        tuple(raw["columns"]),
        str(raw["scope"]),
        dict(raw["units"]),
        {year: Partition(**part) for year, part in raw["years"].items()},
        str(raw["first"]),
        str(raw["last"]),
    )
