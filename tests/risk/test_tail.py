"""Value at risk and its backtests: quantiles, laws, published numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError
from bascule.risk import TailSettings, coverage, kupiec_band, portfolio_history, tail_risk
from tests.realdata import panel_path


def settings(**values: object) -> TailSettings:
    return TailSettings.read(values)


def test_historical_is_a_quantile_of_the_last_rows_only() -> None:
    random = np.random.default_rng(0)
    r = random.standard_normal(400) * 0.02
    found = tail_risk(r, settings(method="historical", level=0.95, window=99))
    assert np.isnan(found.var[:98]).all() and np.isfinite(found.var[98:]).all()
    last = np.sort(r[-99:])
    assert found.var[-1] == pytest.approx(-last[4])  # 5 % of 100
    assert found.es[-1] == pytest.approx(-last[:5].mean())
    assert (found.es[98:] >= found.var[98:]).all()
    cut = tail_risk(r[:300], settings(method="historical", level=0.95, window=99))
    assert np.array_equal(cut.var, found.var[:300], equal_nan=True)


def test_normal_returns_have_normal_tails() -> None:
    from scipy.stats import norm

    r = np.random.default_rng(1).standard_normal(6000) * 0.01
    flat = {"half_life": 2000.0, "level": 0.99}
    normal = tail_risk(r, settings(method="parametric", tails="normal", **flat))
    assert normal.var[-1] == pytest.approx(0.01 * norm.isf(0.01), rel=0.03)
    assert normal.es[-1] == pytest.approx(0.01 * norm.pdf(norm.isf(0.01)) / 0.01, rel=0.03)
    for method in ("parametric", "filtered", "historical"):
        found = tail_risk(r, settings(method=method, window=3000, **flat))
        assert found.var[-1] == pytest.approx(normal.var[-1], rel=0.12)
        assert found.es[-1] == pytest.approx(normal.es[-1], rel=0.15)


def test_students_shortfall_by_simulation() -> None:
    random = np.random.default_rng(2)
    r = random.standard_t(6, 20_000) * 0.01
    found = tail_risk(r, settings(method="parametric", window=15_000, half_life=5000.0))
    quantile = np.quantile(r, 0.01)
    assert found.var[-1] == pytest.approx(-quantile, rel=0.1)
    assert found.es[-1] == pytest.approx(-r[r <= quantile].mean(), rel=0.12)


@pytest.mark.parametrize("volatility", ["ewma", "garch"])
def test_filtered_follows_the_volatility_and_keeps_its_promise(volatility: str) -> None:
    random = np.random.default_rng(3)
    n = 2500
    variance, r = 1e-4, np.empty(n)
    for t in range(n):
        r[t] = np.sqrt(variance) * random.standard_t(6) * np.sqrt(4 / 6)
        variance = 2e-6 + 0.1 * r[t] ** 2 + 0.88 * variance
    found = tail_risk(r, settings(volatility=volatility, level=0.95, window=300, refit=250))
    told = coverage(found.hits(r), 0.95)
    assert told.good and told.count > 1800
    # the volatility forecast says something about the next move
    known = np.isfinite(found.volatility[:-1])
    assert np.corrcoef(found.volatility[:-1][known], np.abs(r[1:][known]))[0, 1] > 0.15
    cut = tail_risk(r[:1600], settings(volatility=volatility, level=0.95, window=300, refit=250))
    assert np.array_equal(cut.var, found.var[:1600], equal_nan=True)


def test_coverage_tests_against_published_numbers() -> None:
    """Kupiec (1995), table of non-rejection regions: 95 % test, p = 0.01, T = 255 and 1000; p = 0.05, T =
    255."""
    assert kupiec_band(255, 0.99)[1] == 6  # N < 7
    assert kupiec_band(1000, 0.99) == (5, 16)  # 4 < N < 17
    assert kupiec_band(255, 0.95) == (7, 20)  # 6 < N < 21
    hits = np.zeros(1000, bool)
    hits[::100] = True
    fine = coverage(hits, 0.99)
    assert fine.kupiec_p == pytest.approx(1.0) and fine.good and fine.hits == 10
    clustered = np.zeros(1000, bool)
    clustered[500:510] = True
    found = coverage(clustered, 0.99)
    assert found.kupiec_p == pytest.approx(1.0) and found.independence_p < 1e-6 > found.conditional_p
    many = np.zeros(1000, bool)
    many[::20] = True
    assert coverage(many, 0.99).kupiec_p < 1e-10 and not coverage(many, 0.99).good
    assert coverage(np.zeros(1000, bool), 0.99).kupiec_p < 1e-4
    with pytest.raises(DataError, match="no forecasts"):
        coverage(np.zeros(0, bool), 0.99)


def test_bad_series_and_flat_series() -> None:
    with pytest.raises(DataError, match="finite"):
        tail_risk(np.array([0.1, np.nan]))
    for method in ("historical", "parametric", "filtered"):
        flat = tail_risk(np.zeros(400), settings(method=method, window=100))
        assert not (flat.var > 0).any()
        short = tail_risk(np.full(10, 0.01), settings(method=method, window=100))
        assert np.isnan(short.var).all()


def test_history_of_todays_weights() -> None:
    returns = np.array([[0.1, np.nan], [0.2, -0.1]])
    assert portfolio_history(np.array([0.5, 0.5]), returns) == pytest.approx([0.05, 0.05])


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    """Daily returns of large coins, 2020 to mid 2024: March 2020, LUNA and FTX are among them."""
    wanted = [f"{coin}USDT" for coin in ("BTC", "ETH", "ADA", "LTC", "XRP", "LINK", "LUNA", "SOL", "FTT")]
    given = {"columns": ["date", "symbol", "close"], "filters": [("symbol", "in", wanted)]}
    frame = pd.read_parquet(panel_path("panel_1h"), **given)
    last = frame[frame["date"].dt.hour == 23]
    closes = last.assign(symbol=last["symbol"].astype(str)).pivot(
        index="date", columns="symbol", values="close"
    )
    return closes.resample("1D").last().pct_change(fill_method=None).iloc[1:]


@pytest.mark.real_data
@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("kind", ["equal", "BTCUSDT", "ETHUSDT"])
def test_filtered_var_covers_real_days_out_of_sample(level: float, kind: str, days: pd.DataFrame) -> None:
    series = days.mean(axis=1) if kind == "equal" else days[kind]
    returns = series.dropna().to_numpy(np.float64)
    found = tail_risk(returns, settings(level=level, window=300))
    told = coverage(found.hits(returns), level)
    assert told.count > 1300
    assert told.good, told
