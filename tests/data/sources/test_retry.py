"""Patience: back-off, jitter, Retry-After, pacing, and the journal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpClient, HttpSettings
from bascule.data.sources.journal import Journal
from bascule.data.sources.retry import Retry, RetrySettings, TransientError, retry_after
from tests.data.sources.server import FakeTime, Wire


def context(time: FakeTime, seed: int = 0) -> Context:
    return Context(np.random.default_rng(seed), time.clock, time.sleep)


def failing(times: int, wait: float | None = None) -> object:
    left = iter(range(times))

    def work() -> str:
        if next(left, None) is not None:
            raise TransientError("down", wait)
        return "up"

    return work


def test_pauses_double_up_to_the_longest_and_are_repeatable() -> None:
    settings = RetrySettings.read({"attempts": 8, "base_seconds": 2, "max_seconds": 20, "jitter": 0.25})
    runs = []
    for seed in (1, 1, 2):
        time = FakeTime("2024-01-01")
        assert Retry(settings, context(time, seed)).run(failing(7), where="x") == "up"
        runs.append(time.slept)
    assert runs[0] == runs[1] != runs[2]
    for pause, full in zip(runs[0], [2, 4, 8, 16, 20, 20, 20], strict=True):
        assert 0.75 * full <= pause <= full


def test_the_server_is_waited_for_but_not_for_ever() -> None:
    time = FakeTime("2024-01-01")
    retry = Retry(RetrySettings.read({"patience_seconds": 100}), context(time))
    assert retry.run(failing(2, wait=90.0), where="x") == "up"
    assert all(90 <= pause <= 92 for pause in time.slept)
    with pytest.raises(DataError, match="asks to wait 101 s") as caught:
        retry.run(failing(1, wait=101.0), where="x")
    assert "patience_seconds" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Mon, 01 Jan 2024 00:02:00 GMT", 120.0),
        ("Sun, 31 Dec 2023 23:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, np.datetime64("2024-01-01", "ns")) == seconds


def test_requests_keep_their_distance() -> None:
    time = FakeTime("2024-01-01")
    with Wire({"/a": lambda _: {}}) as wire:
        client = HttpClient("x", wire.url, HttpSettings.read({"min_interval_seconds": 2}), context(time))
        for _ in range(3):
            client.json("/a")
        client.close()
    assert time.slept == [2, 2]


def test_an_error_quotes_the_reply_and_names_the_path() -> None:
    time = FakeTime("2024-01-01")
    with Wire({}) as wire:
        client = HttpClient("coinmetrics", wire.url, HttpSettings.read({}), context(time))
        with pytest.raises(DataError, match="no such path") as caught:
            client.json("/v4/nothing")
        client.close()
    assert caught.value.where == "coinmetrics /v4/nothing"
    assert time.slept == []


def test_nobody_listens() -> None:
    time = FakeTime("2024-01-01")
    with Wire({}) as wire:
        gone = wire.url
    client = HttpClient("x", gone, HttpSettings.read({"attempts": 2, "timeout_seconds": 1}), context(time))
    with pytest.raises(DataError, match="no reply"):
        client.json("/a")


def test_a_damaged_chunk_is_no_chunk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    frame = pd.DataFrame({"time": pd.to_datetime(["2024-01-01"], utc=True), "x": np.float32([1.5])})
    journal.put("one", frame)
    pd.testing.assert_frame_equal(Journal(journal.folder).get("one"), frame)  # type: ignore[arg-type]
    (journal.folder / "one.parquet").write_bytes(b"PAR1 half")
    assert journal.get("one") is None
    assert not list(journal.folder.iterdir())
    (journal.folder / ".tmp-two.parquet-1").write_bytes(b"left by a killed writer")
    assert Journal(journal.folder).get("two") is None
    assert not list(journal.folder.iterdir())
    journal.put("one", frame)
    assert journal.clear() == 1 and journal.get("one") is None
