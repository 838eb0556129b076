"""Rolling betas against statsmodels, gaps, Newey-West errors, shrinkage, stability."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.regression.rolling import RollingOLS
from statsmodels.stats.diagnostic import breaks_cusumolsresid

from bascule.core import ConfigError, DataError
from bascule.risk import rolling_betas, shrink, stability


def _case(rows: int = 400, width: int = 5, k: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    factors = random.standard_normal((rows, k)) * 0.01
    betas = random.uniform(-1, 2, (k, width))
    return factors @ betas + random.standard_normal((rows, width)) * 0.02, factors, betas


@pytest.mark.parametrize("every", [1, 7, 24])
def test_equals_statsmodels_rolling(every: int) -> None:
    y, f, _ = _case()
    found = rolling_betas(y, f, 120, every=every)
    for n in range(5):
        fit = RollingOLS(y[:, n], sm.add_constant(f), window=120).fit()
        assert pytest.approx(np.asarray(fit.params)[found.rows, 1:], abs=1e-11) == found.betas[:, :, n].T
        assert pytest.approx(np.asarray(fit.bse)[found.rows, 1:], abs=1e-11) == found.errors[:, :, n].T
        assert found.r2[:, n] == pytest.approx(np.asarray(fit.rsquared)[found.rows], abs=1e-10)
        assert found.alpha[:, n] == pytest.approx(np.asarray(fit.params)[found.rows, 0], abs=1e-12)


def test_gaps_are_left_out_and_short_histories_have_no_beta() -> None:
    y, f, _ = _case()
    random = np.random.default_rng(1)
    y[random.random(y.shape) < 0.05] = np.nan
    y[:300, 2] = np.nan
    f[50, 1] = np.nan
    found = rolling_betas(y, f, 120, every=40)
    there = np.isfinite(f).all(axis=1)
    for r, end in enumerate(found.rows):
        for n in range(5):
            cut = slice(end - 119, end + 1)
            good = np.isfinite(y[cut, n]) & there[cut]
            assert found.count[r, n] == good.sum()
            if good.sum() < 60:
                assert np.isnan(found.betas[:, r, n]).all()
                continue
            fit = sm.OLS(y[cut, n][good], sm.add_constant(f[cut][good])).fit()
            assert found.betas[:, r, n] == pytest.approx(fit.params[1:], abs=1e-10)


def test_newey_west_errors_equal_statsmodels() -> None:
    y, f, _ = _case()
    found = rolling_betas(y, f, 120, every=60, errors="newey-west", lags=4)
    for r, end in enumerate(found.rows):
        cut = slice(end - 119, end + 1)
        fit = sm.OLS(y[cut, 1], sm.add_constant(f[cut])).fit(
            cov_type="HAC", cov_kwds={"maxlags": 4, "use_correction": False}
        )
        assert found.errors[:, r, 1] == pytest.approx(fit.bse[1:], rel=1e-9)


def test_true_betas_lie_in_their_intervals() -> None:
    y, f, betas = _case(6000, 20, seed=4)
    found = rolling_betas(y, f, 500, every=500)
    t = (found.betas - betas[:, None, :]) / found.errors
    assert (np.abs(t) < 1.96).mean() == pytest.approx(0.95, abs=0.03)


def test_shrinkage_goes_to_the_prior_as_far_as_the_data_are_unsure() -> None:
    y, f, betas = _case(2000, 30, seed=2)
    y = f @ np.clip(betas, 0.7, 1.3) + np.random.default_rng(0).standard_normal(y.shape) * 0.1
    found = rolling_betas(y, f, 100, every=100)
    drawn = shrink(found, np.array([1.0, 1, 1]), np.array([0.3, 0.3, 0.3]))
    truth = np.clip(betas, 0.7, 1.3)[:, None, :]
    assert np.abs(drawn.betas - truth).mean() < 0.5 * np.abs(found.betas - truth).mean()
    weight = found.errors**2 / (found.errors**2 + 0.09)
    assert drawn.betas == pytest.approx(weight + (1 - weight) * found.betas)
    assert (drawn.errors < found.errors).all()


def test_stability_sees_a_change() -> None:
    y, f, _ = _case(4000, 6, seed=3)
    y[2000:, 0] += 3 * f[2000:, 0]
    y[2000:, 1] += 0.002
    found = rolling_betas(y, f, 400, every=100)
    steady = stability(found, y, f)
    assert steady.stable[0, 0] < 1 and steady.changes[0, 0] == 9
    assert np.nanmean(steady.stable[:, 2:]) > 0.85
    assert steady.p_value[1] < 0.01 < steady.p_value[2:].min()
    fit = sm.OLS(y[:, 3], sm.add_constant(f)).fit()
    statistic, p, _ = breaks_cusumolsresid(fit.resid, ddof=4)
    assert (steady.cusum[3], steady.p_value[3]) == pytest.approx((statistic, p))


def test_dependent_factors_and_wrong_arguments() -> None:
    y, f, _ = _case()
    twin = np.column_stack([f, f[:, 0]])
    found = rolling_betas(y, twin, 120, every=60)
    assert np.isnan(found.betas[3]).all() and np.isfinite(found.betas[:3]).all()
    with pytest.raises(ConfigError, match="window"):
        rolling_betas(y, f, 4)
    with pytest.raises(DataError):
        rolling_betas(y[:10], f, 50)
    assert rolling_betas(y[:50], f[:50], 120).betas.shape == (3, 0, 5)


def test_later_rows_change_nothing() -> None:
    y, f, _ = _case()
    y[5, 0] = np.nan
    whole, part = rolling_betas(y, f, 60, every=4), rolling_betas(y[:300], f[:300], 60, every=4)
    count = len(part.rows)
    # an instrument without gaps so far may get its first one later: then other sums, the same numbers
    assert part.betas == pytest.approx(whole.betas[:, :count], abs=1e-12)
