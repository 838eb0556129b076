"""Kill a whole run at any moment: what is marked done is whole; the next run goes on and ends the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from bascule.signals import Bundle
from tests.app.runs import write_run
from tests.chaos import TIMES
from tests.chaos.conftest import Tried

STAGES = ("data", "factors", "train", "signals", "backtest", "report")


def command(config: Path) -> list[str]:
    return [sys.executable, "-m", "bascule.app", "run", str(config)]


def finish(config: Path) -> dict[str, dict[str, object]]:
    """Run to the end; the facts of every stage."""
    done = subprocess.run(command(config), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return facts(config)


def facts(config: Path) -> dict[str, dict[str, object]]:
    folder = config.parent / "run" / "stages"
    return {path.stem: json.loads(path.read_text())["facts"] for path in folder.glob("[a-z]*.json")}


def signals_of(config: Path) -> pd.DataFrame:
    """The bundle's signals; opening it checks every checksum."""
    (folder,) = (config.parent / "run" / "work").glob("signals-*")
    return Bundle.open(folder / "bundles" / "current").signals.to_long()


def kill_after(config: Path, stage: str, delay: float) -> None:
    """SIGKILL the run and its children, ``delay`` seconds after ``stage`` was done ("": after the start)."""
    with subprocess.Popen(
        command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        marker = config.parent / "run" / "stages" / f"{stage}.json"
        while process.poll() is None and stage and not marker.exists():
            time.sleep(0.01)
        time.sleep(delay)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    config = write_run(tmp_path_factory.mktemp("whole"))
    finish(config)
    return config


@pytest.mark.xdist_group("run")
def test_killed_anywhere_a_run_goes_on_and_ends_the_same(whole: Path, tmp_path: Path, tried: Tried) -> None:
    config = write_run(tmp_path)
    rng = random.Random(5)
    # each stage several times before the next: what one has done is not done again
    for stage in sorted(("", "data", "factors", "train", "signals") * TIMES, key=("", *STAGES).index):
        kill_after(config, stage, rng.uniform(0.05, 1.0))
        tried("run: killed with its children")
        for done in facts(config):  # whatever is marked done is there, whole
            assert list((tmp_path / "run" / "work").glob(f"{done}-*"))
        if "signals" in facts(config):
            assert len(signals_of(config))
    found = finish(config)
    assert set(found) == set(STAGES)
    pd.testing.assert_frame_equal(signals_of(config), signals_of(whole))
    expected = facts(whole)
    assert found["signals"]["rank_ic"] == expected["signals"]["rank_ic"]
    assert found["backtest"]["comparison"] == expected["backtest"]["comparison"]
    leftovers = [p for p in (tmp_path / "run").rglob(".tmp-*") if "user_data" not in p.parts]
    assert leftovers == []


@pytest.mark.xdist_group("run")
def test_a_killed_run_leaves_no_freqtrade_writing_beside_the_next(whole: Path, tried: Tried) -> None:
    stages = whole.parent / "run" / "stages"
    before = facts(whole)
    for name in ("backtest", "report"):
        (stages / f"{name}.json").unlink()
    (log,) = (whole.parent / "run" / "work").glob("backtest-*/user_data/logs/backtesting.log")
    log.unlink()
    with subprocess.Popen(command(whole), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (log.exists() and "freqtrade" in log.read_text("utf-8")):
            time.sleep(0.01)
        (child,) = (one for one in psutil.Process(process.pid).children() if "backtesting" in one.cmdline())
        process.kill()  # the run alone: nobody tells freqtrade
    tried("run: killed alone, freqtrade at work")
    child.wait(10)
    assert finish(whole)["backtest"]["comparison"] == before["backtest"]["comparison"]


@pytest.mark.xdist_group("run")
def test_the_same_seed_gives_the_same_result_and_a_second_run_does_nothing(whole: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (whole.parent / "run" / "stages").iterdir()}
    finish(whole)
    assert before == {p: p.stat().st_mtime_ns for p in (whole.parent / "run" / "stages").iterdir()}
    report = (whole.parent / "run" / "report.html").read_text("utf-8")
    assert report.count('class="plotly-graph-div"') >= 9
    assert "Synthetic market" in report


@pytest.mark.xdist_group("run")
def test_the_backtest_adds_up(whole: Path) -> None:
    traded = facts(whole)["backtest"]
    ours, *holding = traded["comparison"]  # type: ignore[misc]
    assert ours["name"] == "strategy" and len(holding) == 2
    assert all(np.isfinite(one["total"]) for one in (ours, *holding))
    assert traded["trades"] > 10 and traded["costs"] > 0  # type: ignore[operator]
