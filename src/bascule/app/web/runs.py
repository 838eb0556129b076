"""Runs as `bascule run` leaves them: stage markers, the factors' table, backtest, bundle, report.

Backtests are read from freqtrade's result file directly: its own reader takes seconds and hundreds of
megabytes to import.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule.app.web.kept import Kept, Missing, as_written, folders, readable, thinned
from bascule.core import StoreError

MARKERS = ("data", "factors", "train", "signals", "backtest", "report")


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Attributes:
        name: of the folder.
        folder: the run.
        facts: stage → what its marker says.
        seconds: stage → wall seconds.
        changed: when a stage was finished last, UTC.
    """

    name: str
    folder: Path
    facts: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    changed: datetime

    @property
    def finished(self) -> bool:
        """All stages are done."""
        return "report" in self.facts

    @property
    def backtest(self) -> dict[str, Any]:
        """Figures of the strategy in the backtest; empty before it."""
        found = self.facts.get("backtest", {}).get("comparison") or [{}]
        return dict(found[0])

    @property
    def synthetic(self) -> bool:
        """On a generated market, by the names of its instruments."""
        return str(self.facts.get("backtest", {}).get("leader", "")).startswith("SYN")

    def work(self, stage: str, *parts: str) -> Path:
        """A path in the folder of a finished stage.

        Raises:
            Missing: the stage is not finished.
        """
        if stage not in self.facts:
            raise Missing(f"the stage {stage} of {self.name} is not done")
        fingerprint = json.loads((self.folder / "stages" / f"{stage}.json").read_text("utf-8"))["fingerprint"]
        return self.folder.joinpath("work", f"{stage}-{fingerprint[:8]}", *parts)

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.work("signals", "bundles", str(self.facts["signals"]["bundle"]))


@dataclass(frozen=True)
class Measured:
    """A factor's measurements in a run, at the run's horizon."""

    rank_ic: float | None
    t: float | None
    ic: float | None
    turnover: float | None


