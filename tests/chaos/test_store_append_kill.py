"""kill -9 while candles are appended one by one, with slow data, resampling and compaction in between."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from bascule.core import Timeframe
from bascule.core.files import TEMPORARY
from bascule.data.store import Store
from tests.chaos import TIMES
from tests.chaos.conftest import Tried
from tests.chaos.test_store_kill import environment
from tests.data.candles import make

FIVE = Timeframe.parse("5m")
NAMES = tuple(f"C{i:02d}_USDT" for i in range(6))
REPEATS = 4 * TIMES

# Goes on after the newest stored candle, as a live collector does.
COLLECTOR = """
import sys, pandas as pd
from bascule.data.store import Store
store = Store.open(sys.argv[1])
frame = pd.read_pickle(sys.argv[2])
newest = pd.Timestamp(store.span("5m")[1], tz="UTC")
print("ready", flush=True)
for n, (time, part) in enumerate(frame[frame["time"] > newest].groupby("time")):
    store.write(part, "5m")
    known = time + pd.Timedelta(minutes=5)
    row = {"time": [time], "available_time": [known], "instrument": ["GLOBAL"], "x": [float(n)]}
    told = pd.DataFrame(row)
    store.write_table("slow", told, scope="global", revisions="replace")
    if n % 7 == 6:
        store.resample("5m", ["1h"])
    if n % 11 == 10:
        store.compact()
"""


def test_appends_that_are_killed_leave_whole_candles(tmp_path: Path, tried: Tried) -> None:
    frame = make(NAMES, bars=2_000, start="2024-01-30", timeframe="5m")
    start = frame["time"].min() + pd.Timedelta(days=2)
    store = Store.create(tmp_path / "store")
    store.write(frame[frame["time"] < start], FIVE)
    frame.to_pickle(tmp_path / "frame.pickle")
    moments = random.Random(2)
    before = 0
    for _ in range(REPEATS):
        code = [sys.executable, "-c", COLLECTOR, str(store.path), str(tmp_path / "frame.pickle")]
        process = subprocess.Popen(code, stdout=subprocess.PIPE, env=environment())
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0.2, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        reader = Store.open(store.path)
        reader.verify()
        held = reader.frame(FIVE)
        # whole candles of all instruments, none lost, in order
        assert len(held) % len(NAMES) == 0
        assert len(held) >= before
        before = len(held)
        pd.testing.assert_frame_equal(
            held, frame[frame["time"] <= held["time"].max()].reset_index(drop=True), check_exact=True
        )
        if "slow" in reader.tables:
            slow = reader.table("slow")["time"]
            assert slow.is_monotonic_increasing
            assert slow.max() <= held["time"].max()
        tried("store: collector killed at a random moment")
    assert before > len(frame[frame["time"] < start])
    # the next writer goes on at once, and what it makes is what an undisturbed one makes
    store.write(frame, FIVE)
    store.resample("5m", ["1h"])
    store.compact()
    assert not [path for path in store.path.rglob("*") if TEMPORARY in path.name]
    other = Store.create(tmp_path / "other")
    other.write(frame, FIVE)
    other.resample("5m", ["1h"])
    for timeframe in ("5m", "1h"):
        assert store.fingerprint(timeframe) == other.fingerprint(timeframe)
