"""Parts of an IC, capacity, factors beside each other, verdicts: each against what was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel
from bascule.evaluate import (
    ICSummary,
    Measured,
    Part,
    Sample,
    Targets,
    autocorrelation,
    by_rows,
    by_tier,
    capacity,
    clusters,
    contributions,
    forward_return,
    hours,
    ic_series,
    judge,
    judge_pool,
    liquidity_tiers,
    overall,
    pool,
    regimes,
    summarise,
    tally,
    years,
)
from tests.markets import random_panel


def planted(
    rows: int = 3000, width: int = 15, *, seed: int = 0, when: np.ndarray | None = None
) -> tuple[np.ndarray, Panel]:
    """A factor that foresees the next bar in the rows (or cells) ``when``."""
    signal = np.random.default_rng(seed).standard_normal((rows, width))
    drive = signal * 0.003
    if when is not None:
        drive = np.where(when, drive, 0.0)
    return signal.astype(np.float32), random_panel(seed + 1, rows, width, drive=drive)


def test_an_hour_and_a_year_that_work_are_found() -> None:
    hour = np.arange(3000)[:, None] % 24
    factor, panel = planted(when=hour == 7)
    series = ic_series(factor, forward_return(panel, 1), panel.members, rank=True)
    found = by_rows(series, hours(panel), 1)
    assert found["ic"].idxmax() == "07h"
    assert found["t"]["07h"] > 5
    assert (found["t"].drop("07h").abs() > 3.5).sum() == 0
    assert found["n"].sum() == np.isfinite(series).sum()
    assert list(by_rows(series, years(panel), 1).index) == ["2021"]


def test_a_part_that_is_everything_gives_the_usual_t() -> None:
    factor, panel = planted(800)
    series = ic_series(factor, forward_return(panel, 4), panel.members)
    whole = by_rows(series, {"all": np.ones(800, np.bool_)}, 4).loc["all"]
    usual = summarise(series, 4)
    assert whole["ic"] == pytest.approx(usual.mean)
    assert whole["t"] == pytest.approx(usual.t)
    assert math.isnan(by_rows(series, {"none": np.zeros(800, np.bool_)}, 4)["t"]["none"])


def test_regimes_know_the_past_only_and_tell_bull_from_bear() -> None:
    rows = 24 * 200
    trend = np.where(np.arange(rows) < rows // 2, 0.002, -0.002)[:, None] * np.ones((1, 6))
    panel = random_panel(3, rows, 6, drive=trend)
    found = regimes(panel)
    assert found["bull"][24 * 40 : 24 * 95].mean() > 0.9
    assert found["bear"][24 * 140 :].mean() > 0.9
    assert not (found["bull"] & found["bear"]).any()
    assert not (found["calm"] & found["wild"]).any()
    assert not found["bull"][: 24 * 30 - 1].any()
    for length in (3000, 24 * 20):  # the second is shorter than the trailing window
        part = regimes(panel.rows(0, length))
        for name, rows_ in found.items():
            np.testing.assert_array_equal(part[name], rows_[:length], err_msg=name)


def test_wild_times_are_wild() -> None:
    rows = 24 * 240
    panel = random_panel(4, rows, 8)
    loud = random_panel(4, rows, 8, volatility=0.04)
    close = panel["close"].copy()
    half = rows // 2
    close[half:] = close[half - 1] * loud["close"][half:] / loud["close"][half - 1]
    found = regimes(panel.with_fields(close=close.astype(np.float32)))
    assert found["wild"][half + 24 * 20 : half + 24 * 60].mean() > 0.95


def test_tiers_split_the_members_and_find_where_a_factor_works() -> None:
    columns = np.arange(15)[None, :] >= 10  # volume rises with the column: these are the richest third
    factor, panel = planted(1500, when=np.broadcast_to(columns, (1500, 15)))
    tiers = liquidity_tiers(panel)
    assert sum(t.sum() for t in tiers.values()) == panel.members.sum()
    found = by_tier(factor, forward_return(panel, 1), tiers, 1)
    assert found["ic"].idxmax() == "tier 1"
    assert found["t"]["tier 1"] > 8
    assert abs(found["t"]["tier 3"]) < 3.5
    with pytest.raises(ConfigError, match="1 tiers"):
        liquidity_tiers(panel, 1)


def test_autocorrelation_of_a_lasting_and_a_passing_factor() -> None:
    random = np.random.default_rng(5)
    noise = random.standard_normal((2000, 40))
    lasting = np.zeros_like(noise)
    for t in range(1, 2000):
        lasting[t] = 0.9 * lasting[t - 1] + noise[t]
    found = autocorrelation(lasting, None, [1, 5])
    assert found[1] == pytest.approx(0.9, abs=0.03)
    assert found[5] == pytest.approx(0.9**5, abs=0.05)
    assert abs(autocorrelation(noise, None, [1])[1]) < 0.02
    with pytest.raises(ConfigError):
        autocorrelation(noise, None, [0])


def test_capacity_by_hand() -> None:
    factor = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [4, 3, 2, 1]], np.float32)
    panel = random_panel(6, 3, 4)
    ones = np.ones((3, 4), np.float32)
    panel = panel.with_fields(close=ones, volume=ones * np.array([100, 200, 300, 400], np.float32))
    # two quantiles: legs of two at 1/2 each; every position flips by 1 in row 1, nothing moves in row 2
    assert capacity(factor, panel, 1, quantiles=2, participation=0.1, exceeded=0.0) == pytest.approx(10.0)
    # a quarter of the weight (the thinnest coin) may exceed: the next one bounds
    assert capacity(factor, panel, 1, quantiles=2, participation=0.1, exceeded=0.3) == pytest.approx(20.0)
    assert math.isnan(capacity(np.full((3, 4), np.nan, np.float32), panel, 1))
    with pytest.raises(ConfigError, match="participation 2"):
        capacity(factor, panel, 1, participation=2.0)


def family(rows: int = 4000, width: int = 20) -> tuple[np.ndarray, Panel]:
    """Two real factors, a near copy of the first one, the second one upside down, and noise."""
    random = np.random.default_rng(7)
    a, b, n = random.standard_normal((3, rows, width))
    copy = a + 0.3 * random.standard_normal((rows, width))
    panel = random_panel(8, rows, width, drive=0.002 * a + 0.002 * b)
    return np.stack([a, copy, -b, n]).astype(np.float32), panel


def test_clusters_join_copies_of_either_sign() -> None:
    values, panel = family(800)
    twins = np.concatenate([values, -values[2:3]])
    correlation = Sample.of(twins, panel, 1).correlation()
    assert correlation[0, 1] > 0.9
    assert correlation[2, 4] == pytest.approx(-1.0, abs=1e-5)
    assert clusters(correlation).tolist() == [0, 0, 1, 2, 1]
    assert clusters(np.ones((1, 1))).tolist() == [0]
    with pytest.raises(ConfigError):
        clusters(correlation, 1.5)


def test_correlation_equals_scipy_where_nothing_is_missing() -> None:
    from scipy.stats import spearmanr

    values, panel = family(60)
    sample = Sample.of(values, panel, 1)
    rows = np.arange(0, 58, sample.stride)
    expected = np.mean([spearmanr(values[0, t], values[1, t]).statistic for t in rows])
    assert sample.correlation()[0, 1] == pytest.approx(expected, abs=1e-5)


def test_a_pool_is_better_than_its_parts_and_a_copy_adds_nothing() -> None:
    values, panel = family()
    half = 2000
    fit = Sample.of(values[:, :half], panel.rows(0, half), 1)
    test = Sample.of(values[:, half:], panel.rows(half, None), 1)
    found = pool(fit, test)
    single = [summarise(test.ic(np.eye(4)[n]), 1).mean for n in range(4)]
    assert found.outside.rank_ic.mean > max(np.abs(single)) * 1.2
    assert found.outside.coverage == 1.0
    # both ICs are those of the plain signal, by the usual functions
    rows = np.arange(0, panel.shape[0] - half - 2, test.stride)
    signal = np.tensordot(found.weights, test.factors, axes=1).astype(np.float32)
    label = forward_return(panel.rows(half, None), 1)[rows]
    for rank, part in ((False, found.outside.ic), (True, found.outside.rank_ic)):
        assert part.mean == pytest.approx(np.nanmean(ic_series(signal, label, rank=rank)), abs=1e-5)
    two = Sample.joined([Sample.of(values[n : n + 2, half:], panel.rows(half, None), 1) for n in (0, 2)])
    np.testing.assert_array_equal(two.ic(found.weights), test.ic(found.weights))
    assert found.weights[2] < 0 < found.weights[0]
    gain = contributions(fit, test, ["a", "copy", "b", "noise"])
    assert gain["b"] > 0.03
    assert abs(gain["copy"]) < 0.01
    assert abs(gain["noise"]) < 0.01
    alone = contributions(Sample.of(values[:1], panel, 1), Sample.of(values[:1], panel, 1), ["a"])
    assert alone["a"] == pytest.approx(summarise(Sample.of(values[:1], panel, 1).ic(np.ones(1)), 1).mean)
    with pytest.raises(ConfigError, match="ridge"):
        pool(fit, test, ridge=0.0)
    with pytest.raises(DataError):
        Sample.of(values[:, :10], panel, 1)


def test_verdicts() -> None:
    good = Measured(ic=-0.06, rank_ic=-0.05, t=-4.0, half_life_days=6.0, sign=-1)
    assert {line.colour for line in judge(good)} == {"green"}
    assert overall(judge(good)) == "green"
    # the sign turned: as bad as no signal
    turned = judge(Measured(ic=0.06, rank_ic=0.05, t=4.0, sign=-1))
    assert [line.colour for line in turned] == ["red", "red", "red", "unknown"]
    mixed = judge(Measured(ic=0.03, rank_ic=0.045, t=2.5, half_life_days=1.0, sign=1))
    assert [line.colour for line in mixed] == ["amber", "green", "green", "red"]
    assert overall(mixed) == "red"
    assert overall(judge(Measured(math.nan, math.nan, math.nan))) == "unknown"
    assert judge(Measured(0.03, 0.0, 0.0), Targets(ic=0.02))[0].colour == "green"
    counts = tally([judge(good), turned, mixed])
    assert counts["|IC|"] == {"green": 1, "amber": 1, "red": 1, "unknown": 0}
    assert counts["half-life (days)"] == {"green": 1, "amber": 0, "red": 1, "unknown": 1}


@pytest.mark.parametrize(
    ("ic", "colour"),
    [(0.09, "green"), (0.05, "amber"), (0.03, "red"), (-0.09, "red"), (math.nan, "unknown")],
)
def test_a_pool_is_judged_by_its_plain_ic_in_its_own_direction(ic: float, colour: str) -> None:
    plain, ranked = (ICSummary(mean, 0.1, 0.1, 3.0, 0.6, 100, 0) for mean in (ic, 0.2))
    assert judge_pool(Part(plain, ranked, 1.0)).colour == colour
