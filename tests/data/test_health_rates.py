"""Injected defects of every kind are found where they are and named; clean candles stay clean."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

from bascule.core import Timeframe, moment
from bascule.data.health import HealthReport, check
from bascule.data.issues import KINDS
from bascule.data.readers import read_long
from bascule.data.synthetic import SyntheticSettings, generate
from tests.realdata import panel_path

from .defects import COARSE, DEFECTS, WHOLE, Defect, Market

HOUR = Timeframe.parse("1h")
PLACES = 12
NAME = "SYN05_USDT"


@functools.cache
def synthetic() -> pd.DataFrame:
    """Without any hole, quiet candle or listing: nothing to find."""
    clean = SyntheticSettings(instruments=8, days=90, late=0, delisted=0, missing=0, quiet=0)
    return generate(clean).frame


def found(report: HealthReport, kind: str, name: str, time: np.datetime64) -> bool:
    """The kind was told of the instrument, at that time (within a candle, or the grain of the check)."""
    grain = np.timedelta64(COARSE.get(kind, 1), "h")
    for issue in report.issues:
        if issue.name != kind or issue.instrument not in (name, f"1000{name}"):
            continue
        first, last = (moment(text.replace(" ", "T")) for text in (issue.first, issue.last))
        if kind in WHOLE or first - grain <= time <= last + grain:
            return True
    return False


def rate(defect: Defect, frame: pd.DataFrame, name: str, places: int) -> float:
    """The share of places where it is found, less nothing: the clean frame must not have it there."""
    rng = np.random.default_rng(3)
    rows = np.flatnonzero((frame["instrument"] == name).to_numpy())
    hits = 0
    for i in rng.integers(600, len(rows) - 600, places):
        market = defect(Market(frame), rows, int(i))
        report = check(market.frame, HOUR, **market.extra)
        hits += found(report, defect.__name__, name, moment(frame["time"].iloc[rows[i]].to_pydatetime()))
    return hits / places


def test_every_kind_of_issue_has_an_injection() -> None:
    # funding is tested with futures (test_health), silence with the live validator (test_live)
    tested = {defect.__name__ for defect in DEFECTS}
    assert set(KINDS) - tested == {"funding_absent", "funding_gaps", "silent"}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.__name__)
def test_injected_defects_are_found_and_named(defect: Defect) -> None:
    assert rate(defect, synthetic(), NAME, PLACES) == 1.0


def test_a_clean_market_has_no_issue_but_its_jumps() -> None:
    """Fat tails make moves beyond any limit now and then; nothing else is told."""
    report = check(synthetic(), HOUR)
    assert {issue.name for issue in report.issues} <= {"jump"}
    assert report.count("jump") <= report.rows / 2_000


@pytest.mark.real_data
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.__name__)
def test_injected_defects_are_found_in_real_candles(defect: Defect) -> None:
    frame = real()
    least = 0.5 if defect.__name__ == "volume_level" else 1.0
    assert rate(defect, frame, "LINK_USDT", 4) >= least


@functools.cache
def real() -> pd.DataFrame:
    frame = read_long(panel_path("panel_1h"))
    chosen = frame["instrument"].isin(["BTC_USDT", "ETH_USDT", "LINK_USDT"])
    return frame[chosen & (frame["time"] >= "2022-12-01") & (frame["time"] < "2023-03-20")].reset_index(
        drop=True
    )


@pytest.mark.real_data
def test_false_alarms_on_real_candles() -> None:
    """Nothing of what is told of the real file is untrue; what is no event of the market is rare."""
    frame = read_long(panel_path("panel_1h"))
    report = check(frame, HOUR)
    assert not report.errors
    told = {row["name"]: row["count"] for row in report.summary() if row["severity"] == "warning"}
    assert report.count("migration") == 4
    assert {i.instrument for i in report.issues if i.name == "migration"} == {
        f"{coin}_USDT" for coin in ("BNX", "LUNA", "QUICK", "VIDT")
    }
    assert {i.instrument for i in report.issues if i.name == "relisted"} == {"FTT_USDT"}
    for kind in ("redenomination", "stuck", "volume_spike", "volume_drop"):
        assert report.count(kind) == 0
    assert report.count("volume_level") <= 1
    # isolated spikes are possible errors; on clean candles each is a false alarm
    assert told["spike"] / report.rows < 2e-5


@pytest.mark.real_data
def test_venues_that_differ_by_their_unit_or_their_outages() -> None:
    table = pd.read_parquet(panel_path("cross_exchange_1h"))
    spot = table[(table["market"] == "spot") & table["symbol"].isin(["BTCUSDT", "SOLUSDT"])]
    venues = {
        str(venue): part.assign(
            time=part["date"].astype("datetime64[ns, UTC]"),
            instrument=part["symbol"].str.replace("USDT", "_USDT"),
        )[["time", "instrument", "close"]]
        for venue, part in spot.groupby("exchange", observed=True)
    }
    own = venues.pop("binance")
    frame = own.assign(**dict.fromkeys(("open", "high", "low"), own["close"]), volume=np.float32(1))
    report = check(frame, HOUR, venues=venues)
    assert report.count("venue_mismatch") == 0
    assert report.count("venue_disagreement") <= len(frame) / 5_000
    thousand = frame.assign(**{n: frame[n] * np.float32(1_000) for n in ("open", "high", "low", "close")})
    assert check(thousand, HOUR, venues=venues).count("venue_mismatch") == 2
    # ... unless the name says so
    named = thousand.assign(instrument="1000" + thousand["instrument"])
    assert check(named, HOUR, venues=venues).count("venue_mismatch") == 0
