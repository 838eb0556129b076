"""Processes of this machine.

1. At most as many tasks are handed out as there are workers, so that a death leaves few suspects.
2. When a worker dies (killed, out of memory), the pool is broken: whatever was handed out is suspect, and is
   run again, one at a time, in a new pool. A task that is alone when the pool breaks is what broke it.
3. A task that has broken the pool more often than is allowed ends the work, by name.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from bascule.cluster.executor import ClusterSettings, Executor, Work, noted
from bascule.cluster.shared import Files, Shared, opened
from bascule.core import BasculeError

R = TypeVar("R")


class Processes(Executor):
    """A pool of processes; they start with the first work and stay until the executor is closed."""

    def __init__(self, settings: ClusterSettings) -> None:
        super().__init__(settings)
        self._count = settings.workers or max(1, (os.cpu_count() or 1) // settings.threads)
        self._pool: ProcessPoolExecutor | None = None

    @property
    def workers(self) -> int:
        """The settings' number, or the machine's processors."""
        return self._count

    def place(self, values: Mapping[str, Any]) -> Shared:
        """In files that all processes map."""
        return Files(values)

    def _run(self, work: Work[R], tasks: Mapping[str, Any], shared: Shared) -> Iterator[tuple[str, R]]:
        if not isinstance(shared, Files):
            raise TypeError("placed by another executor")
        waiting, suspects = deque(tasks), deque[str]()
        deaths: Counter[str] = Counter()
        handed: dict[Future[R], str] = {}
        try:
            while waiting or suspects or handed:
                while not handed or (not suspects and waiting and len(handed) < self._count):
                    name = suspects.popleft() if suspects else waiting.popleft()
                    try:
                        handed[self._ready().submit(_do, work, tasks[name], shared.packed)] = name
                    except BrokenProcessPool:  # it broke while it was idle: nobody's fault
                        self.close()
                        suspects.appendleft(name)
                    if suspects:
                        break
                finished, _ = wait(handed, return_when=FIRST_COMPLETED)
                alone = len(handed) == 1
                dead: list[str] = []
                for future in finished:
                    name = handed.pop(future)
                    try:
                        with noted(name):
                            result = future.result()
                    except BrokenProcessPool:
                        dead.append(name)
                        continue
                    yield name, result
                if dead:
                    dead += list(handed.values())
                    handed.clear()
                    self.close()
                    if alone:
                        self._blame(dead[0], deaths)
                    suspects.extendleft(reversed(dead))
        except BaseException:
            for future in handed:
                future.cancel()
            raise

    def _blame(self, name: str, deaths: Counter[str]) -> None:
        deaths[name] += 1
        if deaths[name] > self.settings.retries:
            raise BasculeError(
                f"the process of this task died {deaths[name]} times",
                where=f"task {name}",
                remedy="look for lack of memory in the system's log; use fewer workers, or workers: 1 to see",
            )

    def _ready(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # no fork: parents hold threads (engine, BLAS) whose locks a forked child would inherit
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_die_with_parent)
        return self._pool

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever: it holds both ends of the queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            wait_for([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _do(work: Work[R], task: Any, packed: tuple[tuple[str, bytes], ...]) -> R:
    return work(task, opened(packed))
