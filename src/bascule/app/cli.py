"""The command line: ``bascule run``, ``bascule demo`` and a few commands to look at things.

Exit codes: 0 done, 1 an error the user can mend (one message, no traceback; ``--debug`` shows it), 2 wrong
usage, 3 health checks found errors, 130 interrupted (run the same command again to go on).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bascule import __version__
from bascule.app.backupcli import backup_app
from bascule.app.datacli import data_app
from bascule.app.emergencycli import emergency_app
from bascule.app.exchangecli import exchange_app
from bascule.app.factorcli import factor_app
from bascule.app.freqaicli import freqai_app
from bascule.app.hyperoptcli import hyperopt_app
from bascule.app.minecli import mine_app
from bascule.app.monitorcli import monitor_app
from bascule.app.riskcli import risk_app
from bascule.app.robustcli import robust_app
from bascule.app.tradecli import trade_app
from bascule.app.tunecli import model_app
from bascule.app.webcli import web_app
from bascule.core import BasculeError, ConfigError

app = typer.Typer(
    name="bascule",
    help="The bridge between research (qlib) and trading (freqtrade) for crypto.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bundle_app = typer.Typer(help="Look at signal bundles.", no_args_is_help=True)
app.add_typer(backup_app, name="backup")
app.add_typer(data_app, name="data")
app.add_typer(emergency_app, name="emergency")
app.add_typer(exchange_app, name="exchange")
app.add_typer(factor_app, name="factor")
app.add_typer(freqai_app, name="freqai")
app.add_typer(hyperopt_app, name="hyperopt")
app.add_typer(mine_app, name="mine")
app.add_typer(model_app, name="model")
app.add_typer(monitor_app, name="monitor")
app.add_typer(risk_app, name="risk")
app.add_typer(robust_app, name="robust")
app.add_typer(trade_app, name="trade")
app.add_typer(bundle_app, name="bundle")
app.add_typer(web_app, name="web")

console = Console()
errors = Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="the run's YAML file", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key.sub=value (repeatable)")
]
From = Annotated[str | None, typer.Option("--from", help="run again from this stage on", show_default=False)]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks of errors")] = False,
) -> None:
    if version:
        console.print(f"bascule {__version__}", highlight=False)
        raise typer.Exit


@app.command()
def run(config: ConfigFile, set_: Overrides = None, from_: From = None) -> None:
    """Data → store → factors → evaluation → walk-forward → risk → signal bundle → freqtrade → report."""
    from bascule.app.config import load
    from bascule.app.spine import run_spine

    run_spine(load(config, set_ or ()), console, again_from=from_)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="where the demo's run lives")] = Path("runs/demo"),
    from_: From = None,
) -> None:
    """The whole way on the embedded synthetic market; no data, no internet, a few minutes."""
    from importlib.resources import as_file, files

    from bascule.app.config import load
    from bascule.app.spine import run_spine

    with as_file(files("bascule.app").joinpath("demo.yaml")) as path:
        config = load(path)
    run_spine(config.model_copy(update={"folder": folder}), console, again_from=from_)


@app.command()
def check(config: ConfigFile, set_: Overrides = None) -> None:
    """Check a run's file, factor texts included, without running anything."""
    from bascule.app.config import load
    from bascule.factors import resolve

    loaded = load(config, set_ or ())
    found = resolve(loaded.factors)
    text = f"{config}: good. {len(found)} factors, {loaded.timeframe} candles, run folder {loaded.home}"
    console.print(text, soft_wrap=True, highlight=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a run's file, for editors."""
    from bascule.app.config import schema as run_schema

    console.print_json(json.dumps(run_schema()))


@bundle_app.command("show")
def bundle_show(path: Annotated[Path, typer.Argument(help="a bundle's folder")]) -> None:
    """Check a signal bundle's checksums and print its manifest."""
    from bascule.signals import Bundle

    console.print_json(json.dumps(Bundle.open(path).manifest.model_dump(mode="json")))


@bundle_app.command("keygen")
def bundle_keygen(folder: Annotated[Path, typer.Argument(help="where the pair of keys goes")]) -> None:
    """Make a pair of keys for signing: the private one for research, the public one for bots."""
    from bascule.signals import signing

    private, public = signing.keygen(folder)
    console.print(f"private key: {private} (keep it off the bot's machine)", soft_wrap=True, highlight=False)
    console.print(f"public key: {public}", soft_wrap=True, highlight=False)


@bundle_app.command("sign")
def bundle_sign(
    path: Annotated[Path, typer.Argument(help="a bundle's folder, or one with a current bundle")],
    key: Annotated[Path, typer.Option(envvar="BASCULE_SIGNING_KEY", help="the private key")],
) -> None:
    """Vouch for a bundle, after looking at its report."""
    from bascule.signals import signing

    console.print(f"signed by key {signing.sign(path, key)}", highlight=False)


@bundle_app.command("verify")
def bundle_verify(
    path: Annotated[Path, typer.Argument(help="a bundle's folder, or one with a current bundle")],
    trusted: Annotated[list[Path] | None, typer.Option(help="public key (repeatable)")] = None,
) -> None:
    """Check a bundle's files and its signature."""
    from bascule.signals import Bundle, signing

    bundle = Bundle.open(path)
    name = signing.require_signed(bundle.path, trusted or [])
    console.print(f"{bundle.path.name}: whole, signed by key {name}", highlight=False)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``bascule`` command."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    # on a busy machine OpenMP's spinning threads make training several times slower; read at its first import
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(given)
    except BasculeError as error:
        if debug:
            raise
        kind = "configuration" if isinstance(error, ConfigError) else "error"
        errors.print(f"[bold red]{kind}[/]:", end=" ")
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("\ninterrupted; run the same command again to go on from here", highlight=False)
        sys.exit(130)
