"""``bascule model …``: qlib's models, compared, combined, retrained and explained on a run's data.

All but ``zoo`` take a run's YAML file: they use its store, factors, universe and folds, and do
the run's first stages if they are not done yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bascule.app.command import Commands, answer
from bascule.app.console import bar, console
from bascule.app.options import ConfigFile, Overrides, SettingsFile
from bascule.app.yamlfile import mapping, read_settings
from bascule.core import ConfigError, files

if TYPE_CHECKING:
    from bascule.app.run import Run
    from bascule.core.panel import FloatArray
    from bascule.models import Leaderboard, ModelSettings

model_app = Commands()

DEFAULT_PAIR = ("LGBModel", "TransformerModel")


def _kinds(incomplete: str) -> list[str]:
    """Completion: kinds of models."""
    from bascule.models.zoo import ENTRIES

    return sorted({one.kind for one in ENTRIES if one.kind and one.kind.startswith(incomplete)})


@model_app.command("zoo", example="bascule model zoo\nbascule model zoo LGBModel --try")
def zoo(
    title: Annotated[
        str | None, typer.Argument(help="one of them: its title or kind", autocompletion=_kinds)
    ] = None,
    attempt: Annotated[bool, typer.Option("--try", help="really train it on a small market")] = False,
) -> None:
    """List qlib's models: what works, what needs an extra, what does not work and why."""
    from bascule.models import zoo as all_of_them

    chosen = all_of_them.ENTRIES
    if title is not None:
        wanted = [one for one in chosen if title.lower() in (one.title.lower(), one.kind.lower())]
        chosen = tuple(wanted) or (all_of_them.entry(title),)
    table = Table("model", "kind", "status", "note", box=None)
    told: list[dict[str, Any]] = []
    with bar("Train") as progress:
        for number, one in enumerate(chosen):
            status, about = ("offered" if one.kind else "not offered"), one.note
            row: dict[str, Any] = {"model": one.title, "kind": one.kind or None}
            if attempt:
                progress(number, len(chosen), one.title)
                found = all_of_them.trial(one)
                status = f"works, rank IC {found.rank_ic:.3f}" if found.works else "does not work"
                about = found.error[:300]
                row |= {"works": found.works, "rank_ic": found.rank_ic}
            table.add_row(one.title, one.kind or "–", status, about)
            told.append({**row, "status": status, "note": about})
    answer({"models": told}, table)


@model_app.command(
    "compare",
    resume="finished models are kept: run the same command again to go on from here",
    example="bascule model compare examples/spot_1h.yaml --model LGBModel --model LinearModel",
)
def compare(
    config: ConfigFile,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="a kind (repeatable); default LightGBM and Transformer",
            autocompletion=_kinds,
        ),
    ] = None,
    models: Annotated[
        Path | None, typer.Option("--models", help="YAML file: name → model settings, or qlib's form")
    ] = None,
    cost: Annotated[
        float | None, typer.Option(min=0, help="cost of trading one unit, a fraction; default the run's")
    ] = None,
    reps: Annotated[int, typer.Option(min=1, help="bootstrap samples")] = 1_000,
    set_: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder; default the run's, compare/")] = None,
) -> None:
    """Train several models on the same folds: a leaderboard, and whether its differences mean anything."""
    from bascule import models as floor

    run = prepared(config, set_ or ())
    given = contestants(models, model or ())
    horizon = run.recipe.horizon
    reach = max(one.reach(horizon) for one in given.values())
    found = floor.folds(run.panel.time, run.config.walk_forward, reach)
    price = run.config.backtest.fee + run.config.backtest.slippage if cost is None else cost
    facts = [
        {name: one.model_dump(mode="json") for name, one in given.items()},
        [[fold.id, str(fold.train), str(fold.test)] for fold in found],
        [run.facts("data")["fingerprint"], run.recipe.model_dump(mode="json"), run.config.seed],
    ]
    folder = out or run.config.home / "compare" / files.fingerprint(facts)
    run.tries.add(
        (f"model {name} {files.fingerprint(facts)}" for name in given), run.panel, [horizon], "model compare"
    )
    with run.progress("Compare") as progress:
        board = floor.compare(
            run.values,
            run.recipe.names,
            run.panel,
            found,
            given,
            folder,
            horizon=horizon,
            cost=price,
            seed=run.config.seed,
            reps=reps,
            progress=progress,
        )
    show(board, folder)


