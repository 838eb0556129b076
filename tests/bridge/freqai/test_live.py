"""A live bot predicts what a backtest does: history from disk, a window from the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import time_machine

from bascule.core import Instrument
from tests.bridge.freqai.learning import config
from tests.bridge.freqai.test_model import SLOW, bot
from tests.bridge.research import Research
from tests.bridge.test_feed import candles

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning"),
]
NOW = pd.Timestamp("2023-03-11 07:00:05", tz="UTC")
PAIR = "ETH/USDT"
SAME = ("alpha", "alpha_rank", "target_weight", "risk_score", "stop_distance", "do_predict", "untradable")


class Exchange:
    """A live bot's data provider: the newest closed candles of each pair."""

    def __init__(self, research: Research, length: int) -> None:
        from freqtrade.enums import RunMode

        self.runmode = RunMode.DRY_RUN
        self.length = length
        self.now = NOW
        self.told: list[str] = []
        self.whole = {Instrument.parse(one).pair: candles(research, one) for one in research.raw.instruments}

    def ohlcv(self, pair: str, timeframe: str, copy: bool = True) -> pd.DataFrame:
        frame = self.whole[pair]
        closed = frame["date"] <= self.now - pd.Timedelta(hours=1)
        return frame[closed].tail(self.length).reset_index(drop=True)

    def get_pair_dataframe(self, pair: str, timeframe: str) -> pd.DataFrame:
        return self.ohlcv(pair, timeframe)

    def market(self, pair: str) -> dict[str, str]:
        return {"symbol": pair}

    def current_whitelist(self) -> list[str]:
        return list(self.whole)

    def send_msg(self, text: str) -> None:
        self.told.append(text)


def live(research: Research, folder: Path, *, kept: int, **changes: Any) -> Any:
    """A live bot with ``kept`` candles of history on disk before those of the exchange."""
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade.freqai import BasculeFreqaiModel, FreqaiFactorStrategy

    (folder / "config.json").write_text("{}")
    values = {**config(research, folder, **changes), "runmode": RunMode.DRY_RUN}
    strategy = FreqaiFactorStrategy(values)
    values["startup_candle_count"] = strategy.startup_candle_count
    strategy.dp = Exchange(research, 120)
    strategy.freqai = model = BasculeFreqaiModel(values)
    strategy.freqai_info = values["freqai"]
    model.scanning = True  # trained by hand here, not by FreqAI's thread
    before = NOW - pd.Timedelta(hours=20)
    for pair, frame in strategy.dp.whole.items():
        past = frame[frame["date"] < before].tail(kept).reset_index(drop=True)
        model.dd.historic_data[pair] = {"1h": past}
    return strategy


def analysed(strategy: Any, pair: str = PAIR) -> pd.Series:
    frame = strategy.dp.ohlcv(pair, "1h")
    return strategy.populate_indicators(frame, {"pair": pair}).iloc[-1]


def trained(strategy: Any, pair: str = PAIR) -> None:
    """What FreqAI's thread does when a training is due."""
    from freqtrade.freqai.data_kitchen import FreqaiDataKitchen

    model = strategy.freqai
    kitchen = FreqaiDataKitchen(model.config, True, pair)
    due, window, loaded = kitchen.check_if_new_training_required(model.dd.get_pair_dict_info(pair)[1])
    assert due
    kitchen.set_paths(pair, window.stopts)
    model.extract_data_and_train_model(window, pair, strategy, kitchen, loaded)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW.to_pydatetime(), tick=False) as found:
        yield found


@pytest.mark.parametrize("changes", [{}, {"factors": SLOW}], ids=["hours", "with four hours"])
def test_live_predictions_are_those_of_the_backtest(
    spot: Research, tmp_path: Path, clock: Any, changes: dict[str, Any]
) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "back").mkdir()
    mine = live(spot, tmp_path / "live", kept=1_500, **changes)
    first = analysed(mine)
    assert first["do_predict"] == 0 and first["covered"] == 0  # nothing is trained yet
    trained(mine)
    assert [str(one)[:10] for one in mine.freqai._fits] == ["2023-03-09"]
    trained(mine, "ADA/USDT")  # joins the same fit
    assert len(list((mine.freqai.full_path / "pooled").iterdir())) == 1

    back = bot(spot, tmp_path / "back", **changes)
    stored = back.populate_indicators(back.dp.frames[PAIR].copy(), {"pair": PAIR}).set_index("date")
    analysed(mine)  # FreqAI gives its first prediction back as history, and predicts from the next candle on
    for hours in (1, 2, 3):
        clock.move_to((NOW + pd.Timedelta(hours=hours)).to_pydatetime())
        mine.dp.now = NOW + pd.Timedelta(hours=hours)
        now = analysed(mine)
        wanted = stored.loc[now["date"]]
        assert now["date"] == mine.dp.now.floor("h") - pd.Timedelta(hours=1)
        for name in SAME:
            np.testing.assert_allclose(float(now[name]), float(wanted[name]), rtol=1e-6, err_msg=name)
    assert np.isfinite(now["alpha"]) and now["covered"] == 1


def test_a_restarted_bot_takes_its_models_up(spot: Research, tmp_path: Path, clock: Any) -> None:
    mine = live(spot, tmp_path, kept=1_500)
    analysed(mine)
    trained(mine)
    analysed(mine)
    clock.move_to((NOW + pd.Timedelta(hours=1)).to_pydatetime())
    mine.dp.now = NOW + pd.Timedelta(hours=1)
    before = analysed(mine)
    mine.freqai.dd.save_historic_predictions_to_disk()
    again = live(spot, tmp_path, kept=1_500)
    again.dp.now = mine.dp.now
    assert not again.freqai._fits
    after = analysed(again)
    assert [str(one)[:10] for one in again.freqai._fits] == ["2023-03-09"]
    for name in ("alpha", "alpha_rank", "target_weight"):
        assert float(after[name]) == float(before[name])


def test_a_pair_without_candles_on_disk_stops_nobody(spot: Research, tmp_path: Path, clock: Any) -> None:
    mine = live(spot, tmp_path, kept=1_500)
    history = mine.freqai.dd.historic_data["ADA/USDT"]
    history["1h"] = history["1h"].iloc[:0]
    analysed(mine)
    trained(mine)
    analysed(mine)
    clock.move_to((NOW + pd.Timedelta(hours=1)).to_pydatetime())
    mine.dp.now = NOW + pd.Timedelta(hours=1)
    assert analysed(mine)["covered"] == 1 and analysed(mine, "ADA/USDT")["date"] == NOW.floor("h")


def test_a_universe_without_history_is_refused(spot: Research, tmp_path: Path, clock: Any) -> None:
    from freqtrade.exceptions import OperationalException

    mine = live(spot, tmp_path, kept=1_500)
    del mine.freqai.dd.historic_data["ADA/USDT"]
    mine.freqai.dd.update_historic_data = lambda strategy, kitchen: None
    with pytest.raises(OperationalException, match="keeps no history of ADA/USDT"):
        analysed(mine)
