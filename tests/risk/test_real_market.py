"""Risk of real candles: with gaps, delistings and the collapses of 2022."""

import numpy as np
import pytest

from bascule.core import Panel
from bascule.risk import Regime, RiskSettings, compute, lookback
from tests.markets import real_panel

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def panel() -> Panel:
    return real_panel("2022-02-01", "2022-06-15")


def test_the_collapse_of_luna_is_a_stressed_falling_market(panel: Panel) -> None:
    scores = compute(panel)
    day = int(np.searchsorted(panel.time, np.datetime64("2022-05-12")))
    assert (scores.regime[day : day + 24] == Regime.STRESSED_DOWN).all()
    luna = panel.instruments.index("LUNA_USDT")
    assert scores.score[day, luna] > 0.75
    btc, doge = (panel.instruments.index(f"{coin}_USDT") for coin in ("BTC", "DOGE"))
    known = np.isfinite(scores.volatility[:, btc])
    assert np.median(scores.volatility[known, btc]) < np.median(scores.volatility[known, doge])
    assert np.median(scores.illiquidity[known, btc]) < np.median(scores.illiquidity[known, doge])


@pytest.mark.parametrize("market", ["equal", "volume"])
def test_a_thousand_live_candles_give_the_bits_of_the_store(panel: Panel, market: str) -> None:
    settings = RiskSettings.read({"market": market})
    need = lookback(settings, panel.timeframe)
    assert need < 1000
    whole = compute(panel, settings)
    for end in (2300, 2411, 3000):
        live = compute(panel.rows(end - 1000, end), settings).rows(need)
        stored = whole.rows(end - 1000 + need, end)
        for name in ("volatility", "beta", "illiquidity", "score", "portfolio"):
            assert np.array_equal(getattr(live, name), getattr(stored, name), equal_nan=True), name
        assert np.array_equal(live.regime, stored.regime)
