"""Leakage of each classic kind is planted; the scheme refuses it, or the audit reports it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError, Panel, Timeframe
from bascule.evaluate import forward_return
from bascule.models import (
    ModelSettings,
    WalkForwardSettings,
    audit,
    coarse,
    cross_validate,
    folds,
    join,
    train_walk_forward,
)
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
CUTS = (700, 1100)
LINEAR = ModelSettings(kind="LinearModel", min_samples=100)
WALK = WalkForwardSettings(first_test=date(2021, 2, 1), test_days=7, test_months=None, min_train_days=10)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return random_panel(0, 1200, 12, missing=0.01)


def _momentum(panel: Panel) -> np.ndarray:
    close = panel["close"]
    value = np.full((1, *close.shape), np.nan, np.float32)
    value[0, 12:] = close[12:] / close[:-12] - 1
    return value


def _standardised(panel: Panel, rows: slice) -> np.ndarray:
    value = _momentum(panel)
    part = value[:, rows]
    return ((value - np.nanmean(part)) / np.nanstd(part)).astype(np.float32)


def test_overlapping_labels_are_refused_by_every_scheme(panel: Panel, tmp_path: Path) -> None:
    values = _momentum(panel)
    label = forward_return(panel, 24)
    short = folds(panel.time, WALK, 2)  # purged for 2 bars, the label holds 24
    with pytest.raises(ConfigError, match="reach 24 bars ahead, the fold is purged for 2"):
        train_walk_forward(values, ["m"], label, panel, short, LINEAR, tmp_path / "a", seed=1)
    honest = folds(panel.time, WALK, 24)[0]
    touching = replace(honest, train=(honest.train[0], honest.valid[0]))
    with pytest.raises(ConfigError, match="end after the valid window's start"):
        train_walk_forward(values, ["m"], label, panel, [touching], LINEAR, tmp_path / "b", seed=1)
    with pytest.raises(ConfigError, match="purged for 2"):
        cross_validate(values, ["m"], label, panel, LINEAR, tmp_path / "c", horizon=2, seed=1)
    assert not list(tmp_path.glob("*/*"))


def test_a_scaler_fitted_on_all_data_is_reported(panel: Panel) -> None:
    def leaky(cut: Panel) -> np.ndarray:
        return _standardised(cut, slice(None))

    def honest(cut: Panel) -> np.ndarray:
        return _standardised(cut, slice(0, 600))

    found = audit(panel, features=leaky, cuts=CUTS)
    assert {one.kind for one in found} == {"features"}
    assert len(found) == len(CUTS)
    assert audit(panel, features=honest, cuts=CUTS) == ()


def test_such_a_scaler_cannot_reach_a_model_that_compares_within_rows(panel: Panel, tmp_path: Path) -> None:
    """Features are ranked within their time by default: no scale of any window is left in them."""
    label = forward_return(panel, 4)
    found = folds(panel.time, WALK, 4)[:1]
    raw, scaled = _momentum(panel), _standardised(panel, slice(None))
    got = [
        train_walk_forward(values, ["m"], label, panel, found, LINEAR, tmp_path / name, seed=1)
        for name, values in (("raw", raw), ("scaled", scaled))
    ]
    assert np.array_equal(got[0].values, got[1].values, equal_nan=True)


def test_a_universe_of_the_future_is_reported(panel: Panel) -> None:
    def survivors(cut: Panel) -> np.ndarray:
        """The six coins that will have gained most by the end of the history."""
        gain = cut["close"][-1] / cut["close"][12]
        chosen = np.zeros(cut.shape, bool)
        chosen[:, np.argsort(np.nan_to_num(gain))[-6:]] = True
        return chosen

    def honest(cut: Panel) -> np.ndarray:
        volume = np.cumsum(np.nan_to_num(cut["volume"]), axis=0)
        return np.argsort(np.argsort(volume, axis=1), axis=1) >= 6

    found = audit(panel, universe=survivors, cuts=CUTS)
    assert found
    assert {one.kind for one in found} == {"universe"}
    assert audit(panel, universe=honest, cuts=CUTS) == ()


def test_a_candle_that_is_not_closed_is_reported(panel: Panel) -> None:
    frame = Timeframe.parse("4h")

    def by_close(cut: Panel) -> np.ndarray:
        slow = coarse(cut, frame)
        return join(slow["close"][None], slow.time, frame, cut)

    def by_open(cut: Panel) -> np.ndarray:
        """Joined by open times, the candle that is forming included: its close is three bars away."""
        close = cut["close"]
        last = np.minimum(np.arange(len(close)) // 4 * 4 + 3, len(close) - 1)
        return close[last][None]

    cuts = (701, 1102)  # in the middle of a four-hour candle
    assert audit(panel, features=by_close, cuts=cuts) == ()
    found = audit(panel, features=by_open, cuts=cuts, names=["close_4h"])
    assert [one.kind for one in found] == ["features", "features"]
    assert "first of close_4h" in found[0].message


def test_a_label_among_the_features_is_not_believed(panel: Panel) -> None:
    answer = forward_return(panel, 1)[None]
    found = audit(panel, features=lambda cut: answer[:, : len(cut.time)], cuts=CUTS, names=["answer"])
    assert any(one.kind == "suspicion" and "answer" in one.message for one in found)
