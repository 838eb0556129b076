"""The report of a FreqAI backtest: what was earned, beside holding, and what each training learned from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bascule import __version__, portfolio
from bascule.app import figures
from bascule.app.page import SYNTHETIC, Card, Figure, Page, Section, Table
from bascule.app.report import number, percent
from bascule.app.trading import leading, paid, performance
from bascule.core import Panel, moment

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.freqai.runs import Job, Order
    from bascule.bridge.freqtrade.results import BacktestResult


def page(order: Order, job: Job, found: BacktestResult, *, synthetic: bool, trials: int) -> Page:
    """The page of a finished backtest.

    Args:
        order: the file that it was asked for with.
        job: the run; its folder holds the models, its data folder the candles.
        found: what freqtrade says.
        synthetic: the candles were generated.
        trials: how many different things were ever tried on the days that are traded.
    """
    recipe, metrics = order.recipe, found.metrics
    fits = _used(trainings(job.folder / "models" / order.schedule.identifier), found, job)
    learned = f"pooled, {len(fits)} trainings" if recipe.pooled else "one model a pair"
    names = ", ".join(one if isinstance(one, str) else str(one["name"]) for one in recipe.factors[:4])
    more = ", …" if len(recipe.factors) > 4 else ""
    first, last = str(found.equity.index[0])[:10], str(found.equity.index[-1])[:10]
    return Page(
        title=f"FreqAI: {order.schedule.identifier}",
        subtitle=f"{len(recipe.pairs)} pairs, {recipe.timeframe} candles, "
        f"{recipe.market}, {first} to {last} · {names}{more} · {recipe.model.kind}, {learned}",
        warnings=[SYNTHETIC] if synthetic else [],
        cards=[
            Card("return after costs", percent(_total(found))),
            Card("Sharpe, marked to market", number(metrics["sharpe"], 2)),
            Card("largest drawdown", percent(-metrics["max_drawdown"])),
            Card("trades", f"{len(found.trades):,}"),
            Card("costs, of the starting wallet", percent(_costs(order, found) / order.trade.wallet)),
            *_learning_cards(fits),
            Card("trials that ever touched these days", f"{trials:,}"),
        ],
        sections=[_backtest(order, job, found), _models(order, fits), _settings(order)],
        footer=f"Bascule {__version__} · seed {recipe.seed}",
    )


def trainings(folder: Path) -> list[dict[str, Any]]:
    """What the pooled trainings of an identifier wrote of themselves, in order of time."""
    paths = sorted((folder / "pooled").glob("*/meta.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def _used(fits: list[dict[str, Any]], found: BacktestResult, job: Job) -> list[dict[str, Any]]:
    """Those that were in charge of a candle that was traded: the folder may hold other ranges' too."""
    first, past = found.equity.index[0].tz_localize(None).to_datetime64(), moment(job.end)
    spans = [[moment(edge) for edge in fit["windows"]["test"]] for fit in fits]
    return [fit for fit, (start, end) in zip(fits, spans, strict=True) if start < past and first < end]


def _learning_cards(fits: list[dict[str, Any]]) -> list[Card]:
    """How often was learned, and how well that looked; nothing where pairs learn each by itself."""
    if not fits:
        return []
    known = [fit["valid_ic"]["mean"] for fit in fits if fit["valid_ic"]["mean"] is not None]
    mean = float(np.mean(known)) if known else None
    return [
        Card("trainings", f"{len(fits):,}"),
        Card("rank IC in validation, mean (flattered)", number(mean, 3)),
    ]


def _costs(order: Order, found: BacktestResult) -> float:
    return paid(found, order.trade.fee + order.trade.slippage)


def _total(found: BacktestResult) -> float:
    return float(found.equity.iloc[-1] / found.equity.iloc[0]) - 1


