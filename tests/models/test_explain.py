"""A model's reasons: parts sum to the prediction, and what matters is found."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError
from bascule.models import (
    contributions,
    explained,
    importance,
    load,
    permutation_importance,
    shap_importance,
    stability,
    zoo,
)
from bascule.models.samples import gather

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
EXACT = ("LightGBM", "XGBoost", "CatBoost", "DoubleEnsemble", "Linear, ridge, lasso, NNLS")
# parts of the high-frequency kind sum to log-odds, not to its probability


@pytest.mark.parametrize("title", EXACT)
def test_contributions_sum_to_the_prediction(title: str, tmp_path: Path) -> None:
    zoo.trial(zoo.entry(title), tmp_path)
    predictor = load(next((tmp_path / "models").iterdir()))
    values, _, panel = zoo.small_market(3, 3)
    cells = gather(values, np.arange(560, 600), panel.members)
    parts = contributions(predictor, cells.features, cells.row)
    assert parts.shape == (len(cells), 10)
    whole = predictor.predict(cells.features, cells.row)
    assert parts.sum(axis=1) == pytest.approx(whole, abs=2e-5)
    # the first feature's newest value is what drives the market
    shap = shap_importance(predictor, cells.features, cells.row)
    assert shap.index[0] == "f2"
    assert shap.sum() == pytest.approx(1.0)


def test_permutation_importance_finds_what_matters_in_any_model(tmp_path: Path) -> None:
    zoo.trial(zoo.entry("Linear, ridge, lasso, NNLS"), tmp_path)
    predictor = load(next((tmp_path / "models").iterdir()))
    values, label, panel = zoo.small_market(3, 3)
    cells = gather(values, np.arange(540, 630), panel.members & np.isfinite(label), label)
    lost = permutation_importance(predictor, cells.features, cells.target, cells.row, seed=1)
    assert lost.index[0] == "f2"
    assert lost.iloc[0] > 0.15
    assert abs(lost.iloc[1:]).max() < 0.06
    again = permutation_importance(predictor, cells.features, cells.target, cells.row, seed=1)
    assert lost.equals(again)


@pytest.mark.slow
def test_a_network_has_no_exact_parts_and_says_what_to_do(tmp_path: Path) -> None:
    zoo.trial(zoo.entry("GRU"), tmp_path)
    predictor = load(next((tmp_path / "models").iterdir()))
    with pytest.raises(ConfigError, match="no exact contributions"):
        contributions(predictor, np.ones((1, 9), np.float32), np.zeros(1))
    with pytest.raises(ConfigError, match="no importance of its own"):
        importance(tmp_path / "models")
    assert not explained(tmp_path / "models")


def test_stability_tells_lasting_importance_from_chance() -> None:
    random = np.random.default_rng(0)
    lasting = np.linspace(1, 0.1, 30)[:, None] + 0.01 * random.random((30, 6))
    names = [f"f{i}" for i in range(30)]
    folds = [f"2021-0{k}" for k in range(1, 7)]
    steady = stability(pd.DataFrame(lasting, names, folds), top=5)
    assert steady.consecutive.min() > 0.95
    assert steady.overlap.min() == 1.0
    assert list(steady.features.index[:5]) == names[:5]
    assert (steady.features["top"].iloc[:5] == 1.0).all()
    chance = stability(pd.DataFrame(random.random((30, 6)), names, folds), top=5)
    assert abs(chance.consecutive.mean()) < 0.3
    assert chance.overlap.mean() < 0.5
    with pytest.raises(ConfigError, match="at least two folds"):
        stability(pd.DataFrame({"2021-01": [1.0]}))
