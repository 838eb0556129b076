"""The command line: ``bascule run``, ``bascule demo``, ``bascule doctor``, and the areas of the house.

1. `AREAS` is the table of contents: an area's commands are imported when one of them is asked for, so that
   ``bascule --help`` and completion stay quick.
2. Each area is a `bascule.app.command.Commands`; what all of them share stands there: ``--json``, exit codes.
3. `main` is the entry point: it takes ``--debug`` from anywhere, and turns errors into messages and codes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bascule import __version__
from bascule.app.command import Commands, answer, fail
from bascule.app.console import console
from bascule.app.options import ConfigFile, Overrides, Trust

if TYPE_CHECKING:
    from bascule.app.config import RunConfig

ALL = "The whole way"


@dataclass(frozen=True)
class Area:
    """A group of commands.

    Attributes:
        name: the word after ``bascule``.
        place: module and name of its `Commands`.
        about: one line.
        panel: heading under which it stands.
    """

    name: str
    place: str
    about: str
    panel: str


AREAS = (
    Area("data", "datacli:data_app", "Candles and slow data: update, check, look, export.", "Research"),
    Area("factor", "factorcli:factor_app", "Factor libraries: look, search, judge, compare.", "Research"),
    Area("mine", "minecli:mine_app", "Search for factors: run, resume, compare.", "Research"),
    Area("model", "tunecli:model_app", "qlib's models: compare, combine, tune, retrain.", "Research"),
    Area("risk", "riskcli:risk_app", "Risk: factors, losses, causes, portfolios.", "Research"),
    Area("bundle", "bundlecli:bundle_app", "Signal bundles: show, sign, verify.", "Bridge"),
    Area("hyperopt", "hyperoptcli:hyperopt_app", "Thresholds, optimised walk-forward.", "Bridge"),
    Area("robust", "robustcli:robust_app", "Other regimes, costs, parameters, dates, luck.", "Bridge"),
    Area("freqai", "freqaicli:freqai_app", "FreqAI with factor texts and qlib's models.", "Bridge"),
    Area("exchange", "exchangecli:exchange_app", "A replayed exchange to rehearse on.", "Trading"),
    Area("trade", "tradecli:trade_app", "A bot: prepare, check, start, look, compare.", "Trading"),
    Area(
        "emergency", "emergencycli:emergency_app", "A running bot: halt, hedge, flatten, resume.", "Trading"
    ),
    Area("monitor", "monitorcli:monitor_app", "Watch what is live: rules, actions, jobs.", "Operations"),
    Area("extension", "extensioncli:extension_app", "Your own parts: look, try their laws.", "Operations"),
    Area("web", "webcli:web_app", "The dashboard: serve it; users, tokens, audit log.", "Operations"),
    Area(
        "backup", "backupcli:backup_app", "Copy, check and restore what cannot be made again.", "Operations"
    ),
)


class _AreaGroup(TyperGroup):
    """A group whose commands are imported when they are looked at."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._found: MutableMapping[str, Any] | None = None
        super().__init__(name=area.name, help=area.about, rich_help_panel=area.panel, no_args_is_help=True)

    @property
    def commands(self) -> MutableMapping[str, Any]:
        if self._found is None:
            module, name = self._area.place.split(":")
            held = getattr(import_module(f"bascule.app.{module}"), name)
            self._found = typer.main.get_group(held).commands
        return self._found

    @commands.setter
    def commands(self, given: MutableMapping[str, Any]) -> None:
        """What the base class's constructor brings: nothing."""