def _backtest(order: Order, job: Job, found: BacktestResult) -> Section:
    trade = order.trade
    cost = trade.fee + trade.slippage
    panel = _panel(order, job, found)
    leader = leading(panel)
    curves = {
        "strategy": found.equity,
        "equal weight, held": _curve(portfolio.equal_hold(panel, cost)),
        f"{leader}, held": _curve(portfolio.leader_hold(panel, leader, cost)),
    }
    drawn = [Figure("Wealth and drawdown", figures.equity(curves), wide=True)]
    tables = [_comparison(curves)]
    if len(found.trades):
        profits = found.trades["profit_ratio"].tolist()
        drawn.append(Figure("Net returns of trades", figures.trade_returns(profits), wide=True))
        grouped = found.trades.groupby("exit_reason", as_index=False).agg(
            count=("pair", "size"), profit=("profit_abs", "sum")
        )
        rows = [
            [str(one["exit_reason"]), f"{one['count']:,}", f"{one['profit']:,.0f}"]
            for one in grouped.sort_values("count", ascending=False).to_dict("records")
        ]
        tables.append(Table(["why closed", "trades", "profit"], rows, "By reason of the exit"))
    note = (
        "freqtrade with FreqAI inside: it trains as it goes, and trades candles that its model has not seen. "
        f"Every fill costs {percent(trade.fee, 2)} fee and {percent(trade.slippage, 2)} slippage: "
        f"{_costs(order, found):,.0f} in all."
    )
    return Section("The backtest", note, drawn, tables)


def _comparison(curves: Mapping[str, pd.Series[float]]) -> Table:
    figures_of = {name: performance(curve) for name, curve in curves.items()}
    rows = [
        [name, percent(one["total"]), number(one["sharpe"], 2), percent(-one["max_drawdown"])]
        for name, one in figures_of.items()
    ]
    return Table(["", "return", "Sharpe", "largest drawdown"], rows, "Marked to market, after costs")


def _panel(order: Order, job: Job, found: BacktestResult) -> Panel:
    """The candles that were traded, prepared: freqtrade begins later where start-up candles are missing."""
    from bascule.core import Instrument
    from bascule.data.prepare import prepare
    from bascule.data.readers import read_freqtrade

    bar, first = order.recipe.bar, found.equity.index[0].tz_localize(None).to_datetime64()
    frame = read_freqtrade(job.datadir, bar, market=order.recipe.market)
    held = Panel.from_long(frame, bar).select(Instrument.parse(pair).id for pair in order.recipe.pairs)
    return prepare(held).between(first, moment(job.end))


def _curve(simulation: portfolio.Simulation) -> pd.Series[float]:
    import pandas as pd

    return pd.Series(simulation.equity, pd.DatetimeIndex(simulation.time, tz="UTC"))


def _models(order: Order, fits: list[dict[str, Any]]) -> Section:
    schedule = order.schedule
    note = (
        f"A training every {schedule.retrain_days} days on an absolute grid, on the "
        f"{schedule.train_days} days before it; labels that reach into the test are not learned from. The IC "
        "is of the end of the training's own window, which stopped the learning: it is flattered."
    )
    if not order.recipe.pooled:
        return Section("The models", "One model a pair, trained by FreqAI's own schedule.")
    spans = [
        {"fold": fit["model_id"], "part": part, "start": span[0][:10], "end": span[1][:10]}
        for fit in fits
        for part, span in fit["windows"].items()
    ]
    rows = [
        [
            str(fit["model_id"]),
            " to ".join(one[:10] for one in fit["windows"]["train"]),
            f"{fit['train_samples']:,}",
            number(fit["valid_ic"]["mean"], 4),
        ]
        for fit in fits
    ]
    drawn = [Figure("Windows of the trainings", figures.windows(spans))] if spans else []
    if all("importance" in fit for fit in fits) and fits:
        shares = np.mean([fit["importance"] for fit in fits], axis=0)
        top = np.argsort(shares)[::-1][:20]
        names = [fits[0]["names"][i] for i in top]
        drawn.insert(0, Figure("What the models use", figures.importance(names, shares[top].tolist())))
    head = ["model", "learned from", "samples", "rank IC, validation"]
    return Section("The models", note, drawn, [Table(head, rows, "Trainings", folded=True)])


def _settings(order: Order) -> Section:
    text = yaml.safe_dump(order.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return Section("Settings", code=text, code_title="All settings of this run")
