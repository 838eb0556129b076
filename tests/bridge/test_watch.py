"""A live run enters no pair whose candles are unhealthy, says so once, and does nothing else differently."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade.watch import Watch
from bascule.core import Instrument, Timeframe
from bascule.data.issues import HealthSettings
from tests.bridge.research import Research
from tests.bridge.test_feed import candles
from tests.bridge.test_strategy import marked, settings, strategy

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = Timeframe.parse("1h")
BAD = "ETH/USDT"


class Live:
    """freqtrade's data provider at a moment of a live run."""

    def __init__(self, frames: dict[str, pd.DataFrame], length: int) -> None:
        self.frames = frames
        self.length = length
        self.now = pd.Timestamp(0, tz="UTC")
        self.messages: list[str] = []

    def market(self, pair: str) -> dict[str, str]:
        return {"symbol": pair}

    def ohlcv(self, pair: str, timeframe: str, copy: bool = True) -> pd.DataFrame:
        frame = self.frames[pair]
        return frame[frame["date"] < self.now].tail(self.length).reset_index(drop=True)

    def get_pair_dataframe(self, pair: str, timeframe: str) -> pd.DataFrame:
        return self.ohlcv(pair, timeframe)

    def send_msg(self, message: str) -> None:
        self.messages.append(message)


def live(research: Research, **changes: Any) -> tuple[Any, Live, list[pd.Timestamp]]:
    """A strategy of a dry run, its provider, and the moments after the candles 300 to 310 of the signals."""
    from freqtrade.enums import RunMode

    mine = strategy(settings(research, runmode=RunMode.DRY_RUN, **changes))
    frames = {Instrument.parse(name).pair: candles(research, name) for name in research.raw.instruments}
    mine.dp = Live(frames, mine.startup_candle_count + 50)
    moments = [
        pd.Timestamp(time, tz="UTC") + pd.Timedelta(hours=1) for time in research.bundle.signals.time[300:311]
    ]
    return mine, mine.dp, moments


def seen(mine: Any, pair: str) -> pd.DataFrame:
    """The analysed frame of a pair, all of whose signals say: enter."""
    frame = mine.populate_indicators(mine.dp.ohlcv(pair, "1h"), {"pair": pair})
    return mine.populate_entry_trend(
        frame.assign(alpha_rank=1.0, target_weight=0.1, risk_score=0.1, portfolio_risk=0.1, volume=1.0),
        {"pair": pair},
    )


def wrong(frame: pd.DataFrame, moment: pd.Timestamp) -> pd.DataFrame:
    """A price that nobody paid in the candle that closes at a moment."""
    at = frame["date"] == moment - pd.Timedelta(hours=1)
    frame = frame.copy()
    frame.loc[at, ["high", "close"]] = float(frame.loc[at, "close"].iloc[0]) * 3
    frame.loc[at, "volume"] = 1.0
    return frame


def test_a_wrong_price_stops_entries_of_its_pair_until_it_is_clean(
    spot: Research, caplog: pytest.LogCaptureFixture
) -> None:
    mine, provider, moments = live(spot)
    provider.frames[BAD] = wrong(provider.frames[BAD], moments[2])
    blocked = []
    with caplog.at_level(logging.INFO, logger="bascule.bridge.freqtrade.watch"):
        for k, provider.now in enumerate(moments):
            for pair in provider.frames:
                frame = seen(mine, pair)
                entered = marked(frame, "enter_long")
                assert set(range(len(frame) - 1)) <= set(entered)  # only the newest candle is ever barred
                if len(frame) - 1 not in entered:
                    blocked.append((k, pair))
    # the candle itself and two more: the third after it is clean_bars later
    assert blocked == [(k, BAD) for k in (2, 3, 4)]
    assert len(provider.messages) == len(set(provider.messages)) == 3
    assert all(BAD in message for message in provider.messages)
    assert "is not entered: jump" in provider.messages[0]
    assert "spike" in provider.messages[1]
    assert "is clean again" in provider.messages[2]
    assert [record.message for record in caplog.records] == provider.messages


