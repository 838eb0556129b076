"""A provider that grows with the candles is the one that is made of all of them, at every moment of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import StoreError, Timeframe
from bascule.data.provider import Provider
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate
from bascule.data.universe import UniverseSettings

from .candles import make

HOUR = Timeframe.parse("1h")
SETTINGS = UniverseSettings(top=4, volume_days=3, min_age_days=2, rebalance_days=2)
NAMES = ("AAA_USDT", "BBB_USDT", "CCC_USDT")


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, whose form does not matter."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "bascule.json"
    }


def steps(frame: pd.DataFrame, since: str) -> Iterator[pd.DataFrame]:
    yield frame[frame["time"] < since]
    for _, part in frame[frame["time"] >= since].groupby("time"):
        yield part


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    """Ten days; who is listed is there when growth begins, some go, and candles are missing."""
    whole = generate(SyntheticSettings(instruments=8, days=10, late=0.3, delisted=0.4, missing=0.08, seed=5))
    frame = whole.frame
    first = frame.groupby("instrument")["time"].transform("min")
    return frame[first < "2022-01-05"].reset_index(drop=True)


def test_growth_gives_the_same_files(tmp_path: Path, market: pd.DataFrame) -> None:
    store = Store.create(tmp_path / "grown")
    folders = set()
    for n, part in enumerate(steps(market, "2022-01-09")):
        store.write(part, HOUR)
        if n % 3 != 1:  # sometimes two appends at once
            folders.add(store.build_provider(HOUR))
        if n == 0:
            store.save_universe("top4", HOUR, SETTINGS)
    store.build_provider(HOUR)
    assert len(folders) == 1
    whole = Store.create(tmp_path / "whole")
    whole.write(market, HOUR)
    whole.build_provider(HOUR)
    whole.save_universe("top4", HOUR, SETTINGS)
    grown, made = Provider.open(store.provider(HOUR)), Provider.open(whole.provider(HOUR))
    assert grown.told() == made.told()
    assert contents(grown.path) == contents(made.path)
    assert (
        store.panel(HOUR, universe="top4").fingerprint() == whole.panel(HOUR, universe="top4").fingerprint()
    )
    assert store.panel(HOUR, universe="top4").members.any()
    store.verify()


def test_compaction_in_between_changes_nothing(tmp_path: Path) -> None:
    frame = make(NAMES, bars=60)
    store = Store.create(tmp_path / "store")
    folders = set()
    for part in steps(frame, "2024-01-31"):
        store.write(part, HOUR)
        if len(store.section(HOUR).parts) % 5 == 0:
            store.compact()
        folders.add(store.build_provider(HOUR))
    assert len(folders) == 1
    assert store.verify() > 0
    close = frame.pivot(index="time", columns="instrument", values="close").to_numpy()
    np.testing.assert_array_equal(store.panel(HOUR)["close"], close)


@pytest.mark.parametrize("change", ["late", "value", "instrument", "column", "vwap"])
def test_what_is_no_growth_makes_a_new_folder(tmp_path: Path, change: str) -> None:
    frame = make(NAMES, bars=60).assign(quote_volume=np.float32(1e5))
    late = (frame["instrument"] == "BBB_USDT") & (frame["time"] >= "2024-02-01")
    held = frame[~late & (frame["time"] < "2024-02-01T06:00Z")]
    if change == "instrument":
        held = held[held["instrument"] != "CCC_USDT"]
    if change == "column":
        held = held.drop(columns="quote_volume")
    store = Store.create(tmp_path / "store")
    store.write(held, HOUR)
    before = store.build_provider(HOUR)
    panel = store.panel(HOUR)
    seen = panel.fingerprint()
    if change == "value":
        frame.loc[3, "volume"] *= 2
    if change in ("value", "late", "instrument", "column"):
        store.write(frame, HOUR, conflicts="replace")
    after = store.build_provider(HOUR, vwap="quote" if change == "vwap" else "typical")
    assert after != before
    assert store.verify() > 0
    assert panel.fingerprint() == seen  # who read before is not disturbed
    volume = store.frame(HOUR).pivot(index="time", columns="instrument", values="volume").to_numpy()
    np.testing.assert_array_equal(store.panel(HOUR)["volume"], volume)


@pytest.mark.parametrize("bars", [80, 90_000], ids=["copied", "mapped"])
def test_readers_of_the_shorter_provider_go_on(tmp_path: Path, bars: int) -> None:
    frame = make(NAMES, bars=bars, start="2014-01-30")
    early = frame.groupby("instrument").head(bars - 20)
    store = Store.create(tmp_path / "store")
    store.write(early, HOUR)
    opened = Provider.open(store.build_provider(HOUR).resolve())
    mapped = opened.panel(None, None, None, None)
    before = {name: values.copy() for name, values in mapped.fields.items()}
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    again = opened.panel(None, None, None, None)
    few = opened.panel(None, None, ["BBB_USDT"], None)
    assert opened.verify() > 0
    for name, values in before.items():
        np.testing.assert_array_equal(mapped[name], values)
        np.testing.assert_array_equal(again[name], values)
        np.testing.assert_array_equal(few[name], values[:, [1]])
    assert store.panel(HOUR).shape == (bars, 3)


def test_a_panel_is_the_readers_own(tmp_path: Path) -> None:
    """Arrays are mappings of files: to write into one changes no file and nobody else's panel."""
    store = Store.create(tmp_path / "store")
    store.write(make(NAMES), HOUR)
    store.build_provider(HOUR)
    panel = store.panel(HOUR)
    panel["close"][:] = 1
    assert store.verify() > 0
    assert not (store.panel(HOUR)["close"] == 1).any()


