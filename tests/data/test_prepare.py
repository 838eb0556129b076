"""The prepared panel: masked where nothing was traded, with vwap, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.core import DataError, Panel, Timeframe
from bascule.data.prepare import prepare

from .candles import at, make

HOUR = Timeframe.parse("1h")


def raw(bars: int = 50, seed: int = 0) -> Panel:
    frame = make(bars=bars, seed=seed)
    frame.loc[at(frame, "AAA_USDT", 7), "volume"] = 0
    frame["quote_volume"] = frame["volume"] * frame["close"]
    frame["mark"] = frame["close"]
    return Panel.from_long(frame.drop(index=at(frame, "BBB_USDT", 9)), HOUR)


def test_candles_without_trade_are_masked() -> None:
    panel = prepare(raw())
    for name in ("open", "high", "low", "close", "volume", "quote_volume", "vwap"):
        assert np.isnan(panel[name][7, 0])
        assert np.isnan(panel[name][9, 1])
        assert np.isfinite(panel[name]).sum() == 2 * 50 - 2
    assert np.isfinite(panel["mark"][7, 0])  # a mark price exists without trades
    assert not panel.traded[7, 0]


def test_a_filled_hole_and_a_hole_are_the_same() -> None:
    frame = make(bars=20)
    i = at(frame, "AAA_USDT", 5)
    before = frame.loc[i - 1, "close"]
    holes = prepare(Panel.from_long(frame.drop(index=i), HOUR))
    frame.loc[i, ["open", "high", "low", "close"]] = before
    frame.loc[i, "volume"] = 0
    filled = prepare(Panel.from_long(frame, HOUR))
    assert holes.fingerprint() == filled.fingerprint()


def test_vwap() -> None:
    panel = prepare(raw())
    expected = (panel["high"] + panel["low"] + panel["close"]) / np.float32(3)
    np.testing.assert_array_equal(panel["vwap"], expected)
    quote = prepare(raw(), vwap="quote")
    np.testing.assert_allclose(quote["vwap"], quote["close"], rtol=1e-6)
    assert quote["vwap"].dtype == np.float32
    with pytest.raises(DataError, match="quote_volume"):
        prepare(Panel.from_long(make(bars=5), HOUR), vwap="quote")


def test_preparing_twice_changes_nothing() -> None:
    once = prepare(raw())
    assert prepare(once).fingerprint() == once.fingerprint()


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 49), seed=st.integers(0, 5))
def test_rows_depend_on_themselves_only(cut: int, seed: int) -> None:
    panel = raw(seed=seed)
    whole = prepare(panel)
    assert prepare(panel.rows(0, cut)).fingerprint() == whole.rows(0, cut).fingerprint()
    assert prepare(panel.rows(cut, None)).fingerprint() == whole.rows(cut, None).fingerprint()
