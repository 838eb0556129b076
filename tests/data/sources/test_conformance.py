"""What every source must hold: one numbered list, every source of the registry."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError
from bascule.data.sources import SOURCES, Context, Fetched, Source, open_source
from bascule.data.sources.spec import INDEX
from tests.data.sources.cases import CASES, NOW, Case
from tests.data.sources.server import FakeTime, Fault, Wire

EXEMPT = {"freqtrade": "each fetch starts a process; test_downloader.py holds its checks"}
SERVED = [case for case in CASES if case.routes]
TRANSIENT: tuple[Fault, ...] = ("429", "500", "truncate", "short", "reset")


class Bench:
    """A case with its server, made anew with `source`."""

    def __init__(self, case: Case, folder: Path, stack: ExitStack, now: str = NOW) -> None:
        self.case, self.folder = case, folder
        self.time = FakeTime(now)
        self.wire: Wire | None = None
        if case.routes:
            self.wire = stack.enter_context(Wire(case.routes(self.time), date=self.time.clock))
        self.journal: Path | None = None

    def source(self) -> Source:
        context = Context(np.random.default_rng(3), self.time.clock, self.time.sleep, self.journal)
        url = self.wire.url if self.wire else ""
        folder = self.folder / "files"
        folder.mkdir(exist_ok=True)
        return open_source(self.case.kind, self.case.values(url, folder), context)

    def fetch(self, start: str | None = None, end: str | None = None) -> Fetched:
        case = self.case
        return self.source().fetch(start or case.start, end or case.end, case.instruments)


@functools.cache
def plain(case: Case) -> tuple[pd.DataFrame, int]:
    """The frame of an undisturbed fetch, and how many requests it took."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        one = Bench(case, Path(folder), stack)
        frame = one.fetch().frame
        return frame, len(one.wire.seen) if one.wire else 0


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:
        yield lambda case, now=NOW: Bench(case, tmp_path, stack, now)


def each(cases: Any, *, brisk: bool = False) -> Any:
    """Parametrise; ``brisk`` leaves to the slow tests what goes through the same code as another case."""
    alike = re.compile(
        "(bybit|okx)-futures|binance-futures-(mark|long_short)|archive-futures-(klines|mark)|archive.okx-futures$|archive.bybit-spot"
    )
    slow = [pytest.mark.slow] if brisk else []
    marks = [pytest.param(c, id=c.name, marks=slow if alike.match(c.name) else []) for c in cases]
    return pytest.mark.parametrize("case", marks)


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, two)


def test_0_every_source_has_a_case() -> None:
    assert {case.kind for case in CASES} | set(EXEMPT) == set(SOURCES)


@each(CASES)
def test_1_frame_is_canonical_and_right(case: Case, bench: Callable[..., Bench]) -> None:
    fetched = bench(case).fetch()
    spec, frame = fetched.spec, fetched.frame
    assert spec.publisher and spec.lag_reason and spec.frequency
    assert all(field.unit and field.description for field in spec.fields)
    assert tuple(frame.columns) == spec.columns
    assert str(frame["time"].dtype) == str(frame["available_time"].dtype) == "datetime64[ns, UTC]"
    assert all(frame[field.name].dtype == np.float32 for field in spec.fields)
    assert frame.sort_values(["instrument", "time"], ignore_index=True).equals(frame)
    assert not frame.duplicated(["time", "instrument"]).any()
    assert (frame["time"] >= pd.Timestamp(case.start, tz="UTC")).all()
    assert (frame["time"] < pd.Timestamp(case.end, tz="UTC")).all()
    assert len(frame) == fetched.report.rows == case.rows
    case.check(frame)


@each(CASES, brisk=True)
def test_2_nothing_is_available_before_it_is_over(case: Case, bench: Callable[..., Bench]) -> None:
    one = bench(case)
    fetched = one.fetch()
    frame, spec = fetched.frame, fetched.spec
    assert (frame["available_time"] >= frame["time"] + pd.Timedelta(spec.period)).all()
    assert (frame["available_time"] <= pd.Timestamp(one.time.clock(), tz="UTC")).all()


@each([case for case in CASES if not case.snapshot], brisk=True)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_3_the_past_saw_the_past(case: Case, share: float, bench: Callable[..., Bench]) -> None:
    """Fetched at an earlier time, exactly the rows come that were available then."""
    whole, _ = plain(case)
    start, end = np.datetime64(case.start, "ns"), np.datetime64(case.end, "ns")
    then = start + np.timedelta64(int(share * float((end - start) / np.timedelta64(1, "m"))), "m")
    early = bench(case, str(then)).fetch().frame
    known = whole[whole["available_time"] <= pd.Timestamp(then, tz="UTC")]
    same(early, known.reset_index(drop=True))


