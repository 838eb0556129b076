"""Optimised portfolios against skfolio and closed forms; which limits are named when they contradict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bascule.core import ConfigError, DataError
from bascule.portfolio import (
    ConstructionSettings,
    OrderRules,
    construct,
    construct_path,
    round_weights,
    scenarios,
)
from bascule.risk import FactorModel, RiskModel, fit, fit_exposures
from tests.markets import random_panel
from tests.risk.simulated import factor_market

# cvxpy's own
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def model(n: int = 30, k: int = 4, seed: int = 0) -> RiskModel:
    random = np.random.default_rng(seed)
    half = random.standard_normal((k, k)) * 0.002
    factor = half @ half.T
    factor[0, 0] += 1e-4
    b = random.standard_normal((n, k))
    b[:, 0] = 1
    noise = random.uniform(1e-5, 4e-4, n)
    names = tuple(f"f{i}" for i in range(k))
    instruments = tuple(f"C{i:04d}_USDT" for i in range(n))
    return RiskModel(names, instruments, b, factor, noise, 8760, np.datetime64("2024-01-01", "ns"))


def settings(**values: Any) -> ConstructionSettings:
    return ConstructionSettings.read(values)


CASES: list[dict[str, Any]] = [
    {"limits": {"max_weight": 0.1}},
    {"cost": 0.001, "limits": {"turnover": 0.4}},
    {"limits": {"net": (0.2, 0.7), "gross": 0.7, "exposures": {"f1": (-0.2, 0.1)}}},
    {
        "cost": 0.0005,
        "limits": {
            "side": "long_short",
            "dollar_neutral": True,
            "beta_neutral": True,
            "gross": 1.5,
            "max_weight": 0.1,
            "exposures": {"f2": (-0.05, 0.05)},
        },
    },
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("objective", ["mean_variance", "min_variance"])
def test_the_factor_path_equals_skfolio(case: dict[str, Any], objective: str) -> None:
    now = model()
    random = np.random.default_rng(1)
    alpha = random.standard_normal(30) * 1e-4
    long = case["limits"].get("side") != "long_short"
    current = random.dirichlet(np.ones(30)) * (0.5 if "net" in case["limits"] else 1.0) if long else None
    if not long and objective == "min_variance":
        pytest.skip("nothing held is the least variance")
    given = {"alpha": alpha, "current": current}
    ours = construct(now, settings(objective=objective, **case), **given)
    theirs = construct(now, settings(objective=objective, solver="skfolio", **case), **given)
    assert ours.weights == pytest.approx(theirs.weights, abs=2e-4)
    gamma, horizon = 5.0, 24.0

    def utility(w: np.ndarray) -> float:
        gain = horizon * (alpha @ w) if objective == "mean_variance" else 0.0
        moved = np.abs(w - (0 if current is None else current)).sum()
        return float(gain - gamma / 2 * horizon * now.variance(w) - case.get("cost", 0.0) * moved)

    assert utility(ours.weights) >= utility(theirs.weights) - 1e-8
    _holds(ours.weights, now, case["limits"], current)


def _holds(w: np.ndarray, now: RiskModel, limits: dict[str, Any], current: np.ndarray | None) -> None:
    tol = 1e-6
    assert np.abs(w).max() <= limits.get("max_weight", 0.2) + tol
    assert np.abs(w).sum() <= limits.get("gross", 1.0) + tol
    if limits.get("side") == "long_short":
        assert w.sum() == pytest.approx(0, abs=tol)
        assert w @ now.betas(np.full(len(w), 1 / len(w))) == pytest.approx(0, abs=tol)
    else:
        low, high = limits.get("net", (1, 1))
        assert w.min() >= 0 and low - tol <= w.sum() <= high + tol
    if "turnover" in limits:
        assert np.abs(w - current).sum() <= limits["turnover"] + tol
    for name, (low, high) in limits.get("exposures", {}).items():
        assert low - tol <= now.factor_exposures(w)[name] <= high + tol


def test_unlimited_mean_variance_has_its_closed_form() -> None:
    now = model()
    alpha = np.random.default_rng(0).standard_normal(30) * 1e-5
    free = {"side": "long_short", "gross": 20, "max_weight": 5}
    found = construct(now, settings(risk_aversion=8, limits=free), alpha=alpha)
    assert found.weights == pytest.approx(np.linalg.solve(8 * now.covariance(), alpha), abs=1e-5)
    assert found.binding == ()


def test_risk_parity_budgets_hrp_and_cvar() -> None:
    now = model()
    equal = construct(now, settings(objective="risk_parity"))
    shares = equal.weights * now.apply(equal.weights) / now.variance(equal.weights)
    assert shares == pytest.approx(np.full(30, 1 / 30), abs=1e-4)
    budgets = {"C0003_USDT": 10.0}
    tilted = construct(now, settings(objective="risk_parity", budgets=budgets))
    shares = tilted.weights * now.apply(tilted.weights) / now.variance(tilted.weights)
    assert shares[3] == pytest.approx(10 / 39, abs=1e-3)
    half = construct(now, settings(objective="risk_parity", limits={"net": (0.5, 0.5), "max_weight": 0.02}))
    assert half.weights.sum() == pytest.approx(0.5) and half.weights.max() <= 0.02 + 1e-6
    tree = construct(now, settings(objective="hrp"))
    assert tree.weights.sum() == pytest.approx(1) and (tree.weights > 0).all()
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(30), now.covariance(), 800)
    tail = construct(now, settings(objective="cvar", limits={"max_weight": 0.1}), scenarios=draws)
    least = construct(now, settings(objective="min_variance", limits={"max_weight": 0.1}))

    def cvar(w: np.ndarray) -> float:
        losses = np.sort(-(draws @ w))
        return float(losses[-40:].mean())

    assert cvar(tail.weights) <= cvar(least.weights) + 1e-9
    assert tail.weights.max() <= 0.1 + 1e-6
    # normal scenarios: both are nearly the same portfolio
    assert tail.volatility == pytest.approx(least.volatility, rel=0.05)


@pytest.mark.parametrize(
    ("limits", "named", "innocent"),
    [
        ({"max_weight": 0.02}, ["max_weight = 0.02", "net = 1 … 1"], ["gross"]),
        ({"net": (0.9, 0.9), "gross": 0.5}, ["net = 0.9 … 0.9", "gross = 0.5"], ["max_weight"]),
        (
            {"exposures": {"f0": (0, 0.5)}, "turnover": 3},
            ["exposure to f0 = 0 … 0.5", "net"],
            ["turnover", "max_w"],
        ),
        ({"turnover": 0.1}, ["turnover = 0.1", "net = 1 … 1"], ["max_weight"]),
        (
            {"capital": 1e9, "position_share": 0.01},
            ["position_share = 0.01", "net = 1 … 1"],
            ["max_weight", "gross"],
        ),
    ],
)
@pytest.mark.parametrize("solver", ["factor", "skfolio"])
def test_contradicting_limits_are_named(
    limits: dict[str, Any], named: list[str], innocent: list[str], solver: str
) -> None:
    given = settings(objective="min_variance", solver=solver, limits=limits)
    with pytest.raises(ConfigError, match="no portfolio of these 30") as caught:
        construct(model(), given, volume=np.full(30, 1e6))
    assert all(label in caught.value.message for label in named)
    assert not any(label in caught.value.message for label in innocent)
    assert caught.value.remedy == "loosen one of them"


def test_costs_and_liquidity_hold_trades_back() -> None:
    now = model()
    alpha = np.random.default_rng(2).standard_normal(30) * 1e-4
    current = np.full(30, 1 / 30)
    free = construct(now, settings(), alpha=alpha, current=current)
    dear = construct(now, settings(cost=0.05), alpha=alpha, current=current)
    assert free.turnover > 0.5 > 1e-3 > dear.turnover
    volume = np.full(30, 1e6)
    volume[:10] = 1e3
    small = {"capital": 1e6, "position_share": 0.2, "trade_share": 0.1}
    loose = settings(limits={**small, "net": (0, 1)})
    held = construct(now, loose, alpha=alpha, volume=volume, current=np.zeros(30))
    assert held.weights[:10].max() <= 0.1 * 1e3 / 1e6 + 1e-9 and held.weights[10:].max() <= 0.1 + 1e-9
    impact = settings(impact=2.0, limits={"capital": 1e6})
    slow = construct(now, impact, alpha=alpha, volume=volume, current=current)
    assert slow.turnover < free.turnover and slow.cost > 0
    with pytest.raises(ConfigError, match="impact needs"):
        construct(now, settings(impact=1.0), alpha=alpha)
    with pytest.raises(DataError, match="value traded"):
        construct(now, loose, alpha=alpha)


def test_degenerate_universes_do_not_crash_or_give_nonsense() -> None:
    one = model(n=1)
    full = {"limits": {"max_weight": 1.0}}
    for objective in ("min_variance", "risk_parity", "hrp"):
        assert construct(one, settings(objective=objective, **full)).weights == pytest.approx([1.0])
    draws = np.random.default_rng(0).standard_normal((200, 1)) * 0.01
    assert construct(one, settings(objective="cvar", **full), scenarios=draws).weights == pytest.approx([1.0])
    with pytest.raises(ConfigError, match=r"max_weight = 0.2; net = 1"):
        construct(one, settings(objective="min_variance"))
    # singular: no specific risk, one factor; and nothing that varies at all
    flat = model(n=12, k=1)
    bare = RiskModel(
        flat.names, flat.instruments, flat.exposures, flat.factor_covariance, np.zeros(12), 8760, flat.time
    )
    still = RiskModel(
        flat.names, flat.instruments, flat.exposures, np.zeros((1, 1)), np.zeros(12), 8760, flat.time
    )
    for now in (bare, still):
        for objective in ("min_variance", "mean_variance"):
            found = construct(now, settings(objective=objective), alpha=np.full(12, np.nan))
            assert found.weights.sum() == pytest.approx(1) and found.weights.min() >= 0
            assert found.weights.max() <= 0.2 + 1e-6
    parity = construct(bare, settings(objective="risk_parity"))
    assert parity.weights == pytest.approx(np.full(12, 1 / 12), abs=1e-3)
    with pytest.raises(DataError, match="30 instruments"):
        construct(model(), settings(), alpha=np.zeros(4))
    with pytest.raises(ConfigError, match="no alphas"):
        construct(model())
    with pytest.raises(ConfigError, match="unknown factor 'size'"):
        construct(model(), settings(objective="min_variance", limits={"exposures": {"size": (0, 1)}}))
    with pytest.raises(ConfigError, match="cvar needs scenarios"):
        construct(model(), settings(objective="cvar"))
    with pytest.raises(DataError, match="finite"):
        construct(model(), settings(objective="cvar"), scenarios=np.full((50, 30), np.nan))
    with pytest.raises(ConfigError, match="cannot keep to"):
        tight = {"exposures": {"f1": (0.5, 0.6)}}
        construct(model(), settings(objective="hrp", limits=tight))


@pytest.fixture(scope="module")
def fitted() -> FactorModel:
    truth = factor_market(0, 1500, 25)
    return fit_exposures(truth.panel, truth.exposures)


def test_scenarios_carry_specific_risk_and_have_no_holes(fitted: FactorModel) -> None:
    now = fitted.at(1400)
    residuals = fitted.sections.residuals
    residuals[900:1000, 3] = np.nan  # a gap
    draws = scenarios(fitted, 1400, 1000, seed=1)
    assert np.isfinite(draws).all() and draws.shape == (1000, 25)
    assert draws.mean(axis=0) == pytest.approx(np.zeros(25), abs=1e-15)
    forecast = np.sqrt(np.diag(now.covariance()))
    assert draws.std(axis=0) / forecast == pytest.approx(np.ones(25), abs=0.25)
    assert np.array_equal(draws, scenarios(fitted, 1400, 1000, seed=1))
    found = construct(now, settings(objective="cvar", limits={"max_weight": 1.0}), scenarios=draws)
    assert 1 / (found.weights**2).sum() > 4  # without specific risk it is nearly one coin
    with pytest.raises(DataError, match="rows of factor returns"):
        scenarios(fitted, 1400, 10)


def test_a_path_holds_between_rebalances_and_sells_what_leaves() -> None:
    panel = random_panel(4, 700, 12)
    fields = {name: one.copy() for name, one in panel.fields.items()}
    for one in fields.values():
        one[500:, 2] = np.nan  # delisted
    gone = panel.with_fields(**fields)
    found = fit(gone)
    given = settings(objective="min_variance", limits={"max_weight": 0.3, "turnover": 1.0, "net": (0.4, 1)})
    path = construct_path(found, given, every=24)
    assert path.dtype == np.float32 and path.shape == panel.shape
    held = np.flatnonzero(path.any(axis=1))
    assert held[0] > 100 and path[held[0]].sum() == pytest.approx(1, abs=0.61)
    moves = np.flatnonzero((path[1:] != path[:-1]).any(axis=1)) + 1
    ticks = panel.time.astype("datetime64[h]").astype(int)
    assert all(ticks[t] % 24 == 0 or t == 500 for t in moves)
    assert (path[499, 2] > 0) and (path[500:, 2] == 0).all()
    again = construct_path(fit(gone.rows(0, 600)), given, every=24)
    assert np.abs(again - path[:600]).max() < 1e-6
    with pytest.raises(ConfigError, match=r"2021-.*portfolio.limits"):
        construct_path(found, settings(objective="min_variance", limits={"max_weight": 0.01}))


def test_weights_of_a_path_fit_into_a_signal_frame(fitted: FactorModel) -> None:
    from bascule.signals import SignalFrame

    path = construct_path(fitted, settings(objective="min_variance", limits={"max_weight": 0.3}), every=168)
    blank = np.full(path.shape, np.nan, np.float32)
    rows = len(path)
    frame = SignalFrame(
        fitted.timeframe,
        fitted.time,
        fitted.exposures.instruments,
        *[blank] * 4,
        target_weight=path,
        stop_distance=blank,
        portfolio_risk=np.zeros(rows, np.float32),
        regime=np.zeros(rows, np.int8),
        model_id=np.full(rows, "construction"),
    )
    table = frame.to_long()
    last = table[table["time"] == table["time"].max()]
    assert last["target_weight"].sum() == pytest.approx(1, abs=1e-5)


def test_what_the_extra_gives_is_asked_for_in_one_clear_error() -> None:
    from bascule.risk.extra import require

    with pytest.raises(ConfigError, match="causal checks needs no_such_graphs") as caught:
        require("no_such_graphs.deep", purpose="the causal checks")
    assert caught.value.remedy == "pip install 'bascule[risk]'"


def test_rounding_to_what_an_exchange_takes() -> None:
    price = np.array([50_000.0, 2_000.0, 0.5, np.nan, 10.0])
    rules = OrderRules(price, np.array([0.001, 0.01, 1.0, 1.0, 0.1]), np.full(5, 10.0))
    targets = np.array([0.5, 0.3, 0.1999, 0.05, 0.0002])
    found = round_weights(targets, 10_000, rules)
    assert found.amounts / rules.step == pytest.approx(np.round(found.amounts / rules.step))
    assert found.weights[3] == 0 and found.weights[4] == 0  # not tradable; below the least order
    assert found.amounts[:3] == pytest.approx([0.1, 1.5, 3998])
    assert np.abs(found.weights).sum() <= targets.sum() + 1e-12
    short = round_weights(-targets, 10_000, rules)
    assert short.amounts == pytest.approx(-found.amounts)
    held = np.array([0.1001, 0, 0, 7.0, 0])
    kept = round_weights(targets, 10_000, rules, held=held)
    assert kept.unsent.tolist() == [True, False, False, True, False]  # 5 dollars of bitcoin; no price
    assert kept.amounts[0] == 0.1001 and kept.amounts[3] == 7.0
    with pytest.raises(DataError, match="capital"):
        round_weights(targets, 0, rules)
    with pytest.raises(DataError, match="above 0"):
        OrderRules(price, np.zeros(5), np.zeros(5))


def test_settings_are_checked() -> None:
    for wrong, says in (
        ({"limits": {"dollar_neutral": True}}, "side: long_short"),
        ({"limits": {"trade_share": 0.1}}, "need capital"),
        ({"limits": {"net": (1, 0)}}, "is above"),
        ({"objective": "magic"}, "objective"),
    ):
        with pytest.raises(ConfigError, match=says):
            settings(**wrong)
