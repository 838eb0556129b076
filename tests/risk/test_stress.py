"""Scenarios and the last check before orders, by hand and on crises that were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bascule.core import ConfigError, Panel, Timeframe, UniverseError
from bascule.risk import (
    SCENARIOS,
    Position,
    PreTradeSettings,
    RiskModel,
    Scenario,
    check_orders,
    leader_betas,
    stress,
)
from tests.markets import real_panel

NAMES = ("BTC_USDT", "ETH_USDT", "LUNA_USDT")


def model() -> RiskModel:
    """One factor; betas to bitcoin: 1, 1.5 · 0.64, 2 · 0.64 (bitcoin has some risk of its own)."""
    b = np.array([[1.0], [1.5], [2.0]])
    return RiskModel(
        ("market",),
        NAMES,
        b,
        np.array([[1.6e-5]]),
        np.array([9e-6, 1e-5, 4e-5]),
        8760,
        np.datetime64("2024-01-01", "ns"),
    )


def scenario(**values: object) -> Scenario:
    return Scenario.read(values)


@pytest.mark.parametrize("name", ["BTC_USDT", "BTC_USDT_USDT", "BTC_USD", "BTC_USDC"])
def test_bitcoin_leads_whatever_it_is_quoted_in(name: str) -> None:
    renamed = replace(model(), instruments=(name, *NAMES[1:]))
    assert leader_betas(renamed, None)[0] == 1.0 == leader_betas(renamed, name)[0]


def test_shocks_by_hand() -> None:
    beta = leader_betas(model(), "BTC_USDT")
    assert beta == pytest.approx([1, 0.96, 1.28])
    weights = np.array([0.5, 0.3, -0.1])
    position = Position(model(), weights)
    given = [
        scenario(name="fall", kind="shock", move=-0.3),
        scenario(name="one", kind="correlation", deviations=2),
        scenario(name="venue", kind="venue", share=0.5),
        scenario(name="peg", kind="depeg", share=0.1),
        scenario(name="funding", kind="funding", rate=0.001, days=2),
    ]
    fall, one, venue, peg, funding = stress(position, given)
    assert fall.loss == pytest.approx(0.3 * (weights @ beta))
    assert fall.worst[0] == ("BTC_USDT", pytest.approx(0.15))
    daily = np.sqrt(24 * (np.array([1, 2.25, 4]) * 1.6e-5 + [9e-6, 1e-5, 4e-5]))
    assert one.loss == pytest.approx(2 * (weights @ daily))
    assert venue.loss == pytest.approx(0.5)
    assert peg.loss == pytest.approx(0.1 * 0.3)  # the cash
    assert funding.loss == pytest.approx(0.7 * 0.001 * 6)
    # a short book loses in the other direction
    short = stress(Position(model(), -weights, margined=True), given)
    assert short[0].loss == pytest.approx(-fall.loss) and short[1].loss == pytest.approx(one.loss)
    assert short[3].loss == pytest.approx(0.1) and short[4].loss == pytest.approx(funding.loss)
    two = Position(model(), weights, venues={"BTC_USDT": "kraken"})
    assert stress(two, [scenario(name="v", kind="venue", venue="kraken")])[0].loss == pytest.approx(5 / 9)


def _crisis() -> Panel:
    hour = Timeframe.parse("1h")
    time = hour.axis(np.datetime64("2022-05-04", "ns"), np.datetime64("2022-05-16", "ns"))
    rows = len(time)
    close = np.ones((rows, 3), np.float32)
    close[60:, 0] = 0.7
    close[120:, 0] = 0.8  # half recovered at the end
    close[:, 1] = np.nan  # not listed yet
    close[50:, 2] = 0.01
    close[70:, 2] = np.nan  # halted
    return Panel(hour, time, NAMES, {"close": close}, np.repeat(time[:1], 3))


def test_a_replay_takes_the_worst_close_and_proxies_what_was_not_there() -> None:
    luna = next(one for one in SCENARIOS if "LUNA" in one.name)
    weights = np.array([0.4, 0.4, 0.2])
    (found,) = stress(Position(model(), weights), [luna], panel=_crisis())
    assert found.loss == pytest.approx(0.4 * 0.3 + 0.4 * 0.96 * 0.3 + 0.2 * 0.99, rel=1e-5)
    assert found.proxied == pytest.approx(0.4)
    assert found.note.startswith("worst at 2022-05-06")
    (blind,) = stress(Position(model(), weights), [luna])
    assert blind.loss == pytest.approx(0.317 * (weights @ [1, 0.96, 1.28]), rel=1e-6)
    assert blind.proxied == 1.0 and "no candles" in blind.note
    nothing = scenario(name="x", kind="replay", start="2019-01-01", end="2019-01-05")
    with pytest.raises(ConfigError, match="do not reach back"):
        stress(Position(model(), weights), [nothing], panel=_crisis())


def test_all_shipped_scenarios_and_wrong_input() -> None:
    found = stress(Position(model(), np.array([0.3, 0.3, 0.3])))
    assert len(found) == 9 and all(0 < one.loss < 1.01 for one in found)
    assert {"replay", "shock", "correlation", "venue", "depeg", "funding"} == {one.kind for one in found}
    flat = stress(Position(model(), np.zeros(3)))
    assert all(one.loss == 0 for one in flat if one.kind not in ("venue", "depeg"))
    with pytest.raises(UniverseError, match="finite"):
        stress(Position(model(), np.array([np.nan, 0, 0])))
    with pytest.raises(UniverseError, match="DOGE"):
        stress(Position(model(), np.zeros(3), leader="DOGE_USDT"))
    with pytest.raises(ConfigError, match="needs a move"):
        scenario(name="x", kind="shock")
    with pytest.raises(ConfigError, match="start and end"):
        scenario(name="x", kind="replay")


@pytest.mark.real_data
def test_the_crises_are_in_the_real_candles() -> None:
    panel = real_panel("2022-04-20", "2022-05-20").select(NAMES)
    luna = next(one for one in SCENARIOS if "LUNA" in one.name)
    (bitcoin,) = stress(Position(model(), np.array([1.0, 0, 0])), [luna], panel=panel)
    assert bitcoin.loss == pytest.approx(-(luna.move or 0), abs=0.01) and bitcoin.proxied == 0
    (coin,) = stress(Position(model(), np.array([0, 0, 1.0])), [luna], panel=panel)
    assert coin.loss > 0.999


# -- the check before a trade ----------------------------------------------------------------------------


def settings(**values: object) -> PreTradeSettings:
    return PreTradeSettings.read({"max_weight": None, "gross": None, **values})


NOW = np.array([0.2, 0.1, 0.0])


def test_what_is_within_the_limits_goes_as_it_is() -> None:
    found = check_orders(model(), NOW, np.array([0.25, 0.2, 0.1]))
    assert found.passed and found.weights == pytest.approx([0.25, 0.2, 0.1])


def test_single_orders_are_trimmed_or_blocked() -> None:
    target = np.array([0.6, 0.05, 0.1])
    trimmed = check_orders(model(), NOW, target, settings(max_weight=0.4))
    assert trimmed.weights == pytest.approx([0.4, 0.05, 0.1])
    (action,) = trimmed.actions
    assert (action.instrument, action.wanted, action.allowed) == (
        "BTC_USDT",
        pytest.approx(0.4),
        pytest.approx(0.2),
    )
    blocked = check_orders(model(), NOW, target, settings(max_weight=0.4, mode="block"))
    assert blocked.weights == pytest.approx([0.2, 0.05, 0.1]) and blocked.actions[0].blocked
    volume = np.array([1e6, 1e6, 1e4])
    thin = check_orders(model(), NOW, target, settings(capital=1e5, trade_share=0.1), volume=volume)
    assert thin.weights == pytest.approx([0.6, 0.05, 0.01])
    nan = check_orders(model(), NOW, np.array([np.nan, 0.1, 0.1]), settings())
    assert nan.weights == pytest.approx([0.2, 0.1, 0.1]) and "not a number" in nan.actions[0].limit
    # a position that is too large may be sold in steps
    large = check_orders(model(), np.array([0.9, 0, 0]), np.array([0.7, 0, 0]), settings(max_weight=0.4))
    assert large.passed
    with pytest.raises(ConfigError, match="needs volume and capital"):
        check_orders(model(), NOW, target, settings(trade_share=0.1))


@pytest.mark.parametrize(
    ("limit", "value"),
    [("gross", 0.5), ("net", 0.5), ("volatility", 0.3), ("var", 0.04), ("stress", 0.25)],
)
def test_limits_of_the_whole_scale_what_builds_and_let_sales_go(limit: str, value: float) -> None:
    now = model()
    target = np.array([0.9, 0.0, 0.5])
    scenarios = [scenario(name="fall", kind="shock", move=-0.5)]
    found = check_orders(now, NOW, target, settings(**{limit: value}), scenarios=scenarios)
    measures = {
        "gross": lambda w: np.abs(w).sum(),
        "net": lambda w: abs(w.sum()),
        "volatility": now.volatility,
        "var": lambda w: now.volatility(w) * 2.326348 * 1.25 / np.sqrt(365),
        "stress": lambda w: 0.5 * (w @ [1, 0.96, 1.28]),
    }
    assert measures[limit](found.weights) == pytest.approx(value, rel=1e-5)
    assert found.weights[1] == 0  # sold in full
    share = (found.weights[0] - 0.2) / 0.7
    assert found.weights[2] == pytest.approx(0.5 * share) and 0 < share < 1
    assert found.actions[-1].instrument == "portfolio" and limit in found.actions[-1].limit
    blocked = check_orders(now, NOW, target, settings(mode="block", **{limit: value}), scenarios=scenarios)
    assert blocked.weights == pytest.approx([0.2, 0, 0]) and blocked.actions[-1].blocked


def test_a_portfolio_over_its_limits_may_only_get_better() -> None:
    heavy = np.array([1.0, 1.0, 0.5])
    better = check_orders(model(), heavy, np.array([0.9, 0.8, 0.5]), settings(gross=1.0))
    assert better.passed or better.weights == pytest.approx([0.9, 0.8, 0.5])
    worse = check_orders(model(), heavy, np.array([1.0, 1.0, 0.9]), settings(gross=1.0))
    assert worse.weights == pytest.approx(heavy)
    # closing the hedge raises the risk of the whole: nothing goes
    hedged = np.array([-0.9, 0.6, 0.0])
    unhedged = check_orders(model(), hedged, np.array([0.0, 0.6, 0.0]), settings(volatility=0.2))
    assert unhedged.weights == pytest.approx(hedged) and unhedged.actions[0].blocked
    with pytest.raises(ConfigError, match="unknown factor 'size'"):
        check_orders(model(), NOW, NOW, settings(exposures={"size": 0.1}))
    capped = check_orders(model(), NOW, np.array([0.2, 0.1, 0.5]), settings(exposures={"market": 0.5}))
    assert model().factor_exposures(capped.weights)["market"] == pytest.approx(0.5)
    with pytest.raises(UniverseError):
        check_orders(model(), NOW[:2], NOW)


def test_betas_are_measured_where_there_are_candles() -> None:
    """Bitcoin has moves of its own in the risk model, which makes the model's betas too low."""
    hour = Timeframe.parse("1h")
    rows = 24 * 90
    time = hour.axis(np.datetime64("2023-10-04", "ns"), np.datetime64("2024-01-01T23:00", "ns"))
    random = np.random.default_rng(0)
    lead = random.standard_normal((rows, 1)) * 0.01
    moves = np.hstack([lead, 1.4 * lead, 0.6 * lead]) + random.standard_normal((rows, 3)) * [0, 0.002, 0.002]
    close = np.cumprod(1 + moves, axis=0).astype(np.float32)
    panel = Panel(hour, time, NAMES, {"close": close}, np.repeat(time[:1], 3))
    weights = np.array([0.2, 0.5, 0.3])
    fall = scenario(name="fall", kind="shock", move=-0.3)
    (found,) = stress(Position(model(), weights), [fall], panel=panel)
    assert found.loss == pytest.approx(0.3 * (weights @ [1, 1.4, 0.6]), rel=0.02)
    (late,) = stress(Position(model(), weights), [fall], panel=panel.rows(0, 20))
    assert late.loss == pytest.approx(0.3 * (weights @ [1, 0.96, 1.28]))


def test_the_default_stress_limit_is_one_of_prices() -> None:
    """A venue that stops takes all whatever the orders are: it must not block them."""
    found = check_orders(model(), NOW, np.array([0.25, 0.1, 0.0]), settings(stress=0.3))
    assert found.passed
    tight = check_orders(model(), NOW, np.array([0.9, 0.1, 0.0]), settings(stress=0.3))
    assert 0.2 < tight.weights[0] < 0.9
