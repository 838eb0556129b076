"""Factors on longer candles in a recipe: known when their candle closes, the same bits live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.app.config import RunConfig
from bascule.core import ConfigError, Timeframe
from bascule.models import coarse
from bascule.signals import SignalSpec, features, lookback, unavailable_live, with_members
from bascule.signals.frame import BY_INSTRUMENT
from tests.bridge.research import Research, build, spec

FACTORS: list[dict[str, Any]] = [
    {"name": "momentum", "text": "$close / Ref($close, 12) - 1"},
    {"name": "slow", "text": "$close / Ref($close, 5) - 1", "timeframe": "4h"},
    {"name": "rank", "text": "CSRank(Mean($volume, 3))", "timeframe": "4h"},
    {"name": "day", "text": "Std($close / $open, 4)", "timeframe": "1d"},
    {"name": "gap", "text": "$vwap / $close - 1", "timeframe": "4h"},
]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Research:
    return build(tmp_path_factory.mktemp("slow"), "spot", days=70, factors=FACTORS)


def test_a_value_of_a_longer_candle_is_there_when_it_closes(slow: Research) -> None:
    panel = with_members(slow.panel, slow.spec)
    candles = coarse(panel, Timeframe.parse("4h"))
    close = candles["close"].astype(np.float64)
    expected = np.full(close.shape, np.nan)
    expected[5:] = close[5:] / close[:-5] - 1
    for row in range(900, 930):
        # the candle that is closed when the row's own hour is over
        done = int(
            (slow.panel.time[row] + np.timedelta64(1, "h") - candles.time[0]) // np.timedelta64(4, "h")
        )
        inside = panel.members[row]
        np.testing.assert_allclose(
            slow.features[1, row][inside], expected[done - 1][inside], rtol=1e-4, atol=1e-6
        )


def test_vwap_of_a_longer_candle_is_weighted_by_volume(slow: Research) -> None:
    panel = slow.panel
    candles = coarse(panel, Timeframe.parse("4h"))
    first = int((candles.time[100] - panel.time[0]) // np.timedelta64(1, "h"))
    price = panel["vwap"][first : first + 4].astype(np.float64)
    volume = np.where(np.isfinite(price), panel["volume"][first : first + 4], 0.0)
    expected = (np.nan_to_num(price) * volume).sum(axis=0) / volume.sum(axis=0)
    np.testing.assert_allclose(candles["vwap"][100], expected, rtol=1e-6)
    assert (candles["vwap"][100] != panel["vwap"][first + 3]).all()


@pytest.mark.parametrize("end", [1_313, 1_314, 1_315, 1_316, 1_337])
def test_a_window_gives_the_features_of_the_whole(slow: Research, end: int) -> None:
    back = lookback(slow.spec)
    panel = replace(slow.panel, universe=None).rows(end - back - 1, end)
    part = features(panel, slow.spec)
    np.testing.assert_array_equal(part[:, -1], slow.features[:, end - 1])


def test_the_lookback_is_as_long_as_it_must_be() -> None:
    """A candle of a day may have closed 23 hours ago, and factors look back over whole ones."""
    plain = spec("spot", factors=FACTORS[:1])
    daily = spec("spot", factors=[{**FACTORS[3], "text": "Mean($close, 9)"}], risk=plain.risk)
    wide = lookback(daily) - lookback(plain)
    risky = max(lookback(plain) - 95, 12)  # of the risk scores, beside the universe's 95
    assert lookback(daily) == 95 + max((8 + 2) * 24 - 2 + 1, risky)
    assert wide > 0


def test_the_future_changes_nothing(slow: Research) -> None:
    panel = replace(slow.panel, universe=None)
    for stop in (1_201, 1_202, 1_203):
        part = features(panel.rows(0, stop), slow.spec)
        np.testing.assert_array_equal(part, slow.features[:, :stop])


def test_live_equals_stored(slow: Research) -> None:
    bundle = slow.bundle
    assert unavailable_live(slow.spec) == ()
    live = bundle.live(slow.raw.rows(1_600 - bundle.lookback - 30, 1_600))
    assert len(live.time) == 30
    stored = bundle.signals
    at = np.searchsorted(stored.time, live.time)
    present = np.isfinite(stored.stop_distance[at])
    assert present.any(axis=1).all()
    for name in BY_INSTRUMENT:
        np.testing.assert_array_equal(
            getattr(live, name)[present], getattr(stored, name)[at][present], err_msg=name
        )


@pytest.mark.parametrize(
    ("timeframe", "match"), [("30m", "cannot be made"), ("90m", "90m"), ("1h", "made of 1h")]
)
def test_only_longer_whole_candles(timeframe: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        spec("spot", factors=[{"name": "a", "text": "$close", "timeframe": timeframe}])


def test_a_look_ahead_on_longer_candles_is_named() -> None:
    bad = spec("spot", factors=[{"name": "a", "text": "Ref($close, -1)", "timeframe": "4h"}])
    with pytest.raises(ConfigError, match="reads the future"):
        lookback(bad)


def test_a_run_names_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("factors:\n- {name: own, text: $close / $open}\n")
    values: dict[str, Any] = {
        "name": "x",
        "factors": [
            "macd",
            "macd@4h",
            f"{path}@1d",
            {"name": "a", "text": "$close / $open", "timeframe": "4h"},
            {"name": "a", "text": "$close / $open"},
        ],
        "walk_forward": {"first_test": "2024-01-01"},
    }
    recipe: SignalSpec = RunConfig.read(values).recipe()
    found = {factor.name: factor.timeframe for factor in recipe.factors}
    assert found["own_1d"] == "1d" and found["a_4h"] == "4h" and found["a"] is None
    slow = [name for name in found if name.endswith("_4h")]
    assert len(slow) == 1 + sum(f is None for n, f in found.items() if n != "a")
    with pytest.raises(ConfigError, match="cannot be made"):
        RunConfig.read({**values, "factors": ["macd@1m"]}).recipe()
    steps = RunConfig.read({**values, "factors": ["macd@4h"], "model": {"steps": 3}}).recipe()
    assert any(name.endswith("_lag2_4h") for name in steps.names)
