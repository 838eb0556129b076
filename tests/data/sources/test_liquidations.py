"""The recorder against a local websocket server that speaks each venue's channel."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from bascule.core import DataError
from bascule.data.sources import Context, LiquidationRecorder, RecorderSettings, compact, open_source
from bascule.data.sources.context import wall_clock
from bascule.data.sources.feeds import FEEDS
from bascule.data.sources.recordings import joined
from tests.data.sources.exchanges import stamp

MS = stamp("2024-01-01T12:30")
BINANCE = {
    "e": "forceOrder",
    "E": MS + 5,
    "o": {
        "s": "BTCUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.014",
        "p": "9910",
        "ap": "9900",
        "X": "FILLED",
        "l": "0.014",
        "z": "0.014",
        "T": MS,
    },
}
BYBIT = {
    "topic": "allLiquidation.BTCUSDT",
    "type": "snapshot",
    "ts": MS + 5,
    "data": [{"T": MS, "s": "BTCUSDT", "S": "Buy", "v": "0.014", "p": "9900"}],
}
OKX = {
    "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
    "data": [
        {
            "details": [
                {
                    "bkLoss": "0",
                    "bkPx": "9900",
                    "ccy": "",
                    "posSide": "long",
                    "side": "sell",
                    "sz": "1.4",
                    "ts": str(MS),
                }
            ],
            "instFamily": "BTC-USDT",
            "instId": "BTC-USDT-SWAP",
            "instType": "SWAP",
            "uly": "BTC-USDT",
        }
    ],
}
MESSAGES: dict[str, Any] = {"binance": BINANCE, "bybit": BYBIT, "okx": OKX}
AMOUNT = {"binance": 0.014, "bybit": 0.014, "okx": 1.4}


@pytest.mark.parametrize("venue", list(FEEDS))
def test_messages_are_read(venue: str) -> None:
    now = np.datetime64("2024-01-01T12:31", "ns")
    (event,) = FEEDS[venue].read(json.dumps(MESSAGES[venue]), now)
    assert (event.instrument, event.side, event.price) == ("BTC_USDT_USDT", "long", 9900.0)
    assert event.amount == AMOUNT[venue] and event.received == now
    assert event.time == np.datetime64(MS, "ms")


@pytest.mark.parametrize("venue", list(FEEDS))
@pytest.mark.parametrize(
    "text",
    [
        "pong",
        "{",
        "[]",
        "null",
        "3",
        '{"event":"subscribe"}',
        '{"e":"forceOrder"}',
        '{"topic":"allLiquidation."}',
    ],
)
def test_other_messages_are_none(venue: str, text: str) -> None:
    assert FEEDS[venue].read(text, np.datetime64("2024-01-01", "ns")) == []


def test_dated_contracts_are_not_perpetuals() -> None:
    other = {**BINANCE, "o": {**BINANCE["o"], "s": "BTCUSDT_240329"}}  # type: ignore[dict-item]
    assert FEEDS["binance"].read(json.dumps(other), np.datetime64("2024-01-01", "ns")) == []


class Channel:
    """A websocket server: each connection gets the next script (messages to send, then close or stay).

    With ``asks`` it sends nothing before it is asked to, as Bybit and OKX do.
    """

    def __init__(self, *scripts: tuple[list[str], bool], asks: bool = False) -> None:
        self.asks = asks
        self.scripts = list(scripts)
        self.heard: list[str] = []
        self.connected = 0
        self.idle = threading.Event()

    def __call__(self, socket: ServerConnection) -> None:
        messages, stays = self.scripts[min(self.connected, len(self.scripts) - 1)]
        self.connected += 1
        if self.asks:
            self.heard.append(str(socket.recv()))
        for message in messages:
            socket.send(message)
        if not stays:
            socket.close()
            return
        self.idle.set()
        try:
            while True:
                self.heard.append(str(socket.recv()))
        except ConnectionClosed:
            return

    @contextmanager
    def open(self) -> Iterator[str]:
        server: Server
        with serve(self, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            server.shutdown()
        thread.join()


def recorder(url: str, folder: Path, venue: str = "binance", **values: Any) -> LiquidationRecorder:
    base = {
        "venue": venue,
        "url": url,
        "folder": folder,
        "base_seconds": 0.01,
        "instruments": ["BTC_USDT_USDT"],
    }
    context = Context(np.random.default_rng(0), wall_clock, lambda _: None)
    return LiquidationRecorder(RecorderSettings.read(base | values), context)


def stored(folder: Path) -> tuple[pd.DataFrame, list[Any]]:
    parts = sorted(folder.rglob("*.parquet"))
    frame = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    spans = [s for p in parts for s in json.loads(pq.read_schema(p).metadata[b"bascule.spans"])]
    return frame, spans


@pytest.mark.parametrize("venue", list(FEEDS))
def test_recording_with_a_lost_connection(venue: str, tmp_path: Path) -> None:
    """The first connection dies after one event, the second brings the same event again and another."""
    first, later = MESSAGES[venue], json.loads(json.dumps(MESSAGES[venue]).replace(str(MS), str(MS + 60_000)))
    again = [json.dumps(first), json.dumps(later), "junk"]
    channel = Channel(([json.dumps(first)], False), (again, True), asks=venue != "binance")
    with channel.open() as url:
        one = recorder(url, tmp_path, venue)
        one.run(lambda: channel.idle.is_set() and len(one._buffer.events) >= 2)
    assert one.connections == 2
    frame, spans = stored(tmp_path)
    assert len(frame) == one.events == 3
    assert len(spans) == 2 and all(a < b for a, b in spans)
    assert frame["side"].eq("long").all() and frame["amount"].eq(AMOUNT[venue]).all()
    if venue != "binance":  # whose stream needs no subscription
        assert any("subscribe" in message for message in channel.heard)


def test_parts_are_written_while_recording(tmp_path: Path) -> None:
    channel = Channel(([json.dumps(BINANCE)] * 3, True))
    with channel.open() as url:
        one = recorder(url, tmp_path, flush_seconds=0.01)
        one.run(lambda: one.events >= 3)
    assert len(list(tmp_path.rglob("part-*.parquet"))) >= 1


def test_other_instruments_are_left_out(tmp_path: Path) -> None:
    other = {**BINANCE, "o": {**BINANCE["o"], "s": "DOGEUSDT"}}  # type: ignore[dict-item]
    channel = Channel(([json.dumps(other), json.dumps(BINANCE)], True))
    with channel.open() as url:
        one = recorder(url, tmp_path)
        one.run(lambda: bool(one._buffer.events))
    assert list(stored(tmp_path)[0]["instrument"]) == ["BTC_USDT_USDT"]


def test_a_dead_server_is_given_up(tmp_path: Path) -> None:
    channel = Channel(([], True))
    with channel.open() as url:
        pass
    with pytest.raises(DataError, match="3 tries") as caught:
        recorder(url, tmp_path, attempts=3).run(lambda: False)
    assert caught.value.where == "liquidations binance"


def test_bybit_needs_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only what is named"):
        recorder("ws://127.0.0.1:1", tmp_path, "bybit", instruments=[])


def test_compacting_changes_nothing(tmp_path: Path) -> None:
    from tests.data.sources.cases import record

    values = record(tmp_path)
    context = Context(np.random.default_rng(0), lambda: np.datetime64("2024-01-10", "ns"))

    def read() -> pd.DataFrame:
        return (
            open_source("liquidations", values, context)
            .fetch("2024-01-01", "2024-01-02", ["BTC_USDT_USDT"])
            .frame
        )

    before = read()
    assert compact(tmp_path, "binance", np.datetime64("2024-01-01")) == 0  # today is left alone
    assert compact(tmp_path, "binance", np.datetime64("2024-01-02")) == 2
    assert [p.name for p in (tmp_path / "binance" / "2024-01-01").iterdir()] == ["day.parquet"]
    pd.testing.assert_frame_equal(read(), before)
    # a kill after writing leaves a part beside the whole: it is seen twice and counted once
    record(tmp_path)
    pd.testing.assert_frame_equal(read(), before)


def test_okx_needs_contract_sizes(tmp_path: Path) -> None:
    channel = Channel(([json.dumps(OKX)], True))
    with channel.open() as url:
        one = recorder(url, tmp_path, "okx")
        one.run(lambda: bool(one._buffer.events))
    (folder,) = (tmp_path / "okx").iterdir()
    # heard today, of an event of 2024: give the event a span that covers it
    part = next(folder.glob("part-*"))
    table = pq.read_table(part)
    span = [[MS * 10**6 - 10**13, MS * 10**6 + 10**13]]
    there = tmp_path / "okx" / "2024-01-01"
    there.mkdir()
    pq.write_table(
        table.replace_schema_metadata({b"bascule.spans": json.dumps(span).encode()}), there / "part-x.parquet"
    )
    context = Context(np.random.default_rng(0))
    base = {"folder": tmp_path, "venue": "okx"}
    day = ("2024-01-01T12:00", "2024-01-01T13:00", ["BTC_USDT_USDT"])
    with pytest.raises(DataError, match="contract size of BTC_USDT_USDT"):
        open_source("liquidations", base, context).fetch(*day)
    sized = base | {"contract_sizes": {"BTC_USDT_USDT": 0.01}}
    frame = open_source("liquidations", sized, context).fetch(*day).frame
    assert frame["liquidated_long"].item() == pytest.approx(9900 * 0.014)


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    day = tmp_path / "binance" / "2024-01-01"
    day.mkdir(parents=True)
    (day / "part-x.parquet").write_bytes(b"PAR1 half")
    source = open_source("liquidations", {"folder": tmp_path}, Context(np.random.default_rng(0)))
    with pytest.raises(DataError, match="cannot be read") as caught:
        source.fetch("2024-01-01", "2024-01-02", ["BTC_USDT_USDT"])
    assert caught.value.where == str(day / "part-x.parquet") and caught.value.remedy


def test_spans_join() -> None:
    def at(hour: int) -> np.datetime64:
        return np.datetime64(f"2024-01-01T{hour:02d}", "ns")

    assert joined([(at(4), at(5)), (at(1), at(2)), (at(2), at(3)), (at(1), at(2))]) == [
        (at(1), at(3)),
        (at(4), at(5)),
    ]
