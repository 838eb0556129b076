"""The factor model finds the factors, premia and risks that a simulated market was made of."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import DataError, Timeframe, UniverseError
from bascule.risk import (
    CovarianceSettings,
    FactorModelSettings,
    RiskModel,
    bias,
    bias_of,
    explained,
    factor_covariances,
    factor_reports,
    fit,
    fit_exposures,
    last_covariance,
    specific_variances,
)
from tests.markets import random_panel
from tests.risk.simulated import Truth, factor_market

HOUR = Timeframe.parse("1h")


@pytest.fixture(scope="module")
def truth() -> Truth:
    return factor_market(0, 6000, 60, missing=0.01)


# no recent memory, so that the whole sample counts
LONG = FactorModelSettings.read(
    {
        "covariance": {"volatility_days": 400, "correlation_days": 400, "lags": 0, "regime_days": None},
        "specific": {"volatility_days": 400, "lags": 0, "regime_days": None, "shrinkage": 0},
    }
)


def test_true_factors_premia_and_risks_are_recovered(truth: Truth) -> None:
    model = fit_exposures(truth.panel, truth.exposures, LONG)
    found = model.sections.returns
    rows = len(found)
    # each row's estimate lies within its error: 95 % of the time within two
    t = (found[1:] - truth.factor_returns[1:]) / model.sections.errors[1:]
    assert (np.abs(t) < 1.96).mean() == pytest.approx(0.95, abs=0.02)
    for k in range(4):
        assert np.corrcoef(found[1:, k], truth.factor_returns[1:, k])[0, 1] > 0.7
        error = truth.factor_returns[:, k].std() / np.sqrt(rows)
        assert abs(found[1:, k].mean() - truth.premia[k]) < 4 * error
    last = model.factor_covariance[-1]
    # estimated returns carry estimation noise on top of the factors' own variance
    noise = np.diag((model.sections.errors[1:] ** 2).mean(axis=0))
    scale = np.sqrt(np.outer(np.diag(truth.covariance), np.diag(truth.covariance)))
    assert np.abs((last - noise - truth.covariance) / scale).max() < 0.12
    known = np.isfinite(model.specific_variance[-1])
    ratio = np.sqrt(model.specific_variance[-1][known]) / truth.specific[known]
    assert np.median(np.abs(ratio - 1)) < 0.05
    # the error of the factor returns stays in the residuals: more of it in those that have little of their
    # own
    assert np.abs(ratio - 1).max() < 0.3 and ratio[truth.specific[known] > 0.01].max() < 1.1


def test_reports(truth: Truth) -> None:
    model = fit_exposures(truth.panel, truth.exposures)
    lines = {line.name: line for line in factor_reports(model)}
    assert lines["alpha"].t > 3 and lines["charlie"].t < -3 and abs(lines["bravo"].t) < 3
    assert lines["market"].significant > 0.7
    assert lines["bravo"].vif == pytest.approx(1, abs=0.15)
    parts = explained(model)
    own = (truth.specific**2).mean()
    total = own + np.trace(truth.covariance)
    assert parts["specific"] == pytest.approx(own / total, abs=0.08)
    assert parts["total"] == pytest.approx(1 - parts["specific"])
    equal = np.full(truth.panel.shape, 1 / 60)
    found = bias(model, equal, first=1500)
    assert found.bias == pytest.approx(1, abs=0.05)
    random = np.random.default_rng(1).standard_normal((1, 60)) / 60 * np.ones((6000, 1))
    assert bias(model, random, first=1500, horizon=24).bias == pytest.approx(1, abs=0.15)


def test_bias_and_qlike_by_hand() -> None:
    random = np.random.default_rng(0)
    returns = random.standard_normal(4000) * 0.02
    right = bias_of(returns, np.full(4000, 0.0004))
    low = bias_of(returns, np.full(4000, 0.0001))
    assert right.good and right.bias == pytest.approx(returns.std(ddof=1) / 0.02)
    assert low.bias == pytest.approx(2 * right.bias) and not low.good
    assert right.qlike < low.qlike
    assert np.isnan(bias_of(np.array([0.1]), np.array([1.0])).bias)


def test_covariance_needs_serial_correlation_to_scale() -> None:
    """An MA(1) factor: its long-run variance is (1 + θ)², not 1 + θ²."""
    random = np.random.default_rng(0)
    shock = random.standard_normal(20_001)
    series = (shock[1:] + 0.5 * shock[:-1])[:, None]
    days = {"volatility_days": 2000, "correlation_days": 2000, "regime_days": None}
    plain = factor_covariances(series, HOUR, CovarianceSettings.read({**days, "lags": 0}))[-1, 0, 0]
    corrected = factor_covariances(series, HOUR, CovarianceSettings.read({**days, "lags": 60}))[-1, 0, 0]
    assert plain == pytest.approx(1.25, rel=0.05)
    assert corrected == pytest.approx(2.25, rel=0.1)


def test_the_regime_adjustment_follows_a_change_of_level() -> None:
    random = np.random.default_rng(0)
    series = random.standard_normal((4000, 6)) * np.where(np.arange(4000) < 3800, 1, 3)[:, None]
    slow = {"volatility_days": 100, "correlation_days": 100, "lags": 0}
    off = factor_covariances(series, HOUR, CovarianceSettings.read({**slow, "regime_days": None}))
    on = factor_covariances(
        series, HOUR, CovarianceSettings.read({**slow, "regime_days": 2, "regime_limit": 20})
    )
    truth = 9.0
    assert abs(np.trace(on[-1]) / 6 - truth) < 0.6 * abs(np.trace(off[-1]) / 6 - truth)
    assert np.trace(on[3700]) == pytest.approx(np.trace(off[3700]), rel=0.15)


def test_covariances_are_positive_and_unknown_factors_are_nan() -> None:
    random = np.random.default_rng(0)
    series = random.standard_normal((600, 5)) * 0.01
    series[:, 4] = series[:, 3]  # singular
    series[:400, 2] = np.nan  # listed late
    found = factor_covariances(series, HOUR, CovarianceSettings(lags=10, correlation_days=2))
    assert np.isnan(found[300, 2]).all() and np.isfinite(found[300, :2, :2]).all()
    # a year's memory, few rows, many lags: eigenvalues are still above 0
    assert np.linalg.eigvalsh(found[-1])[0] > 0
    assert np.isnan(found[50]).all()  # too early
    assert np.array_equal(
        factor_covariances(series[:500], HOUR), factor_covariances(series, HOUR)[:500], equal_nan=True
    )


def test_specific_risk_is_shrunk_and_the_young_get_their_groups() -> None:
    random = np.random.default_rng(0)
    residuals = (random.standard_normal((2000, 20)) * np.linspace(0.01, 0.03, 20)).astype(np.float32)
    residuals[:1900, 19] = np.nan  # young
    members = np.isfinite(residuals)
    weights = np.where(members, np.arange(1.0, 21), 0)
    found = np.sqrt(specific_variances(residuals, weights, members, HOUR)[-1])
    assert np.isfinite(found).all() and (np.diff(found[:16]) > -0.004).all()
    assert found[19] == pytest.approx(found[16:19].mean(), rel=0.1)


def test_risk_model_algebra_equals_the_dense_form(truth: Truth) -> None:
    model = fit_exposures(truth.panel, truth.exposures)
    now = model.at(5000)
    random = np.random.default_rng(0)
    w = random.standard_normal(len(now.instruments))
    dense = now.covariance()
    assert now.variance(w) == pytest.approx(w @ dense @ w)
    assert now.apply(w) == pytest.approx(dense @ w)
    assert now.root() @ now.root().T == pytest.approx(now.factor_covariance)
    assert sum(now.contributions(w).values()) == pytest.approx(1)
    market = np.full(len(w), 1 / len(w))
    betas = now.betas(market)
    assert market @ betas == pytest.approx(1)
    part = now.select(now.instruments[3:5])
    assert part.covariance() == pytest.approx(dense[3:5, 3:5])
    with pytest.raises(UniverseError, match="NOPE"):
        now.select(["NOPE_USDT"])
    with pytest.raises(DataError, match="not finite"):
        RiskModel(("m",), ("A",), np.array([[np.nan]]), np.eye(1), np.ones(1), 8760, now.time)


def test_a_dying_coin_leaves_and_nothing_else_moves() -> None:
    panel = random_panel(3, 1500, 14)
    close = panel["close"].copy()
    fall = np.float32(0.7) ** np.arange(1, 51)
    close[1200:1250, 5] = close[1199, 5] * fall  # to a 50-millionth in two days
    dead = {name: one.copy() for name, one in panel.fields.items()}
    dead["close"] = close
    for one in dead.values():
        one[1250:, 5] = np.nan
    whole = panel.with_fields(**dead)
    model = fit(whole)
    dying, later = model.at(1245), model.at(1400)
    assert "C005_USDT" in dying.instruments and "C005_USDT" not in later.instruments
    assert np.isfinite(dying.covariance()).all()
    n = dying.instruments.index("C005_USDT")
    others = np.delete(dying.specific_variance, n)
    assert dying.specific_variance[n] > 5 * np.median(others)
    cut = fit(whole.rows(0, 1300))
    assert np.array_equal(cut.specific_variance, model.specific_variance[:1300], equal_nan=True)
    assert np.array_equal(cut.factor_covariance, model.factor_covariance[:1300], equal_nan=True)


def test_rows_without_a_model_say_so(truth: Truth) -> None:
    model = fit_exposures(truth.panel, truth.exposures)
    with pytest.raises(UniverseError, match="no risk model"):
        model.at(3)
    with pytest.raises(DataError, match="before the model's first candle"):
        model.row("2020-01-01")
    assert model.row("2021-01-02") == 24


@pytest.mark.parametrize(
    "changes", [{}, {"lags": 0}, {"regime_days": None}, {"lags": 5, "volatility_days": 2, "min_days": 20}]
)
def test_the_last_covariance_alone_is_that_of_all_rows(changes: dict[str, object]) -> None:
    random = np.random.default_rng(4)
    returns = random.standard_normal((400, 4)) * [0.01, 0.004, 0.002, 0.001]
    returns[1:, 1] -= 0.6 * returns[:-1, 1]  # strong reversal: its corrected variance is small
    returns[:, 3] += 0.3 * returns[:, 2]
    returns[random.random(returns.shape) < 0.05] = np.nan
    returns[:350, 2] = np.nan  # too young, in one case
    settings = CovarianceSettings.read(changes)
    whole = factor_covariances(returns, HOUR, settings)[-1]
    np.testing.assert_allclose(last_covariance(returns, HOUR, settings), whole, rtol=1e-9, atol=1e-16)
