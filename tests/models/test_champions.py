"""Who serves: promotion, roll-back, and processes that are killed in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bascule.core import BasculeError, BundleError, ConfigError
from bascule.models import Champions, ModelSettings, Retrainer, RetrainSettings, zoo

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SETTINGS = RetrainSettings(train_days=40, judge_days=10, check_days=5, rest_days=0, confidence=0.5)
NAMES = ["a", "b", "c"]


def make_trainer(folder: Path, **changes: object) -> Retrainer:
    values, label, panel = zoo.small_market(3, 1)
    return Retrainer(
        values, NAMES, label, panel,
        horizon=2, model=ModelSettings(kind="LinearModel", min_samples=100),
        settings=SETTINGS.model_copy(update=changes), store=Champions(folder), seed=1,
    )  # fmt: skip


@pytest.fixture
def trainer(tmp_path: Path) -> Retrainer:
    return make_trainer(tmp_path)


def test_nothing_serves_before_a_promotion(trainer: Retrainer) -> None:
    store = trainer.store
    name = trainer.train(400)
    assert store.finished() == (name,)
    assert store.serving == ""
    with pytest.raises(BundleError, match="no model was promoted"):
        store.champion()
    event = store.promote(name, reason="first", at="2021-03-08")
    assert (event.number, event.model, event.before) == (1, name, "")
    assert store.champion().meta["windows"]["test"][0].startswith(name)


def test_roll_back_goes_to_the_champion_before_and_no_further_in_circles(trainer: Retrainer) -> None:
    store = trainer.store
    names = [trainer.train(row) for row in (380, 440, 500)]
    for name in names:
        store.promote(name, reason="test")
    assert store.roll_back(reason="it lost money").model == names[1]
    assert store.roll_back(reason="this one too").model == names[0]
    with pytest.raises(ConfigError, match="no champion served before"):
        store.roll_back(reason="there is none")
    assert store.serving == names[0]
    actions = [event.action for event in store.history()]
    assert actions == ["promote"] * 3 + ["roll back"] * 2
    assert [event.number for event in store.history()] == [1, 2, 3, 4, 5]


def test_a_champion_that_was_left_and_came_back_can_be_rolled_back_to(trainer: Retrainer) -> None:
    store = trainer.store
    first, second, third = (trainer.train(row) for row in (380, 440, 500))
    for name in (first, second):
        store.promote(name, reason="test")
    assert store.roll_back(reason="it lost money").model == first
    store.promote(second, reason="it was the market, not the model")
    store.promote(third, reason="test")
    assert store.roll_back(reason="this one loses too").model == second


def test_a_damaged_challenger_is_not_promoted(trainer: Retrainer) -> None:
    store = trainer.store
    first, second = trainer.train(380), trainer.train(440)
    store.promote(first, reason="test")
    file = store.models / second / "model.json"
    file.write_text(file.read_text().replace("0", "1", 1))
    with pytest.raises(BundleError, match="missing or changed"):
        store.promote(second, reason="test")
    assert store.serving == first
    assert len(store.history()) == 1


def test_two_writers_do_not_meet(trainer: Retrainer) -> None:
    name = trainer.train(380)
    with trainer.store.writing(), pytest.raises(BasculeError, match="another process writes"):
        Champions(trainer.store.folder).promote(name, reason="test")


KILLED = """
import os, signal, sys
from pathlib import Path
import bascule.models.champions as champions
from tests.models.test_champions import make_trainer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

trainer = make_trainer(Path(sys.argv[1]))
where = sys.argv[2]
if where == "while training":
    import bascule.models.task as task
    task.checksum = die
if where == "before the turn":
    champions.point = die
if where == "before the record":
    champions.write_json = die
name = trainer.train(440)
if where == "after training":
    die()
trainer.store.promote(name, reason="better")
"""


@pytest.mark.parametrize(
    "where",
    [
        "after training",
        *(
            pytest.param(w, marks=pytest.mark.slow)
            for w in ("while training", "before the turn", "before the record")
        ),
    ],
)
def test_a_crash_between_training_and_promotion_leaves_the_old_champion_serving(
    where: str, trainer: Retrainer
) -> None:
    store = trainer.store
    first = trainer.train(380)
    store.promote(first, reason="first")
    values, _, panel = zoo.small_market(3, 1)
    cells = values[:, 500].T
    before = store.champion().predict(cells, np.zeros(len(cells)))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.folder), where],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    after = Champions(store.folder)
    turned = where == "before the record"
    assert (after.serving != first) == turned
    assert np.array_equal(after.champion().predict(cells, np.zeros(len(cells))), before) != turned
    # the next process goes on: what is finished is not trained again, and history tells what is
    again = make_trainer(store.folder)
    second = again.train(440)
    if turned:
        with again.store.writing():
            pass
        assert [e.action for e in again.store.history()] == ["promote", "recovered"]
    else:
        again.store.promote(second, reason="better")
        assert [e.action for e in again.store.history()] == ["promote", "promote"]
    assert again.store.serving == second
    assert not list(store.folder.glob(".tmp-*"))
    assert panel.shape
