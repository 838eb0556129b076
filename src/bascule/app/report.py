"""The report of a run: what went in, what the factors and the alpha are worth, what the backtest earned.

`research_page` is frozen into the signal bundle; `full_page` adds the backtest and is the run's report.
All figures of the alpha and of the backtest are out of sample; the number of trials stands beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from bascule import __version__, evaluate
from bascule.app import figures
from bascule.app.page import SYNTHETIC, Card, Figure, Page, Section, Table

if TYPE_CHECKING:
    from bascule.app.run import Run
    from bascule.bridge.freqtrade.results import BacktestResult

TOP = 20


def research_page(run: Run, folder: Path) -> Page:
    """Everything up to the signals; ``folder`` is the ``signals`` stage's own."""
    facts = json.loads((folder / "alpha.json").read_text("utf-8"))
    return Page(
        title=run.config.name,
        subtitle=_subtitle(run),
        warnings=_warnings(run),
        cards=_alpha_cards(run, facts),
        sections=[
            *_alpha_sections(run, folder, facts),
            *_factor_sections(run),
            *_input_sections(run, folder),
        ],
        footer=_footer(run),
    )


def full_page(run: Run) -> Page:
    """The run's report: `research_page` and the backtest."""
    from bascule.bridge.freqtrade import results

    folder = run.folder("signals")
    facts = json.loads((folder / "alpha.json").read_text("utf-8"))
    found = results.load(run.folder("backtest") / run.facts("backtest")["result"])
    curves = pd.read_parquet(run.folder("backtest") / "curves.parquet")
    return Page(
        title=run.config.name,
        subtitle=_subtitle(run),
        warnings=_warnings(run),
        cards=[*_backtest_cards(run, found), *_alpha_cards(run, facts)],
        sections=[
            *_backtest_sections(run, found, curves),
            *_alpha_sections(run, folder, facts),
            *_factor_sections(run),
            *_input_sections(run, folder),
        ],
        footer=_footer(run),
    )


# -- head ------------------------------------------------------------------------------------------------


def _subtitle(run: Run) -> str:
    data = run.facts("data")
    return (
        f"{data['instruments']} instruments, {run.config.timeframe} candles, {run.config.market}, "
        f"{data['first'][:10]} to {data['last'][:10]} · {len(run.recipe.factors)} factors · "
        f"{run.config.model.kind} walked forward over {len(run.facts('train')['folds'])} windows"
    )


def _warnings(run: Run) -> list[str]:
    return [] if run.synthetic is None else [SYNTHETIC]


def _footer(run: Run) -> str:
    return f"Bascule {__version__} · data {run.facts('data')['fingerprint'][:16]} · seed {run.config.seed}"


def _alpha_cards(run: Run, facts: dict[str, Any]) -> list[Card]:
    return [
        Card("out-of-sample rank IC", number(facts["rank_ic"], 4)),
        Card(f"its Newey-West t ({facts['rows']:,} candles)", number(facts["rank_ic_t"], 1)),
        Card("t on shuffled labels (control)", number(facts["shuffled_t"], 1)),
        Card("trials that ever touched these days", f"{run.trials:,}"),
    ]


def _backtest_cards(run: Run, found: BacktestResult) -> list[Card]:
    ours = run.facts("backtest")["comparison"][0]
    return [
        Card("return after costs", percent(ours["total"])),
        Card("Sharpe, marked to market", number(ours["sharpe"], 2)),
        Card("largest drawdown", percent(-ours["max_drawdown"])),
        Card("trades", f"{len(found.trades):,}"),
    ]


# -- alpha -----------------------------------------------------------------------------------------------


