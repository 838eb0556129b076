"""Appends cost what is appended, leave no trace in the content, and nothing is lost between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import StoreError, Timeframe
from bascule.data.digest import digest, total
from bascule.data.partitions import FEW
from bascule.data.store import Store

from .candles import make

HOUR = Timeframe.parse("1h")
NAMES = ("AAA_USDT", "BBB_USDT", "CCC_USDT")


def grown(path: Path, frame: pd.DataFrame, first: int) -> Store:
    """The first candles at once, the others one by one."""
    store = Store.create(path)
    times = frame["time"].drop_duplicates().sort_values()
    store.write(frame[frame["time"] < times.iloc[first]], HOUR)
    for time in times.iloc[first:]:
        assert store.write(frame[frame["time"] == time], HOUR).added == len(NAMES)
    return store


def test_candle_by_candle_is_the_same_store(tmp_path: Path) -> None:
    frame = make(NAMES, bars=90, start="2024-01-30")
    store = grown(tmp_path / "one", frame, 40)
    whole = Store.create(tmp_path / "whole")
    whole.write(frame, HOUR)
    assert store.fingerprint(HOUR) == whole.fingerprint(HOUR)
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)
    pd.testing.assert_frame_equal(
        store.frame(HOUR, start="2024-01-31", end="2024-02-01T05:00"),
        whole.frame(HOUR, start="2024-01-31", end="2024-02-01T05:00"),
    )
    parts = len(store.section(HOUR).parts)
    assert parts > 2
    assert store.verify() == parts
    assert store.compact() == parts - 2
    assert store.section(HOUR) == whole.section(HOUR)
    assert store.compact() == 0
    store.write(frame, HOUR)
    assert len(list((store.path / "candles/1h").glob("*.parquet"))) == 2  # the others are swept


def test_an_append_writes_one_small_file_and_many_become_one(tmp_path: Path) -> None:
    frame = make(NAMES, bars=200, start="2024-03-01")
    store = grown(tmp_path / "store", frame.groupby("instrument").head(100 + FEW), 100)
    parts = store.section(HOUR).months["2024-03"]
    assert [part.rows for part in parts] == [300, *[3] * FEW]
    store.write(frame.groupby("instrument").head(101 + FEW), HOUR)
    assert [part.rows for part in store.section(HOUR).months["2024-03"]] == [(101 + FEW) * 3]


def test_candles_between_and_changed_ones_are_merged(tmp_path: Path) -> None:
    frame = make(NAMES, bars=100, start="2024-03-01")
    store = Store.create(tmp_path / "store")
    hole = (frame["instrument"] == "BBB_USDT") & frame["time"].between("2024-03-02", "2024-03-03")
    store.write(frame[~hole], HOUR)
    written = store.write(frame[hole], HOUR)
    assert (written.added, written.replaced) == (int(hole.sum()), 0)
    assert len(store.section(HOUR).parts) == 1
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)


def test_the_digest_is_a_sum_of_rows() -> None:
    rng = np.random.default_rng(0)
    ids = ["A", "B"]
    codes = rng.integers(0, 2, 50).astype(np.int32)
    time = np.arange(50, dtype=np.int64)
    values = {"x": rng.normal(size=50).astype(np.float32), "y": np.full(50, np.nan, np.float32)}

    def of(rows: np.ndarray) -> str:
        return digest(ids, codes[rows], [time[rows]], {n: v[rows] for n, v in values.items()})

    everything = of(np.arange(50))
    order = rng.permutation(50)
    assert of(order) == everything
    assert total([of(order[:20]), of(order[20:])]) == everything
    assert digest(ids, codes, [time], {"x": values["x"]}) == everything  # an empty column is none
    assert digest(ids, codes, [time], {"z": values["x"]}) != everything
    assert digest(ids, codes, [time + 1], values) != everything
    assert digest(ids, 1 - codes, [time], values) != everything
    swapped = values["x"].copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert digest(ids, codes, [time], {"x": swapped}) != everything


APPENDER = """
import sys, pandas as pd
from bascule.data.store import Store
store = Store.open(sys.argv[1], patience=60)
frame = pd.read_pickle(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _, part in frame.groupby("time"):
    store.write(part, "1h")
"""


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    frame = make(NAMES, bars=60, start="2024-03-01")
    store.write(frame[frame["time"] < "2024-03-02"], HOUR)
    rest = frame[frame["time"] >= "2024-03-02"]
    processes = []
    for n, part in enumerate((rest[rest["instrument"] == NAMES[0]], rest[rest["instrument"] != NAMES[0]])):
        part.to_pickle(tmp_path / f"{n}.pickle")
        code = [sys.executable, "-c", APPENDER, str(store.path), str(tmp_path / f"{n}.pickle")]
        processes.append(
            subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        )
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
    # readers meanwhile always find a whole state: never fewer candles than before
    seen = 0
    while any(process.poll() is None for process in processes):
        now = len(Store.open(store.path).frame(HOUR))
        assert now >= seen
        seen = now
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)
    assert store.verify() > 0


def test_an_impatient_writer_is_told_who_writes(tmp_path: Path) -> None:
    import fcntl

    store = Store.create(tmp_path / "store")
    hasty = Store.open(store.path, patience=0.1)
    with (store.path / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"another process \(\d+\) is writing"):
            hasty.write(make(), HOUR)
