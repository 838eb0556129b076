"""``bascule model tune``: hyper-parameters by Optuna, on validation rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from bascule.app.command import answer
from bascule.app.modelcli import prepared
from bascule.app.options import ConfigFile, Overrides
from bascule.app.retraincli import model_app
from bascule.app.spreading import Cluster, Workers, spread
from bascule.app.yamlfile import mapping
from bascule.core import ConfigError

__all__ = ["model_app"]  # with this command in it


@model_app.command(
    "tune",
    resume="finished trials are kept: run the same command again to go on from here",
    example="bascule model tune examples/spot_1h.yaml --trials 20 --workers 2",
)
def tune(
    config: ConfigFile,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML file: parameter → low, high, whole, log, or among; default LightGBM's"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="models tried, each on all folds")] = 40,
    storage: Annotated[
        str | None, typer.Option(help="Optuna's storage URL; default a file in the run's folder")
    ] = None,
    set_: Overrides = None,
    workers: Workers = 1,
    address: Cluster = "local",
) -> None:
    """Search for parameters of the run's model; the test windows are not looked at."""
    from bascule import models as floor
    from bascule.models.tune import LIGHTGBM_SPACE, TuneSettings
    from bascule.models.tune import tune as search

    run = prepared(config, set_ or ())
    model, horizon = run.config.model, run.recipe.horizon
    if space is None and model.kind != "LGBModel":
        raise ConfigError(
            f"there is no space of parameters for {model.kind}",
            where="model tune",
            remedy="give --space FILE",
        )
    given: Any = LIGHTGBM_SPACE if space is None else mapping(space, see="docs/models.md")
    settings = TuneSettings.read({"space": given, "trials": trials}, where=str(space or "model tune"))
    run.config.home.mkdir(parents=True, exist_ok=True)
    kept = storage or f"sqlite:///{run.config.home / 'tune.db'}"
    run.tries.add((f"tune {model.kind} {k}" for k in range(trials)), run.panel, [horizon], "model tune")
    with spread(workers, address) as executor, run.progress("Tune") as progress:
        found = search(
            run.values,
            run.recipe.names,
            run.label(horizon),
            run.panel,
            floor.folds(run.panel.time, run.config.walk_forward, model.reach(horizon)),
            model,
            settings,
            seed=run.config.seed,
            storage=kept,
            executor=executor,
            progress=progress,
        )
    table = Table("trial", "rank IC on valid rows", *settings.space, box=None)
    order = sorted(range(len(found.trials)), key=lambda k: -found.trials[k][1])
    for k in order[:10]:
        params, score = found.trials[k]
        table.add_row(str(k + 1), f"{score:+.4f}", *(f"{params[name]:.6g}" for name in settings.space))
    told = [{"trial": k + 1, "rank_ic": found.trials[k][1], "params": found.trials[k][0]} for k in order]
    block = {"model": {"params": dict(found.params)}}
    answer(
        {"trials": told, **block},
        table,
        "Put this into the run's file, and judge it on the test windows by: bascule run",
        yaml.safe_dump(block),
    )
