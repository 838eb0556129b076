"""``bascule factor …``: look at libraries and texts, search them, and judge factors on data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bascule.app.command import Code, Commands, answer
from bascule.app.console import bar, console
from bascule.app.factornames import factors_like, libraries_like, locate, pick
from bascule.app.options import MEASURE, Data, End, Frame, Start, Top
from bascule.app.spreading import Cluster, Workers, spread
from bascule.core import ConfigError, DataError

if TYPE_CHECKING:
    from bascule.app.candles import Candles
    from bascule.app.page import Page
    from bascule.app.tearsheet import Measurement
    from bascule.cluster import Executor
    from bascule.core import Panel
    from bascule.engine import Plan
    from bascule.evaluate import SheetSettings
    from bascule.factors import Factor, Found

factor_app = Commands()

MOST_IN_FULL = 12


Names = Annotated[
    list[str],
    typer.Argument(
        help="factor names, library:NAME, libraries, YAML files, or texts: [NAME=]$close/…",
        show_default=False,
        autocompletion=factors_like,
    ),
]
Horizon = Annotated[int, typer.Option(min=1, help="candles of the label", rich_help_panel=MEASURE)]
Split = Annotated[
    str | None,
    typer.Option(
        help="first out-of-sample day, UTC; default after 60 % of the rows", rich_help_panel=MEASURE
    ),
]
Cost = Annotated[
    float, typer.Option(min=0, help="cost of trading one unit, a fraction", rich_help_panel=MEASURE)
]
LedgerPath = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        help="where trials are counted; default the run's ledger, or runs/trials.sqlite",
        rich_help_panel=MEASURE,
    ),
]
Venue = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=DATA: the same factors on another venue's candles too (repeatable)",
        rich_help_panel="Data",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="the HTML page; default reports/<name>.html", rich_help_panel="Output"),
]


@factor_app.command("ls", example="bascule factor ls\nbascule factor ls alpha158")
def ls(
    entries: Annotated[
        list[str] | None,
        typer.Argument(
            help="libraries or YAML files; none: list the libraries", autocompletion=libraries_like
        ),
    ] = None,
) -> None:
    """List libraries, or the factors of some with their texts."""
    from bascule.factors import resolve

    if not entries:
        _ls_libraries()
        return
    rows = [(factor.name, factor.family, factor.text) for factor in resolve(entries)]
    told = [{"name": name, "family": family, "text": text} for name, family, text in rows]
    answer({"factors": told}, _lines(("factor", "family", "text"), rows))


def _ls_libraries() -> None:
    from bascule.factors import LIBRARIES, library

    table = Table("library", "factors", "longest look-back", "families", box=None)
    table.caption = "bascule factor ls LIBRARY · search WORDS · show NAME"
    table.caption_justify = "left"
    told = []
    for name in LIBRARIES:
        held = library(name)
        backs = [factor.lookback for factor in held]
        longest = None if None in backs else max(back for back in backs if back is not None)
        families = list(dict.fromkeys(factor.family for factor in held))
        told.append({"library": name, "factors": len(held), "lookback": longest, "families": families})
        shown = "all" if longest is None else f"{longest:,}"
        table.add_row(f"[bold]{name}[/]", str(len(held)), shown, ", ".join(families))
    answer({"libraries": told}, table)


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of one line a row: what does not fit of the last column is cut."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads) - 1)]
    room = max(12, console.width - sum(widths) - 2 * len(heads))
    table = Table(*heads, box=None, caption_justify="left")
    for *short, text in rows:
        table.add_row(*short, text if len(text) <= room else f"{text[: room - 1]}…")
    return table


@factor_app.command("show", example="bascule factor show KMID alpha101:WQ001")
def show(names: Names) -> None:
    """Show all that the catalogue knows of factors."""
    from rich.panel import Panel as Box
    from rich.text import Text

    told, boxes = [], []
    for place, factor in locate(names):
        told.append({**_facts(factor), "library": place or None})
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        back = "all history" if factor.lookback is None else f"{factor.lookback:,} candles"
        for label, value in (
            ("about", factor.note),
            ("family", factor.family),
            ("source", factor.source),
            ("tags", ", ".join(factor.tags)),
            ("reads", " ".join(f"${name}" for name in factor.inputs)),
            ("look-back", back),
            ("horizon", f"{factor.horizon:,} {'candle' if factor.horizon == 1 else 'candles'}"),
            ("text", factor.text),
        ):
            if value:
                table.add_row(label, Text(value, style="bold" if label == "text" else ""))
        title = f"[bold]{factor.name}[/]" + (f" · {place}" if place else "")
        boxes.append(Box(table, title=title, title_align="left", border_style="dim", expand=False))
    answer({"factors": told}, *boxes)


def _facts(factor: Factor) -> dict[str, Any]:
    """What the catalogue knows of a factor, as JSON."""
    names = ("name", "text", "family", "source", "note", "tags", "horizon", "lookback", "inputs")
    return {name: getattr(factor, name) for name in names}


@factor_app.command("explain", example="bascule factor explain 'Mean($close, 24) / $close' 'Std($close, 24)'")
def explain(
    texts: Annotated[list[str], typer.Argument(help="factor texts", show_default=False)],
    graph: Annotated[
        Path | None, typer.Option(help="draw it: an HTML page, or a .dot file for Graphviz")
    ] = None,
) -> None:
    """Show how the engine would compute factor texts: shared parts, look-back, fields."""
    from bascule.engine import compile as plan

    planned = plan(texts)
    _draw(planned, graph)
    answer(
        {
            "texts": planned.texts,
            "fields": planned.fields,
            "lookback": planned.lookback,
            "plan": planned.explain().splitlines(),
            "graph": graph,
        },
        planned.explain(),
        *([] if graph is None else [f"graph: {graph}"]),
    )


def _draw(planned: Plan, graph: Path | None) -> None:
    if graph is None:
        return
    if graph.suffix == ".dot":
        from bascule.core import files

        with files.atomic_file(graph) as aside:
            aside.write_text(planned.graph().dot() + "\n", "utf-8")
    else:
        from bascule.app.planpage import page

        page(planned).write(graph)


@factor_app.command("search", example="bascule factor search reversal --max-lookback 48")
def search(
    words: Annotated[
        list[str] | None, typer.Argument(help="words in name, note, source, tags or text")
    ] = None,
    library: Annotated[
        list[str] | None,
        typer.Option(help="only these libraries or YAML files (repeatable)", autocompletion=libraries_like),
    ] = None,
    family: Annotated[str | None, typer.Option(help="only this family")] = None,
    tag: Annotated[str | None, typer.Option(help="only with this tag")] = None,
    field: Annotated[str | None, typer.Option(help="only those that read this field")] = None,
    max_lookback: Annotated[int | None, typer.Option(help="at most so many bars of history")] = None,
) -> None:
    """Find factors in the catalogue. Exit code 1 if there is none."""
    from bascule import factors

    found = factors.search(
        " ".join(words or ()),
        libraries=library,
        family=family,
        tag=tag,
        field=field,
        max_lookback=max_lookback,
    )
    told = [{**_facts(item.factor), "library": item.library} for item in found]
    answer({"factors": told}, _found_table(found) if found else "no factor meets all of that")
    if not found:
        raise typer.Exit(Code.FOUND)


def _found_table(found: Sequence[Found]) -> Table:
    rows = []
    for item in found:
        factor = item.factor
        back = "all" if factor.lookback is None else f"{factor.lookback:,}"
        rows.append((factor.name, item.library, str(factor.horizon), back, factor.note or factor.text))
    table = _lines(("factor", "library", "horizon", "look-back", "about"), rows)
    table.caption = f"{len(found):,} found; bascule factor show NAME tells the rest"
    return table


@factor_app.command("report", example="bascule factor report KMID --data runs/demo/store --horizon 24")
def report(
    names: Names,
    data: Data = None,
    timeframe: Frame = "1h",
    horizon: Horizon = 24,
    split: Split = None,
    start: Start = None,
    end: End = None,
    top: Top = None,
    cost: Cost = 0.001,
    ledger: LedgerPath = None,
    venue: Venue = None,
    out: Out = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Judge factors: a terminal table and one self-contained HTML tear sheet."""
    from bascule.app.candles import read
    from bascule.app.tearpage import page

    factors = pick(names)
    if len(factors) > MOST_IN_FULL:
        raise ConfigError(
            f"{len(factors)} factors in full would make an endless page",
            where="factor report",
            remedy=f"name at most {MOST_IN_FULL}, or use: bascule factor compare",
        )
    settings = _settings(horizon, split, cost)
    held = read(data, timeframe, start, end, top=top)
    others = _venues(venue, held, factors, start, end)
    with spread(workers, address) as executor:
        found = _measure(factors, settings, held, ledger, executor, others)
    _show(found, page(found), out, factors[0].name if len(factors) == 1 else "factors")


