"""``bascule model …``: qlib's models, compared, combined, retrained and explained on a run's data.

All but ``zoo`` and ``store`` take a run's YAML file: they use its store, factors, universe and folds, and do
the run's first stages if they are not done yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from bascule.app.command import Commands, answer, note
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

LIVE = "Live"


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

        _finish(run, "train")
        with np.load(run.folder("train") / PREDICTIONS) as stored:
            signals[run.config.model.kind] = stored["values"]
    run.tries.add((f"combine {name}" for name in signals), run.panel, [horizon], "model combine")
    price = run.config.backtest.fee + run.config.backtest.slippage
    show(models.judge(signals, run.panel, horizon=horizon, cost=price, seed=run.config.seed))


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


@model_app.command("explain", example="bascule model explain examples/spot_1h.yaml --top 10")
def explain(
    config: ConfigFile,
    top: Annotated[int, typer.Option(min=1, help="features shown")] = 15,
    set_: Overrides = None,
) -> None:
    """Show what the run's models look at, and whether it lasts: importance over folds, SHAP of the newest."""
    from bascule import models
    from bascule.models.samples import gather, rows_of

    run = prepared(config, set_ or ())
    _finish(run, "train")
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
        _finish(run, stage)
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


# -- parts -----------------------------------------------------------------------------------------------


def prepared(config: Path, overrides: Sequence[str]) -> Run:
    """The run behind a YAML file, with its data at hand."""
    from bascule.app.config import load
    from bascule.app.run import Run

    loaded = load(config, overrides)
    run = Run(loaded, loaded.recipe(), console)
    _finish(run, "data")
    return run


def _finish(run: Run, last: str) -> None:
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
