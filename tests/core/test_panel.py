import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError, Panel, Timeframe, UniverseError

HOUR = Timeframe.parse("1h")


def long_frame() -> pd.DataFrame:
    """Two instruments, one listed later and with a hole."""
    time = pd.to_datetime(
        ["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:00", "2024-01-01 03:00"], utc=True
    )
    return pd.DataFrame(
        {
            "time": [*time, time[1], time[3]],
            "instrument": ["B_USDT"] * 4 + ["A_USDT"] * 2,
            "close": np.arange(6, dtype=np.float32) + 1,
        }
    )


def test_from_long_aligns_and_leaves_holes_as_nan() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    assert panel.instruments == ("A_USDT", "B_USDT")
    np.testing.assert_array_equal(panel["close"][:, 0], np.array([np.nan, 5, np.nan, 6], np.float32))
    assert panel.listed[0] == np.datetime64("2024-01-01T01:00")
    np.testing.assert_array_equal(panel.started[:, 0], [False, True, True, True])
    np.testing.assert_array_equal(panel.traded[:, 0], [False, True, False, True])


def test_a_window_keeps_the_true_listing_time() -> None:
    window = Panel.from_long(long_frame(), HOUR).rows(2, None)
    assert window.started.all()
    assert window.shape == (2, 2)


def test_times_in_another_zone_are_the_same_moments() -> None:
    frame = long_frame()
    shifted = frame.assign(time=frame["time"].dt.tz_convert("Asia/Shanghai"))
    assert Panel.from_long(shifted, HOUR).fingerprint() == Panel.from_long(frame, HOUR).fingerprint()


def test_duplicates_and_times_off_the_grid_are_refused() -> None:
    frame = long_frame()
    with pytest.raises(DataError, match="duplicate"):
        Panel.from_long(pd.concat([frame, frame.iloc[:1]]), HOUR)
    late = frame.assign(time=frame["time"] + pd.Timedelta("7min"))
    late.loc[0, "time"] = frame["time"][0]
    with pytest.raises(DataError, match="not on the 1h grid"):
        Panel.from_long(late, HOUR)


def test_frames_that_lack_something_are_refused() -> None:
    frame = long_frame()
    with pytest.raises(DataError, match="column 'instrument' is missing") as caught:
        Panel.from_long(frame.drop(columns="instrument"), HOUR)
    assert caught.value.remedy == "at hand: time, close"
    with pytest.raises(DataError, match="column 'volume' is missing"):
        Panel.from_long(frame, HOUR, fields=["close", "volume"])
    frame.loc[2, "time"] = pd.NaT
    with pytest.raises(DataError, match="a row has no time"):
        Panel.from_long(frame, HOUR)


def test_unknown_instruments_and_fields_are_named() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    with pytest.raises(UniverseError, match="ZZZ_USDT"):
        panel.select(["ZZZ_USDT"])
    with pytest.raises(UniverseError):
        panel.select([])
    with pytest.raises(DataError, match=r"\$open"):
        panel["open"]


def test_members_are_what_the_universe_holds_and_what_traded() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    universe = np.ones(panel.shape, bool)
    universe[:, 1] = False
    np.testing.assert_array_equal(panel.with_universe(universe).members[:, 0], panel.traded[:, 0])
    assert not panel.with_universe(universe).members[:, 1].any()


def test_fingerprint_sees_every_change() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    close = panel["close"].copy()
    close[0, 1] = np.nextafter(close[0, 1], np.float32(9))
    prints = {
        panel.fingerprint(),
        panel.with_fields(close=close).fingerprint(),
        panel.with_universe(np.ones(panel.shape, bool)).fingerprint(),
        panel.rows(0, 3).fingerprint(),
        panel.select(["A_USDT"]).fingerprint(),
    }
    assert len(prints) == 5


def test_between_is_half_open() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    assert panel.between("2024-01-01T01:00", "2024-01-01T03:00").shape[0] == 2
    assert panel.between().shape == panel.shape


def test_malformed_panels_cannot_be_built() -> None:
    panel = Panel.from_long(long_frame(), HOUR)
    with pytest.raises(DataError, match="float32"):
        panel.with_fields(close=panel["close"].astype(np.float64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="boolean"):
        panel.with_universe(np.ones((1, 1), bool))
    with pytest.raises(DataError, match="step"):
        Panel(HOUR, panel.time[[0, 2]], panel.instruments, {}, panel.listed)
