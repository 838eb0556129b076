"""``bascule data``: look at stores and sources, check them, bring them up to date, hand them on.

Exit codes are those of ``bascule``: ``check`` ends with 1 when it finds what ``--fail-on`` names.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bascule.app.command import Code, Commands, answer, note
from bascule.app.console import bar
from bascule.app.options import DATA, End, Market, Overrides, Start
from bascule.app.yamlfile import mapping, override
from bascule.core import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from bascule.core import Timeframe
    from bascule.data.health import HealthSettings
    from bascule.data.store import Store

data_app = Commands()

StoreFolder = Annotated[Path, typer.Argument(help="a store's folder", show_default=False)]
HtmlFile = Annotated[
    Path | None,
    typer.Option("--html", help="write the findings as a page to this file", rich_help_panel="Output"),
]


class FailOn(StrEnum):
    """The severity from which ``check`` fails."""

    error = "error"
    warning = "warning"
    never = "never"


@data_app.command("ls", example="bascule data ls runs/demo/store")
def ls(path: StoreFolder) -> None:
    """List what a store holds: candles by timeframe, tables of slow data, universes, fingerprints."""
    from bascule.data.store import Store

    told = contents(Store.open(path))
    candles = Table(
        "candles", "rows", "instruments", "first", "last", "files", "made of", "fingerprint", box=None
    )
    for one in told["candles"]:
        candles.add_row(*map(_cell, one.values()))
    tables = Table("table", "scope", "rows", "first known", "last known", "fields", "fingerprint", box=None)
    for one in told["tables"]:
        tables.add_row(*map(_cell, {**one, "fields": ", ".join(one["fields"])}.values()))
    universes = [f"universes of {one}: {', '.join(names)}" for one, names in told["universes"].items()]
    answer(told, candles, *([tables] if told["tables"] else []), *universes)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def contents(store: Store) -> dict[str, Any]:
    """What a store holds, as JSON."""
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


@data_app.command(
    "check",
    example="bascule data check runs/demo/store --html health.html\n"
    "bascule data check examples/spot_1h.yaml --fail-on warning",
)
def check(
    target: Annotated[
        Path,
        typer.Argument(help="a run's YAML file, a store, or a long parquet or CSV file", show_default=False),
    ],
    set_: Overrides = None,
    html: HtmlFile = None,
    timeframe: Annotated[
        str | None,
        typer.Option(help="candle length, e.g. 1h; of a store: default all it holds", rich_help_panel=DATA),
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="the severity that ends with exit code 1")] = FailOn.error,
) -> None:
    """Check the health of candles; for a store also its checksums. Exit code 1 for what --fail-on names."""
    from bascule.app.datareport import health_page
    from bascule.app.sources import health_table
    from bascule.data import health
    from bascule.data.issues import Severity

    worst, shown, told = 0, list[Any](), dict[str, Any]()
    found = _targets(target, timeframe, set_ or [])
    many = len(found) > 1
    for frame, length, settings in found:
        with bar(f"Health checks {length}") as progress:
            report = health.check(frame, length, settings, progress)
        told[str(length)] = report.to_dict()
        shown += [f"{length} candles"] if many else []
        shown.append(health_table(report))
        if report.quarantine:
            names = ", ".join(f"{name} ({', '.join(kinds)})" for name, kinds in report.quarantine.items())
            shown.append(f"in quarantine: {names}")
        if html is not None:
            page = health_page(target.name or str(target.resolve()), report, frame, length)
            page.write(_one_of(html, length, many))
        worst = max(worst, report.worst or 0)
    answer({"worst": Severity(worst).name.lower() if worst else None, "timeframes": told}, *shown)
    least = {FailOn.error: Severity.ERROR, FailOn.warning: Severity.WARNING}.get(fail_on)
    if least is not None and worst >= least:
        raise typer.Exit(Code.FOUND)


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
    from bascule.core import Timeframe

    settings = _health(overrides)
    length = None if timeframe is None else Timeframe.parse(timeframe, where="--timeframe")
    if target.is_dir():
        from bascule.data.store import Store

        store = Store.open(target)
        with bar("Checksums") as progress:
            store.verify(progress)
        wanted = store.timeframes if length is None else (length,)
        return [(store.frame(one), one, settings) for one in wanted]
    if length is None:
        raise ConfigError("candles of which length?", where=str(target), remedy="give --timeframe, e.g. 1h")
    from bascule.data.readers import read_long

    return [(read_long(target), length, settings)]


def _health(overrides: list[str]) -> HealthSettings:
    from bascule.data.health import HealthSettings

    values: dict[str, Any] = {}
    for text in overrides:
        override(values, text)
    return HealthSettings.read(values, where="--set")


@data_app.command(
    "update",
    resume="what was fetched is kept: run the same command again to go on from here",
    example="bascule data update update.yaml",
)
def update(
    config: Annotated[
        Path, typer.Argument(help="a YAML file with a store and its feeds", show_default=False)
    ],
    end: Annotated[str | None, typer.Option("--end", help="end of what is fetched, UTC; default now")] = None,
) -> None:
    """Fetch what is new into a store: candles, slow data, longer timeframes, provider, universes."""
    from bascule.app.extending import extend
    from bascule.data.sources.context import Context
    from bascule.data.update import UpdateSettings
    from bascule.data.update import update as bring

    root, values = config.resolve().parent, mapping(config, see="docs/data.md")
    extend(values, root, str(config))
    settings = UpdateSettings.read(values, where=str(config))
    settings = settings.model_copy(update={"store": root / settings.store.expanduser()})
    with bar("Update") as progress:
        done = bring(settings, Context.system(), until=end, progress=progress, note=note)
    table = Table("feed", "new", "changed", "worst finding", "notes", box=None)
    for one in done:
        worst = one.health.worst.name.lower() if one.health and one.health.worst else ""
        notes = " ".join(text for report in one.fetched for text in report.notes)
        table.add_row(one.name, f"{one.added:,}", f"{one.replaced:,}", worst, notes)
    feeds = [
        {
            "feed": one.name,
            "added": one.added,
            "replaced": one.replaced,
            "fetched": [report.to_dict() for report in one.fetched],
            "health": None if one.health is None else one.health.to_dict(),
        }
        for one in done
    ]
    answer({"store": settings.store, "feeds": feeds}, table)


@data_app.command(
    "export", example="bascule data export runs/demo/store user_data/data/binance --timeframe 1h"
)
def export(
    path: StoreFolder,
    folder: Annotated[
        Path, typer.Argument(help="freqtrade's data folder of an exchange", show_default=False)
    ],
    timeframe: Annotated[str, typer.Option(help="candle length, e.g. 1h", rich_help_panel=DATA)],
    market: Annotated[Market, typer.Option(help="trading mode")] = Market.spot,
    instrument: Annotated[
        list[str] | None, typer.Option(help="only this one (repeatable)", rich_help_panel=DATA)
    ] = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Write a store's candles as freqtrade's own files."""
    from bascule.core import Instrument
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store

    names = None if not instrument else [Instrument.parse(text).id for text in instrument]
    with bar("Export") as progress:
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
    answer({"folder": folder, "files": list(written)}, f"{len(written)} files in {folder}")


@data_app.command("compact", example="bascule data compact runs/demo/store")
def compact(path: StoreFolder) -> None:
    """Make one file of each month; candles and fingerprints stay as they are."""
    from bascule.data.store import Store

    with bar("Compact") as progress:
        fewer = Store.open(path).compact(progress)
    answer({"store": path, "files_fewer": fewer}, f"{fewer} files fewer")
