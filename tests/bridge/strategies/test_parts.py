"""The parts of the strategy by themselves: numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.bridge.freqtrade.trading import TradingSettings, gates, gearing, neutral, pricing, sizing, stops
from bascule.bridge.freqtrade.trading.guard import Guard, GuardSettings
from bascule.bridge.freqtrade.trading.protections import ProtectionSettings
from bascule.core import ConfigError

DAY = 86_400


# -- stops -----------------------------------------------------------------------------------------------

LEVELS = stops.LevelSettings.read(
    {
        "tighten": 0.5,
        "levels": [{"after": 1.0}, {"after": 2.0, "lock": 1.0}],
        "trail": {"after": 3.0, "distance": 1.5},
    }
)


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (100.0, 90.0),
        (109.9, 90.0),
        (110.0, 100.0),
        (120.1, 110.0),
        (129.0, 110.0),
        (130.0, 110.5),
        (200.0, 170.0),
    ],
)
def test_stops_climb_the_levels_and_then_follow(best: float, expected: float) -> None:
    assert stops.stop_price(1, 100.0, best, 0.1, 0.1, LEVELS) == pytest.approx(expected)


# prices that no level starts at: on the edge, rounding decides
PRICES = st.integers(500, 999).map(lambda tenths: tenths / 10 + 0.05)


@given(best=PRICES, distance=st.floats(0.01, 0.3), risk=st.floats(0, 1))
def test_a_short_is_the_mirror_image_but_for_the_trail(best: float, distance: float, risk: float) -> None:
    levels = LEVELS.model_copy(update={"trail": None})
    short = stops.stop_price(-1, 100.0, best, distance, 0.1, levels, portfolio_risk=risk)
    long = stops.stop_price(1, 100.0, 200.0 - best, distance, 0.1, levels, portfolio_risk=risk)
    assert short == pytest.approx(200.0 - long)


@given(
    side=st.sampled_from([1, -1]),
    bests=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    distance=st.floats(0.01, 0.3),
)
def test_a_better_best_price_never_loosens_the_stop(
    side: int, bests: tuple[float, float], distance: float
) -> None:
    low, high = sorted(bests)
    worse, better = (
        stops.stop_price(side, 100.0, 100.0 * (1 + side * b * 0.9), distance, 0.1, LEVELS)
        for b in (low, high)
    )
    assert side * (better - worse) >= -1e-9


def test_risk_of_the_whole_tightens_and_an_unknown_one_counts_as_high() -> None:
    calm, wild, unknown = (
        stops.stop_price(1, 100.0, 100.0, 0.1, 0.1, LEVELS, portfolio_risk=r)
        for r in (0.0, 1.0, float("nan"))
    )
    assert (calm, wild, unknown) == (pytest.approx(90.0), pytest.approx(95.0), pytest.approx(95.0))


@pytest.mark.parametrize("side", [1, -1])
def test_a_position_past_the_stop_that_risk_asks_for_is_overtaken_unless_its_stop_is_reached_too(
    side: int,
) -> None:
    def overtaken(price: float, distance: float, held: float) -> bool:
        # mirrored at 100
        return stops.overtaken(
            side, 100.0, 100.0 + side * (price - 100.0), distance, 100.0 + side * (held - 100)
        )

    assert overtaken(96.0, 0.03, held=95.0) and overtaken(97.0, 0.03, held=95.0)
    assert not overtaken(97.1, 0.03, held=95.0)  # the stop can be set
    assert not overtaken(95.0, 0.03, held=95.0)  # the stop does it, as it is meant to
    assert not overtaken(96.0, 0.05, held=95.0) and not overtaken(96.0, float("nan"), held=95.0)


def test_only_the_risk_of_the_whole_takes_from_a_distance() -> None:
    assert stops.tightened(0.1, None, 1.0) == 0.1
    assert stops.tightened(0.1, LEVELS, 0.5) == pytest.approx(0.075)


def test_the_time_stop_closes_what_did_not_move() -> None:
    time = stops.TimeStopSettings(candles=10, gain=0.5)
    assert not stops.too_slow(1, 100, 90, 9, 0.1, time)
    assert stops.too_slow(1, 100, 104.9, 10, 0.1, time) and not stops.too_slow(1, 100, 105.1, 10, 0.1, time)
    assert stops.too_slow(-1, 100, 95.1, 10, 0.1, time) and not stops.too_slow(-1, 100, 94.9, 10, 0.1, time)


# -- sizes -----------------------------------------------------------------------------------------------


def held(value: float = 1000.0, **changes: float) -> sizing.Holding:
    usual = {"side": 1, "value": value, "gain": 0.0, "initial": 0.1, "candles": 0, "entered": 1, "taken": 0}
    return sizing.Holding(**{**usual, **changes})  # type: ignore[arg-type]


def test_inside_the_band_nothing_is_traded_and_outside_only_to_its_edge() -> None:
    edge = sizing.RebalanceSettings(band=0.01, relative=0.2)
    whole = edge.model_copy(update={"to": "target"})
    for weight, to_edge, to_target in (
        (0.10, None, None),
        (0.12, None, None),  # 20 % of 0.12 is 0.024
        (0.14, 120.0, 400.0),  # the edge is at 0.112
        (0.05, -400.0, -500.0),  # the edge is at 0.06
    ):
        for settings, expected in ((edge, to_edge), (whole, to_target)):
            found = sizing.rebalance(held(), weight, 10_000.0, settings)
            assert (found.value if found else None) == (None if expected is None else pytest.approx(expected))


@given(value=st.floats(1, 5_000), weight=st.floats(0.001, 0.5))
def test_after_a_rebalance_there_is_none(value: float, weight: float) -> None:
    for to in ("edge", "target"):
        settings = sizing.RebalanceSettings(band=0.01, relative=0.1, to=to)
        found = sizing.rebalance(held(value), weight, 10_000.0, settings)
        if found is not None:
            again = sizing.rebalance(held(value + found.value), weight, 10_000.0, settings)
            assert again is None or abs(again.value) < 1e-6 * 10_000


def test_no_target_is_held_or_closed() -> None:
    hold, close = sizing.RebalanceSettings(), sizing.RebalanceSettings(zero="close")
    assert sizing.rebalance(held(), float("nan"), 10_000.0, close) is None
    for weight in (0.0, -0.1):
        assert sizing.rebalance(held(), weight, 10_000.0, hold) is None
        assert sizing.rebalance(held(), weight, 10_000.0, close) == sizing.Change(-1000.0, "rebalance")


def test_a_ladder_enters_in_steps_by_time_dip_or_confirmation() -> None:
    def due(mode: str, **changes: float) -> float | None:
        ladder = sizing.LadderSettings(entries=(0.5, 0.3, 0.2), mode=mode, spacing=2.0)  # type: ignore[arg-type]
        found = sizing.step(held(**changes), 0.2, 10_000.0, ladder)
        return found.value if found else None

    assert due("time", candles=1) is None and due("time", candles=2) == pytest.approx(600)
    assert due("time", candles=3, entered=2) is None and due("time", candles=4, entered=2) == pytest.approx(
        400
    )
    assert due("time", candles=99, entered=3) is None
    assert due("dip", gain=-0.19) is None and due("dip", gain=-0.2) == pytest.approx(600)
    assert due("confirm", gain=0.19) is None and due("confirm", gain=0.2) == pytest.approx(600)
    assert due("time", candles=9, taken=1) is None  # what was sold is not bought again


def test_a_ladder_leaves_in_shares_of_the_whole() -> None:
    ladder = sizing.LadderSettings(exits=(sizing.Take(gain=1, share=0.25), sizing.Take(gain=2, share=0.5)))
    assert sizing.step(held(gain=0.09), 0.1, 10_000.0, ladder) is None
    first = sizing.step(held(gain=0.1), 0.1, 10_000.0, ladder)
    assert first == sizing.Change(-250.0, "ladder_out_1")
    second = sizing.step(held(750.0, gain=0.2, taken=1), 0.1, 10_000.0, ladder)
    assert second is not None and second.value == pytest.approx(-500.0)
    assert sizing.step(held(250.0, gain=9.0, taken=2), 0.1, 10_000.0, ladder) is None
    assert sizing.opened(held(taken=2), ladder) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"ladder": {"entries": [0.5, 0.4]}}, "add to 1"),
        ({"ladder": {"exits": [{"gain": 2, "share": 0.2}, {"gain": 1, "share": 0.2}]}}, "rising"),
        ({"ladder": {"exits": [{"gain": 1, "share": 0.6}, {"gain": 2, "share": 0.5}]}}, "leave something"),
        ({"stops": {"levels": [{"after": 1, "lock": 1}]}}, "stop at once"),
        ({"guard": {"halve": 0.3}}, "must rise"),
        ({"limits": {"exposures": {"size": 1.0}}}, "'market' only"),
        ({"neutral": {"hedge": "??"}}, "asset name|cannot read"),
        ({"rebalence": {}}, "unknown key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(group: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TradingSettings.read(group, where="bascule.trading")


# -- leverage --------------------------------------------------------------------------------------------


@given(stop=st.floats(0.005, 0.5), brackets=st.floats(1, 125), most=st.floats(1, 125))
def test_liquidation_lies_beyond_the_stop(stop: float, brackets: float, most: float) -> None:
    settings = gearing.GearSettings(most=most, beyond=1.5, maintenance=0.01)
    found = gearing.leverage(stop, 0.0, brackets, settings, liquidation_buffer=0.05)
    assert 1.0 <= found <= max(1.0, min(brackets, most))
    if found > 1.0:
        away = (1.0 / found - max(0.01, 0.5 / brackets)) * 0.95
        assert away >= 1.5 * stop * (1 - 1e-9)


def test_the_volatility_target_and_unknown_risk() -> None:
    settings = gearing.GearSettings(most=10.0, volatility=1.2)
    assert gearing.leverage(0.02, 0.6, 50.0, settings) == pytest.approx(2.0)
    assert gearing.leverage(0.02, 0.6, 50.0, settings, target=1.8) == pytest.approx(3.0)
    assert gearing.leverage(0.02, float("nan"), 50.0, settings) == 1.0
    assert gearing.leverage(float("nan"), 0.6, 50.0, settings) == 1.0


# -- gates and prices ------------------------------------------------------------------------------------

BOOK = {"bids": [[99.95, 10], [99.0, 500]], "asks": [[100.05, 10], [100.2, 10], [102.0, 900]]}


def test_spread_and_depth_of_the_far_side_decide() -> None:
    settings = gates.GateSettings(spread=0.002, depth=2.0, window=0.005)
    # 2004.5 lie within half a per cent of 100 on the ask side, 999.5 on the bid side
    assert gates.refuse_book(BOOK, 1, 1000.0, settings) is None
    assert "depth" in str(gates.refuse_book(BOOK, 1, 1010.0, settings))
    assert "depth" in str(gates.refuse_book(BOOK, -1, 1000.0, settings))
    assert gates.refuse_book(BOOK, -1, 499.0, settings) is None
    assert "spread" in str(gates.refuse_book(BOOK, 1, 1.0, settings.model_copy(update={"spread": 0.0009})))


@pytest.mark.parametrize(
    "book",
    [
        {},
        {"bids": [], "asks": [[1, 1]]},
        {"bids": [[2, 1]], "asks": [[1, 1]]},
        {"bids": [[1, 0]], "asks": [[2, 1]]},
        {"bids": None, "asks": None},
        {"bids": [[1, None]], "asks": [[2, 1]]},
    ],
)
def test_a_book_that_is_none_lets_nothing_through(book: dict[str, object]) -> None:
    assert "empty or crossed" in str(gates.refuse_book(book, 1, 0.0, gates.GateSettings()))


def test_volume_must_be_known_large_and_not_swallowed() -> None:
    settings = gates.GateSettings(min_volume=24_000.0, participation=0.1)
    assert gates.refuse_volume(1_000.0, 24, 100.0, settings) is None
    assert "below" in str(gates.refuse_volume(999.0, 24, 1.0, settings))
    assert "above" in str(gates.refuse_volume(1_000.0, 24, 101.0, settings))
    assert "not known" in str(gates.refuse_volume(float("nan"), 24, 1.0, settings))
    assert gates.refuse_volume(float("nan"), 24, 1.0, gates.GateSettings()) is None


def test_prices_come_nearer_and_then_cross() -> None:
    settings = pricing.PricingSettings(offset=0.03, tries=3, cross=0.01)
    buys = [pricing.limit_price(True, 100.0, tried, settings) for tried in range(5)]
    assert buys == pytest.approx([97.0, 98.0, 99.0, 100.0, 100.0])
    sells = [pricing.limit_price(False, 100.0, tried, settings) for tried in range(4)]
    assert sells == pytest.approx([103.0, 102.0, 101.0, 100.0])
    assert pricing.limit_price(True, 100.0, 3, settings, far=100.1) == pytest.approx(101.101)
    assert pricing.limit_price(False, 100.0, 3, settings, far=99.9) == pytest.approx(98.901)


# -- a balanced book -------------------------------------------------------------------------------------

LEGS = st.lists(
    st.builds(neutral.Leg, st.sampled_from([1, -1]), st.floats(0, 3_000), st.floats(0.3, 2.0)),
    min_size=1,
    max_size=12,
)


@given(legs=LEGS, by=st.sampled_from(["dollar", "beta"]))
def test_scaling_brings_the_net_exposure_to_the_tolerance(legs: list[neutral.Leg], by: str) -> None:
    settings = neutral.NeutralSettings(by=by, tolerance=0.05)  # type: ignore[arg-type]
    long, short = neutral.scales(legs, 10_000.0, settings)
    scaled = [neutral.Leg(leg.side, leg.value * (long if leg.side > 0 else short), leg.beta) for leg in legs]
    assert abs(neutral.net(scaled, by)) <= 500.0 * (1 + 1e-9)
    assert max(long, short) == 1.0  # only the heavy side shrinks
    assert neutral.scales(scaled, 10_000.0, settings) == pytest.approx((1.0, 1.0))  # and then no more


@given(legs=LEGS, beta=st.floats(0.5, 1.5))
def test_the_hedge_leg_makes_the_book_neutral(legs: list[neutral.Leg], beta: float) -> None:
    value = neutral.hedge_value(legs, beta, "beta")
    whole = [*legs, neutral.Leg(1 if value > 0 else -1, abs(value), beta)]
    assert abs(neutral.net(whole, "beta")) < 1e-6


def test_an_unknown_beta_counts_one() -> None:
    assert neutral.Leg(1, 100.0, float("nan")).exposure("beta") == 100.0
    assert neutral.Leg(1, 100.0, -3.0).exposure("beta") == pytest.approx(10.0)


# -- the guard of the book -------------------------------------------------------------------------------


def test_the_guard_halves_halts_and_lets_go() -> None:
    guard = Guard(GuardSettings(halve=0.1, halt=0.2, recover=0.05))
    seen = [guard.look(equity, k).level for k, equity in enumerate([100, 91, 89, 94, 96, 79, 94, 96])]
    assert seen == ["calm", "calm", "halved", "halved", "calm", "halted", "halted", "calm"]
    assert guard.share == 1.0 and not guard.stopped


def test_a_halted_book_in_cash_starts_anew_after_its_rest() -> None:
    guard = Guard(GuardSettings(halve=None, halt=0.2, flatten=0.3, rest_days=2))
    assert guard.look(100.0, 0).level == "calm"
    assert guard.look(69.0, 10).level == "flat" and guard.stopped
    assert guard.look(69.0, 2 * DAY).level == "flat"
    calm = guard.look(69.0, 10 + 2 * DAY)
    assert (calm.level, calm.drawdown, calm.changed) == ("calm", 0.0, True)
    assert guard.look(54.0, 11 + 2 * DAY).level == "halted"  # 22 % below the new peak


def test_the_guard_remembers_over_a_restart_and_forgets_before_the_next_backtest() -> None:
    settings = GuardSettings(halve=0.1, halt=0.2)
    guard = Guard(settings)
    guard.look(100.0, 5)
    guard.look(85.0, 6)
    again = Guard(settings)
    again.remember(guard.memory())
    assert again.level == "halved" and again.look(79.0, 7).level == "halted"
    assert again.look(79.0, 1).level == "calm"  # time went back
    with pytest.raises((ValueError, KeyError)):
        again.remember({"level": "odd", "peak": 1, "since": 0})


def test_protections_are_what_freqtrade_takes() -> None:
    from freqtrade.plugins.protectionmanager import ProtectionManager

    rules = ProtectionSettings.read(
        {"cooldown": 2, "stoploss_guard": {"per_pair": True}, "max_drawdown": {}, "low_profit": {"trades": 2}}
    ).rules()
    manager = ProtectionManager({"timeframe": "1h"}, rules)
    assert manager.name_list == ["CooldownPeriod", "StoplossGuard", "MaxDrawdown", "LowProfitPairs"]


def test_what_is_off_stays_off() -> None:
    nothing = TradingSettings()
    assert not nothing.adjusts and not nothing.reads_risk
    assert (
        nothing.order_types()["entry"] == "market" and nothing.order_types()["stoploss_on_exchange"] is False
    )
    priced = TradingSettings.read({"pricing": {}, "stops": {"on_exchange": True}})
    assert priced.order_types()["entry"] == "limit" and priced.order_types()["stoploss_on_exchange"] is True
    assert np.isfinite(priced.reload_seconds)
