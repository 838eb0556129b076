"""``bascule mine …``: search for factors, go on with a search, compare searchers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bascule.app.spreading import Cluster, Workers, spread
from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.app.candles import Candles
    from bascule.app.mining import Plan
    from bascule.cluster import Executor
    from bascule.miners import Judgement

mine_app = typer.Typer(help="Search for factors: run, resume, compare.", no_args_is_help=True)
console = Console()

Data = Annotated[
    Path | None,
    typer.Option(help="a store's folder, a run's YAML, or a parquet/CSV panel; default: synthetic market"),
]
Frame = Annotated[str, typer.Option("--timeframe", help="candle length of a store or panel")]
Start = Annotated[str | None, typer.Option(help="first day used, UTC")]
End = Annotated[str | None, typer.Option(help="first day not used any more, UTC")]
Top = Annotated[int | None, typer.Option(help="universe: this many by traded value of 30 days; default all")]
Horizon = Annotated[int, typer.Option(help="candles of the label")]
Proposals = Annotated[int, typer.Option(help="texts to propose, known ones included")]
Seconds = Annotated[float | None, typer.Option("--cpu-seconds", help="stop after these; default no limit")]
Size = Annotated[int, typer.Option("--pool", help="most factors")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="a setting: grammar.length=10, searcher.rate=0.001, llm.model=… (repeatable)"),
]


@mine_app.command("ls")
def ls() -> None:
    """List the searchers."""
    from bascule.miners import SEARCHERS

    table = Table("searcher", "what it does", box=None)
    for name, kind in SEARCHERS.items():
        table.add_row(f"[bold]{name}[/]", kind.about)
    console.print(table)


@mine_app.command("run")
def run(
    searcher: Annotated[str, typer.Argument(help="its name; see: bascule mine ls")],
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    horizon: Horizon = 12,
    proposals: Proposals = 2000,
    cpu_seconds: Seconds = None,
    pool: Size = 10,
    seed: Annotated[int, typer.Option(help="of all randomness")] = 0,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder; default mined/<searcher>-<seed>")] = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Search for a pool of factors; the same command again goes on where it was stopped."""
    options = _options(data, timeframe, start, end, top, horizon, proposals, cpu_seconds, pool, set_)
    folder = out or Path("mined") / f"{searcher}-{seed}"
    _write_order(folder, {"searcher": searcher, "seed": seed, **options})
    with spread(workers, address) as executor:
        _carry_out([(searcher, seed)], options, folder, executor)


@mine_app.command("resume")
def resume(
    folder: Annotated[Path, typer.Argument(help="of a search that was stopped")],
    proposals: Annotated[int | None, typer.Option(help="a new budget; default the old one")] = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Go on with a search, with the settings that it was begun with."""
    order = folder / "order.json"
    if not order.is_file():
        raise ConfigError(
            "no search was begun there", where=str(folder), remedy="bascule mine run … --out FOLDER"
        )
    options: dict[str, Any] = json.loads(order.read_text("utf-8"))
    if proposals is not None:
        options["proposals"] = proposals
    searcher, seed = options.pop("searcher"), options.pop("seed")
    with spread(workers, address) as executor:
        _carry_out([(searcher, seed)], options, folder, executor)


@mine_app.command("compare")
def compare(
    searchers: Annotated[list[str], typer.Argument(help="names; see: bascule mine ls")],
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    horizon: Horizon = 12,
    proposals: Proposals = 2000,
    cpu_seconds: Seconds = None,
    pool: Size = 10,
    seeds: Annotated[int, typer.Option(help="searches of each searcher, seeds 0, 1, …")] = 1,
    set_: Settings = None,
    out: Annotated[Path, typer.Option("--out", help="folder")] = Path("mined/compared"),
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Let searchers work on the same rows with the same budget, and judge each once."""
    options = _options(data, timeframe, start, end, top, horizon, proposals, cpu_seconds, pool, set_)
    work = [(name, seed) for name in dict.fromkeys(searchers) for seed in range(seeds)]
    with spread(workers, address) as executor:
        _carry_out(work, options, out, executor)


def _options(
    data: Path | None,
    timeframe: str,
    start: str | None,
    end: str | None,
    top: int | None,
    horizon: int,
    proposals: int,
    cpu_seconds: float | None,
    pool: int,
    set_: list[str] | None,
) -> dict[str, Any]:
    """The options that all searches take, as JSON keeps them for `resume`."""
    return {
        "data": None if data is None else str(data.resolve()), "timeframe": timeframe, "start": start,
        "end": end, "top": top, "horizon": horizon, "proposals": proposals, "cpu_seconds": cpu_seconds,
        "pool": pool, "set": set_ or [],
    }  # fmt: skip


def _write_order(folder: Path, order: dict[str, Any]) -> None:
    from bascule.core import files

    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "order.json", order)


