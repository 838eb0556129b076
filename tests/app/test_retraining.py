"""``bascule model retrain --once``: from new candles to a bundle behind ``current``, killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bascule.app import retraining
from bascule.app.cli import app
from bascule.app.modelcli import prepared
from bascule.core import BasculeError, StoreError
from bascule.models import Champions, Check, Lineage, RetrainSettings, Verdict
from bascule.signals import Bundle
from bascule.signals.frame import BY_INSTRUMENT
from tests.app.runs import write_run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow, qlib
ROOT = Path(__file__).parents[2]
SETTINGS = RetrainSettings(
    train_days=30, judge_days=8, schedule_days=4, rest_days=2, drift=None, confidence=0.5, min_ic=-0.5
)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of candles."""
    from bascule.data.synthetic import SyntheticSettings, generate

    path = tmp_path_factory.mktemp("market") / "all.parquet"
    generate(SyntheticSettings(seed=3, instruments=8, days=75, timeframe="1h")).frame.to_parquet(path)
    return path


def candles_until(market: Path, home: Path, day: int) -> None:
    """What the exchange has told so far."""
    import pandas as pd

    frame = pd.read_parquet(market)
    frame = frame[frame["time"] < frame["time"].min() + pd.Timedelta(days=day)]
    aside = home / "aside.parquet"
    frame.to_parquet(aside)
    aside.replace(home / "candles.parquet")


@pytest.fixture
def config(market: Path, tmp_path: Path) -> Path:
    candles_until(market, tmp_path, 60)
    source = {"kind": "long", "path": str(tmp_path / "candles.parquet")}
    return write_run(tmp_path, data={"source": source})


def places(config: Path, *, registry: bool = False) -> retraining.Places:
    home = config.parent
    return retraining.Places(home / "champions", home / "bundles", home / "registry" if registry else None)


def one_step(config: Path, *, registry: bool = False) -> Check | None:
    return retraining.step(prepared(config, ()), SETTINGS, places(config, registry=registry))


def always(challenger: Any, champion: Any, *_: Any) -> Verdict:
    """A judge who likes whatever is new: here it matters what follows a promotion."""
    return Verdict(True, 0.1, None if champion is None else 0.0, 0.01, "it is new")


@pytest.fixture(autouse=True)
def _judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bascule.models.retrain.judge", always)


def test_new_candles_lead_to_a_bundle_behind_current(config: Path, market: Path) -> None:
    first = one_step(config)
    assert first is not None and first.event is not None and first.triggers[0].kind == "first"
    where = places(config)
    old = Bundle.open(where.bundles)
    store = Champions(where.store)
    assert [model.id for model in old.manifest.models] == [store.champion().model_id]
    # the only rows out of sample are those that it was judged on
    judged = store.champion().meta["windows"]["judge"]
    assert (
        old.signals.time[0] >= np.datetime64(judged[0])
        and old.manifest.models[0].test.start[:10] == judged[0][:10]
    )

    # the next hour: nothing to do, and nothing changes
    assert one_step(config) is None
    assert Bundle.open(where.bundles).path == old.path

    # five days later the schedule is due
    candles_until(market, config.parent, 65)
    second = one_step(config)
    assert second is not None and [t.kind for t in second.triggers] == ["schedule"]
    new = Bundle.open(where.bundles)
    assert new.path != old.path and len(new.manifest.models) == 2
    assert new.manifest.data.fingerprint != old.manifest.data.fingerprint

    # what a bot computes from candles is what is stored
    run = prepared(config, ())
    window = run.store.panel(run.recipe.bar)
    live = new.live(window.rows(len(window.time) - new.lookback - 5, None))
    stored = new.signals
    at = np.searchsorted(stored.time, live.time)
    present = np.isfinite(stored.stop_distance[at])
    for name in BY_INSTRUMENT:
        np.testing.assert_array_equal(getattr(live, name)[present], getattr(stored, name)[at][present])

    # and back
    back = retraining.champions(run, where)
    back.roll_back(reason="it lost money")
    again = Bundle.open(where.bundles)
    assert [model.id for model in again.manifest.models] == [model.id for model in old.manifest.models]
    assert again.path not in (old.path, new.path)


