"""A full disk at every point of a write: one clear error, the state before is whole, and it goes on later."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import Timeframe
from bascule.core.files import TEMPORARY
from bascule.data.store import Store
from tests.chaos.conftest import Tried
from tests.data.candles import make

HOUR = Timeframe.parse("1h")
NAMES = tuple(f"C{i:02d}_USDT" for i in range(6))

# Files are limited to so many bytes: a write beyond fails as on a full disk (EFBIG in place of ENOSPC).
LIMITED = """
import resource, sys, pandas as pd
from bascule.core import BasculeError
from bascule.data.store import Store
store = Store.open(sys.argv[1])
frame = pd.read_pickle(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    if sys.argv[4] == "table":
        store.write_table("slow", frame, scope="instrument", revisions="replace")
    else:
        store.write(frame, "1h", conflicts="replace")
        store.build_provider("1h")
except BasculeError as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""


def limited(store: Store, pickle: Path, size: int, kind: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    code = [sys.executable, "-c", LIMITED, str(store.path), str(pickle), str(size), kind]
    return subprocess.run(code, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("size", [10, 1_000, 4_000, 20_000])
def test_a_full_disk_changes_nothing(tmp_path: Path, size: int, tried: Tried) -> None:
    frame = make(NAMES, bars=1_000, start="2024-01-01")
    store = Store.create(tmp_path / "store")
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    before = store.fingerprint(HOUR)
    other = frame.assign(volume=frame["volume"] * np.float32(2))
    other.to_pickle(tmp_path / "other.pickle")
    done = limited(store, tmp_path / "other.pickle", size, "candles")
    assert done.returncode == 3, done.stderr
    assert "StoreError" in done.stdout
    assert "the disk is full" in done.stdout
    assert "remedy" in done.stdout
    assert store.fingerprint(HOUR) == before
    assert store.verify() > 0
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)
    assert store.panel(HOUR).shape == (1_000, 6)
    # there is space again: the same write goes through, and nothing half is left
    store.write(other, HOUR, conflicts="replace")
    store.build_provider(HOUR)
    pd.testing.assert_frame_equal(store.frame(HOUR), other)
    tried("store: disk full")
    assert not [path for path in store.path.rglob("*") if TEMPORARY in path.name]


def test_a_disk_that_fills_between_candles_and_provider(tmp_path: Path, tried: Tried) -> None:
    """The candles are committed and the provider cannot be written: it is refused, never served old."""
    frame = make(NAMES, bars=20_000, start="2024-01-01")
    store = Store.create(tmp_path / "store")
    store.write(frame, HOUR)
    other = frame.assign(volume=frame["volume"] * np.float32(2))
    other.to_pickle(tmp_path / "other.pickle")
    months = max(path.stat().st_size for path in store.path.glob("candles/1h/*"))
    assert months < 160_000
    done = limited(store, tmp_path / "other.pickle", max(months * 11 // 10, 70_000), "candles")
    if done.returncode == 3:
        assert "the disk is full" in done.stdout
    assert store.verify() > 0
    assert store.build_provider(HOUR).is_dir()
    tried("store: disk full")


def test_a_full_disk_leaves_slow_data_whole(tmp_path: Path, tried: Tried) -> None:
    time = pd.date_range("2020-01-01", periods=2_000, tz="UTC").as_unit("ns")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "time": time,
            "available_time": time + pd.Timedelta(hours=30),
            "instrument": "AAA_USDT",
            "x": rng.normal(size=2_000).astype(np.float32),
        }
    )
    store = Store.create(tmp_path / "store")
    store.write_table("slow", frame, scope="instrument")
    before = store.table("slow")
    frame.assign(x=frame["x"] + np.float32(1)).to_pickle(tmp_path / "other.pickle")
    done = limited(store, tmp_path / "other.pickle", 3_000, "table")
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stdout
    pd.testing.assert_frame_equal(store.table("slow"), before)
    tried("store: disk full")
