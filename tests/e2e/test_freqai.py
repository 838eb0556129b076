"""The real freqtrade with FreqAI: trains, predicts and trades offline, and finds no bias in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bascule.bridge.freqtrade.freqai import runs
from bascule.core import BridgeError
from tests.bridge.freqai.learning import job
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
DAYS = ("2023-03-07", "2023-03-17")


def test_pooled_models_are_trained_once_and_traded(spot: Research, tmp_path: Path) -> None:
    found = runs.backtest(job(spot, tmp_path / "user", DAYS))
    assert len(found.trades) > 30 and found.trades["pair"].nunique() == 5
    assert set(found.trades["exit_reason"]) >= {"alpha_decay"}
    models = tmp_path / "user" / "models" / "small"
    assert len(list((models / "pooled").iterdir())) == 3
    meta = json.loads((models / "pooled" / "2023-03-09" / "meta.json").read_text())
    # what is learned from ends before the instant, labels included, and validation is apart
    assert meta["windows"]["valid"][1] <= meta["windows"]["test"][0] == "2023-03-09T00:00:00.000000000"
    assert meta["windows"]["train"][1] < meta["windows"]["valid"][0] and meta["purge_bars"] == 7
    log = (tmp_path / "user" / "logs" / "backtesting.log").read_text()
    assert log.count("trained: lgb-") == 3
    # again: nothing is trained, and the trades are the same
    again = runs.backtest(job(spot, tmp_path / "user", DAYS))
    assert "trained: lgb-" not in (tmp_path / "user" / "logs" / "backtesting.log").read_text()
    columns = ["pair", "open_date", "close_date", "stake_amount", "profit_abs"]
    assert again.trades[columns].equals(found.trades[columns])


def test_futures_trade_both_sides_on_what_a_model_a_pair_says(futures: Research, tmp_path: Path) -> None:
    rules = {"entry_rank": 0.501, "exit_rank": 0.5, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    one = job(
        futures, tmp_path / "user", DAYS, pooled=False, rules=rules, svm=False, dbscan=False, dissimilarity=0,
        expand=[{"name": "roc", "text": "$close / Ref($close, {period}) - 1"}], periods=(4, 9),
        model={"kind": "LinearModel", "params": {"estimator": "ridge"}},
    )  # fmt: skip
    found = runs.backtest(one)
    assert min(found.metrics["trade_count_long"], found.metrics["trade_count_short"]) > 5


def test_freqtrade_finds_no_look_ahead_in_training_or_predictions(spot: Research, tmp_path: Path) -> None:
    verdict = runs.lookahead(job(spot, tmp_path / "user", ("2023-03-07", "2023-03-13")), trades=5, least=3)
    assert verdict.signals == 5 and verdict.biased_entries == verdict.biased_exits == 0
    assert not verdict.has_bias and verdict.biased_indicators == ()


def test_freqtrade_finds_no_dependence_on_the_start(spot: Research, tmp_path: Path) -> None:
    here = job(spot, tmp_path / "user", ("2023-03-07", "2023-03-13"))
    stable = runs.recursive(here, startup=(100,))
    assert stable.startup is not None and stable.unstable(stable.startup) == () and stable.lookahead == ()
    assert "&-alpha" in stable.unstable(100)  # too short a start-up is seen


def test_a_wrong_recipe_is_one_clear_error(spot: Research, tmp_path: Path) -> None:
    here = job(spot, tmp_path / "user", DAYS)
    runs_of_another = replace(here, recipe=here.recipe.model_copy(update={"horizon": 5}))
    (tmp_path / "user").mkdir()
    mark = tmp_path / "user" / "models" / "small" / "bascule.json"
    mark.parent.mkdir(parents=True)
    mark.write_text('{"recipe": "another"}')
    for name in ("strategies", "backtest_results", "hyperopt_results", "logs"):
        (tmp_path / "user" / name).mkdir()
    with pytest.raises(BridgeError, match="holds models of another recipe") as caught:
        runs.backtest(runs_of_another)
    assert "Traceback" not in str(caught.value)
