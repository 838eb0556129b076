"""The rules without freqtrade: entries, exits, stops and sizes, counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bascule.bridge.freqtrade.robust import Market, Scenario, hold
from bascule.core import DataError
from bascule.signals import RuleSettings, SignalFrame
from tests.bridge.desk.conftest import NAMES, candles, quiet

ROWS = 12
Wish = Callable[..., SignalFrame]


def scenario(**changes: object) -> Scenario:
    plain = Scenario("base", "base", RuleSettings(), fee=0.001, slippage=0.0, tradable=1.0)
    return Scenario(**{**plain.__dict__, **changes})  # type: ignore[arg-type]


def prices(**moves: dict[int, float]) -> np.ndarray:
    """Closes of 100, each instrument's moved by factors at rows."""
    closes = np.full((ROWS, len(NAMES)), 100.0)
    for name, changes in moves.items():
        column = NAMES.index(f"{name}_USDT")
        for row, factor in changes.items():
            closes[row:, column] *= factor
    return closes


def test_an_entry_is_held_until_the_rank_falls(wish: Wish) -> None:
    panel = candles(prices(BTC={5: 1.1}))
    frame = wish(
        quiet(panel),
        alpha_rank={(2, 0): 0.9, (7, 0): 0.4},
        target_weight={(2, 0): 0.5},
    )
    (held,) = hold(Market.join(frame, panel), [scenario()], shorts=False)
    inside = np.flatnonzero(held.weights[:, 0])
    assert inside.tolist() == [2, 3, 4, 5, 6]
    assert held.weights[2, 0] == pytest.approx(0.5 / (1 - 0.0005), rel=1e-6)
    # bought at 100, the candle of row 5 closes at 110: the weight drifts, nothing is rebalanced
    assert held.weights[5, 0] == pytest.approx(0.55 / (1.05 - 0.0005), rel=1e-6)
    assert held.trades.entered.tolist() == [2] and held.trades.left.tolist() == [7]
    gain = 0.05 - 0.001 * 0.5 - 0.001 * 0.55
    assert held.trades.earned[0] == pytest.approx(gain / (1.05 - 0.0005), rel=1e-6)


def test_a_stop_is_filled_at_its_price_or_at_a_worse_open(wish: Wish) -> None:
    closes = prices(BTC={4: 0.7}, ETH={4: 0.7})
    panel = candles(closes)
    opens = panel["open"].copy()
    low = panel["low"].copy()
    opens[4, 1] = 75.0  # a gap: opens below the stop at 80
    panel = panel.with_fields(open=opens, low=np.minimum(low, opens))
    enter = {(1, 0): 0.9, (1, 1): 0.9}
    frame = wish(quiet(panel), alpha_rank=enter, target_weight={(1, 0): 0.2, (1, 1): 0.2})
    (held,) = hold(Market.join(frame, panel), [scenario()], shorts=False)
    assert held.fills[4, 0] == pytest.approx(80.0)
    assert held.fills[4, 1] == pytest.approx(75.0)
    assert np.isnan(held.fills[:4]).all()
    assert (held.weights[4:, :2] == 0).all()


def test_stops_tighten_and_never_loosen(wish: Wish) -> None:
    panel = candles(prices(BTC={6: 0.94}))
    distances = {(row, 0): 0.05 for row in (3, 4)} | {(row, 0): 0.5 for row in (5, 6)}
    frame = wish(quiet(panel), alpha_rank={(1, 0): 0.9}, target_weight={(1, 0): 0.2}, stop_distance=distances)
    (held,) = hold(Market.join(frame, panel), [scenario()], shorts=False)
    assert held.fills[6, 0] == pytest.approx(95.0, rel=1e-5)


def test_what_was_stopped_waits_one_candle(wish: Wish) -> None:
    panel = candles(prices(BTC={4: 0.7}))
    always = {(row, 0): 0.9 for row in range(1, ROWS)}
    frame = wish(quiet(panel), alpha_rank=always, target_weight=dict.fromkeys(always, 0.2))
    (held,) = hold(Market.join(frame, panel), [scenario()], shorts=False)
    assert held.weights[4, 0] == 0 and held.weights[5, 0] > 0