def _alpha_sections(run: Run, folder: Path, facts: dict[str, Any]) -> list[Section]:
    from bascule import models

    series = pd.read_parquet(folder / "alpha.parquet")
    horizon, bar = run.recipe.horizon, run.config.timeframe
    folds = run.folder("train") / "models"
    half = facts["half_life"]
    half_text = f"half-life {half:.0f} candles" if half else f"no half-life: {facts['half_life_note']}"
    note = (
        f"Predictions of models that had not seen the candles, smoothed over {run.recipe.smoothing}; label: "
        f"return from the next open over {horizon} candles of {bar}. Spread of the outer quantiles per "
        f"{horizon} candles: {bp(facts['spread'])} before and {bp(facts['spread_net'])} after costs "
        f"(t {number(facts['spread_net_t'], 1)}); {half_text}."
    )
    decay = facts["decay"]
    drawn = [
        Figure("Cumulative IC", figures.cumulative_ic(series["ic"], series["rank_ic"])),
        Figure("Rank IC by month", figures.monthly_ic(series["rank_ic"])),
        Figure("Decay by horizon", figures.decay(decay["horizons"], {"rank IC": decay["rank_ic"]}, bar)),
        Figure("Returns by alpha quantile", figures.quantiles(facts["quantiles"], f"{horizon} × {bar}")),
        Figure("Walk-forward windows", figures.windows(_windows(run))),
    ]
    if models.explained(folds):
        weights = models.importance(folds).mean(axis=1).head(TOP)
        names = [str(name) for name in weights.index]
        drawn.insert(-1, Figure("What the models use", figures.importance(names, weights.tolist())))
    return [Section("The alpha, out of sample", note, drawn)]


def _windows(run: Run) -> list[dict[str, str]]:
    from bascule import models

    found = models.folds(run.panel.time, run.config.walk_forward, run.config.model.reach(run.recipe.horizon))
    chosen = set(run.facts("train")["folds"])
    return [
        {"fold": fold.id, "part": part, "start": str(span[0])[:10], "end": str(span[1])[:10]}
        for fold in found
        if fold.id in chosen
        for part, span in (("train", fold.train), ("valid", fold.valid), ("test", fold.test))
    ]


# -- factors ---------------------------------------------------------------------------------------------


def _factor_sections(run: Run) -> list[Section]:
    table = pd.read_parquet(run.folder("factors") / "factors.parquet")
    horizons = run.config.evaluation.horizons
    near = min(horizons, key=lambda h: abs(h - run.recipe.horizon))
    there = table.xs(near, level="horizon")
    best = there.reindex(there["rank_t"].abs().sort_values(ascending=False, kind="stable").index)
    top = best.head(TOP)
    errors = (top["rank_ic"] / top["rank_t"]).abs()
    head = ["factor", "rank IC", "t", "ICIR", "IC", "hit rate", "turnover a candle", "coverage"]
    rows = [
        [
            r["factor"],
            number(r["rank_ic"], 4),
            number(r["rank_t"], 1),
            number(r["rank_icir"], 3),
            number(r["ic"], 4),
            percent(r["hit_rate"]),
            number(r["turnover"], 3),
            percent(r["coverage"]),
        ]
        for r in records(best.reset_index())
    ]
    chosen = top.index[: len(figures.PALETTE)]
    curves = {str(name): table.loc[name]["rank_ic"].tolist() for name in chosen}
    note = (
        f"Each factor alone, over all candles at hand: {len(table):,} trials (factors × horizons) of the "
        f"{run.trials:,} that the ledger has on these days. In so many, luck alone reaches |t| = "
        f"{evaluate.deflated_threshold(run.trials):.1f} once in twenty cases. Horizon shown: {near} candles."
    )
    drawn = [
        Figure(
            f"The {len(top)} strongest by |t|",
            figures.ic_bars([str(n) for n in top.index], top["rank_ic"].tolist(), errors.tolist()),
        ),
        Figure("Rank IC by horizon", figures.decay(list(horizons), curves, run.config.timeframe)),
    ]
    return [Section("The factors", note, drawn, [Table(head, rows, f"All {len(rows)} factors", folded=True)])]


# -- backtest --------------------------------------------------------------------------------------------


def _backtest_sections(run: Run, found: BacktestResult, curves: pd.DataFrame) -> list[Section]:
    settings, facts = run.config.backtest, run.facts("backtest")
    note = (
        f"freqtrade, {facts['first'][:10]} to {facts['last'][:10]}. "
        f"Every fill costs {percent(settings.fee, 2)} fee and {percent(settings.slippage, 2)} slippage. "
        "Equal weight holds every instrument of the first day's universe; "
        f"the leader is {facts['leader']}. Costs paid in all: {facts['costs']:,.0f} "
        f"({percent(facts['costs'] / settings.wallet)} of the starting wallet)."
    )
    named = {
        "strategy": found.equity,
        "equal weight, held": curves["equal_weight"].dropna(),
        f"{facts['leader']}, held": curves["leader"].dropna(),
    }
    drawn = [
        Figure("Wealth and drawdown", figures.equity(named)),
    ]
    more = [
        Figure("Returns by month", figures.month_table(found.equity)),
        Figure(
            "Portfolio risk score",
            figures.risk_over_time(curves["portfolio_risk"], run.recipe.rules.portfolio_limit),
        ),
    ]
    trades = found.trades
    sections = [Section("The backtest", note, drawn, [_comparison(found, facts)]), Section("", figures=more)]
    if len(trades):
        sections.append(
            Section(
                "Trades",
                figures=[
                    Figure("Net returns of trades", figures.trade_returns(trades["profit_ratio"].tolist()))
                ],
                tables=[_exits(trades), _pairs(trades), _trades(trades)],
            )
        )
    return sections


