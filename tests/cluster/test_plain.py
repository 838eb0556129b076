"""Results are read back as they were, and nothing in a journal is executed."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import sqlite3
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.cluster import Journal, plain
from bascule.core import ConfigError, Settings
from bascule.core.timeframe import Timeframe
from tests.markets import random_panel


class Colour(Enum):
    GREEN = 1


class Choice(Settings):
    """Of a test."""

    depth: int = 3


class Evil:
    """Has a function called when it is read."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


DATA = [
    None, 1, 2.5, "x", b"x", True, 1 + 2j, {"a": [1, (2, {3})]}, frozenset({1}), Fraction(1, 3),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.timedelta(1), Path("a/b"), np.float32(1.5),
    np.datetime64("2024-01-01", "ns"), np.dtype("M8[ns]"), Colour.GREEN, Choice(depth=4),
    Timeframe.parse("1h"),
]  # fmt: skip


@pytest.mark.parametrize("value", DATA, ids=lambda one: type(one).__name__)
def test_data_comes_back(value: Any) -> None:
    assert plain.loads(pickle.dumps(value), "tests") == value


def test_arrays_and_tables_come_back() -> None:
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.array(["a", None], object),
        np.array("x"),
        np.zeros((0, 2)),
    ):
        np.testing.assert_array_equal(plain.loads(pickle.dumps(array)), array)
    times = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    frame = pd.DataFrame({"a": [1, 2, 3], "b": list("xyz"), "t": times}, index=times)
    pd.testing.assert_frame_equal(plain.loads(pickle.dumps(frame)), frame)
    pd.testing.assert_series_equal(plain.loads(pickle.dumps(frame["a"])), frame["a"])
    many = frame.set_index(["b", "a"])
    pd.testing.assert_frame_equal(plain.loads(pickle.dumps(many)), many)
    panel = random_panel(0, 20, 3)
    found = plain.loads(pickle.dumps(panel))
    np.testing.assert_array_equal(found["close"], panel["close"])
    assert found.instruments == panel.instruments


def test_nothing_is_called(tmp_path: Path) -> None:
    from bascule.kernels.native.library import Library

    mark = tmp_path / "mark"
    for evil in (
        Evil(os.system, f"touch {mark}"),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(getattr, "", "join"),
        Evil(np.memmap, str(mark), "u1", "w+", 0, (1,)),
        Evil(pd.read_pickle, str(mark)),
        Evil(mark.touch),
        Evil(Library, mark),
    ):
        with pytest.raises(pickle.UnpicklingError, match="is no data"):
            plain.loads(pickle.dumps(evil))
    # a name with dots leads from a module of ours to what it imports
    for name in ("pickle.loads", "io.open", "Settings.read"):
        dotted = pickle.PROTO + b"\x04" + pickle.SHORT_BINUNICODE + b"\x15bascule.cluster.plain"
        dotted += pickle.SHORT_BINUNICODE + bytes([len(name)]) + name.encode() + pickle.STACK_GLOBAL + b"."
        with pytest.raises(pickle.UnpicklingError, match="is no data"):
            plain.loads(dotted)
    assert not mark.exists()


def test_a_journal_of_a_stranger(tmp_path: Path) -> None:
    path, mark = tmp_path / "journal.sqlite", tmp_path / "mark"
    journal = Journal(path, "tests.work")
    journal.add("a", 1, Choice())
    with pytest.raises(ConfigError, match="cannot be kept as data"):
        journal.add("b", 1, print)
    assert journal.finished({"a": 1}) == {"a": Choice()}
    journal.close()
    for written in (pickle.dumps(Evil(os.system, f"touch {mark}")), b"\x80\x05garbage", b""):
        with sqlite3.connect(path) as base:
            base.execute("UPDATE done SET result = ?", (written,))
        base.close()
        journal = Journal(path, "tests.work")
        with pytest.raises(ConfigError, match="cannot be kept as data"):
            journal.finished({"a": 1})
        journal.close()
    assert not mark.exists()
