"""Headlines: feeds, pages, and the time at which news count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError
from bascule.data.sources import Context, Source, open_source
from bascule.data.sources.headlines import read_feed
from tests.data.sources import wires
from tests.data.sources.exchanges import stamp
from tests.data.sources.server import FakeTime, Wire


def source(kind: str, time: FakeTime, **values: Any) -> Source:
    return open_source(kind, values, Context(np.random.default_rng(0), time.clock, time.sleep))


def test_full_pages_are_split() -> None:
    """A day of 600 headlines, of which a page holds 250."""
    many = [(stamp("2024-01-01") + i * 144_000, f"Bitcoin story number {i}") for i in range(600)]
    time = FakeTime("2024-01-05")
    with Wire(wires.gdelt(many)) as wire:
        values = {"base_url": wire.url, "min_interval_seconds": 0, "lag_minutes": 0}
        frame = source("gdelt", time, **values).fetch("2024-01-01", "2024-01-02").frame
    assert frame["headlines"].sum() == 600
    assert len(wire.seen) > 3


def test_more_than_a_page_at_once_is_told() -> None:
    many = [(stamp("2024-01-01T06:00"), f"Bitcoin story number {i}") for i in range(300)]
    with Wire(wires.gdelt(many)) as wire:
        values = {"base_url": wire.url, "min_interval_seconds": 0, "lag_minutes": 0}
        fetched = source("gdelt", FakeTime("2024-01-05"), **values).fetch("2024-01-01", "2024-01-02")
    assert "not served" in fetched.report.notes[0]
    assert fetched.frame["headlines"].sum() == 250


@pytest.mark.parametrize("lag", [0, 15, 45])
def test_news_count_once_they_are_known(lag: int) -> None:
    """Published at 10:10, known ``lag`` later, in the candle in which that falls."""
    with Wire(wires.gdelt([(stamp("2024-01-01T10:10"), "SEC sues an exchange")])) as wire:
        values = {"base_url": wire.url, "min_interval_seconds": 0, "lag_minutes": lag}
        fetch = source("gdelt", FakeTime("2024-01-05"), **values, timeframe="30m").fetch
        frame = fetch("2024-01-01", "2024-01-02").frame
    (when,) = frame["time"]
    known = pd.Timestamp("2024-01-01T10:10Z") + pd.Timedelta(minutes=lag)
    assert when == known.floor("30min")
    assert frame["available_time"].item() >= known


def test_a_key_an_asset() -> None:
    with Wire(wires.gdelt(wires.published())) as wire:
        values = {
            "base_url": wire.url,
            "min_interval_seconds": 0,
            "queries": {"BTC": "bitcoin", "ETH": "ethereum"},
        }
        one = source("gdelt", FakeTime("2024-01-05"), **values)
        assert one.spec.scope == "asset"
        assert set(one.fetch("2024-01-01", "2024-01-02").frame["instrument"]) == {"BTC", "ETH"}
        assert set(one.fetch("2024-01-01", "2024-01-02", ["ETH"]).frame["instrument"]) == {"ETH"}
    assert {query["query"] for _, query in wire.seen} == {"bitcoin", "ethereum"}


def test_feeds_tell_how_far_they_reach() -> None:
    with Wire(wires.rss(wires.published())) as wire:
        feeds = [f"{wire.url}/rss", f"{wire.url}/atom"]
        report = source("rss", FakeTime("2024-01-05"), feeds=feeds).fetch("2023-12-01", "2024-01-03").report
    assert any("1 items without a date" in note for note in report.notes)
    assert any("reaches back to 2024-01-01T00:10" in note for note in report.notes)


def test_one_story_in_two_feeds_counts_once() -> None:
    with Wire(wires.rss(wires.published(hours=1))) as wire:
        feeds = [f"{wire.url}/rss", f"{wire.url}/atom"]
        frame = source("rss", FakeTime("2024-01-05"), feeds=feeds).fetch("2024-01-01", "2024-01-03").frame
    assert frame["headlines"].sum() == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<rss><channel><item><title>cut",
        b"<html><body>Blocked</body></html>",
        b'<!DOCTYPE r [<!ENTITY a "b">]><rss><channel><item><title>&a;</title></item></channel></rss>',
    ],
)
def test_what_is_no_feed_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_feed(body)


def test_dates_of_feeds() -> None:
    def item(date: str) -> str:
        return f"<item><title>t</title><pubDate>{date}</pubDate></item>"

    dates = ["Mon, 01 Jan 2024 02:00:00 +0200", "2024-01-01T00:00:00Z", "Mon, 01 Jan 2024 00:00:00 GMT"]
    text = "".join(item(date) for date in [*dates, "yesterday", "2024-01-01T00:00:00"])
    body = f"<rss><channel>{text}</channel></rss>"
    items, undated = read_feed(body.encode())
    assert {when for when, _ in items} == {np.datetime64("2024-01-01", "ns")}
    assert len(items) == 3 and undated == 2


def test_feeds_must_be_urls() -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        open_source("rss", {"feeds": ["coindesk.com"]}, Context(np.random.default_rng(0)))
