"""The seam: what every way to spread work promises, and the plainest one, which does not spread it.

1. Tasks are named; names are the order of results, the words of progress and errors, and the journal's keys.
2. Finished tasks are taken from the journal, the others run, each result is journalled as it arrives.
3. An exception of a task ends the work and is raised as it is, with the task's name noted; what was finished
   by then stays in the journal. Only a worker's death is tried again: a task that raises would raise again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import Field

from bascule.cluster.journal import Journal
from bascule.cluster.shared import Shared, digest_of
from bascule.core import ConfigError, Settings
from bascule.core.progress import Progress, silent

R = TypeVar("R")
Work = Callable[[Any, Mapping[str, Any]], R]


class ClusterSettings(Settings):
    """Where long work runs."""

    address: str = Field(
        default="local",
        description="local: processes of this machine; else a Ray cluster: auto, host:port, ray://…",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="processes of a local run; 0: one for each processor; 1: no other process",
    )
    retries: int = Field(default=3, ge=0, description="how often a task is tried again whose process died")
    threads: int = Field(default=1, ge=1, description="processors that one task uses")


class Executor(ABC):
    """Runs named tasks. Use as a context manager.

    Attributes:
        settings: how many workers, retries.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many tasks run side by side."""

    @abstractmethod
    def _run(self, work: Work[R], tasks: Mapping[str, Any], shared: Shared) -> Iterator[tuple[str, R]]:
        """Run all tasks; yield names and results in the order in which they finish."""

    @abstractmethod
    def place(self, values: Mapping[str, Any]) -> Shared:
        """Put values where all workers find them, for several calls; the caller removes them (``with``)."""

    def results(
        self,
        work: Work[R],
        tasks: Mapping[str, Any],
        *,
        shared: Mapping[str, Any] | Shared | None = None,
        journal: Path | None = None,
        progress: Progress = silent,
    ) -> Iterator[tuple[str, R]]:
        """Run ``work(task, shared)`` for every task; yield names and results as they come.

        Args:
            work: a function at the top of a module that workers can import.
            tasks: by name; what can be pickled.
            shared: what all tasks read and none changes. Arrays and panels are mapped, not copied. What
                `place` gave is used as it lies.
            journal: SQLite file of finished tasks, made if need be. Work that was cut off goes on from it.
            progress: called after each task.

        Raises:
            ConfigError: the function is not importable, or the journal is of other work.
            BasculeError: a task's process died more often than ``settings.retries``.
        """
        _importable(work)
        values = shared.values() if isinstance(shared, Shared) else dict(shared or {})
        kept: Journal | None = None
        done: Mapping[str, R] = {}
        if journal is not None:
            kept = Journal(journal, f"{work.__module__}.{work.__qualname__} {digest_of(values)}")
        try:
            if kept is not None:
                done = kept.finished(tasks)
            left = {name: task for name, task in tasks.items() if name not in done}
            count = len(done)
            progress(count, len(tasks))
            yield from done.items()
            if left:
                lent = nullcontext(shared) if isinstance(shared, Shared) else self.place(values)
                with lent as placed:
                    for name, result in self._run(work, left, placed):
                        if kept is not None:
                            kept.add(name, tasks[name], result)
                        yield name, result
                        count += 1
                        progress(count, len(tasks), name)
        finally:
            if kept is not None:
                kept.close()

    def map(
        self,
        work: Work[R],
        tasks: Mapping[str, Any],
        *,
        shared: Mapping[str, Any] | Shared | None = None,
        journal: Path | None = None,
        progress: Progress = silent,
    ) -> dict[str, R]:
        """As `results`, all of them at once by name, in the order of ``tasks``."""
        found = dict(self.results(work, tasks, shared=shared, journal=journal, progress=progress))
        return {name: found[name] for name in tasks}

    def close(self) -> None:  # noqa: B027 - an executor without workers has nothing to do
        """Let the workers go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InProcess(Executor):
    """One task after the other, in this process."""

    @property
    def workers(self) -> int:
        """Always 1."""
        return 1

    def place(self, values: Mapping[str, Any]) -> Shared:
        """They are here already."""
        return Shared(values)

    def _run(self, work: Work[R], tasks: Mapping[str, Any], shared: Shared) -> Iterator[tuple[str, R]]:
        found = shared.values()
        for name, task in tasks.items():
            with noted(name):
                result = work(task, found)
            yield name, result


@contextmanager
def noted(name: str) -> Iterator[None]:
    """Whatever is raised inside says which task it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in task {name}")
        raise


def _importable(work: Work[Any]) -> None:
    if "<" in work.__qualname__ or work.__module__ == "__main__":
        raise ConfigError(
            f"workers cannot import {work.__module__}.{work.__qualname__}",
            where="cluster",
            remedy="put the function at the top of a module",
        )
