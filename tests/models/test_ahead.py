"""Folds and splits trained side by side are those trained one after the other, to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule import cluster
from bascule.core import DataError
from bascule.evaluate import forward_return
from bascule.models import CrossSettings, ModelSettings, cross_validate, folds, train_walk_forward
from tests.markets import random_panel
from tests.models.test_train import HORIZON, NAMES, SETTINGS, WALK

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, object]:
    panel = random_panel(3, 150 * 24, 10)
    values = np.random.default_rng(1).standard_normal((len(NAMES), *panel.shape)).astype(np.float32)
    return values, forward_return(panel, HORIZON), panel


def test_walk_forward_on_two_processes(data: tuple, tmp_path: Path) -> None:
    values, label, panel = data
    cut = folds(panel.time, WALK, HORIZON)
    alone = train_walk_forward(values, NAMES, label, panel, cut, SETTINGS, tmp_path / "a", seed=7)
    told: list[str] = []
    with cluster.connect("local", workers=2) as executor:
        spread = train_walk_forward(
            values, NAMES, label, panel, cut, SETTINGS, tmp_path / "b", seed=7, executor=executor,
            progress=lambda done, total, note="": told.append(note),
        )  # fmt: skip
    assert {one.id for one in cut} <= set(told)  # each fold, as soon as it is trained
    assert files(tmp_path / "a") == files(tmp_path / "b")
    np.testing.assert_array_equal(alone.values, spread.values)
    assert spread.fresh == len(cut) == alone.fresh


def test_cross_validation_on_an_executor_and_what_was_finished_is_kept(data: tuple, tmp_path: Path) -> None:
    values, label, panel = data
    cut = CrossSettings(groups=4, tested=1)
    options = {"horizon": HORIZON, "settings": cut, "seed": 7}
    alone = cross_validate(values, NAMES, label, panel, SETTINGS, tmp_path / "a", **options)
    before = files(tmp_path / "a")
    with cluster.connect("local", workers=1) as executor:
        again = cross_validate(
            values, NAMES, label, panel, SETTINGS, tmp_path / "a", **options, executor=executor
        )
        other = cross_validate(
            values, NAMES, label, panel, SETTINGS, tmp_path / "b", **options, executor=executor
        )
    np.testing.assert_array_equal(alone.paths, again.paths)
    np.testing.assert_array_equal(alone.paths, other.paths)
    assert files(tmp_path / "a") == before == files(tmp_path / "b")


def test_an_error_of_a_fold_names_it(data: tuple, tmp_path: Path) -> None:
    values, label, panel = data
    cut = folds(panel.time, WALK, HORIZON)
    settings = SETTINGS.model_copy(update={"min_samples": 10**9})
    assert isinstance(settings, ModelSettings)
    with (
        cluster.connect("local", workers=2) as executor,
        pytest.raises(DataError, match="min_samples") as caught,
    ):
        train_walk_forward(values, NAMES, label, panel, cut, settings, tmp_path, seed=7, executor=executor)
    # two are at work: whichever fails first
    assert caught.value.__notes__[0] in {f"in task {fold.id}" for fold in cut}
    assert not list(tmp_path.iterdir())