@each([case for case in CASES if not case.snapshot], brisk=True)
def test_4_two_halves_make_the_whole(case: Case, bench: Callable[..., Bench]) -> None:
    one = bench(case)
    whole, _ = plain(case)
    middle = str(np.datetime64(case.start, "h") + np.timedelta64(77, "h"))
    if np.datetime64(middle) >= np.datetime64(case.end):
        middle = str(np.datetime64(case.start, "h") + np.timedelta64(2, "h"))
    halves = [one.fetch(end=middle).frame, one.fetch(start=middle).frame]
    both = pd.concat([half for half in halves if len(half)], ignore_index=True)
    same(both.sort_values(["instrument", "time"], ignore_index=True), whole)


@each([case for case in CASES if not case.snapshot], brisk=True)
def test_5_no_rows_is_an_answer(case: Case, bench: Callable[..., Bench]) -> None:
    fetched = bench(case).fetch("2020-01-01T00:10", "2020-01-01T00:20")
    assert fetched.frame.empty
    assert tuple(fetched.frame.columns) == (*INDEX, *(f.name for f in fetched.spec.fields))
    assert (fetched.frame.dtypes == plain(case)[0].dtypes).all()


@each(CASES, brisk=True)
def test_6_an_empty_range_is_refused(case: Case, bench: Callable[..., Bench]) -> None:
    with pytest.raises(DataError, match="is empty") as caught:
        bench(case).fetch(case.end, case.start)
    assert caught.value.remedy


@each([case for case in CASES if case.absent], brisk=True)
def test_7_the_unknown_is_refused(case: Case, bench: Callable[..., Bench]) -> None:
    with pytest.raises(DataError) as caught:
        bench(case).source().fetch(case.start, case.end, [case.absent])
    assert caught.value.where and caught.value.remedy


@each(SERVED, brisk=True)
@pytest.mark.parametrize("fault", TRANSIENT)
def test_8_passing_faults_change_nothing(case: Case, fault: Fault, bench: Callable[..., Bench]) -> None:
    """One request fails once: the first, the last, or one between, another for each fault."""
    good, count = plain(case)
    one = bench(case)
    assert one.wire is not None
    index = round((count - 1) * TRANSIENT.index(fault) / (len(TRANSIENT) - 1))
    one.wire.faults.extend([None] * index + [fault])
    fetched = one.fetch()
    columns = list(good.columns)
    if case.snapshot:  # the retry takes time, and the present moves on
        columns = [c for c in columns if c not in ("time", "available_time")]
    same(fetched.frame[columns], good[columns])
    assert fetched.report.retries == 1
    (pause,) = one.time.slept
    assert pause >= (7 if fault == "429" else 0.5)


@each(SERVED, brisk=True)
def test_9_lasting_faults_end_in_one_clear_error(case: Case, bench: Callable[..., Bench]) -> None:
    one = bench(case)
    assert one.wire is not None
    one.wire.always = "500"
    with pytest.raises(DataError, match="tries") as caught:
        one.fetch()
    assert "/" in (caught.value.where or "")
    assert caught.value.remedy
    assert len(one.time.slept) >= 5
    # each pause is at most the next full one: 1, 2, 4, 8, 16 seconds, less the jitter
    assert all(0.5 * 2**i <= pause <= 2**i for i, pause in enumerate(one.time.slept[:5]))


@each(SERVED, brisk=True)
@pytest.mark.parametrize("fault", ["garbage", "html"])
@pytest.mark.parametrize("place", [0.0, 1.0])
def test_10_a_wrong_reply_is_never_taken_for_data(
    case: Case, fault: Fault, place: float, bench: Callable[..., Bench]
) -> None:
    """From the first request on, or for the last one only."""
    one = bench(case)
    assert one.wire is not None
    one.wire.faults.extend([None] * round((plain(case)[1] - 1) * place) + [fault] * 10)
    with pytest.raises(DataError) as caught:
        one.fetch()
    assert caught.value.where and caught.value.remedy


@each([case for case in SERVED if case.chunks], brisk=True)
def test_11_an_interrupted_fetch_resumes(case: Case, bench: Callable[..., Bench], tmp_path: Path) -> None:
    good, count = plain(case)
    one = bench(case)
    assert one.wire is not None
    one.journal = tmp_path / "journal"
    one.wire.faults.extend([None] * (count - 1) + ["500"] * 50)
    with pytest.raises(DataError):
        one.fetch()
    one.wire.faults.clear()
    one.wire.seen.clear()
    fetched = one.fetch()
    same(fetched.frame, good)
    assert fetched.report.reused >= 1
    assert len(one.wire.seen) < count
    one.wire.seen.clear()
    again = one.fetch()
    same(again.frame, good)
    assert again.report.reused > fetched.report.reused


@each(SERVED, brisk=True)
def test_12_progress_is_told(case: Case, bench: Callable[..., Bench]) -> None:
    told: list[tuple[int, int]] = []
    one = bench(case)
    one.source().fetch(
        case.start,
        case.end,
        case.instruments,
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert told[-1][0] == told[-1][1] > 0
    assert all(done <= total for done, total in told)
