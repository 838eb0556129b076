"""Jobs: what runs by the clock, or because an action asked for it; never twice at a time.

1. A job is a command with a name. `JobRunner.start` takes an advisory lock on ``<name>.lock``, hands it on to
   the command, so that it is held until both have ended, however that comes about, and runs the command in a
   process group of its own, its output in a log file; after the time limit the group is ended. Cron, systemd
   timers, people and the scheduler may all start the same job: whoever comes second is told so, and that is
   journalled as ``skipped``.
2. What an action asks for waits in the database under the action's key (`ask`): asked for twice, it is there
   once. The scheduler runs it when the lock is free.
3. `Scheduler` starts jobs by their cron expressions (APScheduler, UTC; a start that was missed is made up
   for once) and runs what waits.
4. A run whose runner was killed is found by its free lock, marked ``lost``, and runs again if it was asked
   for.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import Field, field_validator

from bascule.core import BasculeError, ConfigError, Settings, StoreError
from bascule.monitor import schema
from bascule.monitor.rules import Duration
from bascule.monitor.schema import Database, seconds

log = logging.getLogger(__name__)
_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_POLL = 2.0  # seconds between looks at what waits
_GRACE = 10.0  # seconds from SIGTERM to SIGKILL
_TAIL = 400  # characters of output that the journal keeps


class JobSettings(Settings):
    """One job."""

    name: str = Field(pattern=_NAME, description="unique name; retrain and rotate are what actions start")
    command: tuple[str, ...] = Field(
        min_length=1, description="program and arguments; {factors} = the list that a rotation wrote"
    )
    cron: str | None = Field(default=None, description="minute hour day month weekday, UTC; null: when asked")
    limit: Duration = Field(default=21_600.0, gt=0, description="longest time it may run")
    nice: int = Field(default=10, ge=0, le=19, description="priority given up to the bots")

    @field_validator("cron")
    @classmethod
    def _five(cls, value: str | None) -> str | None:
        if value is not None:
            if len(value.split()) != 5:
                raise ValueError("a cron expression has five fields")
            _trigger(value)
        return value


@dataclass(frozen=True)
class JobRun:
    """How a run ended: ``done``, ``failed``, ``skipped`` (it was running already) or ``lost``."""

    job: str
    status: str
    code: int | None
    outcome: str


def ask(database: Database, job: str, key: str, arguments: Mapping[str, Any], *, now: datetime) -> bool:
    """Ask for a run; False if it was asked for under this key before."""
    table = schema.jobs
    with database.write() as connection:
        if connection.execute(sa.select(table.c.id).where(table.c.key == key)).first():
            return False
        connection.execute(
            table.insert().values(
                job=job, key=key, asked=seconds(now), arguments=dict(arguments), status="waiting", outcome=""
            )
        )
    return True


class JobRunner:
    """Runs jobs.

    Args:
        database: of the journal.
        jobs: the jobs.
        home: folder that the commands run in.
        logs: folder of locks and logs.
    """

    def __init__(self, database: Database, jobs: Sequence[JobSettings], home: Path, logs: Path) -> None:
        self.database, self.jobs, self.home, self.logs = database, tuple(jobs), home, logs
        self._jobs = {job.name: job for job in jobs}
        self.logs.mkdir(parents=True, exist_ok=True)
        self._stop = threading.Event()

    def start(self, name: str, *, key: str = "", arguments: Mapping[str, Any] | None = None) -> JobRun:
        """Run a job now and wait for its end.

        Args:
            name: of the job.
            key: of the request, "" = by the clock or by hand.
            arguments: of the request.

        Raises:
            ConfigError: there is no such job.
        """
        job = self._job(name)
        with _held(self.logs / f"{name}.lock") as lock:
            if lock is None:
                return self._skip(name)
            if not key:
                key = f"{name}-{uuid.uuid4().hex}"
                ask(self.database, name, key, arguments or {}, now=_now())
            self._write(key, status="running", started=seconds(_now()))
            try:
                run = self._run(job, arguments or {}, lock)
            except (OSError, KeyError, IndexError, ValueError) as error:
                run = JobRun(name, "failed", None, f"it could not start: {type(error).__name__}: {error}")
            except KeyboardInterrupt:
                self._write(key, status="failed", ended=seconds(_now()), outcome="interrupted")
                raise
            self._write(key, status=run.status, ended=seconds(_now()), code=run.code, outcome=run.outcome)
        log.info("job %s: %s", name, run.status)
        return run

    def waiting(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Job, key and arguments of what was asked for, oldest first."""
        table = schema.jobs
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(table.c.job, table.c.key, table.c.arguments)
                .where(table.c.status == "waiting")
                .order_by(table.c.id)
            ).all()
        return [(job, key, dict(arguments)) for job, key, arguments in rows]

    def recover(self) -> int:
        """Mark runs whose process is gone, and let what was asked for run again; returns how many."""
        table = schema.jobs
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(table.c.job, table.c.key).where(table.c.status == "running")
            ).all()
        count = 0
        for job, key in rows:
            with _held(self.logs / f"{job}.lock") as lock:
                if lock is not None:
                    asked = not key.startswith(f"{job}-")
                    self._write(key, status="waiting" if asked else "lost", outcome="its process ended")
                    count += 1
        return count

    def refuse(self, key: str, why: str) -> None:
        """Give up what was asked for under this key."""
        self._write(key, status="failed", ended=seconds(_now()), outcome=why)

    def stop(self) -> None:
        """End the runs of this runner, now and from now on."""
        self._stop.set()

    def _job(self, name: str) -> JobSettings:
        if name not in self._jobs:
            raise ConfigError(
                f"there is no job {name!r}", where="jobs", remedy=f"known: {', '.join(self._jobs) or 'none'}"
            )
        return self._jobs[name]

    def _skip(self, name: str) -> JobRun:
        key = f"{name}-{uuid.uuid4().hex}"
        ask(self.database, name, key, {}, now=_now())
        self._write(key, status="skipped", ended=seconds(_now()), outcome="it is running already")
        return JobRun(name, "skipped", None, "it is running already")

    def _write(self, key: str, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(schema.jobs.update().where(schema.jobs.c.key == key).values(**values))

    def _run(self, job: JobSettings, arguments: Mapping[str, Any], lock: int) -> JobRun:
        command = [part.format(**arguments) for part in job.command]
        path = self.logs / f"{job.name}.log"
        with path.open("ab") as output:
            output.write(f"--- {_now():%Y-%m-%d %H:%M:%S} UTC: {job.name}\n".encode())
            output.flush()
            begin = output.tell()
            process = subprocess.Popen(
                ["nice", "-n", str(job.nice), *command],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
            deadline = time.monotonic() + job.limit
            ended = ""
            try:
                while process.poll() is None:
                    if self._stop.is_set() or time.monotonic() >= deadline:
                        ended = "stopped" if self._stop.is_set() else f"it took longer than {job.limit:g} s"
                        _end(process)
                        break
                    self._stop.wait(0.05)
            except KeyboardInterrupt:  # of this process alone: the command has a session of its own
                _end(process)
                raise
        code = process.wait()
        tail = _tail(path, begin)
        if ended:
            return JobRun(job.name, "failed", code, ended)
        return JobRun(job.name, "done" if code == 0 else "failed", code, tail)


class Scheduler:
    """Starts jobs by the clock, and what was asked for.

    Args:
        runner: of the jobs.
    """

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; runs that are going on then are ended."""
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(timezone=UTC)
        for job in self.runner.jobs:
            if job.cron is not None:
                scheduler.add_job(
                    self._start, _trigger(job.cron), args=(job.name,), id=job.name,
                    coalesce=True, max_instances=1, misfire_grace_time=None,
                )  # fmt: skip
        scheduler.start()
        working: dict[str, threading.Thread] = {}
        try:
            while not stop.wait(_POLL):
                # it sleeps until the next start by a clock that may be set meanwhile
                scheduler.wakeup()
                try:
                    self._serve(working)
                except StoreError as error:
                    log.error("%s", error)  # the database is away for now: what runs goes on
        finally:
            self.runner.stop()
            scheduler.shutdown(wait=True)
            for thread in working.values():
                thread.join()

    def _serve(self, working: dict[str, threading.Thread]) -> None:
        """Run what waits, one request of a job at a time."""
        if lost := self.runner.recover():
            log.warning("%d runs had lost their runner", lost)
        for name, key, arguments in self.runner.waiting():
            if name in working and working[name].is_alive():
                continue
            with _held(self.runner.logs / f"{name}.lock") as lock:
                if lock is None:
                    continue
            thread = threading.Thread(
                target=self._start, args=(name, key, arguments), name=f"job-{name}", daemon=True
            )
            working[name] = thread
            thread.start()

    def _start(self, name: str, key: str = "", arguments: Mapping[str, Any] | None = None) -> None:
        try:
            self.runner.start(name, key=key, arguments=arguments)
        except StoreError as error:
            log.error("job %s: %s", name, error)  # how it ended is not written: `recover` finds its free lock
        except BasculeError as error:
            log.error("job %s: %s", name, error)
            if key:
                self.runner.refuse(key, str(error))


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """Hold a lock file if nobody else does; yields its descriptor, or None."""
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield stream.fileno()


def _trigger(cron: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger.from_crontab(cron, timezone=UTC)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _tail(path: Path, begin: int) -> str:
    """The end of what a run wrote."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(begin, size - _TAIL))
        return stream.read().decode("utf-8", "replace").strip()


def _now() -> datetime:
    return datetime.now(UTC)
