"""Risk scores: the same bits in any window, against plain twins, monotone in their parts."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, Panel, Timeframe, UniverseError
from bascule.evaluate import truncation
from bascule.risk import Regime, RiskScores, RiskSettings, compute, lookback
from tests.markets import random_panel

SHORT = RiskSettings(
    volatility_days=2, half_life_days=0.5, beta_days=4, illiquidity_days=2, history_days=3, trend_days=1
)
NAMES = ("volatility", "beta", "illiquidity", "score", "portfolio", "regime")


@pytest.fixture(scope="module")
def panel() -> Panel:
    made = random_panel(0, 600, 10, missing=0.02, late=3)
    universe = np.ones(made.shape, bool)
    universe[:, 4] = False
    universe[250:260] = False
    return made.with_universe(universe)


@pytest.fixture(scope="module")
def scores(panel: Panel) -> RiskScores:
    return compute(panel, SHORT)


def _same(left: RiskScores, right: RiskScores) -> None:
    for name in NAMES:
        a, b = getattr(left, name), getattr(right, name)
        assert np.array_equal(a, b, equal_nan=name != "regime"), name


@pytest.mark.parametrize("changes", [{}, {"market": "volume"}, {"leader": "C002_USDT"}])
def test_any_window_that_covers_the_lookback_gives_the_same_bits(
    panel: Panel, changes: dict[str, str]
) -> None:
    settings = RiskSettings.read({**SHORT.model_dump(), **changes})
    need = lookback(settings, panel.timeframe)
    whole = compute(panel, settings)
    for start, stop in ((7, 600), (200, 200 + need + 1), (313, 555)):
        part = compute(panel.rows(start, stop), settings)
        _same(part.rows(need), whole.rows(start + need, stop))


def test_later_rows_change_nothing(panel: Panel) -> None:
    for name in ("volatility", "beta", "illiquidity", "score"):
        assert truncation(lambda p, n=name: getattr(compute(p, SHORT), n), panel, [222, 450]).ok


def test_values_exist_for_members_alone(panel: Panel, scores: RiskScores) -> None:
    for name in ("volatility", "beta", "illiquidity", "score"):
        values = getattr(scores, name)
        assert values.dtype == np.float32
        assert np.isnan(values[~panel.members]).all()
        assert np.isfinite(values[300:400][panel.members[300:400]]).mean() > 0.7
    known = np.isfinite(scores.score)
    assert np.array_equal(known, np.isfinite(scores.volatility))
    for values in (scores.score[known], scores.portfolio[np.isfinite(scores.portfolio)]):
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert scores.regime.dtype == np.int8
    assert set(scores.regime.tolist()) <= {int(r) for r in Regime}
    assert (scores.regime[:20] == Regime.UNKNOWN).all()


def test_volatility_beta_and_illiquidity_equal_their_plain_twins(panel: Panel, scores: RiskScores) -> None:
    close = panel["close"].astype(float)
    returns = np.full(close.shape, np.nan)
    returns[1:] = close[1:] / close[:-1] - 1
    members = panel.members
    used = members & np.isfinite(returns)
    count = used.sum(axis=1)
    market = np.where(used, returns, 0).sum(axis=1) / np.where(count, count, np.nan)
    t, n = 480, 2
    while not members[t, n]:
        t += 1
    window = returns[t - 47 : t + 1, n]
    weights = 0.5 ** (np.arange(47, -1, -1) / 12.0) * np.isfinite(window)
    variance = np.nansum(weights * window**2) / weights.sum()
    assert scores.volatility[t, n] == pytest.approx(np.sqrt(variance * 8760), rel=1e-6)

    y, x = returns[t - 95 : t + 1, n], market[t - 95 : t + 1]
    good = np.isfinite(x) & np.isfinite(y)
    design = np.column_stack([np.ones(good.sum()), x[good]])
    (_, b), residual, *_ = np.linalg.lstsq(design, y[good], rcond=None)
    error = residual[0] / (good.sum() - 2) / ((x[good] - x[good].mean()) ** 2).sum()
    assert scores.beta[t, n] == pytest.approx((b * 0.25 + error) / (0.25 + error), rel=1e-5)

    dollars = close[t - 47 : t + 1, n] * panel["volume"][t - 47 : t + 1, n] / 1e6
    impact = np.abs(window) / dollars
    assert scores.illiquidity[t, n] == pytest.approx(np.log10(np.nanmean(impact)), rel=1e-5)


def test_the_leader_has_beta_one_and_unknown_leaders_are_refused() -> None:
    panel = random_panel(3, 300, 6)
    result = compute(panel, SHORT.model_copy(update={"leader": "C001_USDT"}))
    assert result.beta[200:, 1] == pytest.approx(np.ones(100))
    with pytest.raises(UniverseError, match="BTC_USDT is not in the panel"):
        compute(panel, SHORT.model_copy(update={"leader": "BTC_USDT"}))


def _stressed(column: int | None, scale: float) -> Panel:
    """The same random market, with larger moves in its last third (of one instrument, or of all)."""
    panel = random_panel(5, 600, 10)
    close = panel["close"].astype(float)
    moves = np.diff(np.log(close), axis=0, prepend=np.log(close[:1]))
    cut = slice(None) if column is None else column
    moves[400:, cut] *= scale
    if column is None and scale > 1:
        moves[400:] -= 0.01
    changed = np.exp(np.log(close[0]) + np.cumsum(moves, axis=0)).astype(np.float32)
    return panel.with_fields(close=changed)


def test_the_score_rises_with_an_instruments_volatility() -> None:
    levels = [compute(_stressed(3, scale), SHORT).score[450:, 3].mean() for scale in (0.3, 1.0, 4.0)]
    assert levels[0] < levels[1] < levels[2]


def test_the_score_is_monotone_in_each_part() -> None:
    """Raising one part's percentile, all else equal, never lowers the score: checked through the weights."""
    panel = random_panel(8, 400, 12)
    parts = {}
    for name in ("volatility", "beta", "illiquidity", "history"):
        weights = {f"weight_{p}": float(p == name) for p in ("volatility", "beta", "illiquidity", "history")}
        parts[name] = compute(panel, SHORT.model_copy(update=weights)).score[300]
    whole = compute(panel, SHORT).score[300]
    blend = sum(getattr(SHORT, f"weight_{name}") * part for name, part in parts.items())
    assert whole == pytest.approx(blend, abs=1e-6)
    base = compute(panel, SHORT)
    order = np.argsort(base.volatility[300])
    assert (np.diff(parts["volatility"][order]) > 0).all()
    assert (np.diff(parts["illiquidity"][np.argsort(base.illiquidity[300])]) > 0).all()
    assert (np.diff(parts["beta"][np.argsort(base.beta[300])]) > 0).all()


