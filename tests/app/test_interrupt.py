"""A real SIGINT in the midst of long commands: one line, exit code 130, no process left, files whole.

Only the command itself is sent the signal, as a supervisor does; a terminal sends it to workers, too.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import yaml

from bascule.app.interrupt import insistent
from bascule.bridge.exchange.state import saved_at
from bascule.core.files import TEMPORARY
from bascule.core.ports import free_port
from tests.app.runs import write_run
from tests.bridge.research import Research

PATIENCE = 240.0  # seconds until a command is at work, on a loaded machine
PROMPT = 30.0  # seconds in which it has to end


def started(arguments: list[object], cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bascule.app", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
    )


def family(session: int) -> list[int]:
    """Processes of a session, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[3]) == session and rest[0] != "Z":
            found.append(int(path.parent.name))
    return found


def interrupted(
    arguments: list[object], cwd: Path, ready: Callable[[int], object], *, code: int = 130
) -> str:
    """Interrupt a command once it is ready; what it said on standard error."""
    process = started(arguments, cwd)
    try:
        end = time.monotonic() + PATIENCE
        while not ready(process.pid):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "it never got to work"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        try:
            out, err = process.communicate(timeout=PROMPT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it says where all of its threads are
            pytest.fail("it did not end:\n" + process.communicate(timeout=PROMPT)[1][-6_000:])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "130" not in out
    end = time.monotonic() + 10
    while left := family(process.pid):
        assert time.monotonic() < end, f"still alive: {left}"
        time.sleep(0.1)
    return err


def whole(folder: Path) -> None:
    """No half-written file; every JSON document can be read."""
    for path in folder.rglob("*.json"):
        if not path.name.startswith(TEMPORARY):
            json.loads(path.read_text("utf-8"))


def run_again(arguments: list[object], cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bascule.app", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Dying:
    """Interrupted in its finalizer, out of which nothing can be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_a_finalizer_is_not_lost() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    hook, steps = sys.unraisablehook, []
    with pytest.raises(KeyboardInterrupt), insistent():
        Dying()
        steps.append("lost at first")
        time.sleep(PROMPT)
    assert steps == ["lost at first"]
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    assert sys.unraisablehook is hook


@pytest.mark.slow
def test_a_run_goes_on(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    work = tmp_path / "run" / "work"
    err = interrupted(["run", config], tmp_path, lambda _: list(work.glob("factors-*")))
    assert "run the same command again" in err
    whole(tmp_path / "run")
    marker = tmp_path / "run" / "stages" / "data.json"
    before = marker.stat().st_mtime_ns
    told = json.loads(run_again(["run", config, "--json"], tmp_path))
    assert marker.stat().st_mtime_ns == before  # done before, not again
    assert list(told["stages"]) == ["data", "factors", "train", "signals", "backtest", "report"]


@pytest.mark.slow
def test_a_search_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    command: list[object] = ["mine", "run", "random", "--proposals", 100_000, "--out", folder, "--workers", 2]
    err = interrupted(command, tmp_path, lambda _: (folder / "state.npz").exists())
    assert "checkpoint" in err
    whole(folder)
    told = json.loads(run_again(["mine", "resume", folder, "--proposals", 300, "--json"], tmp_path))
    assert told["searches"][0]["proposals"] >= 300


@pytest.mark.slow
def test_finished_trials_of_tuning_are_kept(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump({"alpha": {"low": 0.001, "high": 10.0, "log": True}}))
    book = tmp_path / "run" / "tune.db"

    def finished(_: int = 0) -> int:
        if not book.exists():
            return 0
        try:
            with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as base:
                return int(base.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()[0])
        except sqlite3.Error:
            return 0

    command: list[object] = [
        "model",
        "tune",
        config,
        "--space",
        space,
        "--set",
        "model.params={estimator: ridge}",
    ]
    err = interrupted([*command, "--trials", 100_000, "--workers", 2], tmp_path, finished)
    assert "finished trials are kept" in err
    kept = finished()
    told = json.loads(run_again([*command, "--trials", kept + 1, "--json"], tmp_path))
    assert len(told["trials"]) == kept + 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["compare", "retrain"])
def test_learning_can_be_stopped(tmp_path: Path, command: str) -> None:
    config = write_run(tmp_path)
    settings = tmp_path / "retrain.yaml"
    settings.write_text("train_days: 20\njudge_days: 5\ncheck_days: 1\nschedule_days: 1\nrest_days: 0\n")
    options: list[object] = ["--settings", settings]
    if command == "compare":
        options = ["--model", "GRU", "--model", "LSTM"]
    err = interrupted(
        ["model", command, config, *options],
        tmp_path,
        lambda _: (tmp_path / "run" / ("compare" if command == "compare" else "champions")).exists(),
    )
    assert "run the same command again" in err
    whole(tmp_path / "run")


@pytest.mark.slow
def test_freqtrade_ends_with_its_hyperopt(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    settings = tmp_path / "hyperopt.yaml"
    settings.write_text(
        yaml.safe_dump({"epochs": 5_000, "jobs": 2, "train_days": 14, "test_days": 7, "min_trades": 1})
    )
    home = tmp_path / "run" / "hyperopt"

    def optimising(pid: int) -> bool:  # the command, freqtrade, its two workers
        return any(home.rglob("hyperopt.log")) and len(family(pid)) >= 4

    err = interrupted(["hyperopt", "run", config, "--settings", settings], tmp_path, optimising)
    assert "finished folds are kept" in err
    whole(home)


@pytest.mark.slow
def test_workers_of_a_report_end_with_it(tmp_path: Path) -> None:
    command: list[object] = ["factor", "compare", "alpha158", "--workers", 2, "--out", tmp_path / "page.html"]
    # itself, the fork server, the tracker of resources, a worker
    err = interrupted(command, tmp_path, lambda pid: len(family(pid)) >= 4)
    assert "interrupted" in err
    assert not (tmp_path / "page.html").exists()


def store_of(research: Research) -> Path:
    return research.datadir.parent / "store"


@pytest.mark.slow
def test_a_study_of_robustness_goes_on(tmp_path: Path, spot: Research) -> None:
    settings = tmp_path / "robust.yaml"
    settings.write_text(yaml.safe_dump({"keypoints": ["base"], "draws": 2, "one_out": 1, "histories": 100}))
    study = tmp_path / "study"
    command: list[object] = ["robust", "study", spot.bundle.path, "--data", store_of(spot), "--out", study]
    command += ["--settings", settings]
    # all scenarios are done when freqtrade starts
    err = interrupted(command, tmp_path, lambda pid: len(family(pid)) >= 2)
    assert "finished scenarios are kept" in err
    whole(study)
    kept = {path: path.stat().st_mtime_ns for path in study.rglob("costs-*.json")}
    assert kept and not (study / "report.json").exists()
    told = json.loads(run_again([*command, "--json"], tmp_path))
    assert told["points"] and (study / "report.html").is_file()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.slow
def test_freqai_goes_on_with_what_it_has_learned(tmp_path: Path, spot: Research) -> None:
    from bascule.bridge.freqtrade.freqai.runs import Order
    from tests.bridge.freqai.learning import recipe, schedule

    plain = schedule(retrain_days=2, svm=False, dbscan=False, dissimilarity=0)
    order = Order(recipe=recipe(spot), schedule=plain, start="2023-03-07", end="2023-03-13")
    (tmp_path / "freqai.yaml").write_text(yaml.safe_dump(order.model_dump(mode="json")))
    user = tmp_path / "user"
    command: list[object] = ["freqai", "backtest", "freqai.yaml", user, "--data", spot.datadir]
    err = interrupted(command, tmp_path, lambda _: list(user.glob("models/small/pooled/*/meta.json")))
    assert "run the same command again" in err
    whole(user)
    kept = {path: path.stat().st_mtime_ns for path in user.glob("models/small/pooled/*/meta.json")}
    told = json.loads(run_again([*command, "--json"], tmp_path))
    assert told["metrics"]["total_trades"] > 0 and (user / "report.html").is_file()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def prepared(research: Research, bot: Path) -> None:
    """A folder for rehearsals; on a port of its own, since several are rehearsed side by side."""
    port = ["--port", free_port()]
    run_again(["trade", "prepare", research.bundle.path, bot, "--mode", "rehearse", *port], bot.parent)


def traded(bot: Path) -> bool:
    """Whether a bot's database has a trade."""
    try:
        (book,) = bot.glob("trades-*.sqlite")
        with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as base:
            return bool(base.execute("select count(*) from trades").fetchone()[0])
    except (ValueError, sqlite3.Error):
        return False


@pytest.mark.slow
def test_a_rehearsal_goes_on(tmp_path: Path, spot: Research) -> None:
    bot = tmp_path / "bot"
    prepared(spot, bot)
    command: list[object] = ["trade", "rehearse", bot, "--data", store_of(spot)]

    err = interrupted([*command, "--hours", 400], tmp_path, lambda _: traded(bot))
    assert "without --start and --fresh" in err
    whole(bot)
    past = json.loads((bot / "rehearsed.json").read_text("utf-8"))
    told = json.loads(run_again([*command, "--hours", 2, "--json"], tmp_path))
    assert told["differences"] == [] and told["orders"] > 0
    times = [past["begin"], told["begin"], past["end"], told["end"]]
    assert [one[:19] for one in times] == sorted(one[:19] for one in times) and past["end"] < told["end"]


@pytest.mark.slow
def test_a_rehearsal_that_was_killed_goes_on(tmp_path: Path, spot: Research) -> None:
    """It could not write down how far it had come; the books of its exchange have it."""
    bot = tmp_path / "bot"
    prepared(spot, bot)
    command: list[object] = ["trade", "rehearse", bot, "--data", store_of(spot)]
    window = spot.bundle.manifest.models[-1].test
    start = np.datetime64(window.start.removesuffix("Z"))
    process = started([*command, "--hours", 400], tmp_path)
    try:
        end = time.monotonic() + PATIENCE
        while (saved_at(bot / "exchange.sqlite") or start) < start + np.timedelta64(3, "h"):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
    finally:
        process.kill()  # it alone: the bot ends by itself
        process.communicate(timeout=10)
    end = time.monotonic() + 10
    while left := family(process.pid):
        assert time.monotonic() < end, f"still alive: {left}"
        time.sleep(0.1)
    assert not (bot / "rehearsed.json").exists()
    told = json.loads(run_again([*command, "--hours", 2, "--json"], tmp_path))
    assert told["differences"] == [] and told["orders"] > 0
    # from where it was, not from the start
    assert np.datetime64(told["begin"]) >= start + np.timedelta64(3, "h")


@pytest.mark.slow
def test_the_monitor_stops_as_it_is_told(tmp_path: Path, spot: Research) -> None:
    state = tmp_path / "monitor.sqlite"
    settings = {"state": str(state), "port": 0, "every": "1s", "data": {"store": str(store_of(spot))}}
    (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(settings))

    def counted(_: int = 0) -> int:
        try:
            with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as base:
                return int(base.execute("select count(*) from monitor_sample").fetchone()[0])
        except sqlite3.Error:
            return 0

    interrupted(["monitor", "run", "monitor.yaml"], tmp_path, counted, code=0)
    kept = counted()
    told = json.loads(run_again(["monitor", "run", "monitor.yaml", "--once", "--json"], tmp_path))
    assert told["samples"] > 0 and counted() > kept


@contextmanager
def deaf_server() -> Iterator[tuple[str, Event]]:
    """A server that takes questions and does not answer."""
    asked, over = Event(), Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait(PATIENCE)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def test_an_update_that_waits_for_a_venue_can_be_stopped(tmp_path: Path) -> None:
    with deaf_server() as (url, asked):
        feeds = [
            {
                "source": "archive",
                "options": {"base_url": url, "timeframe": "1h"},
                "instruments": ["BTC/USDT"],
                "start": "2024-01-01",
            }
        ]
        (tmp_path / "update.yaml").write_text(yaml.safe_dump({"store": "store", "feeds": feeds}))
        err = interrupted(
            ["data", "update", "update.yaml", "--end", "2024-03-01"], tmp_path, lambda _: asked.is_set()
        )
    assert "what was fetched is kept" in err
    whole(tmp_path / "store")


def test_servers_stop_as_they_are_told(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    exchange: list[object] = ["exchange", "serve", "--instrument", "BTC/USDT", "--state", state]
    process = started(exchange, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PROMPT)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert family(process.pid) == []


def test_the_dashboard_stops_as_it_is_told(tmp_path: Path) -> None:
    import httpx

    process = started(["web", "serve", "--no-login", "--port", 8197], tmp_path)
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < end
        try:
            if httpx.get("http://127.0.0.1:8197/healthz", timeout=1).status_code == 200:
                break
        except httpx.HTTPError:
            time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PROMPT)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert family(process.pid) == []
