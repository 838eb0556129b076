"""Spread work under fire.

Promised: a killed driver takes its workers along and leaves a journal from which the work goes on to the same
result, doing no finished task again; a worker that runs out of memory costs a repetition of its task, and one
task that can never fit is named.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bascule import cluster
from bascule.core import BasculeError
from tests.cluster import work

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
from pathlib import Path
from bascule import cluster
from tests.cluster import work
folder = Path(sys.argv[1])
with cluster.connect("local", workers=2) as executor:
    tasks = {f"t{k}": (k, str(folder)) for k in range(12)}
    executor.map(work.note_slowly, tasks, journal=folder / "journal.sqlite")
"""


def test_a_killed_driver_leaves_a_journal_and_no_workers(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], env=environment)
    calls = tmp_path / "calls"
    try:
        until = time.monotonic() + 60
        while not calls.exists() or len(calls.read_text().split()) < 5:
            assert time.monotonic() < until, "the work did not begin"
            time.sleep(0.02)
        children = psutil.Process(driver.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    # the helpers of multiprocessing may linger for a moment; workers may not
    assert not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    before = calls.read_text().split()
    tasks = {f"t{k}": (k, str(tmp_path)) for k in range(12)}
    with cluster.connect("local", workers=2) as executor:
        found = executor.map(work.note_slowly, tasks, journal=tmp_path / "journal.sqlite")
    assert found == {f"t{k}": 10 * k for k in range(12)}
    # at most what was under way when the driver died was done twice
    again = calls.read_text().split()[len(before) :]
    assert len(set(before) & set(again)) <= 3
    assert set(before) | set(again) == {str(k) for k in range(12)}


def test_a_worker_without_memory_costs_a_repetition(tmp_path: Path) -> None:
    """The kernel's killer, played by the limit of address space and a worker that dies of it."""
    with cluster.connect("local", workers=2) as executor:
        found = executor.map(work.starve_once, {f"t{k}": (k, str(tmp_path)) for k in range(5)})
    assert found == {f"t{k}": k for k in range(5)}
    assert (tmp_path / "starved").exists()


def test_a_task_that_never_fits_is_named() -> None:
    with (
        cluster.connect("local", workers=2, retries=1) as executor,
        pytest.raises(BasculeError, match=r"task t1: .*died 2 times") as caught,
    ):
        executor.map(work.starve, {f"t{k}": k for k in range(3)})
    assert "memory" in str(caught.value)