def test_what_cannot_be_measured_counts_as_risky() -> None:
    panel = random_panel(8, 400, 12)
    volume = panel["volume"].copy()
    volume[:, 0] = np.nan
    base, blind = compute(panel, SHORT), compute(panel.with_fields(volume=volume), SHORT)
    assert np.isnan(blind.illiquidity[:, 0]).all()
    assert (blind.score[200:, 0] >= base.score[200:, 0]).all()


def test_a_storm_raises_the_portfolio_score_and_a_calm_lowers_it() -> None:
    storm, calm = compute(_stressed(None, 4.0), SHORT), compute(_stressed(None, 0.2), SHORT)
    assert storm.portfolio[405:430].mean() > 0.8
    assert calm.portfolio[420:450].mean() < 0.4
    assert (storm.regime[410:425] == Regime.STRESSED_DOWN).all()
    known = np.isfinite(storm.portfolio)
    level = np.where(storm.portfolio < SHORT.calm, 0, np.where(storm.portfolio > SHORT.stressed, 2, 1))
    assert np.array_equal(storm.regime[known] // 2, level[known])


def test_average_correlation_is_recovered() -> None:
    alone = SHORT.model_copy(update={"weight_market_volatility": 0.0, "weight_drawdown": 0.0})
    for common, expected in ((0.0, 0.0), (1.0, 0.5), (4.0, 0.92)):
        portfolio = compute(random_panel(2, 500, 30, common=common), alone).portfolio
        assert np.nanmean(portfolio) == pytest.approx(expected, abs=0.08)


def test_by_default_an_hour_chart_needs_no_more_than_a_thousand_candles() -> None:
    for text in ("1m", "5m", "15m", "1h", "4h", "1d"):
        assert lookback(RiskSettings(), Timeframe.parse(text)) <= 1000
    assert lookback(RiskSettings(market="volume"), Timeframe.parse("1h")) <= 1000
    assert lookback(RiskSettings(), Timeframe.parse("1h")) == 960


def test_dead_and_empty_markets_give_no_values_and_no_warnings() -> None:
    panel = random_panel(1, 200, 5)
    nothing = {name: np.full_like(values, np.nan) for name, values in panel.fields.items()}
    empty = compute(panel.with_fields(**nothing), SHORT)
    assert np.isnan(empty.score).all()
    assert (empty.regime == Regime.UNKNOWN).all()
    flat = {name: np.ones_like(values) for name, values in panel.fields.items()}
    still = compute(panel.with_fields(**flat), SHORT)
    assert np.isfinite(still.score[100:]).all()
    assert (still.volatility[100:] == 0).all()


def test_a_relisting_after_a_gap_is_no_move() -> None:
    panel = random_panel(1, 300, 5)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for name in ("open", "high", "low", "close"):
        fields[name][150:160, 2] = np.nan
        fields[name][160:, 2] *= 50
    fields["volume"][150:160, 2] = np.nan
    result = compute(panel.with_fields(**fields), SHORT)
    assert result.volatility[165, 2] < 2 * compute(panel, SHORT).volatility[165, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"calm": 0.8},
        {"weight_volatility": 0, "weight_beta": 0, "weight_illiquidity": 0, "weight_history": 0},
        {"beta_days": 0},
        {"max_bars": 50},
        {"marekt": "equal"},
    ],
)
def test_settings_are_validated(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        RiskSettings.read(changes)