def test_few_many_and_all_instruments_are_the_same(tmp_path: Path) -> None:
    names = [f"C{i:02d}_USDT" for i in range(20)]
    frame = make(names, bars=150)
    frame = frame[(frame["instrument"] != "C03_USDT") | (frame["time"] > "2024-02-02")]
    store = Store.create(tmp_path / "store")
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    everything = store.panel(HOUR)
    for count in (1, 2, 3, 12, 19):
        for start, end in ((None, None), ("2024-02-01T05:00", "2024-02-03"), ("2024-02-02", None)):
            some = store.panel(HOUR, instruments=names[2 : 2 + count], start=start, end=end)
            expected = everything.between(start, end).select(names[2 : 2 + count])
            assert some.fingerprint() == expected.fingerprint()
            assert all(values.flags.c_contiguous for values in some.fields.values())


@pytest.mark.parametrize("damage", ["short bin", "no bin", "short array", "no manifest"])
def test_a_damaged_provider_is_made_again(tmp_path: Path, damage: str) -> None:
    """As a power failure may leave it; with the candles of then, and with newer ones."""
    frame = make(NAMES, bars=60)
    store = Store.create(tmp_path / "store")
    store.write(frame.groupby("instrument").head(50), HOUR)
    for _ in range(2):
        folder = store.build_provider(HOUR).resolve()
        path = {
            "short bin": folder / "features/bbb_usdt/low.60min.bin",
            "no bin": folder / "features/bbb_usdt/low.60min.bin",
            "short array": folder / "arrays/low.f32",
            "no manifest": folder / "bascule.json",
        }[damage]
        if damage.startswith("no"):
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size - 8)
        assert store.build_provider(HOUR).resolve() != folder
        assert store.verify() > 0
        store.write(frame, HOUR)
        store.build_provider(HOUR)
        assert store.panel(HOUR).shape == (60, 3)


# Forks a writer for every step of an append and its growth, which dies before that step.
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
                with one_at_a_time:  # fields are written by threads
                    mine, count = count, count + 1
                if mine == k:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)
            return call
        pathlib.Path.replace = dying(pathlib.Path.replace)
        pathlib.Path.write_bytes = dying(pathlib.Path.write_bytes)
        pathlib.Path.write_text = dying(pathlib.Path.write_text)
        os.pwrite = dying(os.pwrite)
        store = Store.open(copy)
        store.write(frame, "1h")
        store.build_provider("1h")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    k += 1
print(k)
"""


@pytest.mark.slow
def test_killed_at_every_step_of_growth(tmp_path: Path) -> None:
    frame = make(NAMES[:2], bars=130)
    store = Store.create(tmp_path / "master")
    last = frame["time"].max()
    store.write(frame[frame["time"] < last - pd.Timedelta(hours=2)], HOUR)
    store.build_provider(HOUR)
    store.save_universe("two", HOUR, UniverseSettings(top=2, volume_days=2, min_age_days=1))
    old = store.panel(HOUR, universe="two")
    # two candles are on their way when the writer dies; then a third comes too
    frame[frame["time"] < last].to_pickle(tmp_path / "new.pickle")
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(store.path), str(tmp_path / "new.pickle")],
        capture_output=True,
        text=True,
        check=True,
    )
    kills = int(done.stdout)
    assert kills > 6 * 3 + 6  # of six fields the array and two bins; files that are replaced
    whole = Store.create(tmp_path / "whole")
    whole.write(frame, HOUR)
    whole.build_provider(HOUR)
    whole.save_universe("two", HOUR, UniverseSettings(top=2, volume_days=2, min_age_days=1))
    expected = contents(whole.provider(HOUR))
    opened = Provider.open(store.provider(HOUR))
    counts = set()
    for k in range(kills):
        copy = Store.open(tmp_path / f"copy-{k}")
        copy.verify()
        counts.add(len(copy.frame(HOUR)))
        try:
            panel = copy.panel(HOUR, universe="two")
        except StoreError as error:
            assert "older than the candles" in error.message
        else:
            rows = len(panel.time)
            assert rows * 2 == len(copy.frame(HOUR))
            np.testing.assert_array_equal(panel["close"][: len(old.time)], old["close"])
            np.testing.assert_array_equal(panel.members[: len(old.time)], old.members)
        # whoever still has the state before reads it as it was
        told = Provider(**{**vars(opened), "path": (copy.path / "provider/1h/current").resolve()})
        assert told.panel(None, None, None, None).fingerprint() == store.panel(HOUR).fingerprint()
        copy.write(frame, HOUR)
        copy.build_provider(HOUR)
        assert copy.verify() > 0
        assert contents(copy.provider(HOUR)) == expected
    assert counts == {2 * 127, 2 * 129}


READER = """
import sys, numpy as np
from bascule.core import StoreError
from bascule.data.store import Store
store = Store.open(sys.argv[1])
print("ready", flush=True)
seen = reads = 0
while seen < int(sys.argv[2]):
    try:
        panel = store.panel("1h", universe="all_of_them")
    except StoreError as error:
        assert "older than the candles" in error.message, error
        continue
    reads += 1
    assert len(panel.time) >= seen
    seen = len(panel.time)
    for values in panel.fields.values():
        assert np.isfinite(values).all()
    assert panel.members.any(axis=1)[-1]
