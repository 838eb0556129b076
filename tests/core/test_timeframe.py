import datetime as dt

import numpy as np
import pytest

from bascule.core import ConfigError, Timeframe, moment


@pytest.mark.parametrize(
    ("text", "seconds", "qlib", "bars_a_day"),
    [
        ("1m", 60, "1min", 1440),
        ("5m", 300, "5min", 288),
        ("1h", 3600, "60min", 24),
        ("4h", 14400, "240min", 6),
        ("1d", 86400, "day", 1),
    ],
)
def test_forms(text: str, seconds: int, qlib: str, bars_a_day: int) -> None:
    timeframe = Timeframe.parse(text)
    assert (timeframe.seconds, timeframe.qlib, timeframe.bars_a_day) == (seconds, qlib, bars_a_day)
    assert str(timeframe) == text


@pytest.mark.parametrize("text", ["", "h", "0h", "1w", "7m", "1H", "1.5h", "-1h", "5 m"])
def test_other_forms_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match="remedy"):
        Timeframe.parse(text)


def test_axis_is_regular_and_includes_both_ends() -> None:
    axis = Timeframe.parse("4h").axis(np.datetime64("2024-02-28T05:00"), np.datetime64("2024-03-01T00:00"))
    assert axis[0] == np.datetime64("2024-02-28T04:00") and axis[-1] == np.datetime64("2024-03-01T00:00")
    assert set(np.diff(axis)) == {np.timedelta64(4, "h")}


def test_aware_times_are_converted_to_utc() -> None:
    east = dt.timezone(dt.timedelta(hours=8))
    assert moment(dt.datetime(2024, 1, 1, 8, tzinfo=east)) == np.datetime64("2024-01-01T00:00")
    assert Timeframe.parse("1d").floor("2024-01-01T23:59") == np.datetime64("2024-01-01")


@pytest.mark.parametrize(
    "text",
    ["2024-01-01", "2024-01-01T00:00", "2024-01-01 00:00:00", "2024-01-01T00:00Z", "2024-01-01T08:00+08:00"],
)
def test_texts_are_utc_unless_they_say_otherwise(text: str) -> None:
    assert moment(text) == np.datetime64("2024-01-01", "ns")


@pytest.mark.parametrize("text", ["", "foo", "NaT", "2024-13-01", "2024-02-30", "31.01.2024", "12:00Z"])
def test_a_text_that_is_no_time_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time") as caught:
        moment(text)
    assert repr(text) in caught.value.message and caught.value.remedy


def test_longer_than_a_day_and_odd_lengths_are_written_as_they_are() -> None:
    assert str(Timeframe.parse("2d")) == "2d" and str(Timeframe(90)) == "90s"
    assert Timeframe.of("4h") == Timeframe.of(Timeframe.parse("4h")) == Timeframe(14_400)
