"""The live validator: the same rules candle by candle; untradable until clean, and never from the future."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError, Timeframe
from bascule.data.health import HealthSettings, check
from bascule.data.live import Validator, Verdict
from bascule.data.synthetic import SyntheticSettings, generate

from .candles import make
from .defects import Market, impossible, redenomination, spike, stuck, zero_volume

HOUR = Timeframe.parse("1h")
NAMES = ("AAA_USDT", "BBB_USDT")
WARM = 700


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    return make(NAMES, bars=800)


def replay(
    frame: pd.DataFrame, times: pd.Series, **settings: object
) -> Iterator[tuple[pd.Timestamp, Verdict]]:
    """Push candle by candle what lies after the warm-up."""
    edge = times.iloc[WARM]
    watch = Validator(HOUR, HealthSettings.read(settings), history=frame[frame["time"] < edge])
    for time, part in frame[frame["time"] >= edge].groupby("time"):
        yield pd.Timestamp(str(time)), watch.push(part, expected=NAMES)


def rows_of(frame: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero((frame["instrument"] == NAMES[0]).to_numpy())


def test_clean_candles_raise_nothing(clean: pd.DataFrame) -> None:
    for _, verdict in replay(clean, clean["time"]):
        assert verdict.alerts == ()
        assert not verdict.untradable


@pytest.mark.parametrize(
    ("defect", "kind", "tells_after"),
    [
        (spike, "jump", 0),
        (impossible, "impossible", 0),
        (redenomination, "redenomination", 0),
        (stuck, "stuck", 23),
    ],
)
def test_a_defect_stops_trading_until_clean(
    clean: pd.DataFrame, defect: object, kind: str, tells_after: int
) -> None:
    rows = rows_of(clean)
    at = 720
    bad = defect(Market(clean), rows, at).frame  # type: ignore[operator]
    began = clean["time"].iloc[rows[at]] + pd.Timedelta(hours=tells_after)
    states = dict(replay(bad, clean["time"]))
    for time, verdict in states.items():
        if time < began:
            assert not verdict.untradable
    assert kind in states[began].untradable[NAMES[0]]
    assert {alert.instrument for alert in states[began].alerts} == {NAMES[0]}
    assert any(NAMES[0] in verdict.released for verdict in states.values())
    last = states[max(states)]
    assert not last.untradable
    # the other instrument was never touched
    assert all(NAMES[1] not in verdict.untradable for verdict in states.values())


def test_it_is_released_after_so_many_clean_candles(clean: pd.DataFrame) -> None:
    bad = impossible(Market(clean), rows_of(clean), 720).frame
    for bars in (1, 5):
        states = list(replay(bad, clean["time"], clean_bars=bars))
        held = [time for time, verdict in states if verdict.untradable]
        assert len(held) == bars
        assert held[0] == clean["time"].iloc[720]


def test_kinds_that_do_not_quarantine_only_alert(clean: pd.DataFrame) -> None:
    bad = zero_volume(Market(clean), rows_of(clean), 720).frame
    states = dict(replay(bad, clean["time"]))
    seen = [alert.name for verdict in states.values() for alert in verdict.alerts]
    assert seen == ["zero_volume"]
    assert not any(verdict.untradable for verdict in states.values())
    held = [v.untradable for v in dict(replay(bad, clean["time"], quarantine=["zero_volume"])).values()]
    assert sum(bool(one) for one in held) == 3


def test_what_happened_is_told_once_and_without_the_future(clean: pd.DataFrame) -> None:
    bad = spike(Market(clean), rows_of(clean), 720).frame
    whole = [(t, v.alerts, v.untradable) for t, v in replay(bad, clean["time"])]
    cut = bad[bad["time"] <= whole[40][0]]
    part = [(t, v.alerts, v.untradable) for t, v in replay(cut, clean["time"])]
    assert part == whole[: len(part)]
    names = [alert.name for _, alerts, _ in whole for alert in alerts]
    # a jump at once, and a spike as soon as the next candle has undone it
    assert names == ["jump", "spike"]


def test_late_restated_and_silent(clean: pd.DataFrame) -> None:
    edge = clean["time"].iloc[WARM]
    watch = Validator(HOUR, history=clean[clean["time"] < edge])
    now = clean[clean["time"] == edge]
    came = now.assign(available_time=edge + pd.Timedelta(hours=1, minutes=30))
    one = watch.push(came[came["instrument"] == NAMES[0]], expected=NAMES)
    assert {(a.name, a.instrument) for a in one.alerts} == {("late", NAMES[0]), ("silent", NAMES[1])}
    assert set(one.untradable) == set(NAMES)
    # restated: the candle comes again with another volume
    again = now.assign(volume=now["volume"] * np.float32(2))
    two = watch.push(again[again["instrument"] == NAMES[0]])
    assert [a.name for a in two.alerts] == ["restated"]
    # nothing came at all: the clock tells
    watch = Validator(HOUR, history=clean[clean["time"] < edge])
    due = (edge + pd.Timedelta(hours=1, minutes=6)).to_pydatetime()
    assert set(watch.push(clean.iloc[:0], now=due, expected=NAMES).untradable) == set(NAMES)
    early = (edge + pd.Timedelta(hours=1, minutes=4)).to_pydatetime()
    watch = Validator(HOUR, history=clean[clean["time"] < edge])
    assert not watch.push(clean.iloc[:0], now=early, expected=NAMES).untradable


def test_the_report_of_stored_candles_has_the_same_quarantine(clean: pd.DataFrame) -> None:
    bad = spike(Market(clean), rows_of(clean), 720).frame
    for time, verdict in replay(bad, clean["time"]):
        report = check(bad[bad["time"] <= time], HOUR)
        # live, a jump stays a jump; looking back it is the spike that it turned out to be
        assert set(report.quarantine) == set(verdict.untradable)


def test_a_synthetic_market_with_delistings_is_mostly_quiet() -> None:
    market = generate(SyntheticSettings(instruments=6, days=40)).frame
    edge = market["time"].min() + pd.Timedelta(days=30)
    watch = Validator(HOUR, history=market[market["time"] < edge])
    alerts = [
        alert.name
        for _, part in market[market["time"] >= edge].groupby("time")
        for alert in watch.push(part).alerts
    ]
    assert set(alerts) <= {"gaps", "jump", "spike", "zero_volume", "volume_spike"}
    assert len(alerts) < 20


def test_refusals(clean: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="too short"):
        Validator(HOUR, window=20)
    with pytest.raises(DataError, match="missing"):
        Validator(HOUR).push(clean.drop(columns="close"))
    with pytest.raises(ConfigError, match="no kind of issue"):
        HealthSettings.read({"quarantine": ["bad"]})
    with pytest.raises(ConfigError, match="no kind of issue"):
        HealthSettings.read({"severity": {"bad": "info"}})


def test_severities_can_be_set(clean: pd.DataFrame) -> None:
    bad = zero_volume(Market(clean), rows_of(clean), 720).frame
    worse = check(bad, HOUR, HealthSettings.read({"severity": {"zero_volume": "error"}}))
    assert [issue.name for issue in worse.errors] == ["zero_volume"]
    assert check(bad, HOUR, HealthSettings.read({"severity": {"zero_volume": "ignore"}})).issues == ()


def test_what_was_told_is_forgotten_with_the_window(clean: pd.DataFrame) -> None:
    """A thin coin has something to tell of every candle, for months."""
    frame = clean.assign(volume=np.float32(0))
    watch = Validator(HOUR, HealthSettings.read({"stuck_bars": 10}), window=20)
    for _, part in frame[frame["time"] < frame["time"].iloc[200]].groupby("time"):
        assert watch.push(part).alerts
    assert len(watch._told) <= 2 * 21 * len(NAMES)
