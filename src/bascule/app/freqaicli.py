"""``bascule freqai …``: FreqAI runs from one YAML file: recipe, schedule, costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.console import Console

from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.freqai.runs import Order

freqai_app = typer.Typer(help="FreqAI with factor texts and qlib's models.", no_args_is_help=True)
console = Console()

ConfigFile = Annotated[
    Path, typer.Argument(help="YAML: recipe, schedule, trade, exchange", show_default=False)
]
UserFolder = Annotated[Path, typer.Argument(help="freqtrade's user_data folder", show_default=False)]


@freqai_app.command("prepare")
def prepare(config: ConfigFile, folder: UserFolder) -> None:
    """Write a user folder that freqtrade runs: configuration and strategy."""
    from bascule.bridge.freqtrade.freqai import runs

    order = _read(config)
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
    console.print(f"{space.config} is ready. Dry run: {command}", highlight=False, soft_wrap=True)


@freqai_app.command("backtest")
def backtest(
    config: ConfigFile,
    folder: UserFolder,
    data: Annotated[Path, typer.Option("--data", help="freqtrade's data folder with the candles (feather)")],
    start: Annotated[str, typer.Option(help="first day traded, UTC")],
    end: Annotated[str, typer.Option(help="first day not traded any more, UTC")],
) -> None:
    """Backtest offline: freqtrade trains and trades; nothing is downloaded."""
    from bascule.bridge.freqtrade.freqai import runs

    order = _read(config)
    job = runs.Job(order.recipe, order.schedule, folder, data, start, end, order.trade)
    found = runs.backtest(job)
    for name in ("total_trades", "profit_total", "cagr", "sharpe", "max_drawdown", "calmar"):
        console.print(f"{name:14s} {found.metrics[name]:.4g}", highlight=False)
    console.print(f"Result: {found.path}", highlight=False, soft_wrap=True)


def _read(path: Path) -> Order:
    from bascule.bridge.freqtrade.freqai.runs import Order

    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), remedy="check the file") from None
    if not isinstance(values, dict):
        raise ConfigError("not a mapping", where=str(path), remedy="see examples/freqai.yaml")
    return Order.read(values, where=str(path))
