"""Combinatorial cross-validation; and shuffled labels, of which no scheme learns anything."""

from math import comb
from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.evaluate import ic_series, shuffle, summarise
from bascule.models import (
    CombineSettings,
    CrossSettings,
    ModelSettings,
    RetrainSettings,
    WeightSettings,
    combine,
    cross_validate,
    run_adaptive,
    zoo,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
HORIZON = 2
LINEAR = ModelSettings(kind="LinearModel", min_samples=100)
CUT = CrossSettings(groups=5, tested=2, embargo_bars=6)
ADAPTIVE = RetrainSettings(train_days=40, judge_days=10, check_days=5, schedule_days=10, rest_days=0)


def test_every_row_of_a_path_was_predicted_by_a_model_that_did_not_see_it(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    got = cross_validate(
        values, ["a", "b", "c"], label, panel, LINEAR, tmp_path, horizon=HORIZON, settings=CUT, seed=1
    )
    assert len(got.splits) == comb(5, 2)
    assert len(got.paths) == comb(4, 1)
    labelled = np.isfinite(label).any(axis=1)
    assert np.isfinite(got.paths[:, labelled]).all()
    for split in got.splits:
        gap = np.abs(split.train[:, None] - split.test[None, :]).min()
        assert gap > HORIZON
        after = split.train[:, None] - split.test[None, :]
        assert not ((after > 0) & (after <= HORIZON + CUT.embargo_bars)).any()
    assert all(one.t > 6 for one in got.ic)
    assert len({one.mean for one in got.ic}) == len(got.ic), "paths differ"
    again = cross_validate(
        values, ["a", "b", "c"], label, panel, LINEAR, tmp_path, horizon=HORIZON, settings=CUT, seed=1
    )
    assert np.array_equal(again.paths, got.paths, equal_nan=True)


def test_the_rows_that_stop_a_split_do_not_overlap_those_it_learns_from(tmp_path: Path) -> None:
    from bascule.models.predictor import read_meta

    values, label, panel = zoo.small_market(2, 1)
    cross_validate(values, ["a", "b"], label, panel, LINEAR, tmp_path, horizon=HORIZON, settings=CUT, seed=1)
    for folder in sorted(tmp_path.iterdir()):
        windows = read_meta(folder)["windows"]
        end, start = np.datetime64(windows["train"][1]), np.datetime64(windows["valid"][0])
        assert end + (HORIZON + CUT.embargo_bars) * panel.timeframe.delta <= start


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weights": WeightSettings(half_life_days=20, uniqueness=True)},
        {"label": "gauss", "scale": "volatility", "scale_days": 5},
        {"horizons": (1, 4)},
        {"kind": "LGBModel", "params": {"num_boost_round": 20, "learning_rate": 0.1}, "threads": 1},
    ],
    ids=["plain", "weighted", "transformed", "several horizons", "trees"],
)
def test_shuffled_labels_teach_nothing_in_cross_validation(changes: dict, tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1, seed=2)
    model = LINEAR.model_copy(update=changes)
    # further horizons would bring true labels back: they are left to the shuffled one's own
    noise = shuffle(label, 5)
    if model.horizons:
        panel = panel.with_fields(open=_shuffled_opens(panel["open"]))
        noise = _returns(panel["open"])
    got = cross_validate(
        values, ["a", "b", "c"], noise, panel, model, tmp_path, horizon=HORIZON, settings=CUT, seed=1
    )
    assert np.median([abs(one.t) for one in got.ic if one.n]) < 2.5
    assert abs(np.mean([one.mean for one in got.ic if one.n])) < 0.04


def _shuffled_opens(opens: np.ndarray) -> np.ndarray:
    """Prices of another market: the factors know nothing of it."""
    random = np.random.default_rng(9)
    return (100 * np.exp(np.cumsum(random.standard_normal(opens.shape) * 0.01, axis=0))).astype(np.float32)


def _returns(opens: np.ndarray) -> np.ndarray:
    label = np.full(opens.shape, np.nan, np.float32)
    label[: -HORIZON - 1] = opens[HORIZON + 1 :] / opens[1:-HORIZON] - 1
    return label


def test_shuffled_labels_teach_nothing_to_retraining_and_to_combination(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1, seed=4)
    noise = shuffle(label, 6)
    names = ["a", "b", "c"]
    adaptive = run_adaptive(
        values, names, noise, panel,
        horizon=HORIZON, model=LINEAR, folder=tmp_path, settings=ADAPTIVE, seed=1,
    )  # fmt: skip
    dynamic = combine(
        values, names, noise, panel, horizon=HORIZON, settings=CombineSettings(window_days=20, every_bars=6)
    )
    for signal in (adaptive.values, dynamic.values):
        found = summarise(ic_series(signal, noise, panel.members, rank=True), HORIZON)
        assert abs(found.t) < 2.5 or found.n == 0


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(1, 1, rows=200)
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        cross_validate(
            values, ["a"], label, panel, LINEAR, tmp_path,
            horizon=HORIZON, settings=CrossSettings(groups=2, tested=1, embargo_bars=150), seed=1,
        )  # fmt: skip
    with pytest.raises(ConfigError, match="no row has a label"):
        cross_validate(
            values, ["a"], np.full_like(label, np.nan), panel, LINEAR, tmp_path, horizon=HORIZON, seed=1
        )
