"""Processes of this machine.

1. At most as many tasks are handed out as there are workers, so that a death leaves few suspects.
2. When a worker dies (killed, out of memory), the pool is broken: whatever was handed out is suspect, and is
   run again, one at a time, in a new pool. A task that is alone when the pool breaks is what broke it.
3. A task that has broken the pool more often than is allowed ends the work, by name.
4. Ctrl-C reaches all processes of a terminal: workers leave it to the parent, which then waits for none of
   them. What was finished by then is in the journal. It is answered between two looks at the pool, never
   within one (`_undisturbed`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from types import FrameType, TracebackType
from typing import Any, TypeVar

from bascule.cluster.executor import ClusterSettings, Executor, Work, noted
from bascule.cluster.shared import Files, Shared, opened
from bascule.core import BasculeError, ConfigError, ExtensionRecord, extensions
from bascule.core.cores import cores

R = TypeVar("R")
_LOOK = 0.5  # seconds without a result until Ctrl-C is looked for


class Processes(Executor):
    """A pool of processes; they start with the first work and stay until the executor is closed."""

    def __init__(self, settings: ClusterSettings) -> None:
        super().__init__(settings)
        self._count = settings.workers or max(1, cores() // settings.threads)
        self._pool: ProcessPoolExecutor | None = None
        self._began = 0

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
        # none is ever cancelled: Python 3.11's pool breaks over a cancelled one when its workers are killed
        handed: dict[Future[R], str] = {}
        while waiting or suspects or handed:
            while not handed or (not suspects and waiting and len(handed) < self._count):
                name = suspects.popleft() if suspects else waiting.popleft()
                try:
                    with _undisturbed():
                        handed[self._ready().submit(_do, work, tasks[name], shared.packed)] = name
                except BrokenProcessPool:  # it broke while it was idle: nobody's fault
                    self.close()
                    suspects.appendleft(name)
                if suspects:
                    break
            with _undisturbed():
                finished, _ = wait(handed, timeout=_LOOK, return_when=FIRST_COMPLETED)
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

    def _blame(self, name: str, deaths: Counter[str]) -> None:
        deaths[name] += 1
        if deaths[name] > self.settings.retries:
            raise BasculeError(
                f"the process of this task died {deaths[name]} times",
                where=f"task {name}",
                remedy="look for lack of memory in the system's log; use fewer workers, or workers: 1 to see",
            )

    def _ready(self) -> ProcessPoolExecutor:
        if self._began != extensions.generation():  # workers know the extensions of their beginning
            self.close()
        if self._pool is None:
            # no fork: parents hold threads (engine, BLAS) whose locks a forked child would inherit
            context = multiprocessing.get_context("forkserver")
            own = [(one.source, one.record) for one in extensions.loaded() if one.source]
            self._began = extensions.generation()
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin, initargs=(own,))
        return self._pool

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; interrupted, without waiting for what they are at."""
        if self._pool is not None and kind is not None and not issubclass(kind, Exception):
            # kill_workers() is new in Python 3.14
            processes: Mapping[int, Any] | None = self._pool._processes
            for process in list((processes or {}).values()):
                process.kill()
        super().__exit__(kind, error, trace)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for the end of the block.

    Raised between the taking of a future's lock and its release, it would leave the lock taken, and the
    pool's own thread, which `close` joins, waiting for it for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])


def _begin(own: Sequence[tuple[str, ExtensionRecord]]) -> None:
    """What a worker does first: see `_die_with_parent`; and load the parent's extensions, byte by byte."""
    _die_with_parent()
    extensions.load_all([source for source, _ in own], where="worker")
    if (lack := extensions.lacking([record for _, record in own])) is not None:
        raise ConfigError(lack, where="worker", remedy="the file changed meanwhile: start again")


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever: it holds both ends of the queue.

    Ctrl-C is the parent's to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            wait_for([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _do(work: Work[R], task: Any, packed: tuple[tuple[str, bytes], ...]) -> R:
    return work(task, opened(packed))
