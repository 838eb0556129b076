"""The real freqtrade trades a constructed portfolio: what has a weight is held, in its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.core import Instrument
from tests.bridge.research import Research, build
from tests.signals.test_constructed import TURNING

# freqtrade's, ccxt's and cvxpy's own
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = pd.Timedelta(hours=1)
SETTINGS = TradeSettings(wallet=10_000, fee=0.001, slippage=0.0005)


@pytest.fixture(scope="module")
def constructed(tmp_path_factory: pytest.TempPathFactory) -> Research:
    return build(
        tmp_path_factory.mktemp("constructed"),
        "spot",
        portfolio={"construction": TURNING, "risk_scaling": 0.2},
    )


def row(research: Research, when: pd.Timestamp) -> int:
    """Of the last candle that was closed at ``when``."""
    frame = research.bundle.signals
    return int(np.searchsorted(frame.time, (when - HOUR).tz_localize(None).to_datetime64()))


def test_stored_and_computed_weights_trade_alike(constructed: Research, tmp_path: Path) -> None:
    bundle, found = constructed.bundle, {}
    # freqtrade starts a pair a whole look-back after its own first candle: here the last is listed at row 600
    start = constructed.raw.time[bundle.lookback + 640]
    for mode in ("stored", "computed"):
        job = run.Job(
            bundle, tmp_path / mode, constructed.datadir, SETTINGS.model_copy(update={"mode": mode}),
            timeout=400, start=start,
        )  # fmt: skip
        found[mode] = run.backtest(job)
    columns = ["pair", "open_date", "close_date", "stake_amount", "exit_reason", "profit_abs"]
    stored, computed = (found[mode].trades[columns].reset_index(drop=True) for mode in found)
    pd.testing.assert_frame_equal(stored, computed)
    assert len(stored) > 20
    frame = bundle.signals
    reasons = set()
    for trade in stored.to_dict("records"):
        column = frame.instruments.index(Instrument.parse(trade["pair"]).id)
        weight = frame.target_weight[row(constructed, trade["open_date"]), column]
        assert weight > 0, trade
        # no more than its weight of the wallet; less where positions that keep their size hold the rest
        assert 0 < trade["stake_amount"] / (10_000 * SETTINGS.tradable) < 1.3 * weight
        if trade["exit_reason"] == "no_weight":
            assert not frame.target_weight[row(constructed, trade["close_date"]), column] > 0
        reasons.add(trade["exit_reason"])
    assert "no_weight" in reasons and "alpha_decay" not in reasons
    first = stored[stored["open_date"] == stored["open_date"].min()]
    assert len(first) >= 2
    for trade in first.to_dict("records"):
        column = frame.instruments.index(Instrument.parse(trade["pair"]).id)
        weight = frame.target_weight[row(constructed, trade["open_date"]), column]
        assert trade["stake_amount"] == pytest.approx(weight * 10_000 * SETTINGS.tradable, rel=5e-3)
