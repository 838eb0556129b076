"""Slow work that a page asks for: one process at a time, at the lowest priority: no bot waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bascule.app.web.kept import NotNow

JobState = Literal["waiting", "running", "done", "failed"]
LONGEST = 1800.0  # seconds of one job
MOST_WAITING, MOST_KEPT = 20, 50
_TAIL = 400  # characters of a failed job's last words that are kept


@dataclass(frozen=True)
class Job:
    """One piece of work; times in seconds since 1970, 0 = not yet."""

    id: int
    kind: str
    target: str
    who: str
    state: JobState
    asked: float
    began: float = 0.0
    ended: float = 0.0
    message: str = ""


class Jobs:
    """The queue.

    Args:
        folder: where the processes work.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._queue: asyncio.Queue[tuple[int, Sequence[str]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def all(self) -> list[Job]:
        """Newest first."""
        return sorted(self._jobs.values(), key=lambda job: -job.id)

    def waiting_for(self, kind: str, target: str) -> Job | None:
        """The unfinished job of that kind and target, if there is one."""
        for job in self._jobs.values():
            if (job.kind, job.target) == (kind, target) and job.state in ("waiting", "running"):
                return job
        return None

    def ask(self, kind: str, target: str, arguments: Sequence[str], who: str) -> Job:
        """Queue ``bascule <arguments>``; what is queued already is not queued twice.

        Raises:
            NotNow: too much is waiting.
        """
        same = self.waiting_for(kind, target)
        if same is not None:
            return same
        if self._queue.qsize() >= MOST_WAITING:
            raise NotNow(f"{MOST_WAITING} jobs are waiting", where="jobs", remedy="wait for some")
        job = Job(next(self._numbers), kind, target, who, "waiting", time.time())
        self._jobs[job.id] = job
        for old in sorted(self._jobs)[:-MOST_KEPT]:
            del self._jobs[old]
        self._queue.put_nowait((job.id, tuple(arguments)))
        return job

    async def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End work; the process at work is ended, too."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        while True:
            number, arguments = await self._queue.get()
            self._update(number, state="running", began=time.time())
            state, message = await self._run(arguments)
            self._update(number, state=state, ended=time.time(), message=message)

    def _update(self, number: int, **changes: object) -> None:
        if number in self._jobs:
            self._jobs[number] = replace(self._jobs[number], **changes)  # type: ignore[arg-type]

    async def _run(self, arguments: Sequence[str]) -> tuple[JobState, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                "nice", "-n", "19", sys.executable, "-m", "bascule.app", *arguments,
                cwd=self._folder, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            return "failed", f"it could not start: {error}"
        try:
            _, told = await asyncio.wait_for(process.communicate(), LONGEST)
        except TimeoutError:
            return "failed", f"it took longer than {LONGEST:.0f} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return "done", ""
        words = told.decode("utf-8", "replace").strip()[-_TAIL:]
        return "failed", words or f"it ended with {process.returncode}"
