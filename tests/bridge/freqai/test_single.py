"""Kinds of model that learn from FreqAI's data dictionary, and travel as FreqAI pickles them."""

from __future__ import annotations

from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, Timeframe
from bascule.models import ModelSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
KINDS: dict[str, dict[str, Any]] = {
    "LGBModel": {"params": {"num_boost_round": 30}},
    "DEnsembleModel": {"params": {"epochs": 15}},
    "LinearModel": {"params": {"estimator": "ridge"}},
    "XGBModel": {"params": {"num_boost_round": 30}},
    "DNNModelPytorch": {"params": {"max_steps": 150, "batch_size": 128, "lr": 0.01}},
    "GRU_ts": {"params": {"n_epochs": 3, "batch_size": 128, "lr": 0.01}, "steps": 3},
}


def data(rows: int = 900) -> dict[str, Any]:
    """Six features, of which the third drives the label; the last fifth is FreqAI's test part."""
    random = np.random.default_rng(2)
    features = pd.DataFrame(random.uniform(-1, 1, (rows, 6)), columns=[f"%-f{i}" for i in range(6)])
    label = pd.DataFrame({"&-alpha": 0.6 * features["%-f2"] + 0.2 * random.standard_normal(rows)})
    cut = rows * 4 // 5
    parts: dict[str, Any] = {}
    for name, rows_of in (("train", slice(0, cut)), ("test", slice(cut, None))):
        parts[f"{name}_features"] = features.iloc[rows_of]
        parts[f"{name}_labels"] = label.iloc[rows_of]
        parts[f"{name}_weights"] = np.ones(len(label.iloc[rows_of]))
    return parts


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_travels_and_repeats(kind: str) -> None:
    from bascule.bridge.freqtrade.freqai import single

    parts = data()
    settings = ModelSettings.read({"kind": kind, "threads": 1, "device": "cpu", **KINDS[kind]})
    fitted = single.fit(parts, settings, Timeframe(3_600), 7)
    found = fitted.predict(parts["test_features"])
    assert np.corrcoef(found, parts["test_labels"]["&-alpha"])[0, 1] > 0.6
    there = cloudpickle.loads(cloudpickle.dumps(fitted))
    np.testing.assert_array_equal(there.predict(parts["test_features"]), found)
    again = single.fit(parts, settings, Timeframe(3_600), 7)
    np.testing.assert_array_equal(again.predict(parts["test_features"]), found)


def test_features_that_do_not_fit_the_steps_are_refused() -> None:
    from bascule.bridge.freqtrade.freqai import single

    settings = ModelSettings.read({"kind": "GRU_ts", "steps": 4})
    with pytest.raises(ConfigError, match="6 features are not a whole number of times 4 steps"):
        single.fit(data(), settings, Timeframe(3_600), 0)
