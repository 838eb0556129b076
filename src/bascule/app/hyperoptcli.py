"""``bascule hyperopt …``: thresholds optimised walk-forward, and whether what was found can be trusted.

``run`` takes a run's YAML file: it uses its store, bundle and costs, does the run's stages up to the signals
if they are not done yet, and counts every set of parameters in the run's ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bascule.app.command import Commands, answer
from bascule.app.options import ConfigFile, Overrides, SettingsFile
from bascule.app.yamlfile import mapping

if TYPE_CHECKING:
    from bascule.app.run import Run
    from bascule.bridge.freqtrade.hyperopt import HyperoptSettings, WalkForward

hyperopt_app = Commands()
PAGE = "stability.html"


@hyperopt_app.command(
    "run",
    resume="finished folds are kept: run the same command again to go on from here",
    example="bascule hyperopt run examples/spot_1h.yaml --epochs 50",
)
def run(
    config: ConfigFile,
    settings: SettingsFile = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="sets of parameters a fold, instead of the settings'")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="what is minimised, instead of the settings'")] = None,
    set_: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder; default the run's, hyperopt/")] = None,
) -> None:
    """Optimise on a window, test on the next, and so on; the same command again goes on where it was."""
    from bascule import signals
    from bascule.bridge.freqtrade import hyperopt
    from bascule.bridge.freqtrade import run as freqtrade
    from bascule.core import files
    from bascule.data.export import to_freqtrade
    from bascule.evaluate import Ledger

    chosen = _settings(settings, epochs, loss)
    work = _signalled(config, set_ or ())
    bundle = signals.Bundle.open(work.folder("signals") / "bundles" / work.facts("signals")["bundle"])
    trade = work.config.backtest
    facts = [bundle.id, chosen.model_dump(mode="json"), trade.model_dump(mode="json")]
    folder = out or work.config.home / "hyperopt" / files.fingerprint(facts)
    datadir = folder / "data"
    if not datadir.exists():
        with work.progress("Export candles for freqtrade"), files.atomic_folder(datadir) as aside:
            to_freqtrade(work.store, work.recipe.bar, aside, market=work.recipe.market)
    job = freqtrade.Job(bundle=bundle, folder=folder, datadir=datadir, settings=trade)
    with work.progress("Optimise and test") as progress:
        found = hyperopt.walk_forward(
            job,
            chosen,
            ledger=Ledger(work.tries.ledger),
            market=work.tries.market,
            at=datetime.now(UTC),
            progress=progress,
        )
    _show(found, folder, f"Hyper-optimisation of {bundle.id}")


@hyperopt_app.command(
    "stability", example="bascule hyperopt stability runs/spot_1h/hyperopt/0123456789abcdef"
)
def stability(
    folder: Annotated[Path, typer.Argument(help="folder of a finished walk", show_default=False)],
) -> None:
    """Write the page of a finished walk again."""
    from bascule.bridge.freqtrade import hyperopt

    _show(hyperopt.stored(folder), folder, f"Hyper-optimisation {folder.name}")


def _signalled(config: Path, overrides: Sequence[str]) -> Run:
    """The run behind a YAML file, with its signals at hand."""
    from bascule.app.modelcli import finish, prepared

    work = prepared(config, overrides)
    finish(work, "signals")
    return work


def _settings(path: Path | None, epochs: int | None, loss: str | None) -> HyperoptSettings:
    from bascule.bridge.freqtrade.hyperopt import HyperoptSettings

    values = {} if path is None else mapping(path, see="docs/hyperopt.md")
    values |= {name: one for name, one in (("epochs", epochs), ("loss", loss)) if one is not None}
    return HyperoptSettings.read(values, where=str(path or "hyperopt"))


def _show(found: WalkForward, folder: Path, title: str) -> None:
    from bascule.app.hyperoptpage import walk_page
    from bascule.app.page import number

    table = Table(
        "tested on", "trials", "in sample", "out of sample", "own", "Sharpe", "own", box=None, title=title
    )
    for row in found.table().to_dict("records"):
        profits = [row[f"profit_total {name}"] for name in ("tested", "own")]
        ratios = [row[f"sharpe {name}"] for name in ("tested", "own")]
        table.add_row(
            row["tested on"],
            str(row["trials"]),
            number(row["profit in sample"], "+.2%"),
            *(number(one, "+.2%") for one in profits),
            *(number(one, ".2f") for one in ratios),
        )
    path = folder / PAGE
    walk_page(title, found).write(path)
    answer({"folds": found.table(), "page": path}, table, f"Stability of the parameters: {path}")
