"""The spine: candles of a whole universe to a freqtrade backtest of a cross-sectional alpha.

1. ``data``      read the source, check its health, write the store, derive the qlib provider.
2. ``factors``   evaluate the factor texts over the point-in-time universe, and measure each of them.
3. ``train``     walk forward: train, purge, embargo, predict out of sample.
4. ``signals``   smooth, rank, score risk, weigh, and freeze everything in a signal bundle.
5. ``backtest``  the real freqtrade over the bundle, with fees and slippage.
6. ``report``    one page.

Each is a `bascule.app.stage.Stage`; the run can be cut anywhere and goes on where it was.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bascule import evaluate, expr, models, signals
from bascule.app.config import RunConfig
from bascule.app.run import Run
from bascule.app.runlog import run_log
from bascule.app.sources import health_table, read_source, source_fingerprint
from bascule.app.stage import LOG, Outcome, Runner, Stage
from bascule.app.trading import run_backtest
from bascule.core import ConfigError, Panel, files
from bascule.core.panel import FloatArray
from bascule.data import health
from bascule.data.prepare import prepare
from bascule.data.store import Store

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS = "predictions.npz"
FACTOR_TABLE = "factors.parquet"
ALPHA_SERIES = "alpha.parquet"
ALPHA_FACTS = "alpha.json"
HEALTH = "health.json"
REPORT = "report.html"
# by these names results are found without a fingerprint
SHOWN = {"data": "store", "signals": "bundles"}
MADE_OF = {"model", "walk_forward", "seed"}  # settings that an alpha follows from, besides its recipe


# -- the stages ------------------------------------------------------------------------------------------


def load_data(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``data``."""
    config, timeframe = run.config, run.recipe.bar
    with run.progress("Read candles") as progress:
        progress(0, 1, config.data.source.kind)
        frame = read_source(config)
    with run.progress("Check health") as progress:
        report = health.check(frame, timeframe, config.data.health, progress)
    if report.issues:
        run.console.print(health_table(report))
    if not report.errors:
        _preflight(run, frame)
    files.write_json(folder / HEALTH, report.to_dict())
    store = Store.create(folder / "store")
    with run.progress("Write store") as progress:
        store.write(frame, timeframe, repair=config.data.repair, progress=progress)
    with run.progress("Build qlib provider") as progress:
        store.build_provider(timeframe, vwap=config.vwap, progress=progress)
    return {
        "rows": report.rows,
        "instruments": report.instruments,
        "first": report.first,
        "last": report.last,
        "fingerprint": store.fingerprint(timeframe),
    }


def _preflight(run: Run, frame: pd.DataFrame) -> None:
    """Find out before anything is written whether universe and folds fit the data at all."""
    panel = prepare(Panel.from_long(frame, run.recipe.bar), vwap=run.recipe.vwap)
    signals.with_members(panel, run.recipe)
    signals.lookback(run.recipe)
    models.folds(panel.time, run.config.walk_forward, run.config.model.reach(run.recipe.horizon))


