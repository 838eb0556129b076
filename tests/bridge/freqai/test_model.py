"""The FreqAI model and strategy, called as FreqAI calls them, without a run of freqtrade."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import Instrument
from tests.bridge.freqai.learning import config
from tests.bridge.research import FACTORS, Research
from tests.bridge.test_feed import candles

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning"),
]


class Provider:
    """A backtest's data provider: candles up to the end of the time range, with FreqAI's start-up."""

    def __init__(self, research: Research, values: dict[str, Any], startup: int) -> None:
        from freqtrade.enums import RunMode

        first, last = (pd.Timestamp(int(one), unit="s", tz="UTC") for one in values["timerange"].split("-"))
        begin = first - pd.Timedelta(days=values["freqai"]["train_period_days"], hours=startup)
        self.runmode = RunMode.BACKTEST
        self.frames = {}
        for name in research.raw.instruments:
            frame = candles(research, name)
            kept = frame[(frame["date"] >= begin) & (frame["date"] <= last)].reset_index(drop=True)
            self.frames[Instrument.parse(name).pair] = kept

    def historic_ohlcv(self, pair: str, timeframe: str) -> pd.DataFrame:
        return self.frames[pair].copy()

    get_pair_dataframe = historic_ohlcv

    def current_whitelist(self) -> list[str]:
        return list(self.frames)


def bot(research: Research, folder: Path, **changes: Any) -> Any:
    """A strategy with model and data provider, as a backtest has them."""
    from bascule.bridge.freqtrade.freqai import BasculeFreqaiModel, FreqaiFactorStrategy

    range_ = changes.pop("timerange", None)
    values = config(research, folder, **changes)
    if range_ is not None:
        values["timerange"] = range_
    (folder / "config.json").write_text("{}")
    strategy = FreqaiFactorStrategy(values)
    values["startup_candle_count"] = strategy.startup_candle_count
    strategy.dp = Provider(research, values, strategy.startup_candle_count)
    strategy.freqai = BasculeFreqaiModel(values)
    strategy.freqai_info = values["freqai"]
    return strategy


def predicted(strategy: Any, pair: str) -> pd.DataFrame:
    frame = strategy.populate_indicators(strategy.dp.frames[pair].copy(), {"pair": pair})
    return frame[frame["date"] >= pd.Timestamp("2023-03-07", tz="UTC")].reset_index(drop=True)


@pytest.fixture(scope="module")
def pooled(spot: Research, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bot(spot, tmp_path_factory.mktemp("pooled"))


@pytest.fixture(scope="module")
def frames(pooled: Any) -> dict[str, pd.DataFrame]:
    return {pair: predicted(pooled, pair) for pair in pooled.dp.frames}


def test_all_pairs_share_one_fit_a_training(pooled: Any, frames: dict[str, pd.DataFrame]) -> None:
    fits = pooled.freqai._fits
    # trainings lie on the absolute grid: days since 1970 divisible by five
    assert [str(one)[:10] for one in sorted(fits)] == ["2023-03-04", "2023-03-09", "2023-03-14"]
    folder = pooled.freqai.full_path / "pooled"
    assert sorted(path.name for path in folder.iterdir()) == ["2023-03-04", "2023-03-09", "2023-03-14"]
    # five of the six are members of the universe
    assert sum(frame["alpha"].notna().any() for frame in frames.values()) == 5


def test_the_cross_section_is_kept(pooled: Any, frames: dict[str, pd.DataFrame]) -> None:
    ranks = pd.DataFrame({pair: frame.set_index("date")["alpha_rank"] for pair, frame in frames.items()})
    full = ranks[ranks.notna().sum(axis=1) >= 3]
    assert len(full) > 200
    assert (full.max(axis=1) <= 1).all() and (full.min(axis=1) >= 0).all()
    np.testing.assert_allclose(full.mean(axis=1), 0.5, atol=1e-6)


def test_verdicts_are_respected(pooled: Any, frames: dict[str, pd.DataFrame]) -> None:
    marks = pd.concat(frames.values())
    assert set(marks["do_predict"]) == {0, 1}
    assert (marks["DI_values"] > 0).any()
    for pair, frame in frames.items():
        entered = pooled.populate_entry_trend(frame.copy(), {"pair": pair})
        if "enter_long" in entered:
            assert (entered.loc[entered["enter_long"] == 1, "do_predict"] == 1).all()
    outliers = marks[(marks["do_predict"] == 0) & marks["alpha"].notna()]
    assert len(outliers) and (outliers["untradable"] == 1).all()


def test_predictions_do_not_depend_on_later_candles_or_on_where_a_run_begins(
    spot: Research, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    later = bot(spot, tmp_path, timerange="1678492800-1678600800")  # 2023-03-11 … 2023-03-12 06:00
    pair = "ETH/USDT"
    frame = later.populate_indicators(later.dp.frames[pair].copy(), {"pair": pair})
    frame = frame[frame["date"] >= pd.Timestamp("2023-03-11", tz="UTC")].set_index("date")
    before = frames[pair].set_index("date").loc[frame.index]
    assert len(frame) == 31 and frame["alpha"].notna().any()
    for column in (
        "&-alpha",
        "alpha",
        "alpha_rank",
        "target_weight",
        "do_predict",
        "DI_values",
        "risk_score",
    ):
        np.testing.assert_array_equal(frame[column], before[column], err_msg=column)


def test_the_features_are_the_factors(pooled: Any) -> None:
    frame = pooled.dp.frames["ETH/USDT"].tail(50).reset_index(drop=True)
    found = pooled.feature_engineering_standard(frame, {"pair": "ETH/USDT"})
    names = [f"%-{name}" for name, _ in FACTORS]
    assert [name for name in found if name.startswith("%")] == names
    whole = pooled.dp.frames["ETH/USDT"]
    momentum = (whole["close"] / whole["close"].shift(12) - 1).tail(50).to_numpy()
    both = np.isfinite(momentum) & found["%-momentum"].notna().to_numpy()
    assert both.sum() > 20
    np.testing.assert_allclose(found["%-momentum"][both], momentum[both], rtol=2e-4, atol=1e-6)


SLOW = [
    {"name": "fast", "text": "$close / Ref($close, 12) - 1"},
    {"name": "slow", "text": "$close / Ref($close, 5) - 1", "timeframe": "4h"},
    {"name": "across", "text": "CSRank(Mean($volume, 3))", "timeframe": "4h"},
]


def test_factors_of_longer_candles_have_the_bits_of_the_signal_recipe(spot: Research, tmp_path: Path) -> None:
    from bascule import signals

    mine = bot(spot, tmp_path, factors=SLOW)
    assert mine.plan.spec.names == ("fast", "slow_4h", "across_4h")
    now = mine.freqai.view(mine)
    whole = signals.features(spot.panel, mine.plan.spec)
    last = now.panel.time >= np.datetime64("2023-03-07")
    rows = np.searchsorted(spot.panel.time, now.panel.time[last])
    assert now.panel.instruments == spot.panel.instruments
    np.testing.assert_array_equal(now.values[:, last], whole[:, rows])
    # a value of four hours appears when its candle closes, and stays for four
    slow = now.values[1, last, 0]
    changed = np.flatnonzero(np.abs(np.diff(slow)) > 0) + 1  # not where it is missing
    closing = now.panel.time[last][changed].astype("datetime64[h]").astype(int) % 4
    assert len(changed) > 40 and set(closing) == {3}


def test_libraries_of_longer_candles_are_looked_up(spot: Research, tmp_path: Path) -> None:
    mine = bot(spot, tmp_path, factors=["macd", "macd@4h"], risk={}, train_days=60)
    names = mine.plan.spec.names
    half = len(names) // 2
    assert names[half:] == tuple(f"{name}_4h" for name in names[:half])
    assert mine.plan.warmup > 4 * 50


def test_one_model_a_pair_with_freqais_expansion(spot: Research, tmp_path: Path) -> None:
    mine = bot(
        spot,
        tmp_path,
        pooled=False,
        expand=[{"name": "roc", "text": "$close / Ref($close, {period}) - 1"}],
        basic=[{"name": "body", "text": "$close / $open - 1"}],
        periods=(3, 8),
        shifts=1,
    )
    first = pd.Timestamp("2023-03-07", tz="UTC")
    quiet = {
        pair: frame.loc[(frame["volume"] == 0) & (frame["date"] >= first), "date"]
        for pair, frame in mine.dp.frames.items()
        if pair != "BTC/USDT"  # no member of the universe then
    }
    pair = max(quiet, key=lambda name: len(quiet[name]))
    coin = pair.partition("/")[0]
    frame = predicted(mine, pair)
    assert set(frame["do_predict"]) == {0, 1}
    chosen = frame[frame["do_predict"] == 1]
    assert chosen["alpha_rank"].between(0, 1).all() and chosen["alpha_rank"].nunique() > 5
    assert set(chosen["target_weight"]) <= {0.0, 1 / 6}
    name = f"cb_{coin.lower()}_1678147200_metadata.json"
    metadata = mine.freqai.full_path / f"sub-train-{coin}_1678147200" / name
    features = pd.read_json(metadata, typ="series")["training_features_list"]
    assert f"%-roc-period_8_shift-1_{pair}_1h" in features and f"%-body_gen_{pair}_1h" in features
    # a candle without trade has no features: FreqAI's regressors drop that mark, ours keep it
    assert len(quiet[pair])
    assert (frame.set_index("date").loc[quiet[pair], "do_predict"] == 0).all()


def test_another_recipe_under_the_same_identifier_is_refused(spot: Research, tmp_path: Path) -> None:
    from freqtrade.exceptions import OperationalException

    first = bot(spot, tmp_path)
    assert bot(spot, tmp_path).plan.id == first.plan.id
    with pytest.raises(OperationalException, match="holds models of another recipe"):
        bot(spot, tmp_path, horizon=5)
    with pytest.raises(OperationalException, match="holds models of another recipe"):
        bot(spot, tmp_path, train_days=19)
    assert bot(spot, tmp_path, horizon=5, identifier="other").plan.id != first.plan.id


def test_other_data_under_the_same_identifier_is_refused(spot: Research, tmp_path: Path) -> None:
    from freqtrade.exceptions import OperationalException

    predicted(bot(spot, tmp_path), "BTC/USDT")
    again = bot(spot, tmp_path)
    for frame in again.dp.frames.values():
        frame["close"] *= 1 + 0.01 * (np.arange(len(frame)) % 2)
    with pytest.raises(OperationalException, match="of other data or settings"):
        predicted(again, "BTC/USDT")


def test_it_travels_to_other_processes_without_its_models(pooled: Any) -> None:
    keep = pooled.dp, pooled.freqai
    pooled.dp = pooled.freqai = None
    try:
        copied = pickle.loads(pickle.dumps(pooled))
    finally:
        pooled.dp, pooled.freqai = keep
    assert copied._source._signals is None and copied.plan.id == pooled.plan.id
    assert keep[1].__getstate__() == {}


def test_the_model_is_asked_for(spot: Research, tmp_path: Path) -> None:
    from freqtrade.exceptions import OperationalException

    mine = bot(spot, tmp_path)
    mine.freqai = SimpleNamespace()
    with pytest.raises(OperationalException, match="needs the FreqAI model BasculeFreqaiModel"):
        predicted(mine, "BTC/USDT")