class Runs:
    """All runs below a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._marker = Kept(_json, 512)
        self._trades = Kept(_trades, 4)
        self._frame = Kept(_table, 24)
        self._manifest = Kept(_json, 32)

    def all(self) -> list[Run]:
        """Those that can be read, newest first."""
        found, _ = readable(folders(self.home), self._run)
        return sorted(found, key=lambda run: run.changed, reverse=True)

    def problems(self) -> tuple[str, ...]:
        """Why others cannot be read."""
        return readable(folders(self.home), self._run)[1]

    def get(self, name: str) -> Run:
        """One of them.

        Raises:
            Missing: there is none of that name.
            StoreError: its markers are not as `bascule run` writes them.
        """
        path = folders(self.home).get(name)  # looked up, never joined: a name cannot lead elsewhere
        run = as_written(self._run)(name, path) if path else None
        if run is None:
            raise Missing(f"there is no run {name!r}")
        return run

    def _run(self, name: str, folder: Path) -> Run | None:
        facts, seconds, latest = {}, {}, 0.0
        for stage in MARKERS:
            path = folder / "stages" / f"{stage}.json"
            try:
                record = self._marker(path)
                latest = max(latest, path.stat().st_mtime)
            except (Missing, FileNotFoundError):
                continue
            facts[stage], seconds[stage] = dict(record["facts"]), float(record["seconds"])
        if not facts:
            return None
        return Run(name, folder, facts, seconds, datetime.fromtimestamp(latest, UTC))

    # -- parts of a run ------------------------------------------------------------------------------

    @as_written
    def manifest(self, run: Run) -> dict[str, Any]:
        """The bundle's manifest."""
        found: dict[str, Any] = self._manifest(run.bundle / "manifest.json")
        return found

    @as_written
    def alpha(self, run: Run) -> dict[str, Any]:
        """Out-of-sample figures of the alpha."""
        found: dict[str, Any] = self._manifest(run.work("signals", "alpha.json"))
        return found

    @as_written
    def cumulative(self, run: Run) -> tuple[list[str], dict[str, list[float | None]]]:
        """Times and running sums of IC and rank IC."""
        table = self._frame(run.work("signals", "alpha.parquet"))[["ic", "rank_ic"]].dropna()
        total = table.cumsum()
        rows = thinned(len(total))
        return times(total.index[rows]), {
            "IC": numbers(total["ic"].iloc[rows]),
            "rank IC": numbers(total["rank_ic"].iloc[rows]),
        }

    @as_written
    def equity(self, run: Run) -> tuple[list[str], dict[str, list[float | None]]]:
        """Times and wealth from 1: the strategy's, and what it is compared with."""
        import pandas as pd

        curves = self._frame(run.work("backtest", "curves.parquet"))
        result = run.work("backtest", str(run.facts["backtest"]["result"]))
        found = {"equal_weight": curves["equal_weight"], "leader": curves["leader"]}
        marked = result.with_suffix(".equity.parquet")
        if marked.is_file():
            found = {"strategy": self._frame(marked)["equity"], **found}
        table = pd.DataFrame(found).sort_index().ffill().dropna()
        if table.empty:
            return [], {}
        table = table / table.iloc[0]
        rows = thinned(len(table))
        named = {"leader": f"{run.facts['backtest']['leader']}", "equal_weight": "equal weight"}
        return times(table.index[rows]), {
            named.get(name, name): numbers(table[name].iloc[rows]) for name in table.columns
        }

    @as_written
    def trades(self, run: Run) -> list[dict[str, Any]]:
        """Closed trades of the backtest, as freqtrade tells them."""
        return self._trades(run.work("backtest", str(run.facts["backtest"]["result"])))

    @as_written
    def factors(self, run: Run) -> tuple[int, dict[str, Measured]]:
        """The horizon, and measurements by factor text."""
        spec = self.manifest(run)["spec"]
        table, horizon = self._frame(run.work("factors", "factors.parquet")), int(spec["horizon"])
        known = sorted(set(table.index.get_level_values("horizon")))
        nearest = min(known, key=lambda one: abs(one - horizon))
        at = table.xs(nearest, level="horizon")
        texts = {one["name"]: one["text"] for one in spec["factors"]}
        found = {}
        for name, row in at.iterrows():
            values = (row["rank_ic"], row["rank_t"], row["ic"], row["turnover"])
            found[texts.get(str(name), str(name))] = Measured(*(number(v) for v in values))
        return nearest, found


def number(value: Any) -> float | None:
    """A finite float, or None."""
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values: Any, digits: int = 6) -> list[float | None]:
    """Finite floats, rounded for the way to the browser, or None."""
    return [None if not math.isfinite(v) else float(f"{v:.{digits}g}") for v in map(float, values)]


def times(index: Any) -> list[str]:
    """UTC times as text, to the minute."""
    return [str(t) for t in index.strftime("%Y-%m-%d %H:%M")]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StoreError(f"not JSON: {error}", where=path.name, remedy="run the stage again") from None
    if not isinstance(found, dict):
        raise StoreError("not a JSON object", where=path.name, remedy="run the stage again")
    return found


def _table(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _trades(path: Path) -> list[dict[str, Any]]:
    keys = (
        "pair", "is_short", "open_date", "close_date", "open_rate", "close_rate", "stake_amount", "leverage",
        "profit_ratio", "profit_abs", "exit_reason", "enter_tag",
    )  # fmt: skip
    try:
        with zipfile.ZipFile(path) as packed:
            stats = json.loads(packed.read(f"{path.stem}.json"))["strategy"]
        (only,) = stats.values()
        return [{key: trade.get(key) for key in keys} for trade in only["trades"]]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"not a backtest result of freqtrade: {error}", where=path.name, remedy="run the backtest again"
        ) from None
