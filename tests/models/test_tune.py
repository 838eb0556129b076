"""Hyper-parameters: same seed same search, cut-off ones go on, and test windows stay closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule import cluster
from bascule.core import ConfigError, Panel
from bascule.evaluate import forward_return
from bascule.models import Fold, ModelSettings, folds
from bascule.models.tune import TuneSettings, tune
from tests.markets import random_panel
from tests.models.test_train import HORIZON, NAMES, WALK

pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = ModelSettings(features="raw", params={"num_boost_round": 10}, min_samples=200, threads=1)
SPACE = {
    "num_leaves": {"low": 4, "high": 32, "whole": True, "log": True},
    "learning_rate": {"among": [0.05, 0.2]},
}


class Search:
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        drive = random.standard_normal((120 * 24, 10)) * 0.003
        self.panel: Panel = random_panel(3, 120 * 24, 10, drive=drive)
        noise = random.standard_normal((2, *self.panel.shape))
        self.values = np.stack([drive, *noise]).astype(np.float32)
        self.label = forward_return(self.panel, HORIZON)
        self.folds: tuple[Fold, ...] = folds(self.panel.time, WALK, HORIZON)[:1]

    def __call__(self, trials: int, seed: int = 5, **more: object):
        settings = TuneSettings.read({"space": SPACE, "trials": trials, "round": 2})
        label = more.pop("label", self.label)
        return tune(self.values, NAMES, label, self.panel, self.folds, SETTINGS, settings, seed=seed, **more)


@pytest.fixture(scope="module")
def search() -> Search:
    return Search()


def test_a_search_that_goes_on_is_the_unbroken_one_and_processes_change_nothing(
    search: Search, tmp_path: Path
) -> None:
    unbroken = search(6)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    search(2, storage=url)
    assert search(6, storage=url).trials == unbroken.trials
    with cluster.connect("local", workers=2) as executor:
        assert search(6, executor=executor).trials == unbroken.trials
    assert unbroken.score == max(score for _, score in unbroken.trials) > 0
    assert set(unbroken.params) == set(SPACE)
    assert search(6, seed=6).trials != unbroken.trials


def test_labels_of_the_test_windows_change_nothing(search: Search) -> None:
    label = search.label.copy()
    (fold,) = search.folds
    inside = (search.panel.time >= fold.test[0]) & (search.panel.time < fold.test[1])
    label[inside] = np.random.default_rng(9).standard_normal(label[inside].shape)
    assert search(2, label=label).trials == search(2).trials


def test_a_study_of_other_settings_is_refused(search: Search, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    search(1, storage=url)
    with pytest.raises(ConfigError, match="other data or settings"):
        search(1, seed=6, storage=url)
    with pytest.raises(ConfigError, match="cannot be opened"):
        search(1, storage="nodatabase://here")


def test_spaces_are_checked() -> None:
    for wrong in (
        {"low": 1},
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": 1, "high": 2, "among": [1]},
    ):
        with pytest.raises(ConfigError):
            TuneSettings.read({"space": {"x": wrong}})