@factor_app.command("compare", example="bascule factor compare alpha158 --workers 2 --out compared.html")
def compare(
    names: Names,
    data: Data = None,
    timeframe: Frame = "1h",
    horizon: Horizon = 24,
    split: Split = None,
    start: Start = None,
    end: End = None,
    top: Top = None,
    cost: Cost = 0.001,
    ledger: LedgerPath = None,
    out: Out = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Factors or whole libraries side by side: control of multiple tests, groups, pool, overfitting."""
    from bascule.app.candles import read
    from bascule.app.tearpage import comparison_page

    factors = pick(names)
    if len(factors) < 2:
        raise ConfigError(
            "one factor has nothing to be compared with",
            where="factor compare",
            remedy="name two or more, or a library",
        )
    settings = _settings(horizon, split, cost)
    with spread(workers, address) as executor:
        found = _measure(factors, settings, read(data, timeframe, start, end, top=top), ledger, executor)
    _show(found, comparison_page(found), out, "comparison")


def _settings(horizon: int, split: str | None, cost: float) -> SheetSettings:
    from bascule.evaluate import SheetSettings

    values: dict[str, Any] = {"horizon": horizon, "split": split, "cost": cost}
    return SheetSettings.read(values, where="options")


def _measure(
    factors: tuple[Factor, ...],
    settings: SheetSettings,
    held: Candles,
    ledger: Path | None,
    executor: Executor,
    venues: Mapping[str, Panel] | None = None,
) -> Measurement:
    """Count the trials, and measure."""
    from bascule.app.tearsheet import measure
    from bascule.app.trials import Tries
    from bascule.evaluate import split_row
    from bascule.factors import require

    panel = held.panel
    require(factors, panel.fields)
    outside = panel.time[split_row(panel, settings)]
    tries = Tries.on(ledger or held.ledger, held.synthetic)
    purpose = f"factors on {held.source}, {panel.timeframe}"
    tries.add((str(f.node) for f in factors), panel, [settings.horizon], purpose)
    trials = tries.count(outside, panel.time[-1] + panel.timeframe.delta)
    with bar("Measure factors") as progress:
        return measure(
            factors,
            panel,
            settings,
            source=held.source,
            trials=trials,
            venues=venues,
            executor=executor,
            progress=progress,
        )


def _venues(
    named: Sequence[str] | None, held: Candles, factors: Sequence[Factor], start: str | None, end: str | None
) -> dict[str, Panel]:
    """The other venues' panels, by name."""
    from bascule.app.candles import read
    from bascule.factors import require

    found: dict[str, Panel] = {}
    for text in named or ():
        name, sign, path = text.partition("=")
        if not (name and sign and path) or name in (held.source, *found):
            raise ConfigError(
                f"cannot take {text!r}",
                where="--venue",
                remedy="write NAME=DATA with a name of its own, such as --venue okx=okx.store",
            )
        found[name] = read(Path(path), str(held.panel.timeframe), start, end).panel
        try:
            require(factors, found[name].fields)
        except DataError as error:
            raise DataError(error.message, where=f"venue {name}", remedy=error.remedy) from None
    return found


def _show(found: Measurement, made: Page, out: Path | None, name: str) -> None:
    from rich.text import Text

    from bascule.app.tearsheet import plural, terminal, told, verdict_lines

    path = out or Path("reports") / f"{name}.html"
    made.write(path)
    tries = f"{plural(found.trials, 'trial')} counted on these days"
    answer(
        {**told(found), "page": path},
        terminal(found),
        *(Text.from_markup(line) for line in verdict_lines(found)),
        f"{tries}; page: {path}",
    )
