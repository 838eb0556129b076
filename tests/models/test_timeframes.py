"""Longer candles and their factors: those of pandas, and known only when closed."""

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError, Timeframe
from bascule.factors import Factor
from bascule.models import coarse, join, sequence
from bascule.models.timeframes import features
from tests.markets import random_panel


def test_coarse_candles_are_those_of_pandas() -> None:
    panel = random_panel(0, 24 * 6 + 5, 4, missing=0.2, start="2021-01-01T03:00")
    panel = panel.with_fields(taker_buy_volume=panel["volume"] * 0.6, trades=np.floor(panel["volume"]))
    got = coarse(panel, Timeframe.parse("4h"))
    assert got.time[0] == np.datetime64("2021-01-01T04:00")
    for n in range(4):
        frame = pd.DataFrame(
            {name: values[:, n].astype(np.float64) for name, values in panel.fields.items()},
            index=pd.DatetimeIndex(panel.time),
        )
        counted = ["volume", "taker_buy_volume", "trades"]
        rule = {
            "open": "first",
            "high": "max",
            "low": "min",
            "close": "last",
            **dict.fromkeys(counted, "sum"),
        }
        expected = frame.resample("4h").agg(rule).reindex(pd.DatetimeIndex(got.time))
        expected.loc[expected["close"].isna(), counted] = np.nan
        for name in rule:
            assert got[name][:, n] == pytest.approx(expected[name].to_numpy(), rel=1e-6, nan_ok=True)
    # the last candle had not all of its hours
    assert got.time[-1] + Timeframe.parse("4h").delta <= panel.time[-1] + panel.timeframe.delta


def test_a_value_appears_when_its_candle_closes_and_not_before() -> None:
    base = random_panel(1, 48, 3)
    day = Timeframe.parse("4h")
    slow = coarse(base, day)
    values = np.arange(len(slow.time), dtype=np.float32)[None, :, None] * np.ones((1, 1, 3), np.float32)
    got = join(values, slow.time, day, base)
    assert np.isnan(got[0, :3]).all()
    # the candle 00:00-04:00 is closed with the hour that opens at 03:00
    assert (got[0, 3] == 0).all()
    assert (got[0, 6] == 0).all()
    assert (got[0, 7] == 1).all()


def test_a_faster_timeframe_gives_its_last_closed_candle() -> None:
    base = random_panel(2, 24, 2)
    fast = random_panel(2, 24 * 12, 2, timeframe="5m")
    got = join(fast["close"][None], fast.time, fast.timeframe, base)
    assert np.array_equal(got[0], fast["close"][11::12])


def test_factors_of_several_timeframes_are_named_and_change_nothing_when_rows_are_added() -> None:
    panel = random_panel(3, 24 * 20, 5)
    factors = {
        "1h": [Factor("MOM", "$close / Ref($close, 3)")],
        "4h": [Factor("MOM", "$close / Ref($close, 3)")],
        "1d": [Factor("MA", "Mean($close, 2) / $close")],
    }
    values, names = features(panel, factors)
    assert names == ("MOM_1h", "MOM_4h", "MA_1d")
    part, _ = features(panel.rows(0, 301), factors)
    assert np.array_equal(part, values[:, :301], equal_nan=True)
    slow = coarse(panel, Timeframe.parse("4h"))["close"]
    assert values[1, 27] == pytest.approx(slow[6] / slow[3], rel=1e-5)
    with pytest.raises(ConfigError, match="cannot be made of 1h candles"):
        features(panel, {"5m": factors["1h"]})
    with pytest.raises(DataError, match="other instruments"):
        features(panel, {"4h": factors["1h"]}, {"4h": random_panel(0, 90, 6, timeframe="4h")})


def test_a_sequence_gives_each_factor_at_several_times_oldest_first() -> None:
    found = sequence([Factor("A", "$close"), Factor("B", "$open")], 3)
    assert [one.name for one in found] == ["A_lag2", "A_lag1", "A", "B_lag2", "B_lag1", "B"]
    assert found[0].text == "Ref($close, 2)"
    assert found[0].lookback == 2
    with pytest.raises(ConfigError, match="0 steps"):
        sequence([], 0)
