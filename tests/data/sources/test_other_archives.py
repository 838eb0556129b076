"""The archives of OKX and Bybit: their days, odd files, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError
from bascule.data.sources import Context, Source, open_source
from bascule.data.sources.filearchive import candles_of_trades
from tests.data.sources import wires
from tests.data.sources.server import FakeTime, Route, Wire

BTC = ["BTC_USDT_USDT"]


def source(
    wire: Wire, kind: str, time: str = "2024-01-10", journal: Path | None = None, **values: Any
) -> Source:
    clock = FakeTime(time)
    context = Context(np.random.default_rng(0), clock.clock, clock.sleep, journal)
    return open_source(kind, {"base_url": wire.url, "market": "futures", **values}, context)


def names(wire: Wire) -> list[str]:
    return [path.rpartition("/")[2] for path, _ in wire.seen]


def test_okx_months_and_days_begin_in_hong_kong() -> None:
    with Wire(wires.okx_archive()) as wire:
        fetched = source(wire, "archive.okx").fetch("2023-12-30", "2024-01-02", BTC)
        files = names(wire)
    # the evening of New Year's Eve is in the file of 1 January, and that of 1 January in the next one
    assert files == ["BTC-USDT-SWAP-candlesticks-2023-12.zip"] + [
        f"BTC-USDT-SWAP-candlesticks-2024-01-{day:02d}.zip" for day in (1, 2)
    ]
    assert len(fetched.frame) == 3 * 24


def test_okx_files_of_utc_days_give_the_same() -> None:
    """Nothing rests on where a file begins, should the exchange change it."""
    frames = []
    for hong_kong in (True, False):
        with Wire(wires.okx_archive(hong_kong=hong_kong)) as wire:
            frames.append(
                source(wire, "archive.okx", timeframe="30m").fetch("2023-12-30", "2024-01-02", BTC).frame
            )
    pd.testing.assert_frame_equal(*frames)


def test_minutes_add_up_to_longer_candles() -> None:
    with Wire(wires.okx_archive()) as wire:
        minutes = source(wire, "archive.okx", timeframe="1m").fetch("2023-12-30", "2023-12-31", BTC).frame
        hours = source(wire, "archive.okx", timeframe="4h").fetch("2023-12-30", "2023-12-31", BTC).frame
    assert (len(minutes), len(hours)) == (96, 6)
    np.testing.assert_allclose(hours["volume"].sum(), minutes["volume"].sum(), rtol=1e-6)
    assert hours["high"].max() == minutes["high"].max()
    assert hours["close"].iloc[-1] == minutes["close"].iloc[-1]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("archive.okx", {"timeframe": "12h"}, "12h do not fit"),
        ("archive.okx", {"timeframe": "1d"}, "1d do not fit"),
        ("archive.okx", {"data_set": "funding", "market": "spot"}, "no funding"),
        ("archive.okx", {"data_set": "klines"}, "data_set"),
        ("archive.bybit", {"timeframe": "1 h"}, "unknown timeframe"),
    ],
)
def test_wrong_settings_are_refused(kind: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_source(kind, values, Context(np.random.default_rng(0)))
    assert caught.value.remedy


def test_bodies_that_the_transport_unpacked_are_read() -> None:
    frames = []
    for packed in (True, False):
        with Wire(wires.bybit_archive(packed=packed)) as wire:
            frames.append(source(wire, "archive.bybit").fetch("2023-12-30", "2024-01-02", BTC).frame)
    pd.testing.assert_frame_equal(*frames)
    assert len(frames[0]) == 3 * 24


def test_a_file_that_may_still_come_is_asked_for_again(tmp_path: Path) -> None:
    """An answer of "not there" is kept only when nobody publishes that day any more."""
    with Wire(wires.bybit_archive(since="2024-02-01")) as wire:
        for now, asked in (("2024-01-03", 2), ("2024-01-03", 2), ("2024-01-09", 2), ("2024-01-09", 0)):
            wire.seen.clear()
            source(wire, "archive.bybit", now, tmp_path).fetch("2024-01-01", "2024-01-03", BTC)
            assert len(wire.seen) == asked


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\x1f\x8bxx", "not a whole gzip file"),
        (gzip.compress(b"timestamp,price,size\n1,2,3\n", mtime=0), "column side is missing"),
        (gzip.compress(b"timestamp,price,size,side\n", mtime=0), "no trade"),
        (gzip.compress(b"timestamp,price,size,side\n1,2,x,Buy\n", mtime=0), "could not convert"),
    ],
    ids=["torn", "no side", "empty", "no number"],  # the bytes themselves are no name
)
def test_damaged_files_of_trades_are_refused(body: bytes, complaint: str) -> None:
    routes: dict[str, Route] = {"/trading/": lambda _: body}
    with Wire(routes) as wire, pytest.raises(DataError, match=complaint) as caught:
        source(wire, "archive.bybit").fetch("2023-12-30", "2023-12-31", BTC)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"no zip", "not a whole zip"),
        (wires.pack("a.txt", "x"), "0 CSV files"),
        (wires.pack("a.csv", "open_time,open\n1,2\n"), "column high is missing"),
    ],
)
def test_damaged_files_of_candles_are_refused(body: bytes, complaint: str) -> None:
    routes: dict[str, Route] = {"/cdn/": lambda _: body}
    with Wire(routes) as wire, pytest.raises(DataError, match=complaint):
        source(wire, "archive.okx").fetch("2023-12-29", "2023-12-30", BTC)


def candles_by_hand(
    time: np.ndarray, price: np.ndarray, size: np.ndarray, bought: np.ndarray, step: int
) -> Any:
    """One trade after the other."""
    found: dict[int, list[float]] = {}
    for t, p, s, b in zip(time.tolist(), price.tolist(), size.tolist(), bought.tolist(), strict=True):
        one = found.setdefault(t // step * step, [p, p, p, p, 0.0, 0.0, 0, 0.0])
        one[1], one[2], one[3] = max(one[1], p), min(one[2], p), p
        one[4] += s
        one[5] += p * s
        one[6] += 1
        one[7] += s if b else 0.0
    return found


@pytest.mark.parametrize("draw", [lambda rng: rng.integers(1, 50), lambda rng: 1], ids=["many", "one"])
def test_candles_of_trades_by_hand(draw: Callable[[np.random.Generator], int]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        count = int(draw(rng))
        time = np.sort(rng.integers(0, 400, count))
        price, size = rng.uniform(1, 2, count), rng.uniform(0, 5, count)
        bought = rng.random(count) < 0.5
        found = candles_of_trades(time, price, size, bought, 60)
        expected = candles_by_hand(time, price, size, bought, 60)
        assert found["time"].tolist() == sorted(expected)
        told = np.array([found[name] for name in list(found)[1:]]).T
        np.testing.assert_allclose(told, [expected[t] for t in sorted(expected)])