@model_app.command("combine", example="bascule model combine examples/spot_1h.yaml")
def combine(config: ConfigFile, settings: SettingsFile = None, set_: Overrides = None) -> None:
    """Weigh factors by what held lately, against weights learned once and the run's trained model."""
    import numpy as np

    from bascule import models

    run = prepared(config, set_ or ())
    horizon = run.recipe.horizon
    chosen = read_settings(models.CombineSettings, settings, where="combine")
    label = run.label(horizon)
    # the static one learns once, from as much history as the run's model has
    history = float(run.config.walk_forward.train_days or 365)
    static = chosen.model_copy(update={"refit": False, "by_regime": False, "window_days": history})
    signals: dict[str, FloatArray] = {}
    for name, one in (("dynamic", chosen), ("static", static)):
        with run.progress(f"Combine: {name}") as progress:
            signals[name] = models.combine(
                run.values,
                run.recipe.names,
                label,
                run.panel,
                horizon=horizon,
                settings=one,
                progress=progress,
            ).values
    trained = run.config.home / "stages" / "train.json"
    if trained.exists():
        from bascule.app.spine import PREDICTIONS

        finish(run, "train")
        with np.load(run.folder("train") / PREDICTIONS) as stored:
            signals[run.config.model.kind] = stored["values"]
    run.tries.add((f"combine {name}" for name in signals), run.panel, [horizon], "model combine")
    price = run.config.backtest.fee + run.config.backtest.slippage
    with run.progress("Judge") as progress:
        progress(0, 1, "")
        board = models.judge(signals, run.panel, horizon=horizon, cost=price, seed=run.config.seed)
    show(board)