print(reads)
"""


def test_readers_of_another_process_see_whole_states_while_it_grows(tmp_path: Path) -> None:
    frame = make(NAMES, bars=110)
    store = Store.create(tmp_path / "store")
    parts = list(steps(frame, "2024-02-02"))
    store.write(parts[0], HOUR)
    store.build_provider(HOUR)
    store.save_universe("all_of_them", HOUR, UniverseSettings(volume_days=2, min_age_days=1))
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(store.path), "110"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for part in parts[1:]:
        store.write(part, HOUR)
        store.build_provider(HOUR)
    for reader in readers:
        told, _ = reader.communicate(timeout=60)
        assert reader.returncode == 0
        assert int(told) > 0


# A file may not grow beyond so many bytes: a write beyond is cut short and then fails, as on a full disk.
LIMITED = """
import resource, sys, pandas as pd
from bascule.core import StoreError
from bascule.data.store import Store
store = Store.open(sys.argv[1])
store.write(pd.read_pickle(sys.argv[2]), "1h")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    store.build_provider("1h")
except StoreError as error:
    print(error)
    sys.exit(3)
"""


@pytest.mark.parametrize("room", [0, 5, 30])
def test_a_disk_that_fills_while_it_grows(tmp_path: Path, room: int) -> None:
    frame = make(NAMES, bars=1_500, start="2024-01-02")
    store = Store.create(tmp_path / "store")
    early = frame.groupby("instrument").head(1_480)
    store.write(early, HOUR)
    opened = Provider.open(store.build_provider(HOUR).resolve())
    seen = opened.panel(None, None, None, None).fingerprint()
    frame.to_pickle(tmp_path / "new.pickle")
    size = (opened.path / "arrays/close.f32").stat().st_size + room
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.path), str(tmp_path / "new.pickle"), str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stdout
    assert opened.verify() > 0
    assert opened.panel(None, None, None, None).fingerprint() == seen
    with pytest.raises(StoreError, match="older than the candles"):
        store.panel(HOUR)
    assert store.build_provider(HOUR).resolve() == opened.path  # there is space again: it grows after all
    whole = Store.create(tmp_path / "whole")
    whole.write(frame, HOUR)
    assert contents(opened.path) == contents(whole.build_provider(HOUR).resolve())


WRITER = """
import sys, pandas as pd
from bascule.data.store import Store
store = Store.open(sys.argv[1], patience=60)
frame = pd.read_pickle(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _, part in frame.groupby("time"):
    store.write(part, "1h")
    store.build_provider("1h")
"""


def test_two_processes_append_and_grow_at_once(tmp_path: Path) -> None:
    """Each brings its own instruments: a late candle of the other one makes a new folder now and then."""
    frame = make(NAMES, bars=70)
    store = Store.create(tmp_path / "store")
    store.write(frame[frame["time"] < "2024-02-01T12:00Z"], HOUR)
    store.build_provider(HOUR)
    rest = frame[frame["time"] >= "2024-02-01T12:00Z"]
    writers = []
    for n, part in enumerate((rest[rest["instrument"] == NAMES[0]], rest[rest["instrument"] != NAMES[0]])):
        part.to_pickle(tmp_path / f"{n}.pickle")
        code = [sys.executable, "-c", WRITER, str(store.path), str(tmp_path / f"{n}.pickle")]
        writers.append(subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)
    assert store.verify() > 0
    for name in ("close", "volume"):
        expected = frame.pivot(index="time", columns="instrument", values=name).to_numpy()
        np.testing.assert_array_equal(store.panel(HOUR)[name], expected)
