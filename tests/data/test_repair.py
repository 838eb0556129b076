"""Repair mends exactly what it says, and leaves good candles alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.core import Timeframe
from bascule.data.health import blocking
from bascule.data.repair import REPAIRS, repair_rows
from bascule.data.rows import OHLCV, Rows

from .candles import make

HOUR = Timeframe.parse("1h")
VALUES = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0, 100.0, 1e9])


@st.composite
def dirty(draw: st.DrawFn) -> Rows:
    """Clean candles with values overwritten, rows repeated and the order shuffled."""
    rows = Rows.from_frame(make(bars=draw(st.integers(2, 12))))
    size = len(rows)
    for name, at, value in draw(
        st.lists(st.tuples(st.sampled_from(OHLCV), st.integers(0, size - 1), VALUES), max_size=6)
    ):
        rows.values[name][at] = value
    more = draw(st.lists(st.integers(0, size - 1), max_size=5))
    index = np.array([*range(size), *more])
    if draw(st.booleans()):
        index = np.array(draw(st.permutations(index.tolist())))
    return rows.take(index)


@settings(max_examples=80, deadline=None)
@given(rows=dirty())
def test_what_all_repairs_leave_has_no_error(rows: Rows) -> None:
    mended, counts = repair_rows(rows, REPAIRS)
    if len(mended):
        assert {issue.name for issue in blocking(mended, HOUR)} <= {"timeframe"}
    assert len(rows) - len(mended) == counts.get("impossible", 0) + counts.get("duplicates", 0)
    # each row that is left is a row that was there
    there = {(c, t) for c, t in zip(rows.codes.tolist(), rows.time.tolist(), strict=True)}
    left = list(zip(mended.codes.tolist(), mended.time.tolist(), strict=True))
    assert set(left) <= there
    assert len(left) == len(set(left))


@settings(max_examples=60, deadline=None)
@given(rows=dirty())
def test_each_kind_of_error_goes_only_by_its_repair(rows: Rows) -> None:
    kinds = {issue.name for issue in blocking(rows, HOUR)} - {"timeframe"}
    of = {"unsorted": "sort", "duplicates": "duplicates"}
    needed = {of.get(kind, "impossible") for kind in kinds}
    for repair in needed:
        mended, _ = repair_rows(rows, needed - {repair})
        left = {of.get(issue.name, "impossible") for issue in blocking(mended, HOUR)}
        # dropping other rows may have taken this trouble along; it never makes a new kind
        assert left - {"impossible"} <= needed
    if not needed:
        mended, counts = repair_rows(rows, REPAIRS)
        assert counts == {}
        assert len(mended) == len(rows)


def test_of_two_rows_of_one_time_the_later_counts() -> None:
    frame = make(["AAA_USDT"], bars=3)
    again = frame.iloc[[1]].assign(volume=np.float32(5))
    rows = Rows.from_frame(pd.concat([frame, again]))
    mended, counts = repair_rows(rows, ["sort", "duplicates"])
    assert counts == {"sort": 2, "duplicates": 1}
    assert mended.values["volume"][1] == 5