class _Root(TyperGroup):
    """The root, with the areas after its own commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for area in AREAS:
            self.add_command(_AreaGroup(area))


app = Commands(
    name="bascule",
    cls=_Root,
    help="The bridge between research (qlib) and trading (freqtrade) for crypto.",
    epilog="Start with: bascule demo. Exit codes: 0 fine, 1 a check found something, 2 wrong usage, 3 wrong "
    "input, 4 the world outside, 70 a defect, 130 interrupted. More: docs/cli.md",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

From = Annotated[
    str | None,
    typer.Option(
        "--from", help="run again from this stage on: data, factors, train, signals, backtest or report"
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks of errors")] = False,
) -> None:
    if version:
        console.print(f"bascule {__version__}", highlight=False)
        raise typer.Exit


@app.command("demo", rich_help_panel=ALL, example="bascule demo\nbascule demo --from signals")
def demo(
    folder: Annotated[Path, typer.Option(help="where the demo's run lives")] = Path("runs/demo"),
    from_: From = None,
) -> None:
    """Run the whole way on the embedded synthetic market: no data, no internet, a few minutes."""
    from importlib.resources import as_file, files

    from bascule.app.config import load

    with as_file(files("bascule.app").joinpath("demo.yaml")) as path:
        config = load(path)
    _carry_out(config.model_copy(update={"folder": folder}), from_)


@app.command("schema", rich_help_panel=ALL, example="bascule schema > run.schema.json")
def schema() -> None:
    """Print the JSON Schema of a run's file, for editors."""
    import json

    from bascule.app.config import schema as run_schema

    answer(found := run_schema(), json.dumps(found, indent=2, ensure_ascii=False))


@app.command("check", rich_help_panel=ALL, example="bascule check examples/spot_1h.yaml")
def check(config: ConfigFile, set_: Overrides = None) -> None:
    """Check a run's file (or a FreqAI run's), factor texts included, without running anything."""
    from bascule.app import freqaicli
    from bascule.app.config import load
    from bascule.models import kind

    if freqaicli.is_order(config):
        freqaicli.check(config, set_ or ())
        return
    loaded = load(config, set_ or ())
    kind(loaded.model.kind).check(loaded.model.params)
    found = loaded.recipe().factors
    answer(
        {
            "config": config,
            "factors": [factor.name for factor in found],
            "timeframe": loaded.timeframe,
            "folder": loaded.home,
        },
        f"{config}: good. {len(found)} factors, {loaded.timeframe} candles, run folder {loaded.home}",
    )


@app.command(
    "run",
    rich_help_panel=ALL,
    example="bascule run examples/spot_1h.yaml\nbascule run examples/spot_1h.yaml --from train",
)
def run(config: ConfigFile, set_: Overrides = None, from_: From = None) -> None:
    """Run a file: candles, factors, walk-forward training, signal bundle, freqtrade backtest, report.

    What is done already is not done again: the same command goes on where it was stopped.
    """
    from bascule.app.config import load

    _carry_out(load(config, set_ or ()), from_)


def _carry_out(config: RunConfig, again_from: str | None) -> None:
    """Run what is not done; the answer is what the stages found."""
    import json

    from bascule.app.spine import run_spine

    report = run_spine(config, console, again_from=again_from)
    stages = sorted((config.home / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in stages}
    answer({"name": config.name, "folder": config.home, "report": report, "stages": found})


@app.command(
    "doctor", rich_help_panel=ALL, example="bascule doctor\nbascule doctor --store runs/demo --online"
)
def doctor(
    store: Annotated[
        list[Path] | None,
        typer.Option(help="a store's or run's folder (repeatable); default: those under runs/"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="a run's YAML file")] = None,
    bundle: Annotated[Path | None, typer.Option(help="a bundle, or a folder with a current one")] = None,
    trust: Trust = None,
    bot: Annotated[Path | None, typer.Option(help="a bot's user folder, as trade prepare leaves it")] = None,
    online: Annotated[
        bool, typer.Option("--online", help="also ask the venue: clock; with --bot what its key may do")
    ] = False,
) -> None:
    """Check environment, data, config, bundle, keys, clock and ports; exit code 1 if something is bad."""
    from bascule.app import doctor as patient

    patient.report(patient.Places(tuple(store or ()), config, bundle, tuple(trust or ()), bot), online=online)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point of the ``bascule`` command."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = given[: given.index("--")] if "--" in given else given
    debug, as_json = "--debug" in options, "--json" in options
    given = [a for a in options if a != "--debug"] + given[len(options) :]
    # on a busy machine OpenMP's spinning threads make training several times slower; read at its first import
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # typer draws wrong usage itself, unless a program is to read it
        code = app(given, prog_name="bascule", standalone_mode=not as_json)
    except Exception as error:  # noqa: BLE001 - every one of them ends in one message and a code
        fail(error, as_json=as_json, debug=debug)
    sys.exit(code or 0)
