"""Kinds of qlib's models inside FreqAI's own backtest: one model for all pairs, and one a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bridge.freqai.test_model import bot, predicted
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning"),
]
SHARED = {"threads": 1, "min_samples": 100, "device": "cpu"}
NET = {"batch_size": 512, "lr": 0.005}
KINDS: dict[str, dict[str, Any]] = {
    "LGBModel": {"params": {"num_boost_round": 20}},
    "LinearModel": {"params": {"estimator": "ridge"}},
    "XGBModel": {"params": {"num_boost_round": 20}},
    "CatBoostModel": {"params": {"num_boost_round": 20}},
    "DEnsembleModel": {"params": {"epochs": 5}},
    "DNNModelPytorch": {"params": {**NET, "max_steps": 60}},
    "GRU": {"params": {**NET, "n_epochs": 2}, "steps": 3},
    "GRU_ts": {"params": {**NET, "n_epochs": 2}, "steps": 3},
    "TransformerModel": {"params": {**NET, "n_epochs": 2}, "steps": 3},
}


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "a-pair"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_and_predicts_in_freqais_backtest(
    spot: Research, tmp_path: Path, kind: str, pooled: bool
) -> None:
    model = {"kind": kind, **SHARED, **KINDS[kind]}
    mine = bot(spot, tmp_path, model=model, pooled=pooled, dbscan=False, svm=False, dissimilarity=3.0)
    found = predicted(mine, "ETH/USDT")
    said = found[found["do_predict"] == 1]
    assert len(said) > 150 and np.isfinite(said["alpha"]).all() and said["alpha"].nunique() > 30
    assert said["alpha_rank"].between(0, 1).all() and said["alpha_rank"].nunique() > (3 if pooled else 30)
    folder = mine.freqai.full_path
    if pooled:
        assert len(list((folder / "pooled").glob("*/meta.json"))) == 3
    else:
        assert len(list(folder.glob("sub-train-ETH_*"))) == 2
