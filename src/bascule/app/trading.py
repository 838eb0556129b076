"""The backtest stage: the real freqtrade over the bundle, beside doing nothing clever."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule import portfolio, signals
from bascule.app.run import Run
from bascule.bridge.freqtrade import results
from bascule.bridge.freqtrade import run as freqtrade
from bascule.core import ConfigError, Panel, files, moment
from bascule.data.export import to_freqtrade

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.results import BacktestResult

CURVES = "curves.parquet"
STRATEGY = "strategy"


def run_backtest(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``backtest``: export candles, run freqtrade, compare with holding."""
    import pandas as pd

    bundle = signals.Bundle.open(run.folder("signals") / "bundles" / run.facts("signals")["bundle"])
    settings = run.config.backtest
    first = moment(settings.start or run.facts("signals")["first"])
    stop = moment(run.facts("signals")["last"]) + run.recipe.bar.delta
    stop = stop if settings.end is None else min(moment(settings.end), stop)
    if not moment(run.facts("signals")["first"]) <= first < stop:
        raise ConfigError(
            f"{first} to {stop} is not within the out-of-sample signals "
            f"({run.facts('signals')['first']} to {run.facts('signals')['last']})",
            where="backtest.start, backtest.end",
            remedy="choose dates within them, or leave both out",
        )
    datadir = folder / "data"
    with run.progress("Export candles for freqtrade") as progress:
        progress(0, 1, "")
        # to act on the first signal takes the candle before it; to compute it, its whole look-back
        back = bundle.lookback + 1 if settings.mode == "computed" else 2
        to_freqtrade(
            run.store,
            run.recipe.bar,
            datadir,
            market=run.recipe.market,
            start=first - back * run.recipe.bar.delta,
            end=stop,
        )
    job = freqtrade.Job(
        bundle=bundle, folder=folder / "user_data", datadir=datadir, settings=settings, start=first, end=stop
    )
    with run.progress("freqtrade backtesting") as progress:
        progress(0, 1, "its log is in user_data/logs")
        found = freqtrade.backtest(job)
    shutil.rmtree(datadir)  # the store has the same candles
    window = run.panel.between(first, stop)
    leader = leading(window)
    cost = settings.fee + settings.slippage
    curves = {
        STRATEGY: found.equity,
        "equal weight, held": _curve(portfolio.equal_hold(window, cost)),
        f"{leader}, held": _curve(portfolio.leader_hold(window, leader, cost)),
    }
    frame = bundle.signals
    inside = (frame.time >= first) & (frame.time < stop)
    table = pd.DataFrame(
        {
            "equal_weight": curves["equal weight, held"],
            "leader": curves[f"{leader}, held"],
            "portfolio_risk": pd.Series(
                frame.portfolio_risk[inside], pd.DatetimeIndex(frame.time[inside], tz="UTC")
            ),
        }
    )
    with files.atomic_file(folder / CURVES) as aside:
        table.to_parquet(aside)
    return {
        "result": str(found.path.relative_to(folder)),
        "first": str(first),
        "last": str(stop),
        "leader": leader,
        "trades": int(found.metrics["total_trades"]),
        "costs": paid(found, cost),
        "comparison": [{"name": name, **performance(curve)} for name, curve in curves.items()],
    }


def leading(panel: Panel) -> str:
    """The instrument with the largest dollar volume of all: in crypto, Bitcoin."""
    volume = np.nansum(panel["close"].astype(np.float64) * panel["volume"], axis=0)
    return panel.instruments[int(np.argmax(volume))]


def _curve(simulation: portfolio.Simulation) -> pd.Series[float]:
    import pandas as pd

    return pd.Series(simulation.equity, pd.DatetimeIndex(simulation.time, tz="UTC"))


def paid(found: BacktestResult, cost: float) -> float:
    """Costs of all fills in the stake currency: ``cost`` on the value of every entry and exit."""
    trades = found.trades
    if not len(trades):
        return 0.0
    value = trades["amount"] * (trades["open_rate"] + trades["close_rate"])
    return float(cost * value.sum())


def performance(curve: pd.Series[float]) -> dict[str, Any]:
    """`results.risk_figures` of a wealth curve and its ``total`` return; None where there is no figure."""
    figures = {"total": float(curve.iloc[-1] / curve.iloc[0]) - 1, **results.risk_figures(curve)}
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}
