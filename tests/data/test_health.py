"""Every kind of trouble is found, counted, dated and graded; a clean frame has none."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError, Timeframe
from bascule.data.health import HealthReport, HealthSettings, Severity, check
from bascule.data.synthetic import SyntheticSettings, generate

from .candles import at, make

HOUR = Timeframe.parse("1h")
A = "AAA_USDT"


def look(frame: pd.DataFrame, **settings: float) -> HealthReport:
    return check(frame, HOUR, HealthSettings.read(settings))


def test_clean_candles_have_no_issue() -> None:
    report = look(make())
    assert report.issues == ()
    assert report.worst is None
    assert (report.rows, report.instruments, report.missing) == (200, 2, 0)
    assert (report.first, report.last) == ("2024-01-30 00:00:00", "2024-02-03 03:00:00")


def unsort(f: pd.DataFrame) -> pd.DataFrame:
    i = at(f, A, 10)
    return f.iloc[[*range(i), i + 1, i, *range(i + 2, len(f))]]


def twice(f: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([f, f.iloc[[at(f, A, 10)]]]).sort_values(["instrument", "time"], kind="stable")


def put(name: str, value: float, bar: int = 10) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(f: pd.DataFrame) -> pd.DataFrame:
        f.loc[at(f, A, bar), name] = value
        return f

    return change


def shift(f: pd.DataFrame) -> pd.DataFrame:
    f.loc[at(f, A, 10), "time"] += pd.Timedelta(minutes=7)
    return f


@pytest.mark.parametrize(
    ("spoil", "name", "time"),
    [
        (unsort, "unsorted", "2024-01-30 10:00:00"),
        (twice, "duplicates", "2024-01-30 10:00:00"),
        (shift, "off_grid", "2024-01-30 10:07:00"),
        (put("close", np.nan), "not_finite", "2024-01-30 10:00:00"),
        (put("volume", np.inf), "not_finite", "2024-01-30 10:00:00"),
        (put("low", 0), "non_positive", "2024-01-30 10:00:00"),
        (put("volume", -1), "negative_volume", "2024-01-30 10:00:00"),
        (put("high", 1), "impossible", "2024-01-30 10:00:00"),
        (put("open", 500), "impossible", "2024-01-30 10:00:00"),
        (put("close", 10), "impossible", "2024-01-30 10:00:00"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(spoil: Callable[[pd.DataFrame], pd.DataFrame], name: str, time: str) -> None:
    report = look(spoil(make()))
    found = {issue.name: issue for issue in report.errors}
    issue = found[name]
    assert (issue.instrument, issue.count, issue.first, issue.last) == (A, 1, time, time)
    assert issue.example.startswith(time)
    assert report.worst is Severity.ERROR


def test_wrong_timeframe() -> None:
    report = check(make(timeframe="4h"), HOUR)
    assert {issue.name for issue in report.errors} == {"timeframe"}
    assert "14400 s apart, not 3600 s" in report.errors[0].example
    # candles too short are off the grid
    assert {i.name for i in check(make(timeframe="15m"), HOUR).errors} == {"off_grid"}


def test_a_rarely_traded_coin_has_gaps_but_the_right_timeframe() -> None:
    frame = make(bars=200)
    kept = np.random.default_rng(0).random(len(frame)) < 0.2
    report = look(frame[kept])
    assert not report.errors
    assert report.count("gaps") > 50


def test_gaps_count_runs_and_candles() -> None:
    frame = make(bars=1_000)
    lost = [at(frame, A, bar) for bar in (20, 21, 22, 60)]
    report = look(frame.drop(index=lost))
    (issue,) = report.issues
    assert (issue.name, issue.count, report.missing) == ("gaps", 2, 4)
    assert issue.severity is Severity.INFO
    assert "followed by 3 missing" in issue.example
    assert look(frame.drop(index=lost), gap_share=0.001).worst is Severity.WARNING


def test_zero_volume_is_graded_by_its_share() -> None:
    frame = put("volume", 0)(make())
    assert look(frame).issues[0].name == "zero_volume"
    assert look(frame).worst is Severity.INFO
    assert look(frame, zero_volume_share=0.005).worst is Severity.WARNING


def test_stuck_prices() -> None:
    frame = make()
    rows = [at(frame, A, bar) for bar in range(30, 60)]
    frame.loc[rows, ["open", "high", "low", "close"]] = 100.0
    report = look(frame)
    (issue,) = (i for i in report.issues if i.name == "stuck")
    assert (issue.count, issue.first) == (1, "2024-01-31 06:00:00")
    assert "30 candles at 100" in issue.example
    assert not any(i.name == "stuck" for i in look(frame, stuck_bars=31).issues)


def scale(f: pd.DataFrame, bars: slice, factor: float) -> pd.DataFrame:
    rows = [at(f, A, bar) for bar in range(100)[bars]]
    f.loc[rows, ["open", "high", "low", "close"]] *= np.float32(factor)
    return f


def test_an_isolated_spike_is_no_level_move() -> None:
    (spike,) = look(scale(make(), slice(40, 41), 3)).issues
    assert (spike.name, spike.severity, spike.count) == ("spike", Severity.WARNING, 1)
    assert spike.first == "2024-01-31 16:00:00"
    (jump,) = look(scale(make(), slice(40, None), 3)).issues
    assert (jump.name, jump.severity, jump.count) == ("jump", Severity.INFO, 1)
    assert "log return +1." in jump.example


def test_a_jump_over_a_gap_names_the_gap() -> None:
    frame = scale(make(), slice(40, None), 3)
    report = look(frame.drop(index=[at(frame, A, bar) for bar in range(35, 40)]))
    (jump,) = (i for i in report.issues if i.name == "jump")
    assert "after 5 missing candles" in jump.example


def test_funding_of_futures() -> None:
    market = generate(
        SyntheticSettings(instruments=3, days=20, market="futures", late=0, delisted=0, missing=0)
    )
    assert not any(i.name.startswith("funding") for i in look(market.frame).issues)
    one = market.frame["instrument"] == "SYN01_USDT_USDT"
    holes = market.frame.copy()
    holes.loc[one & holes["time"].between("2022-01-05", "2022-01-07"), "funding_rate"] = np.nan
    (issue,) = (i for i in look(holes).issues if i.name.startswith("funding"))
    assert (issue.name, issue.instrument) == ("funding_gaps", "SYN01_USDT_USDT")
    assert "starts 64 hours" in issue.example
    absent = look(market.frame.drop(columns="funding_rate"))
    assert absent.count("funding_absent") == 3


def test_report_is_json_with_one_summary_row_a_kind() -> None:
    frame = put("high", 1)(put("volume", 0, 30)(make()))
    report = look(frame)
    text = json.loads(json.dumps(report.to_dict()))
    assert text["worst"] == "error"
    assert [row["name"] for row in text["summary"]] == ["impossible", "zero_volume"]
    assert text["summary"][0]["example"].startswith("AAA_USDT: 2024-01-30 10:00:00 open=")
    assert text["issues"][1]["severity"] == "info"


def test_progress_is_reported_and_the_frame_left_alone() -> None:
    steps: list[tuple[int, int]] = []
    frame = unsort(make())
    before = frame.copy()
    check(frame, HOUR, progress=lambda done, total, note="": steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] > 5
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop(columns="low"), "'low' is missing"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(time=f["time"].dt.tz_localize(None)), "not UTC"),
        (lambda f: f.assign(time=f["time"].dt.tz_convert("Asia/Tokyo")), "not UTC"),
        (lambda f: f.assign(instrument="AAA/USDT"), "not a store id"),
        (lambda f: f.assign(close="much"), "not a number"),
        (lambda f: f.assign(volume=1e300), "too large"),
    ],
)
def test_a_frame_of_another_form_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        look(change(make()))
