"""``bascule freqai …``: FreqAI runs from one YAML file: recipe, schedule, costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bascule.app.command import Commands, answer
from bascule.app.console import bar
from bascule.app.options import Overrides
from bascule.app.yamlfile import mapping, override
from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.app.trials import Tries
    from bascule.bridge.freqtrade.freqai.runs import Order
    from bascule.core import Moment

freqai_app = Commands()

REPORT = "report.html"
HEADLINE = ("total_trades", "profit_total", "cagr", "sharpe", "max_drawdown", "calmar")

ConfigFile = Annotated[
    Path, typer.Argument(help="YAML: recipe, schedule, trade, exchange", show_default=False)
]
UserFolder = Annotated[Path, typer.Argument(help="freqtrade's user_data folder", show_default=False)]


@freqai_app.command("prepare", example="bascule freqai prepare examples/freqai.yaml user_data")
def prepare(config: ConfigFile, folder: UserFolder, set_: Overrides = None) -> None:
    """Write a user folder that freqtrade runs: configuration and strategy."""
    from bascule.bridge.freqtrade.freqai import runs

    order = _read(config, set_ or ())
    secrets = sorted({"key", "secret", "password", "uid"} & set(order.exchange))
    if secrets:
        raise ConfigError(
            f"{', '.join(secrets)} in a file",
            where=f"{config}: exchange",
            remedy="set FREQTRADE__EXCHANGE__KEY and FREQTRADE__EXCHANGE__SECRET in the environment",
        )
    values = runs.configure(order.recipe, order.schedule, order.trade, exchange=order.exchange)
    space = runs.prepare(folder, values)
    command = f"freqtrade trade --config {space.config} --userdir {space.folder}"
    answer(
        {"config": space.config, "folder": space.folder, "command": command},
        f"{space.config} is ready. Dry run: {command}",
    )


@freqai_app.command("backtest", example="bascule freqai backtest examples/freqai_qlib.yaml user_data")
def backtest(
    config: ConfigFile,
    folder: UserFolder,
    data: Annotated[
        Path | None,
        typer.Option(
            help="freqtrade's data folder with the candles (feather); default: the file's embedded market"
        ),
    ] = None,
    start: Annotated[str | None, typer.Option(help="first day traded, UTC; default the file's")] = None,
    end: Annotated[
        str | None, typer.Option(help="first day not traded any more, UTC; default the file's")
    ] = None,
    set_: Overrides = None,
    ledger: Annotated[Path | None, typer.Option(help="trial ledger; default runs/trials.sqlite")] = None,
) -> None:
    """Backtest offline: freqtrade trains and trades; nothing is downloaded. Writes report.html."""
    from bascule.app import freqaipage
    from bascule.bridge.freqtrade.freqai import runs

    order = _read(config, set_ or ())
    first, past = start or order.start, end or order.end
    if first is None or past is None:
        raise ConfigError(
            "the days to trade are not given", where=f"{config}: start, end", remedy="give --start and --end"
        )
    candles = data or _embedded(order, config, folder)
    job = runs.Job(order.recipe, order.schedule, folder, candles, first, past, order.trade)
    with bar("FreqAI backtest") as progress:
        progress(0, 1, f"its log is in {folder / 'logs'}")
        found = runs.backtest(job)
    tries = _tries(order, ledger, embedded=data is None)
    trials = _count(tries, order, first, past)
    report = folder / REPORT
    freqaipage.page(order, job, found, synthetic=tries.synthetic, trials=trials).write(report)
    lines = [f"{name:14s} {found.metrics[name]:.4g}" for name in HEADLINE]
    answer(
        {"result": found.path, "report": report, "metrics": found.metrics, "trials": trials},
        *lines,
        f"{'trials':14s} {trials:,} ever touched these days",
        f"Result: {found.path}",
        f"Report: {report}",
    )


def _embedded(order: Order, config: Path, folder: Path) -> Path:
    from bascule.bridge.freqtrade.freqai import runs

    if order.synthetic is None:
        raise ConfigError(
            "no candles to trade on",
            where=f"{config}: synthetic",
            remedy="give --data DIR with freqtrade's candles, or an embedded market: synthetic: {days: 300}",
        )
    with bar("Embedded market") as progress:
        progress(0, 1, "")
        return runs.embedded(order.synthetic, order.recipe, folder)


def _tries(order: Order, ledger: Path | None, *, embedded: bool) -> Tries:
    """The ledger, and what the candles are called there."""
    from bascule.app.trials import DEFAULT, UNKNOWN, Tries
    from bascule.bridge.freqtrade.freqai.runs import generated
    from bascule.data.synthetic import is_synthetic

    if embedded and order.synthetic is not None:
        return Tries.on(ledger or DEFAULT, generated(order.synthetic, order.recipe))
    return Tries.on(ledger or DEFAULT, UNKNOWN if is_synthetic(order.recipe.pairs) else None)


def _count(tries: Tries, order: Order, first: Moment, past: Moment) -> int:
    """Write the backtest down, and say how many trials ever touched its days, this one among them."""
    from bascule.core import files

    made_of = order.model_dump(mode="json", include={"recipe", "schedule"})
    tries.record([f"freqai {files.fingerprint(made_of)[:16]}"], first, past, [order.recipe.horizon], "freqai")
    return tries.count(first, past)


def is_order(path: Path) -> bool:
    """Whether this is a FreqAI run's file; what cannot be read is none."""
    try:
        return "recipe" in mapping(path)
    except ConfigError:
        return False


def check(path: Path, overrides: Sequence[str] = ()) -> None:
    """Check a FreqAI run's file without running anything.

    Raises:
        ConfigError: a key or value is wrong, or a factor cannot be computed from candles.
    """
    from bascule.bridge.freqtrade.freqai import Plan, runs

    order = _read(path, overrides)
    plan = Plan.of(runs.configure(order.recipe, order.schedule, order.trade, exchange=order.exchange))
    bar, pairs = order.recipe.timeframe, order.recipe.pairs
    answer(
        {"config": path, "factors": list(plan.spec.names), "timeframe": bar, "pairs": list(pairs)},
        f"{path}: good. FreqAI, {len(plan.spec.names)} factors, {bar} candles, {len(pairs)} pairs",
    )


def _read(path: Path, overrides: Sequence[str]) -> Order:
    from bascule.bridge.freqtrade.freqai.runs import Order

    values = mapping(path, see="examples/freqai.yaml")
    for one in overrides:
        override(values, one)
    return Order.read(values, where=str(path))
