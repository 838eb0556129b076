"""The factor library: shipped libraries, your YAML files and what searches found, with measurements."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bascule.app.web.kept import Kept, Missing
from bascule.app.web.mined import Searches
from bascule.app.web.runs import Measured, Run, Runs
from bascule.core import BasculeError
from bascule.factors import LIBRARIES, Factor, library, load

SHEET_SEPARATOR = "__"


@dataclass(frozen=True)
class Item:
    """A factor in a library; ``measured`` is None where the newest run did not measure its text."""

    library: str
    factor: Factor
    measured: Measured | None


@dataclass(frozen=True)
class Listing:
    """The whole library.

    Attributes:
        items: by library, in its order.
        run: name of the run that measured, "" if none did.
        horizon: of those measurements, candles; 0 if none.
        problems: files that cannot be read, and why.
    """

    items: tuple[Item, ...]
    run: str
    horizon: int
    problems: tuple[str, ...]


class Catalogue:
    """All factors that a researcher can look at.

    Args:
        runs: for measurements.
        searches: whose finds are listed as libraries ``mined:<search>``.
        files: YAML files of factors.
        sheets: folder of tear sheets.
    """

    def __init__(self, runs: Runs, searches: Searches, files: Sequence[Path], sheets: Path) -> None:
        self.runs, self.searches, self.files, self.sheets = runs, searches, tuple(files), sheets
        self._file: Kept[tuple[Factor, ...]] = Kept(load, 256)
        self._lock = threading.Lock()
        self._held: tuple[object, Listing] | None = None

    def libraries(self) -> tuple[dict[str, tuple[Factor, ...]], tuple[str, ...]]:
        """Factors by library, and what cannot be read."""
        found = {name: library(name) for name in LIBRARIES}
        problems = []
        mined = {f"mined:{name}": path for name, path in self.searches.catalogues().items()}
        for name, path in {**{path.stem: path for path in self.files}, **mined}.items():
            try:
                found[name] = self._file(path)
            except BasculeError as error:
                problems.append(f"{path.name}: {error.message}")
        return found, tuple(problems)

    def listing(self) -> Listing:
        """Everything; built again only when something changed."""
        libraries, problems = self.libraries()
        run = next((one for one in self.runs.all() if {"factors", "signals"} <= set(one.facts)), None)
        mark = (
            tuple((name, id(factors)) for name, factors in libraries.items()),
            (run.name, run.changed) if run else None,
            problems,
        )
        with self._lock:
            if self._held is None or self._held[0] != mark:
                self._held = (mark, self._build(libraries, run, problems))
            return self._held[1]

    def _build(
        self, libraries: dict[str, tuple[Factor, ...]], run: Run | None, problems: tuple[str, ...]
    ) -> Listing:
        horizon, measured = 0, dict[str, Measured]()
        if run is not None:
            try:
                horizon, measured = self.runs.factors(run)
            except BasculeError as error:
                problems = (*problems, f"{run.name}: {error.message}")
        items = tuple(
            Item(name, factor, measured.get(factor.text))
            for name, factors in libraries.items()
            for factor in factors
        )
        return Listing(items, run.name if measured and run else "", horizon, problems)

    def get(self, library_name: str, name: str) -> Item:
        """One factor.

        Raises:
            Missing: there is none.
        """
        for item in self.listing().items:
            if item.library == library_name and item.factor.name == name:
                return item
        raise Missing(f"there is no factor {name!r} in {library_name!r}")

    def sheet(self, item: Item) -> Path:
        """Where a factor's tear sheet is, or would be. Names of libraries may hold a colon or a tilde."""
        place = "".join(c if c.isalnum() or c in "-_." else "-" for c in item.library)
        return self.sheets / f"{place}{SHEET_SEPARATOR}{item.factor.name}.html"
