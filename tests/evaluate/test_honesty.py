"""Multiple tests, Sharpe ratios, bootstraps, overfitting: against their papers and against chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bascule.core import ConfigError
from bascule.evaluate import (
    SharpeStatistics,
    benjamini_hochberg,
    deflated_sharpe,
    deflated_threshold,
    expected_best_sharpe,
    expected_maximum,
    mean_interval,
    newey_west_t,
    overfitting,
    p_values,
    probabilistic_sharpe,
    table,
)
from tests.markets import random_panel


@pytest.mark.parametrize(
    ("horizon", "memory", "most"),
    [
        # 500 tests at 5 %: 25 expected, deviation 4.9
        (1, 1, 0.08),
        # labels and factors overlap: Newey-West leaves a little
        (12, 12, 0.11),
    ],
)
def test_a_library_of_noise_gives_the_nominal_rate_before_control_and_nothing_after(
    horizon: int, memory: int, most: float
) -> None:
    random = np.random.default_rng(20)
    panel = random_panel(21, 700 * min(memory, 3), 12)
    values = random.standard_normal((500, *panel.shape)).astype(np.float32)
    if memory > 1:
        values = np.cumsum(values, axis=1)
        values[:, memory:] -= values[:, :-memory].copy()
    found = table(values, [f"N{n}" for n in range(500)], panel, [horizon])
    for column in ("t", "rank_t"):
        t = found[column].to_numpy()
        assert 0.024 <= (np.abs(t) > stats.norm.ppf(0.975)).mean() <= most
        assert not benjamini_hochberg(p_values(t)).kept.any()
        assert not (np.abs(t) > deflated_threshold(500)).any()


def test_control_keeps_what_is_real_among_noise() -> None:
    random = np.random.default_rng(22)
    signal = random.standard_normal((700, 16))
    panel = random_panel(23, 700, 16, drive=signal * 0.002)
    values = random.standard_normal((200, *panel.shape)).astype(np.float32)
    values[17] = signal
    t = table(values, [str(n) for n in range(200)], panel, [1])["rank_t"].to_numpy()
    kept = benjamini_hochberg(p_values(t)).kept
    assert kept[17]
    assert kept.sum() <= 3
    assert t[17] > deflated_threshold(200)


def test_benjamini_hochberg_by_hand() -> None:
    # the largest k with p(k) <= k/m * q is 3 of 5
    found = benjamini_hochberg([0.001, 0.011, 0.029, 0.2, np.nan, 0.9], 0.05)
    assert found.kept.tolist() == [True, True, True, False, False, False]
    assert found.adjusted[:3] == pytest.approx([0.005, 0.0275, 0.029 * 5 / 3])
    assert np.isnan(found.adjusted[4])
    cautious = benjamini_hochberg([0.001, 0.011, 0.029, 0.2, np.nan, 0.9], 0.05, dependent=True)
    assert cautious.kept.sum() < found.kept.sum()
    with pytest.raises(ConfigError, match="rate"):
        benjamini_hochberg([0.1], 5.0)
    with pytest.raises(ConfigError, match="outside"):
        benjamini_hochberg([1.2])


def test_p_values_are_those_of_the_normal_distribution() -> None:
    assert p_values([1.959964, -1.959964, 0.0]) == pytest.approx([0.05, 0.05, 1.0], abs=1e-6)


def test_the_best_of_many() -> None:
    random = np.random.default_rng(3)
    for trials in (10, 100, 1000):
        best = random.standard_normal((4000, trials)).max(axis=1).mean()
        assert expected_maximum(trials) == pytest.approx(best, rel=0.03)
        largest = np.abs(random.standard_normal((4000, trials))).max(axis=1)
        assert (largest > deflated_threshold(trials, 0.1)).mean() == pytest.approx(0.1, abs=0.02)
    assert expected_maximum(1) == 0.0
    assert deflated_threshold(1) == pytest.approx(1.959964, abs=1e-5)
    with pytest.raises(ConfigError, match="0 trials"):
        expected_maximum(0)


def test_the_deflated_sharpe_ratio_of_the_paper() -> None:
    """Bailey & López de Prado 2014, the numerical example: annual Sharpe 2.5, 100 trials, 5 years of days."""
    found = SharpeStatistics(2.5 / math.sqrt(250), 1250, skew=-3.0, kurtosis=10.0)
    variance = 0.5 / 250
    assert expected_best_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(found, 100, variance) == pytest.approx(0.9004, abs=5e-5)
    # the paper: with 46 trials it would have been 0.9505
    assert deflated_sharpe(found, 46, variance) == pytest.approx(0.9505, abs=5e-4)
    normal = SharpeStatistics(2.5 / math.sqrt(250), 1250)
    assert deflated_sharpe(normal, 88, variance) == pytest.approx(0.9505, abs=5e-3)


def test_moments_equal_scipy_and_the_probabilistic_ratio_equals_skfolio() -> None:
    from skfolio.measures import probabilistic_sharpe_ratio

    returns = np.random.default_rng(4).standard_t(5, 900) * 0.01 + 0.0006
    found = SharpeStatistics.of(np.append(returns, np.nan))
    assert found.skew == pytest.approx(stats.skew(returns))
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert probabilistic_sharpe(found) == pytest.approx(float(probabilistic_sharpe_ratio(returns)), abs=2e-3)
    assert math.isnan(probabilistic_sharpe(SharpeStatistics.of(np.full(9, 0.1))))
    assert SharpeStatistics.of(returns, overlap=10).n == 90


def test_bootstrap_intervals_cover_the_mean_of_a_dependent_series() -> None:
    random = np.random.default_rng(5)
    covered = naive = 0
    for seed in range(60):
        noise = random.standard_normal(500)
        series = np.empty(500)
        series[0] = noise[0]
        for t in range(1, 500):
            series[t] = 0.7 * series[t - 1] + noise[t]
        found = mean_interval(series + 1.0, reps=200, seed=seed)
        covered += found.low <= 1.0 <= found.high
        error = 1.96 * series.std(ddof=1) / math.sqrt(500)
        naive += abs(series.mean()) <= error
    assert covered >= 50  # 57 expected
    assert naive < covered - 8


def test_bootstrap_is_seeded_and_close_to_newey_west() -> None:
    series = np.random.default_rng(6).standard_normal(2000) * 0.1 + 0.01
    series[::7] = np.nan
    one, two = mean_interval(series, seed=1), mean_interval(series, seed=1)
    assert one == two
    assert one != mean_interval(series, seed=2)
    known = series[np.isfinite(series)]
    error = known.mean() / newey_west_t(known, 5)
    assert (one.high - one.low) / (2 * 1.96) == pytest.approx(error, rel=0.15)
    assert one.excludes(0.0)
    assert math.isnan(mean_interval(np.full(5, np.nan)).mean)
    with pytest.raises(ConfigError, match="reps 5"):
        mean_interval(series, reps=5)


def test_blocks_are_no_shorter_than_the_horizon() -> None:
    series = np.random.default_rng(7).standard_normal(1000)
    assert mean_interval(series, 24, reps=100).block >= 24


def test_overfitting_of_noise_and_of_one_real_strategy() -> None:
    random = np.random.default_rng(8)
    noise = [overfitting(random.standard_normal((480, 30)), 10).probability for _ in range(12)]
    assert 0.35 < np.mean(noise) < 0.65
    real = random.standard_normal((480, 30))
    real[:, 4] += 0.3
    found = overfitting(real, 10)
    assert found.probability < 0.05
    assert found.loss < 0.05
    assert len(found.logits) == math.comb(10, 5)


def test_overfitting_equals_a_plain_loop() -> None:
    from itertools import combinations

    random = np.random.default_rng(9)
    returns = random.standard_normal((60, 5))
    returns[3, 2] = np.nan
    parts = np.split(np.arange(60), 6)
    below = []
    for chosen in combinations(range(6), 3):
        train = np.concatenate([parts[b] for b in chosen])
        test = np.setdiff1d(np.arange(60), train)
        ratios = [
            np.nanmean(returns[rows], axis=0) / np.nanstd(returns[rows], axis=0, ddof=1)
            for rows in (train, test)
        ]
        rank = stats.rankdata(ratios[1])[np.argmax(ratios[0])] / 6
        below.append(rank <= 0.5)
    assert overfitting(returns, 6).probability == pytest.approx(np.mean(below))


def test_halves_in_which_nothing_varies_pick_nobody() -> None:
    returns = np.random.default_rng(10).standard_normal((80, 4))
    returns[:40] = 0.0
    found = overfitting(returns, 4)
    assert len(found.logits) == math.comb(4, 2) - 2  # neither picked in the still half, nor ranked there
    assert np.isfinite(found.inside).all()


@pytest.mark.parametrize(("shape", "blocks"), [((100, 5), 7), ((100, 5), 22), ((10, 5), 8), ((100, 1), 8)])
def test_overfitting_settings_are_checked(shape: tuple[int, int], blocks: int) -> None:
    with pytest.raises(ConfigError, match="blocks"):
        overfitting(np.zeros(shape), blocks)
