"""Market returns: weights are those of the row before."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import DataError, UniverseError
from bascule.risk import close_returns, market_returns, rolling_betas
from tests.markets import random_panel


def test_weights_are_those_of_the_row_before() -> None:
    panel = random_panel(0, 400, 6, missing=0.05)
    cap = np.random.default_rng(0).uniform(1, 9, panel.shape).astype(np.float32)
    panel = panel.with_fields(market_cap=cap)
    r = close_returns(panel)
    t = 300
    good = np.isfinite(r[t]) & panel.members[t - 1]
    assert market_returns(panel, "equal")[t] == pytest.approx(r[t][good].mean())
    w = cap[t - 1][good].astype(float)
    assert market_returns(panel, "cap")[t] == pytest.approx((w * r[t][good]).sum() / w.sum())
    dollars = np.nan_to_num(panel["close"].astype(float) * panel["volume"])
    v = dollars[max(0, t - 24) : t].sum(axis=0)[good]
    assert market_returns(panel, "volume", days=1)[t] == pytest.approx((v * r[t][good]).sum() / v.sum())
    lead = market_returns(panel, "leader", leader="C002_USDT")
    assert np.array_equal(lead, r[:, 2], equal_nan=True)
    for by in ("equal", "cap", "volume"):
        cut = market_returns(panel.rows(0, 200), by)
        assert np.array_equal(cut, market_returns(panel, by)[:200], equal_nan=True)
    with pytest.raises(UniverseError, match="bitcoin is not in the panel"):
        market_returns(panel, "leader")
    with pytest.raises(DataError, match="market_cap"):
        market_returns(random_panel(0, 50, 3), "cap")


def test_betas_on_the_market_average_to_one() -> None:
    panel = random_panel(1, 1200, 12)
    market = market_returns(panel, "equal")[:, None]
    found = rolling_betas(close_returns(panel), market, 720, every=100)
    assert found.betas[0, -1].mean() == pytest.approx(1, abs=0.01)
