"""The ledger: different trials count, many write at once, nothing is written by halves."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bascule.core import StoreError
from bascule.evaluate import Count, Ledger, Trial

NOW = "2024-01-01"


def trial(what: str, start: str = "2021-01-01", end: str = "2022-01-01", **more: object) -> Trial:
    return Trial(what, "spot", start, end, **more)  # type: ignore[arg-type]


def test_counts_different_trials_that_touched_a_window(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "trials.sqlite")
    assert ledger.count("spot") == Count(0, 0)
    assert not ledger.path.exists()
    ledger.record([trial("a"), trial("b"), trial("a", horizon=24)], NOW)
    ledger.record([trial("a"), trial("c", "2023-01-01", "2023-06-01")], "2024-02-01")
    ledger.record([Trial("d", "futures", "2021-01-01", "2022-01-01")], NOW)
    assert ledger.count("spot") == Count(4, 5)
    assert ledger.count("spot", "2021-06-01", "2021-07-01") == Count(3, 4)
    assert ledger.count("spot", "2022-01-01") == Count(1, 1)  # windows are half-open
    assert ledger.count("spot", None, "2021-01-01") == Count(0, 0)
    assert ledger.count("futures") == Count(1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        trial(""),
        trial("a", "2022-01-01", "2022-01-01"),
        trial("a", horizon=0),
        Trial("a", "", "2021", "2022"),
    ],
)
def test_a_bad_trial_is_refused_and_nothing_is_written(tmp_path: Path, bad: Trial) -> None:
    ledger = Ledger(tmp_path / "t.sqlite")
    with pytest.raises(StoreError, match="a trial needs"):
        ledger.record([trial("good"), bad], NOW)
    assert ledger.count("spot") == Count(0, 0)


def test_a_file_that_is_no_ledger_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 50)
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Ledger(path).record([trial("a")], NOW)
    assert caught.value.remedy


def write(path: Path, writer: int) -> None:
    ledger = Ledger(path)
    for batch in range(15):
        ledger.record([trial(f"{writer}-{batch}-{n}") for n in range(4)], NOW)
        assert ledger.count("spot").trials >= 4 * (batch + 1)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(path, n)) for n in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * 4
    assert Ledger(path).count("spot") == Count(240, 240)
