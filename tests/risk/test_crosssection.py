"""Cross-sectional regressions against statsmodels; the compiled core against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from bascule.core import DataError
from bascule.kernels.native.wls import wls
from bascule.risk import regress
from bascule.risk.crosssection import Executor


def _case(rows: int, width: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((k, rows, width)).astype(np.float32)
    x[0] = 1
    y = random.standard_normal((rows, width)) * 0.01
    y[random.random(y.shape) < 0.1] = np.nan
    return x, y, random.random((rows, width)) + 0.1


EXECUTORS = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(wls() is None, reason="the core is not built")),
]
executors = pytest.mark.parametrize("executor", EXECUTORS)


@executors
@pytest.mark.parametrize("width", [17, 40, 131])
def test_equals_statsmodels_row_by_row(executor: Executor, width: int) -> None:
    x, y, w = _case(30, width, 5)
    found = regress(x, y, w, executor=executor)
    for t in range(30):
        good = np.isfinite(y[t])
        fit = sm.WLS(y[t, good], x[:, t, good].T.astype(float), weights=w[t, good]).fit()
        assert found.returns[t] == pytest.approx(fit.params, abs=1e-14)
        assert found.errors[t] == pytest.approx(fit.bse, abs=1e-14)
        assert found.t[t] == pytest.approx(fit.tvalues, rel=1e-9)
        assert found.r2[t] == pytest.approx(fit.rsquared, abs=1e-12)
        assert found.residuals[t, good] == pytest.approx(fit.resid, abs=1e-8)
        assert found.count[t] == good.sum()
    assert np.isnan(found.residuals[~np.isfinite(y)]).all()


@executors
def test_a_window_of_rows_gives_the_same(executor: Executor) -> None:
    x, y, w = _case(50, 20, 4)
    whole = regress(x, y, w, executor=executor)
    part = regress(x[:, 20:31], y[20:31], w[20:31], executor=executor)
    assert part.returns == pytest.approx(whole.returns[20:31], abs=1e-16)
    late = regress(x[:, ::2], y[::2], w[::2], executor=executor)  # strided
    assert late.returns == pytest.approx(whole.returns[::2], abs=1e-16)


@pytest.mark.skipif(wls() is None, reason="the core is not built")
@pytest.mark.parametrize("k", [1, 4, 6, 12, 13])
def test_the_core_equals_numpy(k: int) -> None:
    x, y, w = _case(1200, 61, k, seed=k)
    random = np.random.default_rng(k)
    x[random.random(x.shape) < 0.02] = np.nan
    w[random.random(w.shape) < 0.02] = 0.0
    counted = random.random(y.shape) < 0.9
    for given in ({}, {"counted": counted}):
        for dtypes in ((np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64)):
            used = (x, y.astype(dtypes[0]), w.astype(dtypes[1]))
            fast = regress(*used, executor="native", **given)
            slow = regress(*used, executor="reference", **given)
            assert np.array_equal(fast.count, slow.count)
            for name in ("returns", "errors", "residuals", "r2"):
                one, other = getattr(fast, name), getattr(slow, name)
                assert np.array_equal(np.isnan(one), np.isnan(other)), name
                assert np.nanmax(np.abs(one - other)) < 1e-8, name


@executors
def test_a_dependent_or_absent_factor_gets_no_return_and_others_keep_theirs(executor: Executor) -> None:
    x, y, w = _case(4, 30, 4)
    x[3, 1] = 2 * x[1, 1]  # depends on an earlier one
    x[3, 2] = np.nan  # is not there
    x[2, 3] = 0.0  # is 0 for all
    found = regress(x, y, w, executor=executor)
    three = regress(x[:3], y, w, executor=executor)
    assert np.isnan(found.returns[[1, 2, 3], [3, 3, 2]]).all()
    assert found.returns[1:3, :3] == pytest.approx(three.returns[1:3], abs=1e-14)
    assert np.isfinite(found.returns[3, [0, 1, 3]]).all()
    assert np.isfinite(found.returns[0]).all()


@executors
def test_degenerate_rows_do_not_crash_or_invent(executor: Executor) -> None:
    x, y, w = _case(5, 6, 3)
    y[0] = np.nan  # nobody
    y[1, 1:] = np.nan  # one instrument
    w[2] = 0.0  # no weight
    y[3, 3:] = np.nan  # as many as factors: exact, no errors
    found = regress(x, y, w, executor=executor)
    assert np.isnan(found.returns[0]).all() and np.isnan(found.returns[2]).all()
    assert np.isnan(found.returns[1, 1:]).all()
    assert np.isfinite(found.returns[3]).all() and np.isnan(found.errors[3]).all()
    assert np.isnan(found.r2[:4]).all()
    assert np.isfinite(found.errors[4]).all()


def test_shapes_are_checked() -> None:
    x, y, w = _case(5, 6, 3)
    with pytest.raises(DataError, match="do not fit"):
        regress(x, y[:4], w)


@pytest.mark.filterwarnings("ignore")  # skfolio's and pandas' own
def test_equals_skfolios_characteristics_model() -> None:
    """Factor returns, specific returns and t-statistics, with its exposures of the row before and its
    weights."""
    from skfolio.datasets import make_synthetic_characteristics
    from skfolio.descriptor import EWMomentum, EWVolatility, LogMarketCap
    from skfolio.factor_exposure import FixedWeightedFactor, GlobalFactor
    from skfolio.prior import CharacteristicsFactorModel

    data = make_synthetic_characteristics(n_assets=40, n_observations=140, n_industries=2, random_state=0)
    styles = {
        "momentum": EWMomentum(half_life=15, skip=2),
        "size": LogMarketCap(),
        "vol": EWVolatility(half_life=15),
    }
    factors = [(name, FixedWeightedFactor(descriptors=[(name, one)])) for name, one in styles.items()]
    fitted = CharacteristicsFactorModel(factors=[("market", GlobalFactor()), *factors])
    theirs = fitted.fit(characteristics=data).factor_model_
    rows = len(theirs.observations)
    x = np.full((4, rows, 40), np.nan, np.float32)
    x[:, 1:] = np.moveaxis(theirs.exposures, 2, 0)[:, :-1]
    returns = np.asarray(data["returns"])[-rows:]
    found = regress(x, returns, np.nan_to_num(theirs.regression_weights))
    assert found.returns[1:] == pytest.approx(theirs.factor_returns[1:], abs=1e-8)
    both = np.isfinite(found.residuals) & np.isfinite(theirs.idio_returns)
    assert both.sum() > 0.8 * found.count.sum()
    assert found.residuals[both] == pytest.approx(theirs.idio_returns[both], abs=1e-7)
    assert found.t[1:] == pytest.approx(theirs.cs_regression_t_stats, abs=1e-5, nan_ok=True)