def measure_factors(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``factors``."""
    values, horizons = run.values, run.config.evaluation.horizons
    texts = [
        str(expr.parse(factor.text)) + (f" @{factor.timeframe}" if factor.timeframe else "")
        for factor in run.recipe.factors
    ]
    run.tries.add(texts, run.panel, horizons, "run")
    with run.progress("Evaluate factors") as progress:
        table = evaluate.table(values, run.recipe.names, run.panel, horizons, progress)
    with files.atomic_file(folder / FACTOR_TABLE) as aside:
        table.to_parquet(aside)
    return {"factors": len(values), "horizons": list(horizons)}


def train(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``train``."""
    config, horizon = run.config, run.recipe.horizon
    folds = models.folds(run.panel.time, config.walk_forward, config.model.reach(horizon))
    values = run.values
    label = run.label(horizon)
    with run.progress("Walk forward") as progress:
        found = models.train_walk_forward(
            values,
            run.recipe.names,
            label,
            run.panel,
            folds,
            config.model,
            folder / "models",
            seed=config.seed,
            progress=progress,
        )
    with files.atomic_file(folder / PREDICTIONS) as aside, aside.open("wb") as stream:
        np.savez(stream, values=found.values, model_id=found.model_id)
    return {"folds": list(found.folds)}


def freeze_signals(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``signals``."""
    from bascule.app.report import research_page

    run.forget_values()
    with np.load(run.folder("train") / PREDICTIONS) as stored:
        raw, model_id = stored["values"], stored["model_id"]
    with run.progress("Signals") as progress:
        progress(0, 3, "risk and weights")
        frame = signals.finish(run.panel, raw, run.recipe, model_id=model_id)
        _refuse_empty(frame)
        progress(1, 3, "out-of-sample statistics")
        facts = measure_alpha(run, frame.alpha, folder)
        progress(2, 3, "bundle")
        page = folder / "research.html"
        research_page(run, folder).write(page)
        bundle = signals.write_bundle(
            folder / "bundles",
            spec=run.recipe,
            panel=run.panel,
            signals=frame,
            models=[run.folder("train") / "models" / fold for fold in run.facts("train")["folds"]],
            data_fingerprint=run.facts("data")["fingerprint"],
            created=datetime.now(UTC),
            report=page,
        )
    covered = frame.time[frame.covered]
    return {
        **facts,
        "bundle": bundle.path.name,
        "first": str(covered[0]),
        "last": str(covered[-1]),
    }


def _refuse_empty(frame: signals.SignalFrame) -> None:
    """Weights that are 0 everywhere would end in a backtest without a trade."""
    if not np.nan_to_num(frame.target_weight[frame.covered]).any():
        raise ConfigError(
            "no row has a target weight",
            where="portfolio",
            remedy="warnings above say which limits contradict each other; else lower min_members, or widen "
            "the universe",
        )


def measure_alpha(run: Run, alpha: FloatArray, folder: Path) -> dict[str, Any]:
    """Out-of-sample statistics of the model's alpha, written beside the bundle; returns the headline ones."""
    import pandas as pd

    panel, config, horizon = run.panel, run.config, run.recipe.horizon
    made_of = [run.recipe.model_dump(mode="json"), config.model_dump(mode="json", include=MADE_OF)]
    run.tries.add([f"model {files.fingerprint(made_of)[:16]}"], panel, [horizon], "run")
    label = run.label(horizon)
    members = panel.members
    ic = evaluate.ic_series(alpha, label, members)
    rank_ic = evaluate.ic_series(alpha, label, members, rank=True)
    plain, ranked = evaluate.summarise(ic, horizon), evaluate.summarise(rank_ic, horizon)
    buckets = evaluate.quantile_returns(
        alpha,
        label,
        members,
        horizon=horizon,
        quantiles=config.evaluation.quantiles,
        cost=config.backtest.fee + config.backtest.slippage,
    )
    shuffled = evaluate.shuffle(np.where(members, label, np.nan), config.seed)
    control = evaluate.summarise(evaluate.ic_series(alpha, shuffled, members, rank=True), horizon)
    lasting = evaluate.decay(alpha, panel, config.evaluation.horizons)
    series = pd.DataFrame(
        {"ic": ic, "rank_ic": rank_ic, "members": members.sum(1), "traded": panel.traded.sum(1)},
        index=pd.DatetimeIndex(panel.time, name="time"),
    )
    with files.atomic_file(folder / ALPHA_SERIES) as aside:
        series.to_parquet(aside)
    headline = {
        "ic": plain.mean,
        "ic_t": plain.t,
        "rank_ic": ranked.mean,
        "rank_ic_t": ranked.t,
        "rank_icir": ranked.ir,
        "rows": ranked.n,
        "shuffled_t": control.t,
    }
    excess = buckets.mean - buckets.mean.mean()
    details = {
        **headline,
        "decay": {"horizons": list(lasting.horizons), "rank_ic": [s.mean for s in lasting.cumulative]},
        "half_life": lasting.half_life if lasting.identified else None,
        "half_life_note": lasting.reason,
        "quantiles": [float(v) for v in excess],
        "monotonicity": buckets.monotonicity,
        "spread": buckets.spread.mean,
        "spread_net": buckets.spread_net.mean,
        "spread_net_t": buckets.spread_net.t,
    }
    files.write_json(folder / ALPHA_FACTS, _finite(details))
    return _finite(headline)  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def write_report(run: Run, folder: Path) -> dict[str, Any]:
    """Stage ``report``."""
    from bascule.app.report import full_page

    with run.progress("Report") as progress:
        progress(0, 1, "")
        full_page(run).write(folder / REPORT)
    shown = run.config.home / REPORT
    files.point(shown, folder / REPORT)
    return {"path": str(shown)}


# -- wiring ----------------------------------------------------------------------------------------------


def stages(config: RunConfig) -> tuple[Stage[Run], ...]:
    """The chain, each stage with the settings that its result depends on."""

    def some(*keys: str) -> Any:
        return lambda run: run.config.model_dump(mode="json", include=set(keys))

    def source(run: Run) -> Any:
        return [some("data", "timeframe", "market", "vwap")(run), source_fingerprint(run.config)]

    def own(run: Run, *kinds: str) -> list[Any]:
        return [one.model_dump() for one in signals.made_with(run.recipe.texts, kinds)]

    def measured(run: Run) -> Any:
        texts = [factor.model_dump() for factor in run.recipe.factors]
        return [texts, some("universe", "evaluation")(run), *own(run)]

    def trained(run: Run) -> Any:
        texts = [factor.model_dump() for factor in run.recipe.factors]
        learner = some("universe", "horizon", "model", "walk_forward", "seed")(run)
        return [texts, learner, *own(run, run.config.model.kind)]

    def frozen(run: Run) -> Any:
        return [run.recipe.model_dump(mode="json"), some("evaluation", "backtest", "name", "seed")(run)]

    return (
        Stage("data", "Candles to store", (), source, load_data),
        Stage("factors", "Factors and their evaluation", ("data",), measured, measure_factors),
        Stage("train", "Walk-forward training", ("data",), trained, train, resumable=True),
        Stage("signals", "Risk, weights, signal bundle", ("factors", "train"), frozen, freeze_signals),
        Stage("backtest", "freqtrade backtest", ("signals",), some("backtest"), run_backtest, logs=True),
        Stage("report", "Report", ("backtest",), some("name"), write_report),
    )


def run_spine(config: RunConfig, console: Console, *, again_from: str | None = None) -> Path:
    """Run everything that is not done yet.

    Returns:
        Path of the report.

    Raises:
        BasculeError: whatever of input, settings or third parties a user can mend.
    """
    run = Run(config, config.recipe(), console)
    runner = Runner(config.home, stages(config))
    run.runner = runner
    begin = time.monotonic()
    with run_log(config.home / LOG, name=config.name, seed=config.seed) as log:

        def tell(stage: Stage[Run], outcome: Outcome | None) -> None:
            if outcome is None:
                console.print(f"[bold]{stage.title}[/]")
                log.msg("stage starts", stage=stage.name)
            elif outcome.fresh:
                console.print(f"  [green]done[/] in {outcome.seconds:,.1f} s", highlight=False)
                log.msg("stage is done", stage=stage.name, seconds=outcome.seconds)
            else:
                console.print(f"[dim]{stage.title}: done before[/]")
            if outcome is not None and stage.name in SHOWN:
                files.point(config.home / SHOWN[stage.name], outcome.folder / SHOWN[stage.name])

        outcomes = runner.run(run, again_from=again_from, report=tell)
    console.print(_summary(outcomes, run))
    path = Path(outcomes["report"].facts["path"])
    console.print(f"{time.monotonic() - begin:,.0f} s. Report: {path}", highlight=False, soft_wrap=True)
    return path


def _summary(outcomes: dict[str, Outcome], run: Run) -> Table:
    """The headline figures: out of sample, after costs, with the number of trials."""
    from bascule.app.report import number, percent

    alpha, traded = outcomes["signals"].facts, outcomes["backtest"].facts
    title = run.config.name + ("" if run.synthetic is None else " (synthetic market)")
    table = Table("out of sample, after costs", "", title=title, box=None, title_justify="left")
    table.add_row(
        "rank IC (Newey-West t)", f"{number(alpha['rank_ic'], 4)} ({number(alpha['rank_ic_t'], 1)})"
    )
    table.add_row("control: t on shuffled labels", number(alpha["shuffled_t"], 1))
    for one in traded["comparison"]:
        parts = (percent(one["total"]), number(one["sharpe"], 2), percent(-one["max_drawdown"]))
        table.add_row(f"{one['name']}: return / Sharpe / drawdown", " / ".join(parts))
    table.add_row("trades", f"{traded['trades']:,}")
    table.add_row("trials that ever touched these days", f"{run.trials:,}")
    return table
