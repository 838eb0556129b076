"""``bascule model retrain`` and ``model store``: models that are replaced while they serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bascule.app.command import answer, note
from bascule.app.modelcli import model_app, prepared
from bascule.app.options import ConfigFile, Overrides, SettingsFile
from bascule.app.yamlfile import read_settings
from bascule.core import ConfigError

__all__ = ["model_app"]  # with these commands in it
LIVE = "Live"


@model_app.command(
    "retrain",
    resume="the champion serves on, and what was trained is kept: run the same command again",
    example="bascule model retrain examples/spot_1h.yaml\nbascule model retrain examples/spot_1h.yaml --once",
)
def retrain(
    config: ConfigFile,
    settings: SettingsFile = None,
    set_: Overrides = None,
    folder: Annotated[Path | None, typer.Option(help="store; default the run's, champions/")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="one step after the newest candle", rich_help_panel=LIVE)
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="such a step again and again", rich_help_panel=LIVE)
    ] = False,
    every: Annotated[
        float, typer.Option(help="--watch: minutes between two steps", min=0.01, rich_help_panel=LIVE)
    ] = 60.0,
    bundles: Annotated[
        Path | None,
        typer.Option(
            help="where a new champion is published; default the run's, bundles/", rich_help_panel=LIVE
        ),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(help="MLflow registry of champions and bundles; default none", rich_help_panel=LIVE),
    ] = None,
) -> None:
    """Go through the run's history as a bot would: check, retrain on schedule or drift, judge, promote.

    With --once or --watch, from the store's present: read new data, retrain if there is a reason, and publish
    a better model as a signal bundle behind `current`.
    """
    if once and watch:
        raise ConfigError("--once and --watch", where="model retrain", remedy="choose one")
    if not (once or watch):
        _through_history(config, settings, set_ or (), folder)
        return
    from bascule import models
    from bascule.app import retraining

    def step() -> str:
        run = prepared(config, set_ or ())
        store, home = folder or run.config.home / "champions", run.config.home
        places = retraining.Places(store, bundles or home / retraining.BUNDLES, registry)
        chosen = read_settings(models.RetrainSettings, settings, where="retrain")
        return retraining.sentence(retraining.step(run, chosen, places), store)

    if watch:
        retraining.watch(step, note, every=60.0 * every)
        return
    told = step()
    answer({"told": told}, told)


def _through_history(
    config: Path, settings: Path | None, overrides: Sequence[str], folder: Path | None
) -> None:
    """Retrain as a bot would have, and lay what was decided on the table."""
    from bascule import evaluate, models

    run = prepared(config, overrides)
    horizon = run.recipe.horizon
    chosen = read_settings(models.RetrainSettings, settings, where="retrain")
    label = run.label(horizon)
    home = folder or run.config.home / "champions"
    run.tries.add([f"retrain {chosen.model_dump_json()}"], run.panel, [horizon], "model retrain")
    with run.progress("Retrain") as progress:
        found = models.run_adaptive(
            run.values,
            run.recipe.names,
            label,
            run.panel,
            horizon=horizon,
            model=run.config.model,
            folder=home,
            settings=chosen,
            seed=run.config.seed,
            progress=progress,
        )
    table = Table("checked after", "why", "rank IC", "champion's", "outcome", box=None)
    told = []
    for one in found.checks:
        verdict = one.verdict
        assert verdict is not None
        before = "–" if verdict.champion is None else f"{verdict.champion:.4f}"
        outcome = "promoted" if one.event else "kept the champion"
        why = ", ".join(trigger.kind for trigger in one.triggers)
        at = str(run.panel.time[one.row])[:16]
        table.add_row(at, why, f"{verdict.challenger:.4f}", before, outcome)
        triggers = [trigger.kind for trigger in one.triggers]
        told.append({"at": at, "triggers": triggers, "verdict": verdict, "promoted": one.event is not None})
    ic = evaluate.ic_series(found.values, label, run.panel.members, rank=True)
    total = evaluate.summarise(ic, horizon)
    answer(
        {"checks": told, "rank_ic": total, "store": home},
        table,
        f"rank IC out of sample {total.mean:.4f} (t {total.t:.1f}, {total.n} rows). Store: {home}",
    )


@model_app.command(
    "store",
    example="bascule model store runs/spot_1h/champions\n"
    'bascule model store runs/spot_1h/champions --roll-back --reason "it lost"',
)
def store(
    folder: Annotated[
        Path, typer.Argument(help="a store of models, as model retrain leaves it", show_default=False)
    ],
    promote: Annotated[str | None, typer.Option(help="let this model serve")] = None,
    roll_back: Annotated[bool, typer.Option("--roll-back", help="let the champion before serve")] = False,
    reason: Annotated[str, typer.Option(help="why, for the history")] = "by hand",
    run: Annotated[
        Path | None, typer.Option("--run", help="the run's YAML: a turn is published as a bundle too")
    ] = None,
    bundles: Annotated[Path | None, typer.Option(help="where; default the run's, bundles/")] = None,
) -> None:
    """Show which model serves and what served before; promote one, or roll back."""
    from bascule.models import Champions

    if not folder.is_dir():
        raise ConfigError("no such folder", where=str(folder), remedy="name a store of models")
    if promote is not None and roll_back:
        raise ConfigError("--promote and --roll-back at once", where="model store", remedy="choose one")
    found = Champions(folder)
    if run is not None:
        from bascule.app import retraining

        whole = prepared(run, ())
        places = retraining.Places(folder, bundles or whole.config.home / retraining.BUNDLES, None)
        found = retraining.champions(whole, places)
    if promote is not None:
        found.promote(promote, reason=reason)
    if roll_back:
        found.roll_back(reason=reason)
    table = Table("", "action", "model", "decided at", "reason", box=None)
    events = list(found.history())
    for event in events:
        table.add_row(str(event.number), event.action, event.model, event.at[:16], event.reason)
    answer(
        {"serving": found.serving or None, "history": events},
        f"serving: {found.serving or 'nothing'}",
        table,
    )
