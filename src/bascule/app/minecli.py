"""``bascule mine …``: search for factors, go on with a search, compare searchers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from bascule.app.command import Commands, answer
from bascule.app.console import bar
from bascule.app.options import Data, End, Frame, Start, Top
from bascule.app.spreading import Cluster, Workers, spread
from bascule.core import BasculeError, ConfigError, StoreError, yaml_value

if TYPE_CHECKING:
    from bascule.app.candles import Candles
    from bascule.app.mining import Plan
    from bascule.cluster import Executor
    from bascule.miners import Judgement

mine_app = Commands()
BUDGET = "Budget"
ORDER, STATE = "order.json", "state.npz"
KEYS = {
    "searcher", "seed", "data", "timeframe", "start", "end", "top", "horizon", "proposals", "cpu_seconds",
    "pool", "set",
}  # fmt: skip
RESUME = "run the same command again to go on from the last checkpoint"


def _searchers(incomplete: str) -> list[str]:
    """Completion: names of searchers."""
    from bascule.miners import SEARCHERS

    return [name for name in SEARCHERS if name.startswith(incomplete)]


Horizon = Annotated[int, typer.Option(min=1, help="candles of the label", rich_help_panel="Measure")]
Proposals = Annotated[
    int, typer.Option(min=1, help="texts to propose, known ones included", rich_help_panel=BUDGET)
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--cpu-seconds",
        min=0,
        help="stop after these, workers not counted; default no limit",
        rich_help_panel=BUDGET,
    ),
]
Size = Annotated[int, typer.Option("--pool", min=1, help="most factors kept", rich_help_panel=BUDGET)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="a setting: grammar.length=10, searcher.rate=0.001, llm.model=… (repeatable)"),
]


@mine_app.command("ls", example="bascule mine ls")
def ls() -> None:
    """List the searchers."""
    from bascule.miners import SEARCHERS

    table = Table("searcher", "what it does", box=None)
    for name, kind in SEARCHERS.items():
        table.add_row(f"[bold]{name}[/]", kind.about)
    answer({"searchers": {name: kind.about for name, kind in SEARCHERS.items()}}, table)


@mine_app.command("run", resume=RESUME, example="bascule mine run evolution --proposals 500 --cpu-seconds 60")
def run(
    searcher: Annotated[
        str,
        typer.Argument(help="its name; see: bascule mine ls", show_default=False, autocompletion=_searchers),
    ],
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    horizon: Horizon = 12,
    proposals: Proposals = 2000,
    cpu_seconds: Seconds = None,
    pool: Size = 10,
    seed: Annotated[int, typer.Option(min=0, help="of all randomness")] = 0,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder; default mined/<searcher>-<seed>")] = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Search for a pool of factors; the same command again goes on where it was stopped."""
    options = _options(data, timeframe, start, end, top, horizon, proposals, cpu_seconds, pool, set_)
    folder = out or Path("mined") / f"{searcher}-{seed}"
    with (
        _ordered(folder, {"searcher": searcher, "seed": seed, **options}),
        spread(workers, address) as executor,
    ):
        _carry_out([(searcher, seed)], options, folder, executor)


