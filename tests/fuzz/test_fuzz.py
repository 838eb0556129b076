"""The promises of `targets.py` under Hypothesis, quickly; slowly under atheris."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bascule.bridge.freqtrade.keys import permissions
from bascule.core import BridgeError
from bascule.data.sources.feeds import FEEDS
from bascule.data.sources.filearchive import unzipped
from bascule.data.sources.headlines import read_feed
from bascule.data.sources.retry import http_date, retry_after
from tests.fuzz.damage import Broken, damaged, promised
from tests.fuzz.targets import FEED, OKX, TABLE, TARGETS, Reply, known
from tests.fuzz.venues import Client

EXAMPLES = {
    "expression": 300,
    "config": 150,
    "store": 60,
    "bundle": 25,
    "reply": 400,
    "venue": 150,
    "exchange": 60,
}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_input_is_refused_clearly_or_read_rightly(name: str) -> None:
    target = TARGETS[name]()
    target.one(b"")  # undamaged
    for data in known(name):
        target.one(data)

    @settings(
        max_examples=EXAMPLES[name],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=49))
    def run(data: bytes) -> None:
        target.one(data)

    run()
    if hasattr(target, "folder"):
        target.folder.cleanup()


def test_a_broken_promise_would_be_seen() -> None:
    with pytest.raises(Broken, match="KeyError"), promised(ValueError):
        {}["a"]
    with pytest.raises(Broken, match="says nothing"), promised(ValueError):
        raise ValueError
    assert damaged(b"abcdef", bytes([0, 128, 65])) == b"abcAef"
    assert damaged(b"abcdef", bytes([4, 128, 0])) == b"abc"
    assert Reply().one(b"") is None


def test_what_fuzzing_once_broke() -> None:
    """A zip of an unknown version; an OKX contract whose coin is no name: the recorder died of it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", TABLE)
    body = bytearray(packed.getvalue())
    body[body.index(b"PK\x01\x02") + 6] = 138
    with pytest.raises(ValueError, match="not a whole zip file"):
        unzipped(bytes(body))
    message = json.dumps(OKX).replace("BTC-USDT", "BT\ufffd-USDT")
    assert FEEDS["okx"].read(message, np.datetime64(0, "ns")) == []
    # dates and waits beyond all bounds
    assert http_date(f"Mon, 06 Sep 2021 {'9' * 30}:45:00 GMT") is None
    assert retry_after("inf", np.datetime64(0, "ns")) is None
    assert read_feed(FEED.replace(b"2021 16", b"2021 " + b"9" * 30)) == ([], 1)
    assert len(FEEDS["okx"].read(json.dumps(OKX), np.datetime64(0, "ns"))) == 1


CLOCKS = [b"{}", b"[]", b'{"serverTime":null}', b'{"retCode":0}', b'{"retCode":0,"result":{}}', b"[" * 99_999]


@pytest.mark.parametrize("body", CLOCKS)
def test_a_clock_that_is_none(body: bytes) -> None:
    """Answers without a time, and ones nested deeper than can be read, came out as any error there is."""
    from bascule.bridge.freqtrade.venues import RestVenue
    from tests.data.sources.server import Wire

    with Wire({"/": lambda query: body}) as wire:
        for form in ("binance", "bybit"):
            venue = RestVenue(form, "spot", url=wire.url)
            with pytest.raises(BridgeError):
                venue.ping()
            assert venue.health.error_rate > 0


def test_what_a_venue_says_of_a_key_without_saying_it() -> None:
    assert permissions(Client("okx", b'{"data":[]}')).withdraw is None


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", ["expression", "reply", "config", "venue"])
def test_coverage_guided(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--seconds", "20", "--empty", "--corpus", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert "DONE" in done.stderr
    # a fuzzer that sees the code keeps the inputs that reach more of it
    covered = [int(found) for found in re.findall(r"cov: (\d+)", done.stderr)]
    assert covered[-1] > covered[0]
    assert len(list(tmp_path.iterdir())) > 10
