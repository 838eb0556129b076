"""What a model learns, and how much each sample counts."""

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.evaluate import forward_return, liquidity_tiers
from bascule.models import ModelSettings, WeightSettings, sample_weights, uniqueness
from bascule.models.labels import learned, trailing_volatility
from bascule.models.samples import Samples, target
from tests.markets import random_panel


def _samples(rows: list[int], columns: list[int]) -> Samples:
    n = len(rows)
    return Samples(np.zeros((n, 1), np.float32), np.zeros(n, np.float32), np.array(rows), np.array(columns))


def test_rank_gauss_is_the_normal_quantile_of_the_percentile() -> None:
    from scipy.stats import norm, rankdata

    label = np.random.default_rng(0).standard_t(3, (20, 11)).astype(np.float32)
    got = target(label, np.ones(label.shape, bool), "gauss")
    for row, values in zip(got, label, strict=True):
        assert row == pytest.approx(norm.ppf((rankdata(values) - 0.5) / 11), abs=1e-5)


def test_scaled_labels_do_not_favour_wild_coins() -> None:
    """Half of the coins are four times as wild: unscaled they fill the ends of every ranking."""
    random = np.random.default_rng(1)
    calm = random_panel(2, 600, 20, volatility=0.01, common=0.0)
    wild = np.arange(20) % 2 == 0
    factor = np.where(wild, 4.0, 1.0)
    close = 100 * np.exp(np.cumsum(random.standard_normal((600, 20)) * 0.01 * factor, axis=0))
    opens = np.vstack([np.full((1, 20), 100.0), close[:-1]])
    panel = calm.with_fields(close=close.astype(np.float32), open=opens.astype(np.float32))
    label = forward_return(panel, 3)
    ends = {}
    for scale in ("none", "volatility"):
        aim = learned(label, panel, ModelSettings(scale=scale, scale_days=5))[200:590]
        far = np.abs(aim) > 1.3
        ends[scale] = float(far[:, wild].sum() / far.sum())
    assert ends["none"] > 0.8
    assert 0.4 < ends["volatility"] < 0.6


def test_volatility_is_of_the_past_alone_and_needs_half_a_window() -> None:
    panel = random_panel(3, 300, 4)
    whole = trailing_volatility(panel, 4.0)
    assert np.isnan(whole[:47]).all()
    assert np.isfinite(whole[60:]).all()
    assert np.array_equal(trailing_volatility(panel.rows(0, 200), 4.0), whole[:200], equal_nan=True)
    move = np.diff(np.log(panel["close"].astype(np.float64)), axis=0)
    assert whole[200] == pytest.approx(move[104:200].std(axis=0), rel=1e-4)


def test_labels_neutral_to_tiers_have_the_same_mean_in_each() -> None:
    panel = random_panel(4, 400, 18, common=0.0)
    tiers = list(liquidity_tiers(panel, 3).values())
    # the richest tier gains, whatever the coin
    gain = tiers[0].astype(np.float32) * 0.05
    label = np.where(np.isfinite(forward_return(panel, 2)), gain + forward_return(panel, 2), np.nan)
    plain = learned(label.astype(np.float32), panel, ModelSettings())
    neutral = learned(label.astype(np.float32), panel, ModelSettings(tiers=3))
    rich = tiers[0] & np.isfinite(neutral)
    assert plain[rich].mean() > 1.0
    assert abs(neutral[rich].mean()) < 1e-6
    assert abs(neutral[tiers[2] & np.isfinite(neutral)].mean()) < 1e-6


def test_several_horizons_are_learned_as_the_mean_of_their_labels() -> None:
    panel = random_panel(5, 200, 8)
    settings = ModelSettings(horizons=(1, 6))
    got = learned(forward_return(panel, 3), panel, settings)
    parts = [target(forward_return(panel, h), panel.members, "rank") for h in (3, 1, 6)]
    assert got == pytest.approx(np.mean(parts, axis=0), abs=1e-6, nan_ok=True)
    assert np.isnan(got[-7:]).all()
    assert settings.reach(3) == 6
    with pytest.raises(ConfigError, match="rising numbers"):
        ModelSettings.read({"horizons": [6, 1]})


def test_uniqueness_is_the_share_of_a_labels_bars_that_is_its_own() -> None:
    # horizon 4: labels of rows 10 and 12 share bars 13 and 14; the label of another coin shares nothing
    row, column = np.array([10, 12, 30, 12]), np.array([0, 0, 0, 1])
    assert uniqueness(row, column, 2, 4) == pytest.approx([0.75, 0.75, 1.0, 1.0])
    every = np.arange(50)
    got = uniqueness(every, np.zeros(50, int), 1, 5)
    assert got[20] == pytest.approx(0.2)
    # the first label has its first bar for itself
    assert got[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)


def test_weights_halve_with_age_and_have_mean_one() -> None:
    panel = random_panel(6, 24 * 30, 3)
    train = _samples([0, 24 * 10, 24 * 20], [0, 0, 0])
    valid = _samples([24 * 25], [0])
    found = sample_weights(train, valid, panel, 4, WeightSettings(half_life_days=10))
    assert found is not None
    assert found[0] == pytest.approx(np.array([0.25, 0.5, 1.0]) / (1.75 / 3), rel=1e-6)
    assert found[1] == pytest.approx([1.0])
    assert sample_weights(train, valid, panel, 4, WeightSettings()) is None
