"""``bascule data``: look at stores and sources, check them, bring them up to date, hand them on.

Exit codes are those of ``bascule``; ``check`` ends with 3 when it finds what ``--fail-on`` names.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from bascule.core import ConfigError, Timeframe, files

if TYPE_CHECKING:
    import pandas as pd

    from bascule.data.health import HealthSettings
    from bascule.data.store import Store

data_app = typer.Typer(help="Market data: list, check, update, export.", no_args_is_help=True)
console = Console()

StoreFolder = Annotated[Path, typer.Argument(help="a store's folder", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key=value (repeatable)")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="write the findings to this file")]
HtmlFile = Annotated[Path | None, typer.Option("--html", help="write them as a page to this file")]


class FailOn(StrEnum):
    """The severity from which ``check`` fails."""

    error = "error"
    warning = "warning"
    never = "never"


class Market(StrEnum):
    """freqtrade's trading mode."""

    spot = "spot"
    futures = "futures"


@data_app.command("ls")
def ls(path: StoreFolder, json_: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """What a store holds: candles by timeframe, tables of slow data, universes, fingerprints."""
    from bascule.data.store import Store

    store = Store.open(path)
    told = _contents(store)
    if json_:
        console.print_json(json.dumps(told))
        return
    candles = Table(
        "candles", "rows", "instruments", "first", "last", "files", "made of", "fingerprint", box=None
    )
    for one in told["candles"]:
        candles.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in one.values()))
    console.print(candles)
    if told["tables"]:
        tables = Table(
            "table", "scope", "rows", "first known", "last known", "fields", "fingerprint", box=None
        )
        for one in told["tables"]:
            fields = ", ".join(one["fields"])
            row = {**one, "fields": fields}
            tables.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()))
        console.print(tables)
    for timeframe, names in told["universes"].items():
        console.print(f"universes of {timeframe}: {', '.join(names)}", highlight=False, markup=False)


def _contents(store: Store) -> dict[str, Any]:
    candles = []
    for timeframe in store.timeframes:
        section = store.section(timeframe)
        spans = section.spans.values()
        candles.append(
            {
                "timeframe": str(timeframe),
                "rows": section.rows,
                "instruments": len(section.spans),
                "first": min((first for first, _ in spans), default=""),
                "last": max((last for _, last in spans), default=""),
                "files": len(section.parts),
                "source": section.source,
                "fingerprint": section.fingerprint(),
            }
        )
    tables = [
        {
            "name": name,
            "scope": table.scope,
            "rows": table.rows,
            "first": table.first,
            "last": table.last,
            "fields": list(table.columns),
            "fingerprint": table.fingerprint(),
        }
        for name, table in sorted(store.tables.items())
    ]
    universes = {str(t): sorted(store.universes(t)) for t in store.timeframes if store.universes(t)}
    return {"candles": candles, "tables": tables, "universes": universes}


@data_app.command("check")
def check(
    target: Annotated[
        Path,
        typer.Argument(help="a run's YAML file, a store, or a long parquet or CSV file", show_default=False),
    ],
    set_: Overrides = None,
    json_: JsonFile = None,
    html: HtmlFile = None,
    timeframe: Annotated[
        str | None, typer.Option(help="candle length (of a store: default all it holds)")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="the severity that ends with exit code 3")] = FailOn.error,
) -> None:
    """Health of candles; for a store also its checksums. Exit code 3 if there is what --fail-on names."""
    from bascule.app.console import bar
    from bascule.app.datareport import health_page
    from bascule.app.sources import health_table
    from bascule.data import health
    from bascule.data.issues import Severity

    worst = 0
    found = _targets(target, timeframe, set_ or [])
    many = len(found) > 1
    for frame, length, settings in found:
        with bar(console, f"Health checks {length}") as progress:
            report = health.check(frame, length, settings, progress)
        if many:
            console.print(f"{length} candles", highlight=False)
        console.print(health_table(report))
        if report.quarantine:
            names = ", ".join(f"{name} ({', '.join(kinds)})" for name, kinds in report.quarantine.items())
            console.print(f"in quarantine: {names}", highlight=False, markup=False, soft_wrap=True)
        if json_ is not None:
            files.write_json(_one_of(json_, length, many), report.to_dict())
        if html is not None:
            page = health_page(target.name or str(target.resolve()), report, frame, length)
            page.write(_one_of(html, length, many))
        worst = max(worst, report.worst or 0)
    least = {FailOn.error: Severity.ERROR, FailOn.warning: Severity.WARNING}.get(fail_on)
    if least is not None and worst >= least:
        raise typer.Exit(3)


def _one_of(path: Path, timeframe: Timeframe, many: bool) -> Path:
    """The file of one of several timeframes: ``health.html`` → ``health-4h.html``."""
    return path.with_name(f"{path.stem}-{timeframe}{path.suffix}") if many else path