def _carry_out(
    work: list[tuple[str, int]], options: dict[str, Any], folder: Path, executor: Executor
) -> None:
    from bascule.app import mining
    from bascule.app.candles import read
    from bascule.app.console import bar
    from bascule.app.minepage import page
    from bascule.miners import Grammar

    data = options["data"]
    plans = [_plan(name, seed, options) for name, seed in work]
    for plan in plans:  # a wrong name or a missing package is told before the long work begins
        mining.searcher_of(plan, Grammar(plan.grammar))
    held = read(
        None if data is None else Path(data), options["timeframe"], options["start"], options["end"],
        top=options["top"],
    )  # fmt: skip
    judged = []
    for plan in plans:
        place = folder if len(plans) == 1 else folder / f"{plan.searcher}-{plan.seed}"
        with bar(console, f"{plan.searcher}, seed {plan.seed}") as progress:
            judged.append(mining.search(plan, held, place, progress, executor=executor))
    report = folder / "report.html"
    page(judged, plans, held).write(report)
    _tell(judged, plans, held, report)


def _plan(searcher: str, seed: int, options: dict[str, Any]) -> Plan:
    """Settings out of options; ``--set`` reaches every other key."""
    import yaml

    from bascule.app.mining import Plan
    from bascule.miners import GrammarSettings, SearchSettings, SplitSettings

    tree: dict[str, Any] = {
        "split": {"horizon": options["horizon"]},
        "grammar": {},
        "searcher": {},
        "llm": {},
        "search": {
            "proposals": options["proposals"],
            "cpu_seconds": options["cpu_seconds"],
            "pool": {"size": options["pool"]},
        },
    }
    for item in options["set"]:
        key, mark, value = item.partition("=")
        path = key.strip().split(".")
        if not mark or not all(path):
            raise ConfigError(f"{item!r} is no setting", where="--set", remedy="write key=value")
        place = tree if path[0] in ("split", "grammar", "searcher", "llm") else tree["search"]
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = yaml.safe_load(value)
    return Plan(
        searcher,
        seed,
        SplitSettings.read(tree["split"], where="split"),
        GrammarSettings.read(tree["grammar"], where="grammar"),
        SearchSettings.read(tree["search"], where="search"),
        tree["searcher"],
        tree["llm"],
    )


def _tell(judged: list[Judgement], plans: list[Plan], held: Candles, report: Path) -> None:
    from bascule.app.mining import table

    head, rows = table(judged)
    shown = Table(box=None)
    for title in head:
        shown.add_column(title, no_wrap=True, justify="left" if title in ("searcher", "verdict") else "right")
    for row, one, plan in zip(rows, judged, plans, strict=True):
        name = f"[bold]{row[0]}[/]" + (f" [dim]{plan.seed}[/]" if len(judged) > 1 else "")
        shown.add_row(name, *row[1:-1], f"[green]{row[-1]}[/]" if one.found else f"[dim]{row[-1]}[/]")
    console.print(shown)
    if len(judged) == 1:
        members = Table("factor", box=None)
        for title in ("weight", "train", "test", "t"):
            members.add_column(title, no_wrap=True, justify="right")
        for m in sorted(judged[0].members, key=lambda m: -abs(m.weight)):
            members.add_row(
                m.text, f"{m.weight:+.3f}", f"{m.train:+.4f}", f"{m.test.mean:+.4f}", f"{m.test.t:+.1f}"
            )
        console.print(members)
    if held.synthetic is not None:
        console.print("[yellow]synthetic market: says nothing about a real one[/]")
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
