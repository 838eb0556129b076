"""Drift: scipy's distances, an alarm where something moved, none where nothing did."""

import numpy as np
import pytest

from bascule.core import DataError
from bascule.evaluate import forward_return
from bascule.models import DriftSettings, feature_drift, ks, psi, watch
from bascule.models.drift import squared_errors
from tests.markets import random_panel

HORIZON = 2


def test_ks_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    old = random.standard_normal(300).astype(np.float32)
    for shift in (0.0, 0.3, 2.0):
        new = (random.standard_normal(200) + shift).astype(np.float32)
        assert ks(old, new) == pytest.approx(ks_2samp(old, new).statistic)
    assert np.isnan(ks(old, np.array([np.nan], np.float32)))


def test_psi_is_its_formula_and_grows_with_distance() -> None:
    random = np.random.default_rng(1)
    old = random.standard_normal(4000).astype(np.float32)
    edges = np.quantile(old, [0.25, 0.5, 0.75])
    new = (random.standard_normal(3000) + 0.5).astype(np.float32)
    shares = [np.histogram(v, [-np.inf, *edges, np.inf])[0] / len(v) for v in (old, new)]
    by_hand = sum((b - a) * np.log(b / a) for a, b in zip(*shares, strict=True))
    assert psi(old, new, 4) == pytest.approx(by_hand)
    near, far = psi(old, old[::2]), psi(old, old + 3)
    assert near < 0.02 < 0.25 < far
    assert np.isfinite(psi(old, np.full(100, 9.0, np.float32)))
    assert np.isnan(psi(old, old[:3]))


def test_only_the_feature_that_moved_is_named() -> None:
    random = np.random.default_rng(2)
    old = random.standard_normal((2000, 3)).astype(np.float32)
    new = random.standard_normal((500, 3)).astype(np.float32)
    new[:, 1] *= 3
    found = feature_drift(old, new, ["a", "b", "c"])
    assert [one.name for one in found if one.moved] == ["b"]
    with pytest.raises(DataError, match="2 names"):
        feature_drift(old, new, ["a", "b"])


def _market(seed: int, flip: int | None) -> tuple[np.ndarray, np.ndarray, object]:
    random = np.random.default_rng(seed)
    alpha = random.standard_normal((1200, 20))
    sign = np.ones((1200, 1))
    if flip is not None:
        sign[flip:] = -1
    panel = random_panel(seed + 50, 1200, 20, drive=0.002 * alpha * sign)
    return (0.1 * alpha).astype(np.float32), forward_return(panel, HORIZON), panel


REFERENCE, RECENT = np.arange(0, 700), np.arange(800, 1195)


def test_a_market_that_stays_raises_no_alarm() -> None:
    alarms = 0
    for seed in range(10):
        predicted, label, panel = _market(seed, None)
        alarms += len(watch(predicted, label, panel, REFERENCE, RECENT, horizon=HORIZON))
    assert alarms == 0


def test_a_market_that_turns_raises_the_ic_and_the_error_alarm() -> None:
    predicted, label, panel = _market(3, 780)
    limits = DriftSettings(error_ratio=1.01)
    found = watch(predicted, label, panel, REFERENCE, RECENT, horizon=HORIZON, settings=limits)
    assert [one.kind for one in found] == ["ic", "error"]
    assert found[0].value < 0 < found[0].limit


def test_a_model_too_sure_of_itself_raises_the_error_alarm_alone() -> None:
    predicted, label, panel = _market(4, None)
    loud = predicted.copy()
    loud[800:] *= 20
    found = watch(loud, label, panel, REFERENCE, RECENT, horizon=HORIZON)
    assert [one.kind for one in found] == ["error"]


def test_a_model_that_was_never_good_may_not_be_worse() -> None:
    predicted, label, panel = _market(5, 780)
    found = watch(-predicted, label, panel, REFERENCE, RECENT, horizon=HORIZON)
    assert found == ()
    bad = -predicted
    bad[800:] = predicted[800:]
    assert [one.kind for one in watch(bad, label, panel, REFERENCE, RECENT, horizon=HORIZON)] == ["ic"]


def test_features_raise_an_alarm_when_enough_of_them_moved() -> None:
    predicted, label, panel = _market(6, None)
    random = np.random.default_rng(7)
    old, new = random.standard_normal((2, 800, 4)).astype(np.float32)
    new[:, :2] += 2
    names = ["a", "b", "c", "d"]
    found = watch(predicted, label, panel, REFERENCE, RECENT, horizon=HORIZON, features=(old, new, names))
    assert [(one.kind, one.value) for one in found] == [("features", 0.5)]
    strict = DriftSettings(share=0.6)
    assert not watch(
        predicted, label, panel, REFERENCE, RECENT,
        horizon=HORIZON, features=(old, new, names), settings=strict,
    )  # fmt: skip


def test_few_recent_rows_decide_nothing() -> None:
    predicted, label, panel = _market(3, 780)
    assert watch(predicted, label, panel, REFERENCE, np.arange(1150, 1180), horizon=HORIZON) == ()


def test_an_error_of_one_is_that_of_saying_nothing() -> None:
    _, label, panel = _market(8, None)
    error = squared_errors(np.zeros(panel.shape, np.float32), label, panel)
    assert np.nanmean(error) == pytest.approx(1.0, abs=0.01)
    perfect = (np.argsort(np.argsort(label, axis=1), axis=1) + 0.5) / 20 - 0.5
    exact = squared_errors((perfect * np.sqrt(12)).astype(np.float32), label, panel)
    assert np.nanmax(exact) < 1e-10
