"""Alpha158 on real hourly candles against qlib: outages, late listings, a relisting, a crash by 10^5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule import engine, factors
from bascule.core import Panel, Timeframe
from tests.conformance.provider import qlib_features, write_provider
from tests.realdata import panel_path

COINS = ("BTCUSDT", "DOGEUSDT", "FTTUSDT", "LUNAUSDT")
# cells of a factor that may differ: after a crash by a factor of 10^5 qlib's running sums are off for a while
TOLERATED = 3


def real_panel(start: str, end: str) -> Panel:
    frame = pd.read_parquet(panel_path("panel_1h"))
    frame = frame[frame["symbol"].isin(COINS) & frame["date"].between(start, end)]
    frame = frame.rename(columns={"date": "time", "symbol": "instrument"})
    frame["vwap"] = (frame["high"] + frame["low"] + frame["close"]) / np.float32(3)
    frame = frame[frame["volume"] > 0].dropna()
    return Panel.from_long(frame, Timeframe.parse("1h"))


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_alpha158_on_real_candles(tmp_path: Path) -> None:
    panel = real_panel("2021-04-01", "2022-12-31")
    write_provider(tmp_path / "provider", panel)
    texts = [factor.text for factor in factors.library("alpha158")]
    theirs = qlib_features(tmp_path / "provider", panel, texts)
    ours = engine.evaluate(engine.compile(texts, dialect="qlib"), panel)
    trades = np.isfinite(panel["close"])
    alive = np.flip(np.logical_or.accumulate(np.flip(trades, 0), axis=0), 0)
    ours = np.where(alive, ours, np.nan)
    for text, a, b in zip(texts, ours, theirs, strict=True):
        different = ~np.isclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True)
        assert different.sum() <= TOLERATED, f"{text}: {different.sum()} cells"
