"""``bascule trade …``: prepare a bot, check it, start it, look at it, and compare it with its backtest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from bascule.app.command import Code, Commands, answer, note
from bascule.app.console import bar
from bascule.app.options import BundlePath, SettingsFile, Trust
from bascule.app.yamlfile import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bascule.bridge.freqtrade.livecheck import LiveCheck
    from bascule.bridge.freqtrade.preflight import Finding
    from bascule.signals import Bundle

trade_app = Commands()
_COLOURS = {"good": "green", "doubtful": "yellow", "bad": "red"}

Folder = Annotated[Path, typer.Argument(help="the bot's user folder", show_default=False)]


@trade_app.command("prepare", example="bascule trade prepare runs/demo/bundles bot --mode dry")
def trade_prepare(
    bundle: BundlePath,
    folder: Folder,
    mode: Annotated[str | None, typer.Option(help="rehearse, dry or live; default dry")] = None,
    settings: SettingsFile = None,
    role: Annotated[str | None, typer.Option(help="alone, producer or consumer")] = None,
    capital: Annotated[
        float | None, typer.Option(min=0, help="live: most that the bot may use, in the stake currency")
    ] = None,
    replay: Annotated[str | None, typer.Option(help="address of the replay exchange of a rehearsal")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="of freqtrade's REST server")] = None,
    trust: Trust = None,
) -> None:
    """Write a complete freqtrade user folder; what an existing one holds besides is kept."""
    from bascule.bridge.freqtrade import credentials, prepare

    given = read_settings(prepare.PrepareSettings, settings).model_dump(exclude_unset=True)
    options: dict[str, Any] = {"mode": mode, "role": role, "capital": capital, "replay_url": replay}
    options |= {"api_port": port, "trusted_keys": tuple(trust) if trust else None}
    given |= {name: value for name, value in options.items() if value is not None}
    chosen = prepare.PrepareSettings.read(given, where=str(settings or "options"))
    prepare.prepare(bundle, folder, chosen)
    secrets = credentials.required(chosen)
    lines = [f"{folder}: ready for mode {chosen.mode}. Secrets it needs, in {folder / '.env'}:"]
    lines += [f"  {name}  {what}" for name, what in secrets.items()]
    lines.append(f"then: bascule trade check {folder}; bascule trade start {folder}")
    if chosen.mode == "rehearse":
        lines = [
            f"{folder}: ready for mode rehearse; its secrets are made up",
            f"then: bascule trade rehearse {folder} --data STORE",
        ]
    answer({"folder": folder, "mode": chosen.mode, "secrets": secrets}, *lines)


@trade_app.command("check", example="bascule trade check bot --offline")
def trade_check(
    folder: Folder,
    offline: Annotated[bool, typer.Option("--offline", help="leave the exchange's clock out")] = False,
) -> None:
    """Check all that has to be right before a start; exit code 1 if something is bad."""
    found = _check(folder, offline=offline)
    answer({"good": _good(found), "checks": found}, _table(found))
    if not _good(found):
        raise typer.Exit(Code.FOUND)


def _check(folder: Path, *, offline: bool, starting: bool = False) -> Sequence[Finding]:
    from datetime import UTC, datetime

    from bascule.bridge.freqtrade import credentials, preflight

    environment = credentials.load(folder)
    skew = None
    if not offline:
        from bascule.bridge.freqtrade.guarded import first_venue

        values = preflight.configuration(folder)
        venue = first_venue(values, values["trading_mode"])
        skew = None if venue is None else venue.ping
    return preflight.check(folder, environment, now=datetime.now(UTC), skew=skew, starting=starting)


def _table(found: Sequence[Finding]) -> Table:
    table = Table("what", "", "found", box=None)
    for one in found:
        table.add_row(one.what, Text(one.mark, _COLOURS[one.mark]), Text(one.said))
    return table


def _good(found: Sequence[Finding]) -> bool:
    return all(one.mark != "bad" for one in found)


@trade_app.command("start", answers=False, example="bascule trade start bot")
def trade_start(
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", help="start although something is bad")] = False,
) -> None:
    """Check, then run freqtrade in this terminal until it is stopped; exit code 1 if something is bad."""
    import os
    import sys

    from bascule.bridge.freqtrade import credentials
    from bascule.bridge.freqtrade.rehearsal import command

    found = _check(folder, offline=False, starting=True)
    answer(None, _table(found))
    if not _good(found) and not force:
        note("not started; mend what is bad, or use --force", style="red")
        raise typer.Exit(Code.FOUND)
    environment = credentials.load(folder)
    sys.stdout.flush()
    line = command(folder)
    os.execve(line[0], line, environment)  # noqa: S606 - the bot takes this process's place


@trade_app.command("status", example="bascule trade status bot")
def trade_status(folder: Folder) -> None:
    """Show open trades, profit, troubles in the log, the emergency state; from the folder alone."""
    from bascule.bridge.freqtrade import preflight

    found = preflight.status(folder)
    table = Table("pair", "side", "opened", "price", "stake", box=None)
    trades = []
    for pair, side, opened, price, stake in found.open:
        table.add_row(pair, side, opened, f"{price:g}", f"{stake:,.2f}")
        trades.append({"pair": pair, "side": side, "opened": opened, "price": price, "stake": stake})
    answer(
        {**vars(found), "open": trades},
        f"{found.name}: {found.mode}, bundle {found.bundle}, emergency state {found.command}; last log entry "
        f"{found.last or 'none'}",
        table,
        f"{len(found.open)} open, {found.closed} closed, {found.profit:+,.2f} on closed trades, "
        f"{found.unfilled} orders open",
        *(Text(line, "yellow") for line in found.errors),
        *([f"the log says more: {found.log}"] if found.errors else []),
    )


@trade_app.command(
    "compare",
    example="bascule trade compare bot --data runs/demo/store --html compare.html",
)
def trade_compare(
    folder: Folder,
    data: Annotated[Path, typer.Option(help="store with the candles of the period and the look-back")],
    start: Annotated[
        str | None, typer.Option(help="first candle, UTC; default the first trade's day")
    ] = None,
    end: Annotated[str | None, typer.Option(help="first candle not compared; default after the last")] = None,
    tolerance: Annotated[int, typer.Option(min=0, help="candles by which entries may differ")] = 1,
    html: Annotated[
        Path | None,
        typer.Option(help="the page; default compare.html in the folder", rich_help_panel="Output"),
    ] = None,
) -> None:
    """Backtest the period in which the bot ran, and lay both beside each other."""
    from bascule.app.livepage import live_page
    from bascule.bridge.freqtrade import livecheck, livesignals, preflight
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.core import SetupError, moment
    from bascule.data.store import Store
    from bascule.signals import Bundle

    values = preflight.configuration(folder)
    bundle = Bundle.open(values["bascule"]["bundle"])
    database = Path(str(values["db_url"]).removeprefix("sqlite:///"))
    live = livecheck.read_trades(database)
    if live.empty and start is None:
        raise SetupError("the bot has not traded yet", where=str(database), remedy="give --start")
    opened = Store.open(data)
    panel = opened.panel(bundle.spec.bar)
    begin = bundle.spec.bar.floor(start if start is not None else live["open_date"].min().to_pydatetime())
    last = panel.time[-1] + bundle.spec.bar.delta
    stop = last if end is None else min(moment(end), last)
    trade = TradeSettings(
        wallet=float(values.get("dry_run_wallet") or values.get("available_capital") or 10_000.0),
        stake_currency=values["stake_currency"],
        tradable=values["tradable_balance_ratio"],
        leverage=values["bascule"]["leverage"],
        mode="computed",
    )
    traded = tuple(values["exchange"]["pair_whitelist"])
    tested = _backtest(bundle, opened, folder, trade, traded, begin, stop)
    found = livecheck.match(
        _within(live, begin, stop),
        tested,
        bundle.spec.bar,
        orders=livecheck.read_orders(database),
        tolerance=tolerance,
    )
    frame = livesignals.recompute(bundle, panel, begin - bundle.spec.bar.delta, stop)
    page = live_page(
        found,
        title=str(values["bot_name"]),
        span=(str(begin)[:16], str(stop)[:16]),
        followed=livesignals.followed(frame, bundle, live, traded),
        difference=livesignals.differences(frame, bundle.signals, bundle),
        assumed_bps=trade.slippage * 1e4,
        currency=trade.stake_currency,
    )
    path = html or folder / "compare.html"
    page.write(path)
    _show(found, path)


def _backtest(
    bundle: Bundle, store: Any, folder: Path, trade: Any, pairs: tuple[str, ...], begin: Any, stop: Any
) -> Any:
    from bascule.bridge.freqtrade import run
    from bascule.data.export import to_freqtrade

    home = folder / "compare"
    job = run.Job(bundle, home, home / "data", trade, start=begin, end=stop, pairs=pairs)
    with bar("Backtest of the same period") as progress:
        to_freqtrade(
            store,
            bundle.spec.bar,
            job.datadir,
            market=bundle.spec.market,
            instruments=bundle.instruments,
            end=stop,  # from the beginning: also who is gone by then has a file
            progress=progress,
        )
        return run.backtest(job).trades


def _within(trades: Any, begin: Any, stop: Any) -> Any:
    from bascule.bridge.freqtrade.feed import utc

    if trades.empty:
        return trades
    opened = utc(trades["open_date"])
    return trades[(opened >= begin) & (opened < stop)]


def _show(found: LiveCheck, path: Path) -> None:
    figure = found.summary()
    table = Table("", "value", box=None)
    for name, form in (
        ("matched", ".0f"),
        ("missed", ".0f"),
        ("extra", ".0f"),
        ("entry_bps_mean", "+.1f"),
        ("exit_bps_mean", "+.1f"),
        ("profit_live", "+,.2f"),
        ("profit_backtest", "+,.2f"),
    ):
        table.add_row(name.replace("_", " "), format(figure[name], form))
    answer({**figure, "page": path}, table, str(path))


@trade_app.command(
    "rehearse",
    resume="run the same command without --start and --fresh to go on from here",
    example="bascule trade prepare runs/demo/bundles bot --mode rehearse\n"
    "bascule trade rehearse bot --data runs/demo/store --hours 24",
)
def trade_rehearse(
    folder: Folder,
    data: Annotated[
        Path, typer.Option(help="store with the candles of the rehearsal and the bundle's look-back")
    ],
    start: Annotated[
        str | None,
        typer.Option(help="first candle, UTC; default where the newest model's window begins, or go on"),
    ] = None,
    hours: Annotated[float, typer.Option(help="length, in hours of the exchange")] = 48,
    every: Annotated[
        int | None, typer.Option(help="seconds between two looks of the bot; default a sixth of a candle")
    ] = None,
    pace: Annotated[
        float, typer.Option(help="real seconds that a look takes at least, to watch it at leisure")
    ] = 0,
    faults: Annotated[Path | None, typer.Option(help="YAML of what goes wrong (docs/rehearse.md)")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="forget the bot's earlier rehearsals")] = False,
) -> None:
    """Let a bot trade stored candles on a replayed exchange; exit code 1 if its books do not reconcile."""
    from bascule.bridge.exchange import FaultPlan
    from bascule.bridge.freqtrade import preflight
    from bascule.bridge.freqtrade.rehearsal import RehearsalSettings, rehearse
    from bascule.data.store import Store
    from bascule.signals import Bundle

    values = {"hours": hours, "every": every, "pace": pace, "fresh": fresh}
    settings = RehearsalSettings.read(values, where="options")
    bar_of = Bundle.open(preflight.configuration(folder)["bascule"]["bundle"]).spec.bar
    with bar("Rehearsal") as progress:
        found = rehearse(
            folder,
            Store.open(data).panel(bar_of),
            start=start,
            settings=settings,
            faults=None if faults is None else FaultPlan.load(faults),
            progress=progress,
        )
    status = found.status
    table = Table("", "", box=None)
    for name, told in (
        ("exchange's time", f"{str(found.begin)[:16]} to {str(found.end)[:16]} UTC"),
        ("orders on the exchange", f"{found.orders:,}"),
        ("trades", f"{len(status.open)} open, {status.closed} closed, {status.profit:+,.2f} on closed ones"),
        ("balances", ", ".join(f"{float(v):,.8g} {k}" for k, v in found.balances.items())),
        ("faults that struck", ", ".join(f"{k} {v}" for k, v in found.faults.items()) or "none planned"),
        ("unaccounted for", "; ".join(found.differences) or "nothing: every unit is in the books"),
    ):
        table.add_row(name, Text(told))
    answer({**vars(found), "status": vars(status)}, table)
    if found.differences:
        raise typer.Exit(Code.FOUND)