@pytest.mark.slow
def test_lineage_leads_from_the_bundle_to_its_models_and_their_data(config: Path) -> None:
    assert one_step(config, registry=True) is not None
    bundle = Bundle.open(places(config).bundles)
    book = Lineage(config.parent / "registry")
    (origin,) = book.trace(bundle.path.name)
    assert origin.model_id == bundle.manifest.models[0].id
    assert origin.data == bundle.manifest.data.fingerprint
    assert book.champion() == origin.version


def test_steps_do_not_overlap(config: Path) -> None:
    from bascule.data.lock import writer_lock

    where = places(config)
    (where.store / retraining.STEP).mkdir(parents=True)
    with writer_lock(where.store / retraining.STEP), pytest.raises(StoreError, match="another process"):
        one_step(config)


KILLED = """
import os, signal, sys
from pathlib import Path
import bascule.models.champions as champions
import bascule.models.retrain as retrain
import bascule.signals.writer as writer
from bascule.app import retraining
from tests.app.test_retraining import always, one_step

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

retrain.judge = always
where = sys.argv[2]
if where == "after training":
    retrain.Retrainer.decide = die
if where == "while writing the bundle":
    writer.checksum = die
if where == "before the champion's turn":
    champions.point = die
if where == "before the bundle's turn":
    writer.point = die
if where == "before the record":
    champions.write_json = die
one_step(Path(sys.argv[1]))
"""
MOMENTS = {
    "after training": False,
    "while writing the bundle": False,
    "before the champion's turn": False,
    "before the bundle's turn": True,
    "before the record": True,
}


@pytest.mark.slow
@pytest.mark.parametrize("where", MOMENTS)
def test_killed_at_any_moment_a_whole_champion_serves(where: str, config: Path, market: Path) -> None:
    at = places(config)
    assert one_step(config) is not None
    store = Champions(at.store)
    first, old = store.serving, Bundle.open(at.bundles)
    candles_until(market, config.parent, 65)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(config), where],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]

    # a bot that starts now opens a whole bundle: the old one, until the champion has turned
    assert (store.serving != first) == MOMENTS[where]
    served = Bundle.open(at.bundles)
    assert (served.path == old.path) == (where != "before the record")
    # the next step finishes what was cut off, without training again
    trained = set(store.finished())
    one_step(config)
    after = Bundle.open(at.bundles)
    assert set(store.finished()) == trained
    assert store.serving == max(trained) != first
    assert after.manifest.models[-1].id == store.champion().model_id
    assert [path.name for path in store.lineup()] == [first, store.serving]
    assert not list(at.bundles.glob(".tmp-*")) and not list(at.store.glob(".tmp-*"))


def test_watching_goes_on_after_a_failure() -> None:
    told: list[str] = []
    waited: list[float] = []
    outcomes = iter(["first", StoreError("no disk", where="x", remedy="y"), "third"])

    def once() -> str:
        found = next(outcomes)
        if isinstance(found, BasculeError):
            raise found
        return str(found)

    retraining.watch(once, told.append, every=60, sleep=waited.append, times=3)
    assert told[0] == "first" and "the champion serves on" in told[1] and told[2] == "third"
    assert len(waited) == 2 and all(0 < one <= 60 for one in waited)


def test_from_the_command_line(config: Path) -> None:
    settings = config.parent / "retrain.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json")))
    runner = CliRunner()

    def call(*more: object) -> str:
        done = runner.invoke(app, ["model", *map(str, more)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    shown = call("retrain", config, "--once", "--settings", settings)
    assert "promoted" in shown
    home = config.parent / "run"
    assert Bundle.open(home / "bundles").manifest.models
    assert "nothing to do" in call("retrain", config, "--once", "--settings", settings)
    store = Champions(home / "champions")
    assert store.serving in call("store", home / "champions", "--run", config)
