"""The scenarios that matter most, through the real freqtrade."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bascule import __version__
from bascule.bridge.freqtrade import run
from bascule.bridge.freqtrade.robust.settings import KeyPoint, RobustSettings
from bascule.core import Progress, SetupError, silent
from bascule.core.files import fingerprint, write_json
from bascule.evaluate.rows import Float64Array

_LATE = '''\
"""Trades every signal one candle late."""

from bascule.bridge.freqtrade import FactorStrategy
from bascule.bridge.freqtrade.feed import SIGNAL_COLUMNS


class BasculeStrategy(FactorStrategy):
    """The rules as they are, one candle late."""

    def populate_indicators(self, dataframe, metadata):
        dataframe = super().populate_indicators(dataframe, metadata)
        columns = list(SIGNAL_COLUMNS)
        dataframe[columns] = dataframe[columns].shift(1)
        dataframe["covered"] = dataframe["covered"].fillna(0)
        return dataframe
'''
TITLES: dict[KeyPoint, str] = {
    "base": "as it is meant to be",
    "costs": "harsh costs",
    "delay": "one candle late",
    "start": "begun later",
}


@dataclass(frozen=True)
class Point:
    """One backtest of freqtrade. None = the figure cannot be formed.

    Attributes:
        name: key point.
        total: return over the period, marked to market.
        cagr: compound growth a year.
        sharpe: of daily returns, annualised.
        max_drawdown: largest fall.
        trades: closed ones.
        earned: gain of each trade after costs, share of the balance then, by time of exit.
    """

    name: KeyPoint
    total: float | None
    cagr: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: int
    earned: tuple[float, ...]

    @property
    def gains(self) -> Float64Array:
        """``earned`` as an array."""
        return np.array(self.earned, np.float64)


def backtests(
    job: run.Job, settings: RobustSettings, folder: Path, *, progress: Progress = silent
) -> tuple[Point, ...]:
    """Run the key points one after the other; those of an earlier run are read.

    Args:
        job: the base; its folder is not used.
        settings: which key points.
        folder: where user folders and results are kept.
        progress: called before each.

    Raises:
        BridgeError: as `run.backtest`.
    """
    found = []
    for number, name in enumerate(settings.keypoints):
        progress(number, len(settings.keypoints), f"freqtrade: {TITLES[name]}")
        found.append(_point(name, _job(name, job, settings, folder / name), folder))
    progress(len(found), len(settings.keypoints), "")
    return tuple(found)


def _job(name: KeyPoint, job: run.Job, settings: RobustSettings, folder: Path) -> run.Job:
    here = replace(job, folder=folder)
    if name == "costs":
        raised = {one: min(0.05, settings.harsh * getattr(job.settings, one)) for one in ("fee", "slippage")}
        return replace(here, settings=job.settings.model_copy(update=raised))
    if name == "delay":
        return replace(here, source=_LATE, strategy=run.STRATEGY)
    if name == "start":
        first, stop = job.span
        later = first + np.timedelta64(settings.late_start, "D")
        if not later < stop:
            raise SetupError(
                f"a start {settings.late_start} days later leaves no candle",
                where="robustness",
                remedy="shorten late_start, or lengthen the period",
            )
        return replace(here, start=later)
    return here


def _point(name: KeyPoint, job: run.Job, folder: Path) -> Point:
    what = [
        __version__,
        job.bundle.id,
        job.settings.model_dump(),
        job.timerange,
        job.source,
        job.pairs,
        _stamps(job.datadir),
    ]
    path = folder / f"{name}-{fingerprint(what)}.json"
    if path.is_file():
        values = json.loads(path.read_text("utf-8"))
        return Point(**{**values, "earned": tuple(values["earned"])})
    result = run.backtest(job)
    figures = result.metrics
    total = float(result.equity.iloc[-1] / result.equity.iloc[0] - 1.0)
    point = Point(
        name,
        total=total,
        **{one: _finite(figures[one]) for one in ("cagr", "sharpe", "max_drawdown")},
        trades=len(result.trades),
        earned=tuple(_gains(result.trades, job.settings.wallet)),
    )
    write_json(path, asdict(point))
    return point


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _stamps(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of the candle files: other candles, other result."""
    return [(one.name, one.stat().st_size) for one in sorted(folder.rglob("*.feather"))]


def _gains(trades: object, wallet: float) -> Sequence[float]:
    """Profit of each trade over the balance of closed trades before its exit."""
    import pandas as pd

    assert isinstance(trades, pd.DataFrame)
    if trades.empty:
        return []
    profit = trades.sort_values(["close_date", "pair"])["profit_abs"].to_numpy(np.float64)
    before = wallet + np.concatenate([[0.0], np.cumsum(profit)[:-1]])
    gains = np.divide(profit, before, out=np.full(len(profit), -0.999), where=before > 0.0)
    return [float(max(one, -0.999)) for one in gains]
