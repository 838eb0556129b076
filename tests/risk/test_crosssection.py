import numpy as np
import pytest
import statsmodels.api as sm

from bascule.core import DataError
from bascule.risk import regress


def _case(rows: int, width: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((k, rows, width)).astype(np.float32)
    x[0] = 1
    y = random.standard_normal((rows, width)) * 0.01
    y[random.random(y.shape) < 0.1] = np.nan
    return x, y, random.random((rows, width)) + 0.1


def test_equals_statsmodels_row_by_row() -> None:
    x, y, w = _case(30, 40, 5)
    found = regress(x, y, w)
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


def test_blocks_do_not_matter() -> None:
    from bascule.risk import crosssection

    x, y, w = _case(50, 20, 4)
    whole = regress(x, y, w)
    part = regress(x[:, 20:31], y[20:31], w[20:31])
    assert part.returns == pytest.approx(whole.returns[20:31], abs=1e-16)
    assert crosssection._CELLS > 0


def test_a_dependent_or_absent_factor_gets_no_return_and_others_keep_theirs() -> None:
    x, y, w = _case(4, 30, 4)
    x[3, 1] = 2 * x[1, 1]  # depends on an earlier one
    x[3, 2] = np.nan  # is not there
    x[2, 3] = 0.0  # is 0 for all
    found = regress(x, y, w)
    three = regress(x[:3], y, w)
    assert np.isnan(found.returns[[1, 2, 3], [3, 3, 2]]).all()
    assert found.returns[1:3, :3] == pytest.approx(three.returns[1:3], abs=1e-14)
    assert np.isfinite(found.returns[3, [0, 1, 3]]).all()
    assert np.isfinite(found.returns[0]).all()


def test_degenerate_rows_do_not_crash_or_invent() -> None:
    x, y, w = _case(5, 6, 3)
    y[0] = np.nan  # nobody
    y[1, 1:] = np.nan  # one instrument
    w[2] = 0.0  # no weight
    y[3, 3:] = np.nan  # as many as factors: exact, no errors
    found = regress(x, y, w)
    assert np.isnan(found.returns[0]).all() and np.isnan(found.returns[2]).all()
    assert np.isnan(found.returns[1, 1:]).all()
    assert np.isfinite(found.returns[3]).all() and np.isnan(found.errors[3]).all()
    assert np.isnan(found.r2[:4]).all()
    assert np.isfinite(found.errors[4]).all()


def test_shapes_are_checked() -> None:
    x, y, w = _case(5, 6, 3)
    with pytest.raises(DataError, match="do not fit"):
        regress(x, y[:4], w)
