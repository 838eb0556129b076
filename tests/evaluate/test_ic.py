"""ICs and their significance: those of scipy, qlib and statsmodels; overlap makes no noise significant."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from bascule.core import ConfigError
from bascule.evaluate import forward_return, ic_series, newey_west_lags, newey_west_t, shuffle, summarise
from tests.markets import random_panel


def _messy(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    factor = random.standard_normal((120, 14)).round(1).astype(np.float32)
    label = (0.2 * factor + random.standard_normal((120, 14)).round(1)).astype(np.float32)
    factor[random.random(factor.shape) < 0.15] = np.nan
    label[random.random(label.shape) < 0.15] = np.nan
    mask = random.random(label.shape) < 0.9
    factor[7] = np.nan
    factor[8] = 2.5
    return factor, label, mask


@pytest.mark.parametrize("rank", [False, True])
def test_ic_equals_scipy_row_by_row(rank: bool) -> None:
    factor, label, mask = _messy(1)
    got = ic_series(factor, label, mask, rank=rank, min_breadth=5)
    oracle = stats.spearmanr if rank else stats.pearsonr
    seen = 0
    for t in range(len(factor)):
        good = np.isfinite(factor[t]) & np.isfinite(label[t]) & mask[t]
        x, y = factor[t][good].astype(float), label[t][good].astype(float)
        if good.sum() < 5 or np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(got[t])
        else:
            seen += 1
            assert got[t] == pytest.approx(oracle(x, y)[0], abs=1e-12)
    assert seen > 100


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("decimals", [6, 0])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_ic_equals_qlibs(decimals: int, missing: float) -> None:
    """Whole panels, and such with cells missing on either side and with ties."""
    from qlib.contrib.eva.alpha import calc_ic

    random = np.random.default_rng(2)
    factor = random.standard_normal((40, 20)).round(decimals).astype(np.float32)
    label = (factor + 3 * random.standard_normal((40, 20))).round(decimals).astype(np.float32)
    for values in (factor, label):
        values[random.random(values.shape) < missing] = np.nan
    assert (decimals == 0) == bool((np.diff(np.sort(factor, axis=1), axis=1) == 0).any(axis=1).all())
    index = pd.MultiIndex.from_product(
        [pd.date_range("2021", periods=40, freq="h"), [f"C{n}" for n in range(20)]],
        names=["datetime", "instrument"],
    )
    ic, rank_ic = calc_ic(
        pd.Series(factor.ravel().astype(float), index), pd.Series(label.ravel().astype(float), index)
    )
    assert len(ic) == 40
    for rank, theirs in ((False, ic), (True, rank_ic)):
        ours = ic_series(factor, label, rank=rank, min_breadth=2)
        assert ours == pytest.approx(theirs.to_numpy(), abs=1e-12)


@pytest.mark.parametrize(("n", "horizon"), [(60, 1), (400, 4), (1000, 24)])
def test_t_equals_statsmodels_hac(n: int, horizon: int) -> None:
    random = np.random.default_rng(n)
    series = np.convolve(random.standard_normal(n + horizon), np.ones(horizon), "valid")[:n] * 0.1 + 0.02
    lags = newey_west_lags(n, horizon)
    fit = sm.OLS(series, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    assert newey_west_t(series, lags) == pytest.approx(float(fit.tvalues[0]), rel=1e-10)


def test_lags_cover_the_overlap_and_the_automatic_bandwidth() -> None:
    assert newey_west_lags(10_000, 24) == 46
    assert newey_west_lags(10_000, 1) == 11
    assert newey_west_lags(10, 24) == 9


def test_overlap_does_not_make_noise_significant() -> None:
    """A naive t rejects about half of such nulls at 5 %; the Newey-West t must stay near 5 %."""
    random = np.random.default_rng(0)
    naive, robust = 0, 0
    for _ in range(200):
        series = np.convolve(random.standard_normal(1009), np.ones(10) / 10, "valid")
        naive += abs(series.mean() / series.std(ddof=1) * np.sqrt(len(series))) > 1.96
        robust += abs(summarise(series, 10).t) > 1.96
    assert naive > 60
    assert robust < 28


def test_summary_of_a_short_series_by_hand() -> None:
    summary = summarise(np.array([0.1, np.nan, 0.3, -0.1]), 1)
    assert summary.n == 3
    assert summary.mean == pytest.approx(0.1)
    assert summary.std == pytest.approx(0.2)
    assert summary.ir == pytest.approx(0.5)
    assert summary.hit_rate == pytest.approx(2 / 3)


def test_summary_of_nothing_and_of_a_constant() -> None:
    assert summarise(np.full(4, np.nan), 3).n == 0
    assert np.isnan(summarise(np.full(4, np.nan), 3).t)
    assert np.isnan(summarise(np.full(40, 0.1), 1).t)


def test_forward_return_is_open_to_open_after_the_signal() -> None:
    panel = random_panel(0, 12, 3, missing=0.1)
    opens = panel["open"].astype(float)
    for horizon, delay in ((1, 0), (3, 0), (2, 4)):
        got = forward_return(panel, horizon, delay=delay)
        assert got.dtype == np.float32
        for t in range(12):
            exit_row = t + 1 + delay + horizon
            expected = opens[exit_row] / opens[t + 1 + delay] - 1 if exit_row < 12 else np.full(3, np.nan)
            assert got[t] == pytest.approx(expected, abs=1e-7, nan_ok=True)
    assert np.isnan(forward_return(panel, 40)).all()
    with pytest.raises(ConfigError, match="horizon 0"):
        forward_return(panel, 0)


def test_planted_foresight_is_significant_and_its_shuffle_is_not() -> None:
    signal = np.random.default_rng(5).standard_normal((1500, 16))
    panel = random_panel(6, 1500, 16, drive=signal * 0.001)
    factor = signal.astype(np.float32)
    label = forward_return(panel, 1)
    assert summarise(ic_series(factor, label, panel.members, rank=True), 1).t > 6
    shuffled = [
        summarise(ic_series(factor, shuffle(label, seed), panel.members, rank=True), 1).t for seed in range(8)
    ]
    assert np.max(np.abs(shuffled)) < 3
    assert np.abs(np.median(shuffled)) < 1


def test_shuffle_permutes_the_finite_cells_of_each_row_and_repeats_by_seed() -> None:
    _, label, _ = _messy(4)
    first, again, other = shuffle(label, 1), shuffle(label, 1), shuffle(label, 2)
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)
    assert np.array_equal(np.isfinite(first), np.isfinite(label))
    assert np.array_equal(np.sort(first, axis=1), np.sort(label, axis=1), equal_nan=True)


def test_only_members_count() -> None:
    signal = np.random.default_rng(7).standard_normal((300, 12)).astype(np.float32)
    label = signal.copy()
    label[:, 6:] *= -1
    inside = np.zeros((300, 12), bool)
    inside[:, :6] = True
    assert ic_series(signal, label, inside) == pytest.approx(np.ones(300))
    assert ic_series(signal, label, ~inside) == pytest.approx(-np.ones(300))