def test_clean_candles_lead_to_the_stored_signals_and_no_word(spot: Research) -> None:
    mine, provider, moments = live(spot)
    stored = spot.bundle.signals
    for k, provider.now in enumerate(moments):
        for column, name in enumerate(stored.instruments):
            pair = Instrument.parse(name).pair
            frame = mine.populate_indicators(provider.ohlcv(pair, "1h"), {"pair": pair})
            assert not frame["untradable"].any()
            assert frame["alpha_rank"].iloc[-1] == pytest.approx(
                stored.alpha_rank[300 + k, column], abs=1e-6, nan_ok=True
            )
    assert provider.messages == []


def test_a_bot_that_starts_remembers_the_last_hours(spot: Research) -> None:
    mine, provider, moments = live(spot)
    provider.frames[BAD] = wrong(provider.frames[BAD], moments[2])
    provider.now = moments[4]
    assert seen(mine, BAD)["untradable"].iloc[-1] == 1
    again, provider, moments = live(spot)
    provider.frames[BAD] = wrong(provider.frames[BAD], moments[2])
    provider.now = moments[8]
    assert seen(again, BAD)["untradable"].iloc[-1] == 0


def test_a_pair_without_candles_is_silent_after_one_candle_of_grace(spot: Research) -> None:
    mine, provider, moments = live(spot)
    provider.frames[BAD] = provider.frames[BAD][provider.frames[BAD]["date"] < moments[3]]
    states = []
    for provider.now in moments[1:8]:
        seen(mine, "BTC/USDT")
        states.append(seen(mine, BAD)["untradable"].iloc[-1])
    assert states == [0, 0, 0, 0, 1, 1, 1]  # missing first in the fourth, one of grace
    assert [message for message in provider.messages if "silent" in message] == [
        f"{BAD} is not entered: silent"
    ]


def test_backtests_and_stored_signals_have_no_watch(spot: Research) -> None:
    from freqtrade.enums import RunMode

    assert strategy(settings(spot))._watch is None
    assert strategy(settings(spot, mode="computed"))._watch is None
    stored = strategy(settings(spot, mode="stored", runmode=RunMode.DRY_RUN))
    assert stored._watch is None
    frame = stored.populate_indicators(candles(spot, "BTC_USDT"), {"pair": "BTC/USDT"})
    assert "untradable" not in frame


def test_thresholds_come_from_the_configuration(spot: Research) -> None:
    from freqtrade.exceptions import OperationalException

    told = settings(spot)["bascule"]
    mine, provider, moments = live(spot, bascule={**told, "health": {"quarantine": []}})
    provider.frames[BAD] = wrong(provider.frames[BAD], moments[0])
    provider.now = moments[0]
    assert not seen(mine, BAD)["untradable"].any()
    with pytest.raises(OperationalException, match=r"bascule\.health: spike_mad"):
        live(spot, bascule={**told, "health": {"spike_mad": 3}})


def test_the_same_candles_are_judged_once() -> None:
    watch = Watch(HOUR, HealthSettings())
    time = pd.date_range("2024-01-01", periods=400, freq="1h", tz="UTC")
    close = 100 * np.exp(np.random.default_rng(1).normal(0, 0.005, 400).cumsum())
    frame = pd.DataFrame(
        {
            "date": time,
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": 5.0,
        }
    )
    frame.loc[399, ["open", "high", "low", "close"]] *= 4
    assert watch.look({"AAA/USDT": frame, "BBB/USDT": pd.DataFrame()}) == (
        "AAA/USDT is not entered: jump",
        "BBB/USDT is not entered: silent",
    )
    assert watch.look({"AAA/USDT": frame, "BBB/USDT": pd.DataFrame()}) == ()
    assert watch.marks("AAA/USDT", frame["date"]).tolist() == [0.0] * 399 + [1.0]
    assert watch.marks("AAA/USDT", frame["date"][:0]).tolist() == []