@mine_app.command("resume", resume=RESUME, example="bascule mine resume mined/evolution-0")
def resume(
    folder: Annotated[Path, typer.Argument(help="folder of a search that was stopped", show_default=False)],
    proposals: Annotated[int | None, typer.Option(help="a new budget; default the old one")] = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Go on with a search, with the settings that it was begun with."""
    options = _order(folder)
    if options is None:
        raise ConfigError(
            "no search was begun there", where=str(folder), remedy="bascule mine run … --out FOLDER"
        )
    if proposals is not None:
        options["proposals"] = proposals
    searcher, seed = options.pop("searcher"), options.pop("seed")
    with spread(workers, address) as executor:
        _carry_out([(searcher, seed)], options, folder, executor)


@mine_app.command(
    "compare", resume=RESUME, example="bascule mine compare random evolution --seeds 2 --proposals 500"
)
def compare(
    searchers: Annotated[
        list[str],
        typer.Argument(help="names; see: bascule mine ls", show_default=False, autocompletion=_searchers),
    ],
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    horizon: Horizon = 12,
    proposals: Proposals = 2000,
    cpu_seconds: Seconds = None,
    pool: Size = 10,
    seeds: Annotated[int, typer.Option(min=1, help="searches of each searcher, seeds 0, 1, …")] = 1,
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


def _order(folder: Path) -> dict[str, Any] | None:
    """What the search of a folder was begun with, None where there is none.

    Raises:
        StoreError: it is damaged.
    """
    path = folder / ORDER
    try:
        order = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"what the search was begun with cannot be read: {error}",
            where=str(path),
            remedy="run the command that began it again",
        ) from None
    if not isinstance(order, dict) or not set(order) >= KEYS:
        raise StoreError(
            "this is not what a search was begun with",
            where=str(path),
            remedy="run the command that began it again",
        )
    return order


@contextmanager
def _ordered(folder: Path, order: dict[str, Any]) -> Iterator[None]:
    """Keep for `resume` what the search is begun with, unless it is wrong or of another search."""
    from bascule.core import files

    try:
        before = _order(folder)
    except StoreError:
        before = None
    files.write_json(folder / ORDER, order)
    try:
        yield
    except BasculeError:
        if before is not None:
            files.write_json(folder / ORDER, before)
        elif not (folder / STATE).exists():
            (folder / ORDER).unlink()
        raise


def _carry_out(
    work: list[tuple[str, int]], options: dict[str, Any], folder: Path, executor: Executor
) -> None:
    from bascule.app import mining
    from bascule.app.candles import read
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
        with bar(f"{plan.searcher}, seed {plan.seed}") as progress:
            judged.append(mining.search(plan, held, place, progress, executor=executor))
    report = folder / "report.html"
    page(judged, plans, held).write(report)
    _tell(judged, plans, held, report)


def _plan(searcher: str, seed: int, options: dict[str, Any]) -> Plan:
    """Settings out of options; ``--set`` reaches every other key."""
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
            if not isinstance(place, dict):
                raise ConfigError(
                    f"{name!r} in {key!r} is not a group of settings", where="--set", remedy="write key=value"
                )
        place[path[-1]] = yaml_value(value, f"--set {key}")
    for name, group in tree.items():
        if not isinstance(group, dict):
            raise ConfigError(
                f"{name} is a group of settings, received {group!r}",
                where="--set",
                remedy=f"write {name}.key=value",
            )
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
    from bascule.app import mining

    head, rows = mining.table(judged)
    shown = Table(box=None)
    for title in head:
        shown.add_column(title, no_wrap=True, justify="left" if title in ("searcher", "verdict") else "right")
    for row, one, plan in zip(rows, judged, plans, strict=True):
        name = f"[bold]{row[0]}[/]" + (f" [dim]{plan.seed}[/]" if len(judged) > 1 else "")
        shown.add_row(name, *row[1:-1], f"[green]{row[-1]}[/]" if one.found else f"[dim]{row[-1]}[/]")
    told = [mining.told(one, plan, held) for one, plan in zip(judged, plans, strict=True)]
    synthetic = (
        []
        if held.synthetic is None
        else [Text("synthetic market: says nothing about a real one", style="yellow")]
    )
    answer(
        {"searches": told, "report": report},
        shown,
        *([_members(judged[0])] if len(judged) == 1 else []),
        *synthetic,
        f"report: {report}",
    )


def _members(judged: Judgement) -> Table:
    """The factors of one search, heaviest first."""
    members = Table("factor", box=None)
    for title in ("weight", "train", "test", "t"):
        members.add_column(title, no_wrap=True, justify="right")
    for m in sorted(judged.members, key=lambda m: -abs(m.weight)):
        members.add_row(
            m.text, f"{m.weight:+.3f}", f"{m.train:+.4f}", f"{m.test.mean:+.4f}", f"{m.test.t:+.1f}"
        )
    return members