def _comparison(found: BacktestResult, facts: dict[str, Any]) -> Table:
    rows = [
        [
            m["name"],
            percent(m["total"]),
            percent(m["cagr"]),
            number(m["sharpe"], 2),
            number(m["sortino"], 2),
            percent(-m["max_drawdown"]),
            percent(m["volatility"]),
        ]
        for m in facts["comparison"]
    ]
    head = ["", "return", "a year", "Sharpe", "Sortino", "largest drawdown", "volatility"]
    return Table(head, rows, "Marked to market, after costs; Sharpe and Sortino from daily returns × √365")


def _exits(trades: pd.DataFrame) -> Table:
    won = trades.assign(won=trades["profit_abs"] > 0)
    grouped = won.groupby("exit_reason", as_index=False).agg(
        count=("pair", "size"),
        profit=("profit_abs", "sum"),
        mean=("profit_ratio", "mean"),
        won=("won", "mean"),
    )
    rows = [
        [r["exit_reason"], f"{r['count']:,}", f"{r['profit']:,.0f}", percent(r["mean"], 2), percent(r["won"])]
        for r in records(grouped.sort_values("count", ascending=False))
    ]
    return Table(["why closed", "trades", "profit", "mean return", "won"], rows, "By reason of the exit")


def _pairs(trades: pd.DataFrame) -> Table:
    grouped = trades.groupby("pair", as_index=False).agg(
        count=("profit_abs", "size"), profit=("profit_abs", "sum"), mean=("profit_abs", "mean")
    )
    rows = [
        [r["pair"], f"{r['count']:,}", f"{r['profit']:,.0f}", f"{r['mean']:,.1f}"]
        for r in records(grouped.sort_values("profit", ascending=False))
    ]
    return Table(["pair", "trades", "profit", "mean profit"], rows, "By pair", folded=True)


def _trades(trades: pd.DataFrame, limit: int = 200) -> Table:
    last = trades.sort_values("close_date", ascending=False).head(limit)
    rows = [
        [
            r["pair"],
            "short" if r["is_short"] else "long",
            str(r["open_date"])[:16],
            str(r["close_date"])[:16],
            f"{r['stake_amount']:,.0f}",
            percent(r["profit_ratio"], 2),
            f"{r['profit_abs']:,.1f}",
            r["exit_reason"],
        ]
        for r in records(last)
    ]
    head = ["pair", "side", "opened", "closed", "stake", "return", "profit", "why closed"]
    return Table(head, rows, f"The last {len(rows)} of {len(trades):,} trades", folded=True)


# -- input -----------------------------------------------------------------------------------------------


def _input_sections(run: Run, folder: Path) -> list[Section]:
    series = pd.read_parquet(folder / "alpha.parquet")
    found = json.loads((run.folder("data") / "health.json").read_text("utf-8"))
    rows = [
        [
            k["severity"],
            k["name"],
            str(k["instruments"]),
            f"{k['count']:,}",
            k["first"],
            k["last"],
            k["example"],
        ]
        for k in found["summary"]
    ]
    head = ["severity", "finding", "instruments", "count", "first", "last", "example"]
    note = (
        f"{found['rows']:,} candles of {found['instruments']} instruments; {found['missing']:,} are missing."
    )
    text = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return [
        Section(
            "The data",
            note,
            [Figure("Breadth", figures.breadth(series["members"], series["traded"]))],
            [Table(head, rows, "Health checks", words=True)],
        ),
        Section("Settings", code=text, code_title="All settings of this run"),
    ]


# -- numbers ---------------------------------------------------------------------------------------------


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """A frame's rows as dicts."""
    return frame.to_dict("records")


def number(value: float | None, digits: int) -> str:
    """A plain number, or a dash."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as per cent, or a dash."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}%}"


def bp(value: float | None) -> str:
    """A fraction in basis points, or a dash."""
    return "–" if value is None or not np.isfinite(value) else f"{1e4 * value:,.1f} bp"
