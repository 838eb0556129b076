"""Funding, interest and liquidation against an account that is kept bar by bar."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel
from bascule.portfolio import Frictions, simulate
from tests.markets import random_panel


def _plain(
    weights: np.ndarray, panel: Panel, cost: float, every: int, frictions: Frictions, fills: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """The same rules, one bar and one account at a time."""
    opens = panel["open"].astype(float)
    for t in range(1, len(opens)):
        opens[t] = np.where(np.isnan(opens[t]), opens[t - 1], opens[t])
    low, high = panel["low"].astype(float), panel["high"].astype(float)
    rate = np.nan_to_num(panel["funding_rate"].astype(float)) if "funding_rate" in panel.fields else None
    tick = panel.time.astype("datetime64[h]").astype(int)
    borrow = frictions.borrow / 8760
    cash, coins, curve, forced = 1.0, np.zeros(panel.shape[1]), [1.0], 0
    price = np.nan_to_num(opens, nan=1.0)
    debt = 0.0
    for t in range(len(opens) - 2):
        now = price[t + 1]
        equity = cash + (coins * now).sum()
        if equity > 0 and tick[t] % every == 0:
            known = np.isfinite(opens[t + 1]) & np.isfinite(weights[t])
            wanted = np.where(known, weights[t].astype(float), 0)
            change = wanted - coins * now / equity
            paid = cost * np.abs(change).sum()
            if fills is not None:
                gap = np.nan_to_num(fills[t].astype(float) / now - 1)
                paid += (change * gap).sum()
            equity *= 1 - min(1.0, paid)
            coins, cash = wanted * equity / now, equity * (1 - wanted.sum())
            debt = max(0.0, -cash)
        if frictions.maintenance and coins.any():
            bad = np.where(coins >= 0, low[t + 1], high[t + 1])
            bad = np.where(np.isfinite(bad), bad, now)
            worth, gross = cash + (coins * bad).sum(), np.abs(coins * bad).sum()
            if worth <= frictions.maintenance * gross:
                cash, coins, debt = (
                    max(0.0, worth - frictions.liquidation_fee * gross),
                    np.zeros_like(coins),
                    0.0,
                )
                forced += 1
        then = price[t + 2]
        value = coins * then
        if rate is not None and frictions.funding:
            cash -= (value * rate[t + 2]).sum()
        cash -= borrow * (np.maximum(-value, 0).sum() + debt)
        equity = cash + (coins * then).sum()
        if equity <= 0:
            cash, coins, equity, debt = 0.0, np.zeros_like(coins), 0.0, 0.0
        curve.append(equity)
    return np.array(curve), forced


def _market(seed: int = 0, rows: int = 400, width: int = 6, volatility: float = 0.01) -> Panel:
    panel = random_panel(seed, rows, width, missing=0.03, volatility=volatility)
    hours = panel.time.astype("datetime64[h]").astype(int)
    rate = np.random.default_rng(seed).standard_normal(panel.shape) * 0.002
    return panel.with_fields(funding_rate=np.where(hours[:, None] % 8 == 0, rate, np.nan).astype(np.float32))


FULL = {"funding": True, "borrow": 0.4, "maintenance": 0.05, "liquidation_fee": 0.01}


@pytest.mark.parametrize("every", [1, 5, 24])
@pytest.mark.parametrize(
    "frictions", [{}, {"funding": True}, {"borrow": 0.5}, {"maintenance": 0.1}, FULL], ids=str
)
def test_agrees_with_an_account_kept_bar_by_bar(every: int, frictions: dict[str, float]) -> None:
    panel = _market(volatility=0.03)
    random = np.random.default_rng(3)
    size = 1.6 if frictions.get("maintenance") else 0.5
    weights = (random.standard_normal(panel.shape) * size).astype(np.float32)
    weights[random.random(panel.shape) < 0.05] = np.nan
    fills = (panel["open"] * (1 + 0.001 * random.standard_normal(panel.shape))).astype(np.float32)
    fills[:-1] = fills[1:]
    fills[random.random(panel.shape) < 0.3] = np.nan
    given = Frictions.read(frictions)
    for used in (None, fills):
        found = simulate(weights, panel, 0.001, every=every, frictions=given, fills=used)
        curve, forced = _plain(weights, panel, 0.001, every, given, used)
        assert found.equity == pytest.approx(curve, rel=1e-9, abs=1e-12)
        assert found.liquidated.sum() == forced
        if frictions.get("maintenance"):
            assert forced > 0


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from bascule.portfolio import ledger

    panel = _market(1)
    weights = (np.random.default_rng(1).standard_normal(panel.shape) * 0.4).astype(np.float32)
    given = Frictions.read(FULL)
    for every in (1, 7, 60):
        whole = simulate(weights, panel, every=every, frictions=given)
        monkeypatch.setattr(ledger, "_CELLS", 40)
        parts = simulate(weights, panel, every=every, frictions=given)
        monkeypatch.undo()
        for name in ("equity", "costs", "turnover", "exposure", "funding", "interest"):
            assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12, abs=1e-15)


def test_funding_and_interest_by_hand() -> None:
    panel = random_panel(0, 30, 2)
    ones = np.ones(panel.shape, np.float32)
    rate = np.zeros(panel.shape, np.float32)
    rate[10] = 0.01
    flat = panel.with_fields(open=ones, high=ones, low=ones, close=ones, funding_rate=rate)
    weights = np.tile(np.float32([0.5, -0.2]), (30, 1))
    funded = simulate(weights, flat, 0.0, every=10**9, frictions=Frictions(funding=True))
    assert funded.equity[-1] == 1.0  # nothing was traded: the grid has no row here
    funded = simulate(weights, flat, 0.0, frictions=Frictions(funding=True))
    assert funded.equity[-1] == pytest.approx(1 - 0.01 * 0.3)
    assert np.flatnonzero(funded.funding).tolist() == [8]  # the step that ends at the open of row 10
    late = np.where(
        np.arange(30)[:, None] >= 9, weights, 0
    )  # bought at the open of row 10: after the payment
    assert simulate(late, flat, 0.0, frictions=Frictions(funding=True)).equity[-1] == 1.0
    lent = simulate(weights, flat, 0.0, frictions=Frictions(borrow=0.876))
    assert lent.interest == pytest.approx(np.full(28, 0.0001 * 0.2))
    levered = simulate(np.full((30, 2), 0.75, np.float32), flat, 0.0, frictions=Frictions(borrow=0.876))
    assert levered.interest[0] == pytest.approx(0.0001 * 0.5)
    assert set(lent.summary()) >= {"funding", "interest", "liquidations"}


def test_liquidation_leaves_what_the_fee_leaves_and_ends_at_the_next_trade() -> None:
    panel = random_panel(0, 60, 1, start="2021-01-01")
    ones = np.ones(panel.shape, np.float32)
    low = ones.copy()
    low[20] = 0.7  # a wick: the open knows nothing of it
    flat = panel.with_fields(open=ones, high=ones, low=low, close=ones)
    weights = np.full(panel.shape, 3.0, np.float32)
    given = Frictions(maintenance=0.05, liquidation_fee=0.01)
    found = simulate(weights, flat, 0.0, every=24, frictions=given)
    left = 1 - 3 * 0.3 - 0.01 * 2.1
    assert found.equity[19:] == pytest.approx([1.0, *[left] * 39]) and found.liquidated.sum() == 1
    assert found.exposure[21:24] == pytest.approx([0, 0, 0]) and found.exposure[24] == pytest.approx(3)
    assert found.turnover[24] == pytest.approx(3)  # bought from nothing
    assert simulate(weights, flat, 0.0, every=24).equity == pytest.approx(np.ones(59))
    with pytest.raises(DataError, match="funding_rate"):
        simulate(weights, flat, frictions=Frictions(funding=True))
    with pytest.raises(DataError, match="do not fit"):
        simulate(weights, flat, fills=ones[:5])
    with pytest.raises(ConfigError, match="maintenance"):
        Frictions.read({"maintenance": 2})