def _targets(
    target: Path, timeframe: str | None, overrides: list[str]
) -> list[tuple[pd.DataFrame, Timeframe, HealthSettings]]:
    """Candles to check, each with its timeframe and thresholds."""
    if target.suffix in (".yaml", ".yml"):
        from bascule.app.config import load
        from bascule.app.sources import read_source

        loaded = load(target, overrides)
        return [(read_source(loaded), loaded.bar, loaded.data.health)]
    settings = _health(overrides)
    if target.is_dir():
        from bascule.app.console import bar
        from bascule.data.store import Store

        store = Store.open(target)
        with bar(console, "Checksums") as progress:
            store.verify(progress)
        wanted = store.timeframes if timeframe is None else (Timeframe.parse(timeframe, where="--timeframe"),)
        return [(store.frame(one), one, settings) for one in wanted]
    if timeframe is None:
        raise ConfigError("candles of which length?", where=str(target), remedy="give --timeframe, e.g. 1h")
    from bascule.data.readers import read_long

    return [(read_long(target), Timeframe.parse(timeframe, where="--timeframe"), settings)]


def _health(overrides: list[str]) -> HealthSettings:
    from bascule.data.health import HealthSettings

    values = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"cannot read {text!r}", where="--set", remedy="write key=value")
        values[key] = yaml.safe_load(value)
    return HealthSettings.read(values, where="--set")


@data_app.command("update")
def update(
    config: Annotated[
        Path, typer.Argument(help="a YAML file with a store and its feeds", show_default=False)
    ],
    until: Annotated[str | None, typer.Option(help="end of what is fetched, UTC; default now")] = None,
    json_: JsonFile = None,
) -> None:
    """Fetch what is new into a store: candles, slow data, longer timeframes, provider, universes."""
    from bascule.app.console import bar
    from bascule.app.extending import extend
    from bascule.data.sources.context import Context
    from bascule.data.update import UpdateSettings
    from bascule.data.update import update as bring

    root, values = config.resolve().parent, _yaml(config)
    extend(values, root, str(config))
    settings = UpdateSettings.read(values, where=str(config))
    settings = settings.model_copy(update={"store": root / settings.store.expanduser()})
    heard: list[str] = []
    with bar(console, "Update") as progress:
        done = bring(settings, Context.system(), until=until, progress=progress, note=heard.append)
    table = Table("feed", "new", "changed", "worst finding", "notes", box=None)
    for one in done:
        worst = one.health.worst.name.lower() if one.health and one.health.worst else ""
        notes = " ".join(note for report in one.fetched for note in report.notes)
        table.add_row(one.name, f"{one.added:,}", f"{one.replaced:,}", worst, notes)
    console.print(table)
    for text in heard:
        console.print(f"note: {text}", highlight=False, soft_wrap=True)
    if json_ is not None:
        told = [
            {
                "feed": one.name,
                "added": one.added,
                "replaced": one.replaced,
                "fetched": [report.to_dict() for report in one.fetched],
                "health": None if one.health is None else one.health.to_dict(),
            }
            for one in done
        ]
        files.write_json(json_, told)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), remedy="give a YAML file with store: and feeds:"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("this is no mapping of settings", where=str(path), remedy="see docs/data.md")
    return values


@data_app.command("export")
def export(
    path: StoreFolder,
    folder: Annotated[
        Path, typer.Argument(help="freqtrade's data folder of an exchange", show_default=False)
    ],
    timeframe: Annotated[str, typer.Option(help="which candles")],
    market: Annotated[Market, typer.Option(help="trading mode")] = Market.spot,
    instrument: Annotated[list[str] | None, typer.Option(help="only this one (repeatable)")] = None,
    start: Annotated[str | None, typer.Option(help="first candle, UTC")] = None,
    end: Annotated[str | None, typer.Option(help="candles before it, UTC")] = None,
) -> None:
    """Write a store's candles as freqtrade's own files."""
    from bascule.app.console import bar
    from bascule.core import Instrument
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store

    names = None if not instrument else [Instrument.parse(text).id for text in instrument]
    with bar(console, "Export") as progress:
        written = to_freqtrade(
            Store.open(path),
            timeframe,
            folder,
            market=market.value,
            instruments=names,
            start=start,
            end=end,
            progress=progress,
        )
    console.print(f"{len(written)} files in {folder}", highlight=False, soft_wrap=True)


@data_app.command("compact")
def compact(path: StoreFolder) -> None:
    """Make one file of each month; candles and fingerprints stay as they are."""
    from bascule.app.console import bar
    from bascule.data.store import Store

    with bar(console, "Compact") as progress:
        fewer = Store.open(path).compact(progress)
    console.print(f"{fewer} files fewer", highlight=False)
