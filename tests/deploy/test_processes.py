"""The containers' entry points, as processes on this machine: monitor, jobs, dashboard, health check."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.core.ports import free_port
from bascule.monitor.read import Reader
from tests.deploy.test_files import DEPLOY, load
from tests.monitor.servers import PASSWORD, USER, FakeBot, bot_server


def adapted(name: str, home: Path, url: str, port: int) -> list[str]:
    """A service's command with its settings moved from the container to a folder of this machine."""
    arguments = list(load("compose.yaml")["services"][name]["command"])
    file = next(one for one in arguments if one.startswith("/config/"))
    values: dict[str, Any] = load(f"config/{Path(file).name}") | {
        "home": str(home),
        "host": "127.0.0.1",
        "port": port,
    }
    for bot in values["bots"]:
        bot["url"] = url
        if "password" in bot:
            bot["password"] = {"file": str(home / "bot_password")}
            bot["username"] = USER
    if "jobs" in values:
        values |= {"notify": {}, "venues": [], "jobs": [job_of_the_test(home)]}
    changed = home / Path(file).name
    changed.write_text(yaml.safe_dump(values))
    return [str(changed) if one == file else one for one in arguments]


def job_of_the_test(home: Path) -> dict[str, Any]:
    kept = [
        sys.executable,
        "-m",
        "bascule.app",
        "backup",
        "create",
        str(home / "monitor"),
        "--to",
        str(home / "kept"),
    ]
    return {"name": "backup", "command": kept}


@contextlib.contextmanager
def started(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "bascule.app", *arguments],
            stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "BASCULE_BOT_PASSWORD": PASSWORD},
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


def healthy(url: str) -> bool:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "docker" / "health.py"), url], capture_output=True, check=False
    )
    return done.returncode == 0


def until(condition: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)


@pytest.mark.slow
def test_monitor_jobs_and_dashboard_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "bot_password").write_text(PASSWORD)
    (tmp_path / "bot").mkdir()
    ports = free_port(), free_port()
    with bot_server(FakeBot()) as url:
        monitor = adapted("monitor", tmp_path, url, ports[0])
        jobs = adapted("jobs", tmp_path, url, ports[0])
        web = adapted("web", tmp_path, url, ports[1])
        user = ["web", "user", "add", "me", "--role", "operator", "--password-stdin", *web[-2:]]
        added = subprocess.run(
            [sys.executable, "-m", "bascule.app", *user],
            input=b"a long and boring phrase\n", capture_output=True, check=False,
            env={**os.environ, "BASCULE_BOT_PASSWORD": PASSWORD},
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        logs = [tmp_path / f"{name}.txt" for name in ("monitor", "jobs", "web")]
        with started(monitor, logs[0]) as one, started(jobs, logs[1]) as two, started(web, logs[2]) as three:
            until(lambda: healthy(f"http://127.0.0.1:{ports[0]}/health"))
            until(lambda: healthy(f"http://127.0.0.1:{ports[1]}/healthz"))
            reader = Reader(tmp_path / "monitor" / "state.sqlite")
            until(lambda: any(bot.values.get("bot.up") == 1.0 for bot in reader.bots()))
            # a timer starts a job while the scheduler runs, and both note it in one journal
            job = ["monitor", "job", monitor[-1], "backup"]
            done = subprocess.run(
                [sys.executable, "-m", "bascule.app", *job], capture_output=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert [(run.name, run.status) for run in reader.jobs()] == [("backup", "done")]
            assert [process.poll() for process in (one, two, three)] == [None] * 3
    assert (one.returncode, two.returncode) == (0, 0)
    assert not healthy(f"http://127.0.0.1:{ports[0]}/health")
    text = "".join(log.read_text("utf-8") for log in logs)
    assert PASSWORD not in text and "Traceback" not in text
    (kept,) = (tmp_path / "kept").iterdir()
    assert (kept / "content" / "monitor" / "state.sqlite").is_file()
