"""Exposures to risk factors: standardised, robust, without look-ahead."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, ExpressionError, Panel, UniverseError
from bascule.risk import (
    ExposureSettings,
    LiquidationSettings,
    StyleText,
    catalogue,
    exposures,
    with_liquidations,
)
from bascule.risk.rowwise import medians, robust_scores, take_out
from tests.markets import random_panel


def _rich(panel: Panel, seed: int = 5) -> Panel:
    """A panel with every slow field that the catalogue can read."""
    random = np.random.default_rng(seed)

    def slow(low: float, high: float) -> np.ndarray:
        level = random.uniform(low, high, panel.shape[1])
        walk = np.cumsum(random.standard_normal(panel.shape) * 0.001, axis=0)
        return (level * np.exp(walk)).astype(np.float32)

    return panel.with_fields(
        market_cap=slow(1e6, 1e10),
        mvrv=slow(0.5, 3),
        open_interest=slow(1e3, 1e5),
        funding_rate=(slow(1, 2) * 1e-4).astype(np.float32),
        exchange_score=slow(0.3, 0.9),
        regulation=np.repeat(slow(0.1, 0.3)[:, :1], panel.shape[1], axis=1),
        venue_spread=(random.standard_normal(panel.shape) * 0.001).astype(np.float32),
    )


def test_every_factor_of_the_catalogue_can_be_computed() -> None:
    panel = with_liquidations(_rich(random_panel(0, 1800, 12)))
    found = exposures(panel)
    assert found.names == ("market", *dict.fromkeys(style.name for style in catalogue()))
    assert found.left_out == ()
    last = found.values[:, -1]
    assert np.isfinite(last).all()


def test_missing_inputs_leave_a_factor_out_and_say_so() -> None:
    found = exposures(random_panel(0, 900, 12))
    left = {one.name: one.reason for one in found.left_out}
    assert {"size", "value", "leverage", "funding", "liquidation"} <= set(left)
    assert left["funding"] == "the panel lacks $funding_rate"
    assert "$mvrv" in left["value"] and "$nvt" in left["value"]
    assert found.names == ("market", "beta", "liquidity", "volatility", "momentum", "reversal")


def test_rows_are_standardised_winsorised_and_orthogonal() -> None:
    panel = with_liquidations(_rich(random_panel(1, 1500, 40)))
    found = exposures(panel)
    row = 1400
    x, w = found.values[:, row].astype(float), found.weights[row]
    index = {name: k for k, name in enumerate(found.names)}
    for k in range(1, len(found.names)):
        assert (w * x[k]).sum() / w.sum() == pytest.approx(0, abs=1e-6)
        assert x[k].std() == pytest.approx(1, rel=1e-5)
    # what was taken out leaves nothing behind
    for low, high in (("size", "liquidity"), ("beta", "volatility"), ("size", "volatility")):
        assert (w * x[index[low]] * x[index[high]]).sum() / w.sum() == pytest.approx(0, abs=1e-5)
    assert abs((w * x[index["momentum"]] * x[index["beta"]]).sum()) > 1e-3  # what was not, may


def test_scores_are_robust_to_one_absurd_value() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((1, 50))
    counted = np.ones((1, 50), bool)
    plain = robust_scores(values, counted, 3.0, 5)
    values[0, 7] = 1e12
    spiked = robust_scores(values, counted, 3.0, 5)
    assert spiked[0, 7] == 3.0
    others = np.arange(50) != 7
    assert np.abs(spiked[0, others] - plain[0, others]).max() < 0.3
    assert medians(values, counted)[0] == np.median(values)
    flat = robust_scores(np.full((1, 50), 0.0001), counted, 3.0, 5)
    assert np.isnan(flat).all()  # no spread, no exposure: never a division by zero
    mostly = np.full((1, 50), 0.0001)
    mostly[0, :10] = 0.0005
    assert np.isfinite(robust_scores(mostly, counted, 3.0, 5)).all()  # funding at its base rate


def test_taking_out_equals_a_weighted_regression() -> None:
    import statsmodels.api as sm

    random = np.random.default_rng(3)
    y, a, b = random.standard_normal((3, 4, 30))
    w = random.random((4, 30))
    left = take_out(y, [a, b], w)
    for t in range(4):
        design = sm.add_constant(np.column_stack([a[t], b[t]]))
        assert left[t] == pytest.approx(sm.WLS(y[t], design, weights=w[t]).fit().resid, abs=1e-9)


def test_no_look_ahead_and_no_memory_of_the_start() -> None:
    panel = _rich(random_panel(2, 1500, 12, missing=0.02, late=3))
    whole = exposures(panel)
    for stop in (1100, 1300):
        cut = exposures(panel.rows(0, stop))
        assert cut.names == whole.names
        assert np.array_equal(cut.values, whole.values[:, :stop], equal_nan=True)


def test_a_small_or_empty_universe_is_refused() -> None:
    with pytest.raises(UniverseError, match="no row has 8 members"):
        exposures(random_panel(0, 400, 4))
    with pytest.raises(ConfigError, match="unknown risk factor 'siize'"):
        exposures(random_panel(0, 400, 12), ExposureSettings(factors=("siize",)))


def test_own_factors_join_and_their_order_is_checked() -> None:
    panel = random_panel(0, 900, 12)
    own = StyleText(name="range", text="Log(Mean($high/$low-1,5d))", after=("volatility",))
    found = exposures(panel, ExposureSettings(extra=(own,), factors=("volatility", "range")))
    assert found.names == ("market", "volatility", "range")
    x, w = found.values[:, 800].astype(float), found.weights[800]
    assert (w * x[1] * x[2]).sum() == pytest.approx(0, abs=1e-5)
    wrong = StyleText(name="early", text="$close", after=("late",))
    with pytest.raises(ConfigError, match="does not stand before it"):
        exposures(panel, ExposureSettings(extra=(wrong,)))
    future = StyleText(name="future", text="Ref($close,-1)/$close-1")
    with pytest.raises(ExpressionError, match="future"):
        exposures(panel, ExposureSettings(extra=(future,)))


def test_liquidations_by_hand() -> None:
    """Ten coins come in at 100 with leverage 10: longs go at 91 (m = 1 %), shorts at 109."""
    panel = random_panel(0, 200, 1)
    ones = np.ones(panel.shape, np.float32)
    interest = np.where(np.arange(200)[:, None] < 100, 0, 10) * ones
    flat = panel.with_fields(
        open=100 * ones,
        high=100 * ones,
        low=100 * ones,
        close=100 * ones,
        volume=ones,
        open_interest=interest.astype(np.float32),
    )
    tiers = [{"leverage": 10, "share": 1.0, "maintenance": 0.01}]
    settings = LiquidationSettings.read({"tiers": tiers, "days": 3, "near": 0.1})
    found = with_liquidations(flat, settings)
    assert found["liquidation_distance"][125, 0] == pytest.approx(0.09, rel=1e-4)
    near = 2 * 10 * 100  # longs and shorts
    assert found["liquidation_size"][125, 0] == pytest.approx(np.log1p(100 * near / (24 * 100)), rel=1e-3)
    low = flat["low"].copy()
    low[110] = 90  # the longs are gone, the shorts stay
    hit = with_liquidations(flat.with_fields(low=low), settings)
    assert hit["liquidation_size"][125, 0] == pytest.approx(np.log1p(100 * near / 2 / (24 * 100)), rel=1e-3)
    assert np.isnan(hit["liquidation_size"][90, 0])  # no position, no value
