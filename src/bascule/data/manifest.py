"""The manifest of a store: the one file whose replacement commits a change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bascule.core import StoreError, Timeframe
from bascule.core.files import fingerprint, write_json

NAME = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Partition:
    """One month of candles in one file.

    Attributes:
        file: path below the store.
        sha256: checksum of the file.
        content: digest of the candles themselves, whatever wrote the file.
        rows: number of candles.
    """

    file: str
    sha256: str
    content: str
    rows: int


@dataclass(frozen=True)
class Section:
    """All candles of one timeframe.

    Attributes:
        columns: value columns, in order.
        months: ``2024-01`` → its file.
        spans: store id → first and last candle open, UTC text.
        repaired: repair → rows moved or dropped, over all writes.
    """

    columns: tuple[str, ...] = ()
    months: dict[str, Partition] = field(default_factory=dict)
    spans: dict[str, tuple[str, str]] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of candles."""
        return sum(part.rows for part in self.months.values())

    def fingerprint(self) -> str:
        """A digest (16 hex digits) of columns and candles: equal data, equal digest."""
        return fingerprint([self.columns, {month: part.content for month, part in self.months.items()}])


@dataclass(frozen=True)
class Manifest:
    """The state of a store.

    Attributes:
        version: number of commits.
        sections: timeframe → its candles.
    """

    version: int = 0
    sections: dict[str, Section] = field(default_factory=dict)

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
            return cls(int(raw["version"]), sections)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        return {part.file for section in self.sections.values() for part in section.months.values()}


def _section(raw: dict[str, Any]) -> Section:
    return Section(
        tuple(raw["columns"]),
        {month: Partition(**part) for month, part in raw["months"].items()},
        {name: (span[0], span[1]) for name, span in raw["spans"].items()},
        dict(raw["repaired"]),
    )
