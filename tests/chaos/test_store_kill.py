"""kill -9 during a write: the next reader finds the old state or the new one, never half of one.

Once at random moments, and once before and after every single rename (all that a commit consists of).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import StoreError, Timeframe
from bascule.core.files import TEMPORARY
from bascule.data.provider import Provider
from bascule.data.store import Store
from tests.chaos import TIMES
from tests.chaos.conftest import Tried
from tests.data.candles import make

HOUR = Timeframe.parse("1h")
NAMES = tuple(f"C{i:02d}_USDT" for i in range(12))
REPEATS = 5 * TIMES

# Tells the parent that it starts, writes both states in turn, as often as it is left alive.
WRITER = """
import sys, pandas as pd
from bascule.data.store import Store
store = Store.open(sys.argv[1])
frames = [pd.read_pickle(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for frame in frames:
        store.write(frame, "1h", conflicts="replace")
        store.build_provider("1h")
"""

# Forks a writer for every rename that a write makes, which dies before it (even k) or after it (odd k).
DYING = """
import os, pathlib, shutil, signal, sys, threading, pandas as pd
from bascule.data.store import Store
master, frame = pathlib.Path(sys.argv[1]), pd.read_pickle(sys.argv[2])
k = 0
while True:
    copy = master.with_name(f"copy-{k}")
    shutil.copytree(master, copy, symlinks=True)
    child = os.fork()
    if child == 0:
        count, one_at_a_time = 0, threading.Lock()
        def dying(original):
            def call(*args, **kwargs):
                global count
                with one_at_a_time:  # months are written by threads
                    mine, count = count, count + 1
                    if mine == k // 2 and k % 2 == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = original(*args, **kwargs)
                    if mine == k // 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                return result
            return call
        pathlib.Path.replace = dying(pathlib.Path.replace)
        pathlib.Path.rename = dying(pathlib.Path.rename)
        store = Store.open(copy)
        store.write(frame, "1h", conflicts="replace")
        store.build_provider("1h")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    k += 1
print(k)
"""


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same candles with two sets of volumes: every month and every bin changes from one to the other."""
    first = make(NAMES, bars=2_000, start="2024-01-01")
    return first, first.assign(volume=first["volume"] * np.float32(2))


def environment() -> dict[str, str]:
    """For a Python that imports this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}


def start(store: Store, frames: tuple[pd.DataFrame, pd.DataFrame], folder: Path) -> subprocess.Popen[bytes]:
    paths = []
    for n, frame in enumerate(frames):
        paths.append(folder / f"{n}.pickle")
        frame.to_pickle(paths[-1])
    code = [sys.executable, "-c", WRITER, str(store.path), *map(str, paths)]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_killed_writer_leaves_one_whole_state(
    tmp_path: Path, states: tuple[pd.DataFrame, pd.DataFrame], tried: Tried
) -> None:
    store = Store.create(tmp_path / "store")
    store.write(states[0], HOUR)
    store.build_provider(HOUR)
    whole = {}
    for n, frame in enumerate(states):
        store.write(frame, HOUR, conflicts="replace")
        whole[store.fingerprint(HOUR)] = n
    moments = random.Random(1)
    for _ in range(REPEATS):
        process = start(store, states, tmp_path)
        time.sleep(moments.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        # a reader that opens now: no lock, no repair
        reader = Store.open(store.path)
        reader.verify()
        n = whole[reader.fingerprint(HOUR)]
        pd.testing.assert_frame_equal(reader.frame(HOUR), states[n])
        # the provider that the link leads to is whole, be it of this state or of the one before
        linked = (store.path / "provider" / "1h" / "current").resolve()
        assert Provider.open(linked).fingerprint in whole
        # the next writer starts at once (the dead one's lock is free), sweeps, and repairs the provider
        store.build_provider(HOUR)
        assert not [path for path in store.path.rglob("*") if TEMPORARY in path.name]
        expected = states[n].pivot(index="time", columns="instrument", values="volume")
        np.testing.assert_array_equal(store.panel(HOUR)["volume"], expected.to_numpy())
        tried("store: writer killed at a random moment")


def test_killed_before_and_after_every_rename(
    tmp_path: Path, states: tuple[pd.DataFrame, pd.DataFrame], tried: Tried
) -> None:
    old, new = (frame[frame["instrument"] < "C03"].reset_index(drop=True) for frame in states)
    store = Store.create(tmp_path / "master")
    store.write(old, HOUR)
    store.build_provider(HOUR)
    new.to_pickle(tmp_path / "new.pickle")
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(store.path), str(tmp_path / "new.pickle")],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    kills = int(done.stdout)
    # three months, the manifest, the provider's folder, its link
    assert kills == 2 * 6
    outcomes = []
    for k in range(kills):
        copy = Store.open(tmp_path / f"copy-{k}")
        copy.verify()
        frame = copy.frame(HOUR)
        is_new = frame.equals(new)
        assert is_new or frame.equals(old)
        outcomes.append(is_new)
        try:
            volume = copy.panel(HOUR)["volume"]
        except StoreError as error:
            # the candles are new and the provider is not there yet: refused, not served old
            assert is_new
            assert "older than the candles" in error.message
        else:
            assert volume[0, 0] == frame["volume"].iloc[0]
        copy.write(new, HOUR, conflicts="replace")
        copy.build_provider(HOUR)
        assert not [path for path in copy.path.rglob("*") if TEMPORARY in path.name]
        assert copy.panel(HOUR)["volume"][0, 0] == new["volume"].iloc[0]
    # the state changes once: at the rename of the manifest, the fourth
    assert outcomes == [False] * 7 + [True] * 5
    tried("store: writer killed before or after a rename", kills)


def test_a_writer_killed_while_creating_leaves_a_place_that_can_be_created(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir()
    (place / ".lock").touch()
    (place / f"{TEMPORARY}manifest.json-1-abc").touch()
    store = Store.create(place)
    store.write(make(), HOUR)
    assert not list(place.glob(f"{TEMPORARY}*"))
