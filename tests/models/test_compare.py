"""The leaderboard: real differences are told from chance, on the cells that all have."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError, Panel
from bascule.evaluate import forward_return
from bascule.models import (
    ModelSettings,
    WalkForwardSettings,
    compare,
    folds,
    judge,
    long_short,
    zoo,
)
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
HORIZON = 2
WALK = WalkForwardSettings(
    first_test=date(2021, 3, 1), test_days=20, test_months=None, train_days=50, min_train_days=20
)
LIGHT = ModelSettings(
    params={"num_boost_round": 30, "learning_rate": 0.1}, min_samples=200, max_samples=4000, threads=1
)
NET = ModelSettings(
    kind="TransformerModel",
    params={"n_epochs": 2, "batch_size": 256, "d_model": 8, "lr": 0.01},
    min_samples=200,
    max_samples=4000,
    threads=1,
)


def test_the_default_pair_is_trained_judged_and_told_apart(tmp_path: Path) -> None:
    values, _, panel = zoo.small_market(3, 1)
    found = folds(panel.time, WALK, HORIZON)
    pair = {"LightGBM": LIGHT, "Transformer": NET}
    told: list[str] = []
    board = compare(
        values, ["a", "b", "c"], panel, found, pair, tmp_path,
        horizon=HORIZON, seed=1, reps=200, progress=lambda done, total, note="": told.append(note),
    )  # fmt: skip
    assert {score.name for score in board.scores} == set(pair)
    assert len(told) == 2 * len(found)
    for score in board.scores:
        assert score.low < score.rank_ic < score.high
        assert score.train_seconds is not None
        assert score.predict_seconds >= 0
        assert score.turnover > 0
    (duel,) = board.duels
    assert duel.better == board.scores[0].name
    assert duel.statement.startswith(("No significant", f"{duel.better} is better"))
    written = json.loads((tmp_path / "leaderboard.json").read_text())
    assert written["duels"][0]["significant"] == duel.significant
    assert list(board.frame().index) == [score.name for score in board.scores]
    # a run that goes on trains nothing and still knows how long training took
    again = compare(values, ["a", "b", "c"], panel, found, pair, tmp_path, horizon=HORIZON, seed=1, reps=200)
    assert {s.name: s.train_seconds for s in again.scores} == pytest.approx(
        {s.name: s.train_seconds for s in board.scores}
    )
    assert [s.rank_ic for s in again.scores] == [s.rank_ic for s in board.scores]


def _signals() -> tuple[dict[str, np.ndarray], Panel]:
    random = np.random.default_rng(0)
    drive = random.standard_normal((2000, 15))
    panel = random_panel(1, 2000, 15, drive=drive * 0.002)
    noise = random.standard_normal((3, 2000, 15))
    return {
        "good": (drive + 0.5 * noise[0]).astype(np.float32),
        "same": (drive + 0.5 * noise[1]).astype(np.float32),
        "noise": noise[2].astype(np.float32),
    }, panel


def test_a_real_difference_is_significant_and_a_chance_one_is_not() -> None:
    signals, panel = _signals()
    board = judge(signals, panel, horizon=4, cost=0.0, reps=400, seed=1)
    assert board.scores[-1].name == "noise"
    outcome = {frozenset((d.better, d.other)): d for d in board.duels}
    assert outcome[frozenset(("good", "noise"))].significant
    assert outcome[frozenset(("same", "noise"))].significant
    chance = outcome[frozenset(("good", "same"))]
    assert not chance.significant
    assert chance.low < 0 < chance.high
    assert "No significant difference" in chance.statement
    assert board.scores[0].sharpe > board.scores[-1].sharpe


def test_chance_differences_are_called_significant_about_as_often_as_they_may_be() -> None:
    hits = 0
    for seed in range(20):
        random = np.random.default_rng(100 + seed)
        panel = random_panel(seed, 400, 8)
        pair = {name: random.standard_normal((400, 8)).astype(np.float32) for name in ("a", "b")}
        hits += judge(pair, panel, horizon=3, reps=200, seed=1).duels[0].significant
    assert hits <= 4


def test_all_are_judged_on_the_cells_that_all_have() -> None:
    signals, panel = _signals()
    late = signals["same"].copy()
    late[:1000] = np.nan
    board = judge({"good": signals["good"], "late": late}, panel, horizon=4, reps=100)
    assert {score.rows for score in board.scores} == {1000 - 5}


def test_the_long_short_portfolio_earns_what_its_legs_earn() -> None:
    panel = random_panel(3, 60, 10)
    signal = np.tile(np.arange(10, dtype=np.float32), (60, 1))
    earned, traded = long_short(signal, panel, horizon=1, cost=0.0)
    bar = forward_return(panel, 1)
    expected = bar[:, 8:].mean(axis=1) / 2 - bar[:, :2].mean(axis=1) / 2
    assert earned[:-2] == pytest.approx(expected[:-2], abs=1e-7)
    # the same legs for ever: nothing but the first purchase is traded
    assert traded == pytest.approx(24 / 58)
    paid, _ = long_short(signal, panel, horizon=1, cost=0.01)
    assert paid[0] == pytest.approx(expected[0] - 0.01)
    assert paid[1] == pytest.approx(expected[1])
    slow, _ = long_short(signal, panel, horizon=4, cost=0.0)
    assert slow[0] == pytest.approx(expected[0] / 4)
    assert slow[10] == pytest.approx(expected[10], abs=1e-7)


def test_one_model_is_no_comparison(tmp_path: Path) -> None:
    values, _, panel = zoo.small_market(1, 1)
    with pytest.raises(ConfigError, match="name two or more"):
        compare(values, ["a"], panel, [], {"x": LIGHT}, tmp_path, horizon=HORIZON, seed=1)
