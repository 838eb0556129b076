"""Constructed portfolios in a recipe: live equals stored, limits hold, nothing looks ahead."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.portfolio import ConstructedSettings
from bascule.portfolio.constructed import chain
from bascule.signals import SignalFrame, SignalSpec, finish, lookback
from tests.bridge.research import Research, spec

# cvxpy's own
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

RISK = {
    "exposures": {
        "factors": ["beta", "reversal"], "min_breadth": 3, "weight_days": 4, "min_age_days": 2,
        "extra": [{"name": "swing", "text": "Std($close/Ref($close,1)-1,3d)"}],
    },
    "covariance": {"min_days": 2},
    "specific": {"min_days": 2, "groups": 1},
}  # fmt: skip
PLAIN: dict[str, Any] = {
    "objective": "min_variance", "every": 24, "history_days": 8, "min_members": 3, "risk": RISK,
    "limits": {"max_weight": 0.5},
}  # fmt: skip
TURNING: dict[str, Any] = {
    **PLAIN, "objective": "mean_variance", "every": 12, "memory": 3, "cost": 0.0015, "risk_aversion": 2.0,
    "limits": {"max_weight": 0.5, "turnover": 0.3},
}  # fmt: skip
OTHERS = {
    "risk parity": {**PLAIN, "objective": "risk_parity", "every": 120, "limits": {"max_weight": 1}},
    "hrp": {**PLAIN, "objective": "hrp", "every": 120, "limits": {"max_weight": 1}},
    "cvar": {**PLAIN, "objective": "cvar", "every": 120},
    "by volume": {
        **PLAIN,
        "limits": {"max_weight": 0.5, "capital": 1e6, "position_share": 0.5, "net": [0, 1], "gross": 1},
        "objective": "mean_variance",
    },
}


def recipe(construction: dict[str, Any], **changes: Any) -> SignalSpec:
    return spec("spot", portfolio={"construction": construction}, **changes)


ROWS = 1_700  # the models speak from row 960 on


def made(research: Research, chosen: SignalSpec, start: int = 0, stop: int = ROWS) -> SignalFrame:
    """Signals of a window of the prepared candles, as a bundle computes them from what its models say."""
    raw, ids = research.bundle.predict(research.features[:, start:stop], research.panel.time[start:stop])
    panel = replace(research.panel, universe=None).rows(start, stop)
    return finish(panel, raw, chosen, model_id=ids)


@pytest.mark.parametrize(
    "name", ["plain", "turning", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_window_gives_the_weights_of_the_whole(spot: Research, name: str) -> None:
    construction = {"plain": PLAIN, "turning": TURNING, **OTHERS}[name]
    chosen = recipe(construction)
    back = lookback(chosen)
    whole = made(spot, chosen)
    held = np.abs(whole.target_weight).sum(axis=1)
    assert (held > 0).mean() > 0.15
    for end in (ROWS - 200, ROWS - 17):
        window = made(spot, chosen, end - back - 15, end)
        np.testing.assert_array_equal(
            window.target_weight[back:], whole.target_weight[end - 15 : end], err_msg=f"{name}, to {end}"
        )


def test_one_row_less_than_the_lookback_is_not_enough(spot: Research) -> None:
    """The derived look-back is no larger than it must be, but for the universe's whole days."""
    chosen = recipe(TURNING)
    construction = chosen.portfolio.construction
    assert construction is not None and construction.stateful
    assert chain(construction) == 2 * 3 * 12 - 1
    assert lookback(chosen) > lookback(recipe(PLAIN)) > lookback(spec("spot"))
    assert chain(ConstructedSettings.read(PLAIN)) == 23