@model_app.command("explain", example="bascule model explain examples/spot_1h.yaml --top 10")
def explain(
    config: ConfigFile,
    top: Annotated[int, typer.Option(min=1, help="features shown")] = 15,
    set_: Overrides = None,
) -> None:
    """Show what the run's models look at, and whether it lasts: importance over folds, SHAP of the newest."""
    import numpy as np

    from bascule import models
    from bascule.models.samples import gather, rows_of

    run = prepared(config, set_ or ())
    finish(run, "train")
    home = run.folder("train") / "models"
    lasting = models.stability(models.importance(home, run.facts("train")["folds"]), top)
    newest = models.load(home / run.facts("train")["folds"][-1])
    rows = rows_of(run.panel, newest.test)
    cells = gather(run.values, rows[:: max(1, len(rows) // 100)], run.panel.members)
    shap = models.shap_importance(newest, cells.features, cells.row)
    table = Table(
        "feature", "importance", "deviation", f"folds in top {lasting.top}", "SHAP, newest", box=None
    )
    told = []
    for name, row in lasting.features.head(top).iterrows():
        told.append({"feature": name, **row.to_dict(), "shap": shap[str(name)]})
        table.add_row(
            str(name),
            f"{row['mean']:.3f}",
            f"{row['std']:.3f}",
            f"{row['top']:.0%}",
            f"{shap[str(name)]:.3f}",
        )
    alike, stay = float(np.nanmean(lasting.consecutive)), float(lasting.overlap.mean())
    answer(
        {"features": told, "correlation": alike, "overlap": stay, "top": lasting.top},
        table,
        f"From fold to fold importances correlate by {alike:.2f} (ranks), and {stay:.0%} of the top "
        f"{lasting.top} stay.",
    )


@model_app.command("lineage", example="bascule model lineage examples/spot_1h.yaml")
def lineage(
    config: ConfigFile,
    registry: Annotated[Path, typer.Option(help="folder of the MLflow registry")] = Path("runs/registry"),
    uri: Annotated[str | None, typer.Option(help="another MLflow tracking URI")] = None,
    set_: Overrides = None,
) -> None:
    """Record a finished run's models and signals in MLflow, and trace the signals back to their data."""
    from bascule import models

    run = prepared(config, set_ or ())
    for stage in ("train", "signals"):
        finish(run, stage)
    book = models.Lineage(registry, uri=uri)
    data, bundle = run.facts("data")["fingerprint"], run.facts("signals")["bundle"]
    folders = [run.folder("train") / "models" / fold for fold in run.facts("train")["folds"]]
    book.signals(bundle, folders, data=data)
    table = Table("model", "version", "data", "learned from", box=None, title=f"signals {bundle}")
    told = []
    for one in book.trace(bundle):
        told.append(one)
        window = f"{one.train[0][:10]} … {one.train[1][:10]}"
        table.add_row(one.model_id, one.version, one.data, window)
    answer(
        {"bundle": bundle, "models": told, "uri": book.uri},
        table,
        f"mlflow ui --backend-store-uri {book.uri}",
    )


# -- parts -----------------------------------------------------------------------------------------------


def prepared(config: Path, overrides: Sequence[str]) -> Run:
    """The run behind a YAML file, with its data at hand."""
    from bascule.app.config import load
    from bascule.app.run import Run

    loaded = load(config, overrides)
    run = Run(loaded, loaded.recipe(), console)
    finish(run, "data")
    return run


def finish(run: Run, last: str) -> None:
    """Do what is not done of a run's stages, until ``last``."""
    from bascule.app.spine import stages
    from bascule.app.stage import Runner

    chain = stages(run.config)
    names = [stage.name for stage in chain]
    run.runner = Runner(run.config.home, chain[: names.index(last) + 1])
    run.runner.run(run)


def contestants(path: Path | None, kinds: Sequence[str]) -> Mapping[str, ModelSettings]:
    """Models to compare, by name.

    Raises:
        ConfigError: the file is not a mapping of model settings, or a kind is unknown.
    """
    from bascule.models import ModelSettings, kind

    found: dict[str, ModelSettings] = {}
    if path is not None:
        for name, values in mapping(path, see="docs/models.md").items():
            if not isinstance(values, dict) or not str(name).replace("-", "").replace("_", "").isalnum():
                raise ConfigError(
                    f"{name!r} is not a name of model settings",
                    where=str(path),
                    remedy="write NAME: {kind: …, params: {…}}; names of letters, digits, - and _",
                )
            found[str(name)] = ModelSettings.read(values, where=f"{path}: {name}")
    for name in kinds or (() if found else DEFAULT_PAIR):
        found[kind(name).name] = ModelSettings(kind=kind(name).name)
    return found


def show(board: Leaderboard, folder: Path | None = None) -> None:
    """Answer with a leaderboard and its statements."""
    heads = ("rank IC", "95 %", "ICIR", "t", "IC", "Sharpe", "turnover a day", "train s", "predict s")
    table = Table("model", *heads, box=None)
    for one in board.scores:
        span = f"{one.low:+.4f} … {one.high:+.4f}"
        spent = "–" if one.train_seconds is None else f"{one.train_seconds:,.1f}"
        numbers = (
            f"{one.rank_ic:+.4f}",
            span,
            f"{one.rank_icir:.3f}",
            f"{one.rank_t:.1f}",
            f"{one.ic:+.4f}",
            f"{one.sharpe:.2f}",
            f"{one.turnover:.0%}",
            spent,
            f"{one.predict_seconds:,.1f}",
        )
        table.add_row(one.name, *numbers)
    place = [] if folder is None else [f"Models and leaderboard: {folder}"]
    answer({**board.to_dict(), "folder": folder}, table, *(duel.statement for duel in board.duels), *place)
