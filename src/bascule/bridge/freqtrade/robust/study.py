"""A robustness study: what becomes of a bundle's signals when the world is a little different.

1. `book.Market.join` brings the bundle's out-of-sample signals and candles to the same axes.
2. The base and all scenarios (`scenarios.py`) run through the rules and the vectorised simulator (`book.py`,
   `cells.py`): costs, parameters, starts, delays, instruments left out. Finished batches are kept, so that a
   study that was cut off goes on.
3. The base's returns are cut by market regime and by quarter.
4. A few key points go through the real freqtrade (`keypoints.py`); its trades, if there are any, else the
   simulator's, are resampled to histories (`histories.py`).
5. Verdicts with reasons (`verdict.py`). The Sharpe ratio is deflated by the number of trials (Bailey & López
   de Prado 2014), the spread of Sharpe ratios being that of the perturbed parameters.

All figures are after costs. The same bundle, candles and settings give the same report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.robust import histories, keypoints, scenarios, verdict
from bascule.bridge.freqtrade.robust.book import Market
from bascule.bridge.freqtrade.robust.cells import Bench, Cell, Detail
from bascule.bridge.freqtrade.robust.histories import Histories
from bascule.bridge.freqtrade.robust.keypoints import Point
from bascule.bridge.freqtrade.robust.settings import RobustSettings
from bascule.bridge.freqtrade.robust.verdict import Outcome, Slice, Verdict
from bascule.core import Panel, Progress, silent
from bascule.core.files import fingerprint
from bascule.evaluate import SharpeStatistics, deflated_sharpe
from bascule.evaluate.rows import Float64Array
from bascule.risk import Regime

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.run import Job
    from bascule.signals import Bundle

_LEAST_SHARE = 0.03  # of the rows that a regime needs to count


@dataclass(frozen=True, eq=False)
class Report:
    """What a study found.

    Attributes:
        bundle: id of the bundle.
        first: first candle of the signals.
        last: last candle.
        base: figures of the base.
        equity: of the base; UTC index.
        cells: all other scenarios.
        regimes: the base by market regime.
        quarters: the base by calendar quarter.
        points: freqtrade's backtests.
        histories: resampled trade histories, None = too few trades.
        resampled: whose trades these are: ``freqtrade`` or ``simulator``.
        verdicts: one for each test.
        trials: different things ever tried on this window, counted before this study.
        deflated: probability that the Sharpe ratio is real after so many trials; None = unknown.
    """

    bundle: str
    first: str
    last: str
    base: Cell
    equity: pd.Series
    cells: tuple[Cell, ...]
    regimes: tuple[Slice, ...]
    quarters: tuple[Slice, ...]
    points: tuple[Point, ...]
    histories: Histories | None
    resampled: str
    verdicts: tuple[Verdict, ...]
    trials: int
    deflated: float | None

    @property
    def outcome(self) -> Outcome:
        """The worst verdict."""
        return verdict.overall(self.verdicts)

    @property
    def scenarios(self) -> int:
        """How many different scenarios were run, the base and freqtrade's key points among them."""
        return 1 + len(self.cells) + len(self.points)

    def of(self, test: str) -> tuple[Cell, ...]:
        """The scenarios of one test."""
        return tuple(one for one in self.cells if one.test == test)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without curves."""
        return {
            "bundle": self.bundle,
            "first": self.first,
            "last": self.last,
            "outcome": self.outcome,
            "verdicts": [asdict(one) for one in self.verdicts],
            "base": asdict(self.base),
            "cells": [asdict(one) for one in self.cells],
            "regimes": [asdict(one) for one in self.regimes],
            "quarters": [asdict(one) for one in self.quarters],
            "points": [{k: v for k, v in asdict(one).items() if k != "earned"} for one in self.points],
            "histories": None if self.histories is None else self.histories.quantiles(),
            "resampled": self.resampled,
            "trials": self.trials,
            "scenarios": self.scenarios,
            "deflated": self.deflated,
        }


def study(
    bundle: Bundle,
    panel: Panel,
    *,
    trade: TradeSettings | None = None,
    settings: RobustSettings | None = None,
    job: Job | None = None,
    folder: Path | None = None,
    trials: int = 1,
    progress: Progress = silent,
) -> Report:
    """Run a study.

    Args:
        bundle: its stored signals are studied.
        panel: the candles behind them, prepared; ``funding_rate`` of futures is charged where present.
        trade: fee, slippage and the share of the balance that may be used.
        settings: scenarios and limits.
        job: the base for freqtrade's key points; None leaves them out.
        folder: where finished parts are kept; None keeps nothing (then ``job`` must be None too).
        trials: different things ever tried on this window.
        progress: advances with scenarios.

    Raises:
        DataError: the candles do not cover the signals.
        BridgeError: freqtrade failed.
    """
    trade, settings = trade or TradeSettings(), settings or RobustSettings()
    market = Market.join(bundle.signals, panel, by_weight=bundle.spec.by_weight)
    key = fingerprint([bundle.id, market.panel.fingerprint()])
    cells_folder = None if folder is None else folder / "cells"
    bench = Bench(market, futures=bundle.spec.market == "futures", folder=cells_folder, key=key)
    first = scenarios.base(bundle.spec.rules, trade.fee, trade.slippage, trade.tradable)
    base, detail = bench.detail(first)
    rows = len(bundle.signals.time)
    best = _best(detail, bundle.instruments, settings.one_out)
    plan = [
        *scenarios.costs(first, settings),
        *scenarios.parameters(first, settings),
        *scenarios.starts(first, settings, bundle.spec.bar, rows),
        *scenarios.delays(first, settings),
        *scenarios.one_out(first, best),
    ]
    points: tuple[Point, ...] = ()
    total = len(plan) + (len(settings.keypoints) if job is not None else 0)

    def whole(offset: int) -> Progress:
        return lambda done, _, note="": progress(offset + done, total, note)

    cells = bench.run(plan, whole(0))
    if job is not None and folder is not None:
        points = keypoints.backtests(job, settings, folder / "freqtrade", progress=whole(len(plan)))
    real = next((one for one in points if one.name == "base"), None)
    gains = detail.trades.earned if real is None else real.gains
    found = histories.resample(
        np.maximum(gains, -0.999), histories=settings.histories, block=settings.block, seed=settings.seed
    )
    deflated = _deflated(detail, cells, trials)
    regimes, quarters = _regimes(market, detail), _quarters(detail)
    verdicts = _verdicts(
        base, cells, regimes, quarters, found, len(gains), points, trials, deflated, settings
    )
    return Report(
        bundle=bundle.id,
        first=str(bundle.signals.time[0])[:16],
        last=str(bundle.signals.time[-1])[:16],
        base=base,
        equity=_curve(detail),
        cells=tuple(cells),
        regimes=regimes,
        quarters=quarters,
        points=points,
        histories=found,
        resampled="simulator" if real is None else "freqtrade",
        verdicts=verdicts,
        trials=trials,
        deflated=deflated,
    )


def _verdicts(
    base: Cell,
    cells: Sequence[Cell],
    regimes: Sequence[Slice],
    quarters: Sequence[Slice],
    found: Histories | None,
    trades: int,
    points: Sequence[Point],
    trials: int,
    deflated: float | None,
    settings: RobustSettings,
) -> tuple[Verdict, ...]:
    limits = settings.limits

    def of(test: str) -> list[Cell]:
        return [one for one in cells if one.test == test]

    lines = (
        verdict.luck(deflated, trials, limits),
        verdict.slices("market regimes", regimes, limits.losing_regimes),
        verdict.slices("quarters", quarters, limits.losing_quarters),
        verdict.histories(found, trades, limits),
        verdict.costs(of("costs"), base, limits),
        verdict.kept("parameters", of("parameters"), base, limits.plateau),
        verdict.kept("start dates", of("start"), base, limits.starts),
        verdict.delayed(of("delay"), base, limits),
        verdict.one_out(of("instruments"), base, limits),
        verdict.freqtrade(points, base, limits),
    )
    earns = base.total is not None and base.total > 0 and base.sharpe is not None and base.sharpe > 0
    return lines if earns else verdict.nothing_to_keep(lines, base)


def _best(detail: Detail, names: tuple[str, ...], many: int) -> tuple[str, ...]:
    order = np.argsort(-detail.contribution, kind="stable")[:many]
    return tuple(names[i] for i in order if detail.contribution[i] > 0)


def _curve(detail: Detail) -> pd.Series:
    import pandas as pd

    found = detail.simulation
    return pd.Series(found.equity, pd.DatetimeIndex(found.time, tz="UTC"), name="equity")


def _deflated(detail: Detail, cells: Sequence[Cell], trials: int) -> float | None:
    daily = _curve(detail).resample("1D").last().pct_change().dropna().to_numpy()
    tried = [
        one.sharpe / np.sqrt(365.0) for one in cells if one.test == "parameters" and one.sharpe is not None
    ]
    variance = float(np.var(tried, ddof=1)) if len(tried) > 1 else 0.0
    found = deflated_sharpe(SharpeStatistics.of(daily), max(1, trials), variance)
    return float(found) if np.isfinite(found) else None


def _regimes(market: Market, detail: Detail) -> tuple[Slice, ...]:
    """Steps grouped by the regime of the row whose signals they were traded on."""
    returns = detail.simulation.returns
    codes = market.signals.regime[: len(returns)]
    found = []
    for code in Regime:
        part = returns[codes == code.value]
        if code is not Regime.UNKNOWN and len(part) >= _LEAST_SHARE * len(returns):
            name = code.name.lower().replace("_", " market, ")
            found.append(_slice(name, part, len(returns), detail.simulation.bars_a_year))
    return tuple(found)


def _quarters(detail: Detail) -> tuple[Slice, ...]:
    import pandas as pd

    found = detail.simulation
    labels = pd.DatetimeIndex(found.time[:-1]).to_period("Q").astype(str).to_numpy()
    names = sorted(set(labels))
    return tuple(
        _slice(name, found.returns[labels == name], len(found.returns), found.bars_a_year) for name in names
    )


def _slice(name: str, returns: Float64Array, rows: int, bars_a_year: float) -> Slice:
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    sharpe = float(returns.mean() / spread * np.sqrt(bars_a_year)) if spread > 0 else None
    return Slice(name, len(returns) / rows, float(np.prod(1.0 + returns) - 1.0), sharpe)