def test_live_equals_stored(spot: Research, tmp_path: Any) -> None:
    """Raw candles of a window, through the bundle, lead to the stored weights."""
    from bascule.signals import write_bundle

    chosen = recipe(TURNING)
    whole = made(spot, chosen, stop=len(spot.panel.time))
    bundle = write_bundle(
        tmp_path / "b", spec=chosen, panel=spot.panel, signals=whole, models=spot.models,
        data_fingerprint="test", created=np.datetime64("2024-01-01"),
    )  # fmt: skip
    for end in (2_371,):
        live = bundle.live(spot.raw.rows(end - bundle.lookback - 30, end))
        assert len(live.time) == 30
        stored = bundle.signals
        at = np.searchsorted(stored.time, live.time)
        present = np.isfinite(stored.target_weight[at])
        assert (stored.target_weight[at][present] > 0).any()
        np.testing.assert_array_equal(live.target_weight[present], stored.target_weight[at][present])


def test_limits_hold_within_an_epoch(spot: Research) -> None:
    chosen = recipe(TURNING, universe={"top": 6, "volume_days": 3, "min_age_days": 2})
    chosen = chosen.model_copy(
        update={"portfolio": chosen.portfolio.model_copy(update={"risk_scaling": 0.0})}
    )
    frame = made(spot, chosen)
    weights = frame.target_weight.astype(np.float64)
    number = frame.time.astype(np.int64) // 3_600_000_000_000
    at = np.flatnonzero((number % 12 == 0) & (weights.sum(axis=1) > 0.99))
    assert len(at) > 30
    assert weights.max() <= 0.5 and (weights >= 0).all() and weights.sum(axis=1).max() <= 1 + 1e-6
    inside = spot.panel.members
    checked = moved = 0
    for before, now in pairwise(at):
        same_epoch = number[before] // 36 == number[now] // 36 and now - before == 12
        # what left in between had to be sold
        if same_epoch and (inside[now] >= (weights[before] > 0)).all():
            turnover = np.abs(weights[now] - weights[before]).sum()
            assert turnover <= 0.3 + 1e-5, frame.time[now]
            checked += 1
            moved += turnover > 0.01
    assert checked > 10 and moved > 3


def test_the_future_changes_nothing(spot: Research) -> None:
    chosen = recipe(TURNING)
    whole = made(spot, chosen)
    part = made(spot, chosen, stop=1_503)
    np.testing.assert_array_equal(part.target_weight, whole.target_weight[:1_503])


def test_more_fields_in_the_store_give_no_other_weights(spot: Research) -> None:
    chosen = recipe(PLAIN)
    before = made(spot, chosen)
    more = {**spot.panel.fields, "market_cap": np.ones(spot.panel.shape, np.float32)}
    richer = replace(spot, panel=replace(spot.panel, fields=more))
    np.testing.assert_array_equal(made(richer, chosen).target_weight, before.target_weight)


@pytest.mark.slow
def test_contradicting_limits_keep_the_weights_before(
    spot: Research, caplog: pytest.LogCaptureFixture
) -> None:
    few = {**PLAIN, "limits": {"max_weight": 0.1}}
    frame = made(spot, recipe(few))
    assert not frame.target_weight.any()
    assert "max_weight = 0.1" in caplog.text and "are kept" in caplog.text
    # trades of a day's hundredth cannot carry what a member that left sets free: these limits give way
    caplog.clear()
    tight = {**TURNING, "limits": {"max_weight": 0.5, "turnover": 0.01}}
    frame = made(spot, recipe(tight))
    assert "give way" in caplog.text
    assert (frame.target_weight.sum(axis=1) > 0.3).mean() > 0.2


def test_what_cannot_be_live_is_refused() -> None:
    named = {**PLAIN, "risk": {"exposures": {"factors": ["size"]}}}
    with pytest.raises(ConfigError, match=r"size.*live bot has only candles"):
        lookback(recipe(named))
    endless = {**PLAIN, "risk": {"exposures": {"extra": [{"name": "old", "text": "Mean($close,0)"}]}}}
    with pytest.raises(ConfigError, match="all history"):
        lookback(recipe(endless))
    both = {**PLAIN, "limits": {"side": "long_short"}}
    with pytest.raises(ConfigError, match="long only"):
        recipe(both)
