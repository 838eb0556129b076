"""Jobs: never twice at a time, nothing asked for is lost, limits hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bascule.core import ConfigError, StoreError
from bascule.monitor import schema
from bascule.monitor.jobs import JobRunner, JobSettings, Scheduler, _now, ask
from bascule.monitor.schema import Database


def job(name: str, script: str, **values: object) -> JobSettings:
    return JobSettings.read({"name": name, "command": ["sh", "-c", script], **values})


def runner(home: Path, *jobs: JobSettings) -> JobRunner:
    return JobRunner(Database(home / "m.sqlite"), jobs, home, home / "logs")


def states(one: JobRunner) -> list[tuple[str, str]]:
    with one.database.read() as connection:
        found = connection.execute(
            sa.select(schema.jobs.c.job, schema.jobs.c.status).order_by(schema.jobs.c.id)
        )
        return [(name, status) for name, status in found.all()]


def wait_for(path: Path, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.02)


def test_a_run_is_journalled_with_its_code_and_the_end_of_its_output(tmp_path: Path) -> None:
    one = runner(tmp_path, job("good", "echo fine"), job("bad", "echo why >&2; exit 3"))
    assert one.start("good").outcome == "fine"
    failed = one.start("bad")
    assert (failed.status, failed.code, failed.outcome) == ("failed", 3, "why")
    assert states(one) == [("good", "done"), ("bad", "failed")]
    with pytest.raises(ConfigError, match="no job 'other'"):
        one.start("other")


def test_two_at_a_time_is_one_and_a_skip(tmp_path: Path) -> None:
    one = runner(tmp_path, job("slow", "touch began; while [ ! -e go ]; do sleep 0.02; done; echo x >> runs"))
    first = threading.Thread(target=one.start, args=("slow",))
    first.start()
    wait_for(tmp_path / "began")
    other = runner(tmp_path, *one.jobs)  # as from cron: another process has its own runner
    assert other.start("slow").status == "skipped"
    (tmp_path / "go").touch()
    first.join(20)
    assert (tmp_path / "runs").read_text() == "x\n"
    assert sorted(states(one)) == [("slow", "done"), ("slow", "skipped")]


def test_a_run_over_its_limit_is_ended_with_its_children(tmp_path: Path) -> None:
    one = runner(tmp_path, job("endless", "sleep 60 & echo $! > child; wait", limit=0.5))
    run = one.start("endless")
    assert run.status == "failed" and "longer than 0.5 s" in run.outcome
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                raise ProcessLookupError
            time.sleep(0.02)


def test_ctrl_c_ends_the_job_that_it_waits_for(tmp_path: Path) -> None:
    one = runner(tmp_path, job("endless", "echo $$ > pid; exec sleep 60"))

    def interrupt() -> None:
        wait_for(tmp_path / "pid")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        one.start("endless")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert states(one) == [("endless", "failed")]
    assert runner(tmp_path, job("endless", "true")).start("endless").status == "done"


def test_a_database_that_is_away_for_a_while_ends_nothing(tmp_path: Path) -> None:
    class Away(JobRunner):
        looks = 0

        def recover(self) -> int:
            self.looks += 1
            if self.looks == 1:
                raise StoreError("away")
            return super().recover()

    one = Away(Database(tmp_path / "m.sqlite"), [job("asked", "true")], tmp_path, tmp_path / "logs")
    ask(one.database, "asked", "key", {}, now=_now())
    stop = threading.Event()
    thread = threading.Thread(target=Scheduler(one).run, args=(stop,))
    thread.start()
    end = time.monotonic() + 20
    while states(one) != [("asked", "done")]:
        assert time.monotonic() < end and thread.is_alive()
        time.sleep(0.05)
    stop.set()
    thread.join(20)


def test_what_was_asked_for_runs_once_with_its_arguments(tmp_path: Path) -> None:
    settings = JobSettings.read({"name": "rotate", "command": ["sh", "-c", "echo {factors} >> got"]})
    one = runner(tmp_path, settings)
    for _ in range(2):
        ask(one.database, "rotate", "key", {"factors": "new.yaml"}, now=_now())
    ask(one.database, "unknown", "other", {}, now=_now())
    stop = threading.Event()
    thread = threading.Thread(target=Scheduler(one).run, args=(stop,))
    thread.start()
    end = time.monotonic() + 20
    while ("rotate", "done") not in states(one) or ("unknown", "failed") not in states(one):
        assert time.monotonic() < end
        time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert (tmp_path / "got").read_text() == "new.yaml\n"


def test_after_kill_9_what_was_asked_for_runs_again_and_the_rest_is_marked(tmp_path: Path) -> None:
    """The runner's process dies in the middle of two runs; both are found by their free locks."""
    script = (
        "import sys; from pathlib import Path; from tests.monitor.test_jobs import job, runner\n"
        "from bascule.monitor.jobs import ask, _now\n"
        "import threading\n"
        "home = Path(sys.argv[1])\n"
        "begin = 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60'\n"
        "one = runner(home, job('asked', begin.format('a')), job('clock', begin.format('b')))\n"
        "ask(one.database, 'asked', 'key', {}, now=_now())\n"
        "threading.Thread(target=one.start, args=('asked',), kwargs={'key': 'key'}).start()\n"
        "one.start('clock')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], start_new_session=True)
    for name in "ab":
        wait_for(tmp_path / name, 60.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    one = runner(tmp_path, job("asked", "echo again"), job("clock", "true"))
    # the commands live on without their runner, and keep their locks: nobody starts them a second time
    assert one.recover() == 0 and one.start("clock").status == "skipped"
    for name in "ab":
        os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)
    end = time.monotonic() + 20
    while one.recover() + sum(status == "running" for _, status in states(one)) and time.monotonic() < end:
        time.sleep(0.05)
    assert sorted(states(one)) == [("asked", "waiting"), ("clock", "lost"), ("clock", "skipped")]
    assert one.waiting() == [("asked", "key", {})]


def test_a_wrong_cron_expression_is_one_clear_error() -> None:
    for wrong in ("61 * * * *", "* * *", "nonsense"):
        with pytest.raises(ConfigError, match="cron"):
            job("x", "true", cron=wrong)
    assert job("x", "true", cron="5 */4 * * *").cron == "5 */4 * * *"