def test_shorts_need_futures_and_mirror_longs(wish: Wish) -> None:
    panel = candles(prices(BTC={5: 0.9}))
    frame = wish(
        quiet(panel),
        alpha_rank={(2, 0): 0.1, **{(row, 0): 0.3 for row in (3, 4, 5, 6)}},
        target_weight={(2, 0): -0.5},
    )
    market = Market.join(frame, panel)
    assert not hold(market, [scenario()], shorts=False)[0].weights.any()
    (held,) = hold(market, [scenario()], shorts=True)
    assert np.flatnonzero(held.weights[:, 0] < 0).tolist() == [2, 3, 4, 5, 6]
    assert held.trades.earned[0] > 0.04


def test_delay_start_and_omission(wish: Wish) -> None:
    panel = candles(prices())
    frame = wish(
        quiet(panel),
        alpha_rank={(2, 0): 0.9, (3, 1): 0.9},
        target_weight={(2, 0): 0.2, (3, 1): 0.2},
    )
    several = [
        scenario(),
        scenario(delay=2),
        scenario(start=3),
        scenario(without="BTC_USDT"),
        scenario(size=0.5),
    ]
    found = hold(Market.join(frame, panel), several, shorts=False)
    first = [
        [int(np.flatnonzero(one.weights[:, n])[0]) if one.weights[:, n].any() else -1 for n in (0, 1)]
        for one in found
    ]
    assert first == [[2, 3], [4, 5], [-1, 3], [-1, 3], [2, 3]]
    assert found[4].weights[2, 0] == pytest.approx(0.1, rel=1e-3)


def test_scenarios_side_by_side_are_scenarios_alone(wish: Wish) -> None:
    rng = np.random.default_rng(4)
    panel = candles(100 * np.exp(np.cumsum(rng.normal(0, 0.03, (300, 4)), axis=0)))
    rank = rng.random((300, 4)).astype(np.float32)
    frame = quiet(panel)
    cells = {(t, n): float(rank[t, n]) for t in range(300) for n in range(4)}
    frame = wish(frame, alpha_rank=cells, target_weight=dict.fromkeys(cells, 0.3))
    several = [scenario(), scenario(delay=1, fee=0.01), scenario(stop=0.2, size=2.0)]
    market = Market.join(frame, panel)
    together = hold(market, several, shorts=True)
    for one, joined in zip(several, together, strict=True):
        (alone,) = hold(market, [one], shorts=True)
        np.testing.assert_array_equal(alone.weights, joined.weights)
        np.testing.assert_array_equal(alone.trades.earned, joined.trades.earned)
    # no scenario holds more than it has: the sizes ask for four times 60 %
    assert np.abs(together[2].weights).sum(axis=1).max() < 1.2


def test_later_rows_change_nothing_before(wish: Wish) -> None:
    rng = np.random.default_rng(5)
    panel = candles(100 * np.exp(np.cumsum(rng.normal(0, 0.03, (200, 4)), axis=0)))
    cells = {(t, n): float(v) for (t, n), v in np.ndenumerate(rng.random((200, 4)))}
    frame = wish(quiet(panel), alpha_rank=cells, target_weight=dict.fromkeys(cells, 0.2))
    whole = hold(Market.join(frame, panel), [scenario()], shorts=False)[0].weights
    part = hold(Market.join(frame.rows(None, 120), panel), [scenario()], shorts=False)[0].weights
    # the last row of the shorter run has no open after it
    np.testing.assert_array_equal(part[:118], whole[:118])


def test_candles_must_cover_the_signals() -> None:
    panel = candles(prices())
    with pytest.raises(DataError, match="do not cover"):
        Market.join(quiet(panel), panel.rows(2, None))
