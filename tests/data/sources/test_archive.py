"""The archive: checksums, months and days, and its changes of format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError
from bascule.data.sources import Context, Source, open_source
from tests.data.sources import wires
from tests.data.sources.server import FakeTime, Route, Wire


def source(wire: Wire, time: FakeTime, **values: Any) -> Source:
    context = Context(np.random.default_rng(0), time.clock, time.sleep)
    return open_source("archive", {"base_url": wire.url, **values}, context)


def test_months_where_they_are_whole_and_days_for_the_rest() -> None:
    time = FakeTime("2024-01-10T00:30")
    with Wire(wires.archive()) as wire:
        fetched = source(wire, time).fetch("2023-12-30", "2024-01-12", ["BTC_USDT"])
    files = [path.rpartition("/")[2] for path, _ in wire.seen if not path.endswith("CHECKSUM")]
    days = [f"BTCUSDT-1h-2024-01-{day:02d}.zip" for day in range(1, 11)]
    assert files == ["BTCUSDT-1h-2023-12.zip", *days]
    # the file of a day begun holds what is there; the candle that is open is dropped
    assert fetched.frame["time"].max() == pd.Timestamp("2024-01-09T23:00Z")
    assert len(fetched.frame) == (2 + 9) * 24


def test_a_wrong_checksum_is_tried_again_and_then_refused() -> None:
    time = FakeTime("2024-02-10")
    with (
        Wire(wires.archive(bad_sum=True)) as wire,
        pytest.raises(DataError, match=r"checksum is \w+, the archive says 0000") as caught,
    ):
        source(wire, time).fetch("2023-12-01", "2023-12-31", ["BTC_USDT"])
    assert "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2023-12.zip" in (caught.value.where or "")
    assert len(time.slept) == 5


def test_absent_files_are_named_not_fatal() -> None:
    time = FakeTime("2024-02-10")
    with Wire(wires.archive(since="2023-12-15")) as wire:
        fetched = source(wire, time).fetch("2023-11-01", "2023-12-31", ["BTC_USDT", "LUNA_USDT"])
    assert len(fetched.frame) == 16 * 24
    assert any("BTCUSDT-1h-2023-11.zip" in note for note in fetched.report.notes)
    assert sum("LUNAUSDT" in note for note in fetched.report.notes) == 2


def test_microseconds_are_read() -> None:
    time = FakeTime("2024-02-10")
    with Wire(wires.archive()) as wire, Wire(wires.archive(microseconds=True)) as new:
        one = source(wire, time).fetch("2023-12-01", "2023-12-31", ["BTC_USDT"]).frame
        two = source(new, time).fetch("2023-12-01", "2023-12-31", ["BTC_USDT"]).frame
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"not a zip", "not a zip"),
        (wires.pack("a.txt", "1,2"), "0 CSV files"),
        (wires.pack("a.csv", "1,2\n"), "index out of range"),
    ],
)
def test_damaged_files_are_refused(body: bytes, complaint: str) -> None:
    import hashlib

    def serve(query: dict[str, str]) -> Any:
        return f"{hashlib.sha256(body).hexdigest()}  x.zip" if "CHECKSUM" in query["path"] else body

    routes: dict[str, Route] = {"/data/": serve}
    with Wire(routes) as wire, pytest.raises(DataError, match=complaint) as caught:
        source(wire, FakeTime("2024-02-10")).fetch("2023-12-01", "2023-12-31", ["BTC_USDT"])
    assert caught.value.remedy


def test_spot_has_candles_only() -> None:
    with pytest.raises(ConfigError, match="has no metrics"):
        open_source("archive", {"data_set": "metrics"}, Context(np.random.default_rng(0)))
