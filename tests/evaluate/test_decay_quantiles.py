"""How long foresight lasts, and what quantiles earn: by hand, and where it was planted."""

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.evaluate import decay, forward_return, quantile_returns
from bascule.evaluate.decay import half_life_of
from tests.markets import random_panel


def _lasting(half_life: float, rows: int = 6000, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A signal whose expected return over later bars halves every ``half_life`` bars."""
    random = np.random.default_rng(11)
    keep = 0.5 ** (1 / half_life)
    signal = np.zeros((rows, width))
    for t in range(1, rows):
        signal[t] = keep * signal[t - 1] + random.standard_normal(width)
    return signal.astype(np.float32), signal * 0.0004


def test_half_life_of_a_planted_decay_is_found() -> None:
    factor, drive = _lasting(8.0)
    panel = random_panel(2, 6000, 30, drive=drive)
    result = decay(factor, panel, [2, 4, 8, 12, 16, 24], reps=200)
    assert result.identified, result.reason
    assert 6.5 < result.half_life < 9.5
    assert result.low < 8.0 < result.high
    assert result.low < result.half_life < result.high < 11
    assert result.r2 > 0.8
    # stretches of other lengths tell the same
    assert decay(factor, panel, [1, 3, 12, 24, 36]).half_life == pytest.approx(result.half_life, rel=0.15)
    # the cumulative IC of a lasting signal rises while the marginal one falls
    assert result.cumulative[2].mean > result.cumulative[0].mean
    assert result.marginal[-1].mean < result.marginal[0].mean


def test_noise_has_no_half_life() -> None:
    factor = np.random.default_rng(1).standard_normal((800, 10)).astype(np.float32)
    result = decay(factor, random_panel(4, 800, 10), [1, 2, 4])
    assert not result.identified
    assert np.isnan(result.half_life)
    assert "first horizon" in result.reason


@pytest.mark.parametrize(
    ("ic", "reason"),
    [
        ([0.05, 0.05, 0.06, 0.07], "does not decay"),
        ([0.05, 0.02, -0.01, 0.01], "changes sign"),
        ([0.05, np.nan, 0.01, 0.01], "no IC"),
        ([0.05, 0.001, 0.08, 0.004], "not exponential"),
        ([0.05, 0.04], "fewer than 3"),
    ],
)
def test_what_is_not_exponential_is_said(ic: list[float], reason: str) -> None:
    end = np.arange(1.0, len(ic) + 1)
    half_life, _, why = half_life_of(end - 1, end, np.array(ic), 9.0)
    assert np.isnan(half_life)
    assert reason in why


def test_half_life_of_an_exact_exponential() -> None:
    begin, end = np.array([0.0, 1, 3, 7]), np.array([1.0, 3, 7, 15])
    length = end - begin
    # many small bars in each stretch, one by one
    fine = [
        -0.1 * np.exp2(-(np.arange(1000 * b, 1000 * e) + 0.5) / 3500).sum() / 1000
        for b, e in zip(begin, end, strict=True)
    ]
    half_life, r2, why = half_life_of(begin, end, np.array(fine) / np.sqrt(length), -4.0)
    assert (half_life, r2, why) == (pytest.approx(3.5, rel=1e-4), pytest.approx(1.0), "")


def test_noise_in_the_tail_is_no_change_of_sign_where_errors_are_known() -> None:
    end = np.arange(1.0, 6.0)
    ic = 0.1 * 2.0 ** (-(end - 0.5) / 1.5)
    ic[4] = -0.004
    errors = np.full(5, 0.004)
    assert "changes sign" in half_life_of(end - 1, end, ic, 25.0)[2]
    assert half_life_of(end - 1, end, ic, 25.0, errors)[0] == pytest.approx(1.5, rel=0.2)
    ic[4] = -0.03
    assert "changes sign" in half_life_of(end - 1, end, ic, 25.0, errors)[2]


def test_horizons_must_ascend() -> None:
    panel = random_panel(4, 50, 6)
    with pytest.raises(ConfigError, match="ascending"):
        decay(panel["close"], panel, [4, 2])


def test_quantile_returns_by_hand() -> None:
    factor = np.array([[1.0, 2, 3, 4, 5, 6], [6.0, 5, 4, 3, 2, 1]], np.float32)
    label = np.array([[1.0, 3, 5, 7, 9, 11], [1.0, 3, 5, 7, 9, 11]], np.float32) / 100
    result = quantile_returns(factor, label, horizon=1, quantiles=3, cost=0.001)
    assert result.series[0] == pytest.approx([0.02, 0.06, 0.10])
    assert result.series[1] == pytest.approx([0.10, 0.06, 0.02])
    assert result.rows == 2
    assert result.mean == pytest.approx([0.06, 0.06, 0.06])
    # first row buys both legs (1 + 1); the second swaps them (2 + 2)
    assert result.turnover == pytest.approx(3.0)
    assert result.spread.mean == pytest.approx(0.0)
    assert result.spread_net.mean == pytest.approx(-0.003)


def test_quantiles_of_a_planted_signal_rise_and_cost_lowers_the_spread() -> None:
    signal = np.random.default_rng(5).standard_normal((1000, 20))
    panel = random_panel(6, 1000, 20, drive=signal * 0.002, missing=0.01)
    label = forward_return(panel, 1)
    factor = signal.astype(np.float32)
    free = quantile_returns(factor, label, panel.members, horizon=1)
    dear = quantile_returns(factor, label, panel.members, horizon=1, cost=0.001)
    assert free.monotonicity == pytest.approx(1.0)
    assert free.spread.t > 5
    assert dear.spread_net.mean == pytest.approx(free.spread.mean - 0.001 * free.turnover, abs=1e-5)


def test_rows_with_too_few_members_do_not_enter() -> None:
    factor = np.array([[1.0, 2, np.nan], [1.0, 2, 3]], np.float32)
    result = quantile_returns(factor, factor, horizon=1, quantiles=3)
    assert result.rows == 1
    assert np.isnan(result.series[0]).all()


def test_quantile_settings_are_checked() -> None:
    values = np.zeros((3, 6), np.float32)
    with pytest.raises(ConfigError, match="quantiles 1"):
        quantile_returns(values, values, horizon=1, quantiles=1)
