"""Panel to signals: the formulas, no look-ahead, and windows that give the bits of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from bascule.core import ConfigError
from bascule.signals import SignalSpec, compute, features, finish, lookback, unavailable_live
from bascule.signals.frame import BY_INSTRUMENT
from tests.bridge.research import Research, spec

GRID = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
GRID[GRID > 1.5] = np.nan
GRID[3] = np.nan
GRID[4, 1:] = np.nan
GRID[5] = 2.0
GRID[6, :4] = 1.0


def test_ranks_are_those_of_scipy_scaled() -> None:
    ranks = compute.rank_rows(GRID)
    for row, found in zip(GRID, ranks, strict=True):
        known = np.isfinite(row)
        assert np.isnan(found[~known]).all()
        if known.sum() > 1:
            expected = (rankdata(row[known]) - 1) / (known.sum() - 1)
            np.testing.assert_allclose(found[known], expected, rtol=1e-6)
    assert ranks[4, 0] == 0.5
    assert np.nanmin(ranks) == 0 and np.nanmax(ranks) == 1


@pytest.mark.parametrize("bars", [1, 2, 5, 100])
def test_smoothing_is_the_mean_of_what_is_known(bars: int) -> None:
    smoothed = compute.smooth(GRID, bars)
    for t in range(len(GRID)):
        for n in range(GRID.shape[1]):
            past = GRID[max(0, t - bars + 1) : t + 1, n]
            if np.isnan(GRID[t, n]):
                assert np.isnan(smoothed[t, n])
            else:
                assert smoothed[t, n] == pytest.approx(
                    np.nanmean(past.astype(np.float64)), rel=1e-5, abs=1e-7
                )


def test_expected_return_is_skill_times_volatility_times_score(spot: Research) -> None:
    recipe = spot.spec
    volatility = np.full(GRID.shape, np.float32(0.8))
    found = compute.expected_return(GRID, volatility, recipe)
    row = GRID[10].astype(np.float64)
    score = (row - np.nanmean(row)) / np.nanstd(row)
    expected = recipe.skill * 0.8 * np.sqrt(recipe.horizon / (365 * 24)) * score
    np.testing.assert_allclose(found[10], expected, rtol=1e-5)
    assert np.nanmax(np.abs(found[5])) == 0  # all alike: nothing is expected of anybody


def test_stops_follow_volatility_and_are_narrower_where_risk_is_high(spot: Research) -> None:
    from bascule import risk

    scores = risk.compute(spot.panel, spot.spec.risk)
    distance = compute.stop_distance(scores, spot.spec)
    stop, horizon = spot.spec.stop, np.sqrt(spot.spec.horizon / (365 * 24))
    assert distance.dtype == np.float32
    known = np.isfinite(scores.score) & np.isfinite(scores.volatility)
    expected = (stop.calm - (stop.calm - stop.stressed) * scores.score) * scores.volatility * horizon
    np.testing.assert_allclose(distance[known], np.clip(expected, stop.floor, stop.cap)[known], rtol=1e-6)
    assert (distance[np.isnan(scores.volatility)] == np.float32(stop.cap)).all()
    rising = replace(scores, score=np.broadcast_to(np.linspace(0, 1, 6, dtype=np.float32), known.shape))
    even = replace(rising, volatility=np.full(known.shape, np.float32(0.9)))
    assert (np.diff(compute.stop_distance(even, spot.spec), axis=1) < 0).all()
    unknown = replace(even, score=np.full(known.shape, np.float32(np.nan)))
    assert (compute.stop_distance(unknown, spot.spec) == compute.stop_distance(even, spot.spec)[:, -1:]).all()


def test_a_window_that_covers_lookback_gives_the_same_bits(spot: Research) -> None:
    need = lookback(spot.spec)
    for stop in (need + 30, 1_500, len(spot.panel.time)):
        window = replace(spot.panel, universe=None).rows(stop - need - 20, stop)
        np.testing.assert_array_equal(
            features(window, spot.spec)[:, -19:],
            spot.features[:, stop - 19 : stop],
            err_msg=f"rows to {stop}",
        )


def test_later_rows_change_nothing(spot: Research) -> None:
    whole = spot.signals
    for stop in (1_100, 1_700, 2_250):
        part = finish(
            spot.panel.rows(None, stop),
            whole_raw(spot)[:stop],
            spot.spec,
            model_id=whole.model_id[:stop],
        )
        for name in (*BY_INSTRUMENT, "portfolio_risk", "regime"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:stop], err_msg=name)


def whole_raw(research: Research) -> np.ndarray:
    """Raw alphas of all rows."""
    return research.bundle.predict(research.features, research.panel.time)[0]


def test_only_members_get_signals(spot: Research) -> None:
    outside = ~spot.panel.members
    assert outside[spot.signals.covered].any()
    assert np.isnan(spot.signals.alpha[outside]).all()
    assert np.isnan(spot.signals.alpha_rank[outside]).all()
    assert (spot.signals.target_weight[outside] == 0).all()
    assert np.isnan(spot.features[:, outside]).all()


def test_thin_rows_have_no_signals(spot: Research) -> None:
    wide = spot.spec.model_copy(update={"breadth": 6})  # one more than the universe holds
    signals = finish(spot.panel, whole_raw(spot), wide)
    assert np.isnan(signals.alpha_rank).all() and (signals.target_weight == 0).all()


def test_factors_that_cannot_be_traded_are_refused() -> None:
    for text, rule in (("Ref($close, -3) / $close", "reads the future"), ("Mean($close, 0)", "all history")):
        recipe = spec("spot", factors=[{"name": "ok", "text": "$close"}, {"name": "bad", "text": text}])
        with pytest.raises(ConfigError, match=rule) as caught:
            lookback(recipe)
        assert caught.value.where == "factors.bad"


def test_fields_that_candles_do_not_give_are_named() -> None:
    assert unavailable_live(spec("spot")) == ()
    flow = [{"name": "a", "text": "$funding_rate + $close"}]
    assert unavailable_live(spec("spot", factors=flow)) == ("funding_rate",)
    assert unavailable_live(spec("spot", vwap="quote")) == ("vwap (of quote volume)",)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"timeframe": "7h"}, "timeframe"),
        ({"factors": [{"name": "a", "text": "$close"}, {"name": "a", "text": "$open"}]}, "factors"),
        ({"rules": {"entry_rank": 0.6, "exit_rank": 0.7}}, "rules"),
        ({"rules": {"risk_limit": 0.9, "critical_risk": 0.8}}, "rules"),
        ({"stop": {"floor": 0.3}}, "stop"),
        ({"stop": {"stressed": 5}}, "stop"),
        ({"horizon": 0}, "horizon"),
        ({"smoothign": 2}, "smoothign"),
    ],
)
def test_bad_recipes_are_refused(change: dict[str, object], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec("spot", **change)
    assert place in str(caught.value)


def test_a_recipe_survives_json() -> None:
    recipe = spec("futures")
    assert SignalSpec.model_validate_json(recipe.model_dump_json()) == recipe


def test_processors_are_part_of_the_features(spot: Research) -> None:
    steps = [{"kind": "winsorize", "q": 0.1}, {"kind": "zscore", "tiers": [2]}]
    recipe = spec("spot", processors=steps)
    values = features(spot.panel, recipe)
    assert values.shape == (len(recipe.factors), *spot.panel.shape)
    inside = compute.with_members(spot.panel, recipe).members
    assert not np.isfinite(values[:, ~inside]).any() and np.isfinite(values[:, inside]).any()
    assert np.nanmax(np.abs(values)) < 3
    # a window that covers the look-back gives the same bits: what is live is what was stored
    need = lookback(recipe)
    part = features(spot.panel.rows(700 - need, 760), recipe)
    np.testing.assert_array_equal(part[:, need:], values[:, 700:760])
    assert SignalSpec.read(recipe.model_dump(mode="json")) == recipe
