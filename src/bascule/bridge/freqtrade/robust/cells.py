"""Scenario to figures: rules → weights → `portfolio.simulate` → figures after costs; finished cells are kept.

1. Scenarios are run in batches as large as memory allows (`book.hold`).
2. Each finished batch is one small JSON file, named by digest of everything that its figures follow from. A
   study that was cut off goes on with the first batch that has no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bascule import __version__
from bascule.bridge.freqtrade.results import risk_figures
from bascule.bridge.freqtrade.robust.book import Held, Market, Scenario, Trades, hold
from bascule.core import Progress, silent
from bascule.core.files import fingerprint, write_json
from bascule.evaluate.rows import Float64Array
from bascule.portfolio import Frictions, Simulation, simulate

_FLOATS = 6_000_000  # of one batch's largest array


@dataclass(frozen=True)
class Cell:
    """Figures of one scenario, after costs. None = the figure cannot be formed.

    Attributes:
        test: the test that it belongs to.
        name: the scenario's.
        total: return over the whole period.
        cagr: compound growth a year.
        sharpe: of daily returns, annualised.
        max_drawdown: largest fall.
        turnover: Σ|Δw| a day.
        costs: fees and slippage paid, sum of shares of equity.
        trades: closed ones.
        scenario: what was run, as plain values.
    """

    test: str
    name: str
    total: float | None
    cagr: float | None
    sharpe: float | None
    max_drawdown: float | None
    turnover: float | None
    costs: float | None
    trades: int
    scenario: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Detail:
    """The base scenario in full.

    Attributes:
        simulation: equity and what was paid.
        trades: closed ones.
        contribution: gain before costs by instrument, sum of shares of equity ``[N]``.
    """

    simulation: Simulation
    trades: Trades
    contribution: Float64Array


class Bench:
    """Runs scenarios over one market.

    Args:
        market: signals and candles.
        futures: perpetuals: shorts are traded, funding is paid where the candles have rates.
        folder: where finished batches are kept; None keeps nothing.
        key: digest of what the market came from.
    """

    def __init__(self, market: Market, *, futures: bool, folder: Path | None, key: str) -> None:
        self.market, self.futures, self.folder, self.key = market, futures, folder, key

    def detail(self, scenario: Scenario) -> tuple[Cell, Detail]:
        """One scenario with all that is known of it."""
        (held,) = hold(self.market, [scenario], shorts=self.futures)
        simulation = self._simulate(held, scenario)
        price, after = self.market.after[:-1], self.market.after[1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            moves = np.nan_to_num(held.weights[:-1] * (after / price - 1.0))
        return _cell(scenario, simulation, held), Detail(simulation, held.trades, moves.sum(axis=0))

    def run(self, scenarios: Sequence[Scenario], progress: Progress = silent) -> list[Cell]:
        """Figures of scenarios, in order; those of an earlier run are read, not computed."""
        found: list[Cell] = []
        for batch in self._batches(scenarios):
            progress(len(found), len(scenarios), batch[0].test)
            found.extend(self._batch(batch))
        progress(len(found), len(scenarios), "")
        return found

    def _batches(self, scenarios: Sequence[Scenario]) -> Iterator[Sequence[Scenario]]:
        many = max(1, min(32, _FLOATS // self.market.price.size))
        for _, group in groupby(scenarios, key=lambda one: one.test):
            together = list(group)
            for start in range(0, len(together), many):
                yield together[start : start + many]

    def _batch(self, batch: Sequence[Scenario]) -> list[Cell]:
        path = None
        if self.folder is not None:
            plain = [asdict(one) | {"rules": one.rules.model_dump()} for one in batch]
            path = self.folder / f"{batch[0].test}-{fingerprint([__version__, self.key, plain])}.json"
            if path.is_file():
                return [Cell(**one) for one in json.loads(path.read_text("utf-8"))]
        held = hold(self.market, batch, shorts=self.futures)
        cells = [
            _cell(one, self._simulate(result, one), result) for one, result in zip(batch, held, strict=True)
        ]
        if path is not None:
            write_json(path, [asdict(one) for one in cells])
        return cells

    def _simulate(self, held: Held, scenario: Scenario) -> Simulation:
        panel = self.market.panel.with_fields(open=self.market.price.astype(np.float32))
        funding = self.futures and "funding_rate" in panel.fields
        found = simulate(
            held.weights, panel, scenario.cost, frictions=Frictions(funding=funding), fills=held.fills
        )
        return _from(found, scenario.start)


def _from(found: Simulation, start: int) -> Simulation:
    """The simulation from a row on: what lies before a shifted start is no part of its record."""
    if not start:
        return found
    steps = ("time", "returns", "costs", "turnover", "exposure", "funding", "interest", "liquidated")
    later = {name: getattr(found, name)[start:] for name in steps}
    return replace(found, equity=found.equity[start:] / found.equity[start], **later)


def _cell(scenario: Scenario, simulation: Simulation, held: Held) -> Cell:
    import pandas as pd

    curve = pd.Series(simulation.equity, pd.DatetimeIndex(simulation.time, tz="UTC"))
    figures = risk_figures(curve)
    return Cell(
        scenario.test,
        scenario.name,
        _finite(simulation.total_return),
        _finite(figures["cagr"]),
        _finite(figures["sharpe"]),
        _finite(simulation.max_drawdown),
        _finite(simulation.turnover_a_day),
        _finite(scenario.cost * float(simulation.turnover.sum())),
        len(held.trades.earned),
        {
            "fee": scenario.fee,
            "slippage": scenario.slippage,
            "delay": scenario.delay,
            "start": scenario.start,
            "stop": scenario.stop,
            "size": scenario.size,
            "without": scenario.without,
            "rules": scenario.rules.model_dump(),
        },
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
