"""``bascule monitor``: watch, rehearse, look; and the jobs beside it."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bascule.app.command import Code, Commands, answer, note
from bascule.app.console import bar
from bascule.app.options import Last
from bascule.app.yamlfile import read_settings
from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.monitor.jobs import JobRunner
    from bascule.monitor.settings import MonitorSettings

monitor_app = Commands()

File = Annotated[Path, typer.Argument(help="the monitor's YAML file", show_default=False)]


@monitor_app.command("run", example="bascule monitor run monitor.yaml --once")
def run(
    path: File,
    once: Annotated[bool, typer.Option("--once", help="one cycle, every source read to its end")] = False,
) -> None:
    """Watch until told to stop (SIGTERM, Ctrl-C); a restart goes on where it was."""
    from bascule.monitor.loop import Monitor

    settings = _settings(path)
    _log()
    monitor = Monitor(settings)
    if once:
        with closing(monitor):
            did = monitor.cycle(datetime.now(UTC), patience=600.0)
        counts = (did.samples, len(did.taken.events), did.ended, did.sent)
        names = ("samples", "events", "actions", "messages")
        told = dict(zip(names, counts, strict=True))
        answer(told, ", ".join(f"{count} {name}" for name, count in told.items()))
        return
    begun = datetime.now(UTC)
    monitor.run(_until_told(), lambda port: note(f"metrics on {settings.host}:{port}"))
    answer({"from": begun, "to": datetime.now(UTC)}, "stopped; a restart goes on from here")


@monitor_app.command(
    "replay", example="bascule monitor replay monitor.yaml --start 2026-01-01 --end 2026-03-01"
)
def replay(
    path: File,
    start: Annotated[str, typer.Option("--start", help="UTC, e.g. 2026-01-01")],
    end: Annotated[str, typer.Option("--end", help="UTC, excluded")],
    journal: Annotated[
        bool, typer.Option("--journal/--no-journal", help="also what the monitor itself measured then")
    ] = True,
) -> None:
    """Show what the rules would have done in the past; nothing is done, nobody is told."""
    from bascule.monitor.loop import rule_book
    from bascule.monitor.replay import recorded
    from bascule.monitor.replay import replay as rehearse
    from bascule.monitor.samples import Sample
    from bascule.monitor.schema import Database
    from bascule.monitor.sources.research import Research

    settings = _settings(path)
    first, last = _moment(start), _moment(end)
    samples: dict[tuple[str, str, datetime], Sample] = {}
    if settings.research is not None:
        with bar("Measure") as progress:
            progress(0, 1, "candles and bundle")
            for one in Research(settings.research, settings.home).read(first, last):
                samples[one.metric, one.subject, one.at] = one
    if journal:
        for one in recorded(Database(settings.database), first, last):
            samples.setdefault((one.metric, one.subject, one.at), one)
    with bar("Rehearse") as progress:
        found = rehearse(samples.values(), rule_book(settings).rules, progress=progress)
    table = Table("at (UTC)", "", "rule", "what", "would do", box=None)
    planned: dict[str, list[str]] = {}
    for action in found.actions:
        planned.setdefault(f"{action.at:%Y-%m-%d %H:%M} {action.reason}", []).append(
            f"{action.do} {action.target}"
        )
    for event in found.events:
        at = f"{event.at:%Y-%m-%d %H:%M}"
        kind = event.level if event.kind == "fired" else "over"
        table.add_row(at, kind, event.rule, event.text, ", ".join(planned.get(f"{at} {event.text}", ())))
    answer(
        {
            "samples": found.samples,
            "events": [vars(one) for one in found.events],
            "actions": [vars(one) for one in found.actions],
        },
        *([table] if found.events else []),
        f"{found.samples:,} samples, {len(found.events):,} events, {len(found.actions):,} actions",
    )


@monitor_app.command("status", example="bascule monitor status monitor.yaml --last 20")
def status(path: File, last: Last = 10) -> None:
    """Show open alerts, the last actions, bots and jobs."""
    from bascule.monitor.read import Reader

    reader = Reader(_settings(path).database)
    bots = Table("bot", "seen", "up", "running", "open", "profit", "drawdown", "slippage", box=None)
    seen, noticed, done = list(reader.bots()), list(reader.alerts(last)), list(reader.deeds(last))
    worked = list(reader.jobs(last))
    for bot in seen:
        values = bot.values
        bots.add_row(
            bot.name,
            _when(bot.at),
            *(_yes(values.get(name)) for name in ("bot.up", "bot.running")),
            *(_figure(values.get(name)) for name in ("bot.open_trades", "bot.profit_ratio", "bot.drawdown")),
            _figure(values.get("fills.slippage_bps")),
        )
    alerts = Table("at (UTC)", "level", "rule", "what", "", box=None, title="alerts", title_justify="left")
    for alert in noticed:
        alerts.add_row(_when(alert.at), alert.level, alert.rule, alert.text, "open" if alert.open else "over")
    deeds = Table("at (UTC)", "action", "target", "outcome", box=None, title="actions", title_justify="left")
    for deed in done:
        deeds.add_row(_when(deed.at), deed.action, deed.target, deed.outcome)
    runs = Table("at (UTC)", "job", "state", "outcome", box=None, title="jobs", title_justify="left")
    for job in worked:
        runs.add_row(_when(job.at), job.name, job.status, job.outcome[-100:])
    shown = [table for table in (bots, alerts, deeds, runs) if table.row_count]
    told = {"bots": seen, "alerts": noticed, "actions": done, "jobs": worked}
    answer(told, *shown) if shown else answer(told, "nothing was seen yet")


@monitor_app.command("rules", example="bascule monitor rules monitor.yaml")
def rules(path: File) -> None:
    """Check the rules and show them."""
    from bascule.monitor.loop import rule_book

    table = Table("rule", "when", "for", "cool-down", "level", "does", box=None)
    found = rule_book(_settings(path)).rules
    for rule in found:
        sides = [
            f"{name} {getattr(rule, name)}"
            for name in ("above", "below", "absent", "clear")
            if getattr(rule, name) is not None
        ]
        table.add_row(
            rule.name,
            f"{rule.metric} {', '.join(sides)}",
            str(rule.readings),
            f"{rule.cool_down:g} s",
            rule.level,
            ", ".join(action.do for action in rule.actions),
        )
    answer({"rules": found}, table)


@monitor_app.command("jobs", answers=False, example="bascule monitor jobs monitor.yaml")
def jobs(path: File) -> None:
    """Start jobs by the clock, and those that actions ask for, until told to stop."""
    from bascule.monitor.jobs import Scheduler

    _log()
    Scheduler(_runner(_settings(path))).run(_until_told())


@monitor_app.command("job", example="bascule monitor job monitor.yaml retrain")
def job(path: File, name: Annotated[str, typer.Argument(help="of the job", show_default=False)]) -> None:
    """Run one job now, as cron and systemd timers do; never twice at a time. Exit code 1 if it fails."""
    with bar(f"Job {name}") as progress:
        progress(0, 1, "")
        done = _runner(_settings(path)).start(name)
    failed = done.status == "failed"
    answer(done, f"{name}: {done.status}", *([done.outcome] if failed else []))
    if failed:
        raise typer.Exit(Code.FOUND)


def _settings(path: Path) -> MonitorSettings:
    from bascule.monitor.settings import MonitorSettings

    found = read_settings(MonitorSettings, path)
    # relative paths start from the file, wherever the command is called
    return found.model_copy(update={"home": (path.parent / found.home).resolve()})


def _runner(settings: MonitorSettings) -> JobRunner:
    from bascule.monitor.jobs import JobRunner
    from bascule.monitor.schema import Database

    logs = settings.within(settings.job_logs)
    return JobRunner(Database(settings.database), settings.jobs, settings.home, logs)


def _until_told() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for loud in ("httpx", "apscheduler"):  # httpx would log every address, with its query
        logging.getLogger(loud).setLevel(logging.WARNING)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no time", where="monitor replay", remedy="write e.g. 2026-01-31 or 2026-01-31T12:00"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _yes(value: float | None) -> str:
    return "?" if value is None else ("yes" if value else "no")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
