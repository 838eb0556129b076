"""Models trained side by side, before they are asked for.

A worker trains one job in a folder of its own and sends the files back, so that workers on other machines
need no shared disk. Here each folder appears in one step. What was finished before the work was cut off is
kept, and `task.finish` finds and checks it as any other finished model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bascule.cluster import Executor
from bascule.core import Progress, silent
from bascule.core.files import atomic_folder
from bascule.models.registry import kind
from bascule.models.task import Job, Task, finish


def train_ahead(
    executor: Executor, task: Task, jobs: Sequence[Job], folder: Path, progress: Progress = silent
) -> int:
    """Train the jobs that have no folder yet.

    Args:
        executor: where.
        task: what they share.
        jobs: which; those that go on from another model are left to their turn.
        folder: receives one folder a job.
        progress: told after each.

    Returns:
        How many were trained.

    Raises:
        DataError: a job has too few samples.
    """
    missing = {job.id: job for job in jobs if job.start is None and not (folder / job.id).exists()}
    recipe = (task.names, task.settings, task.seed)
    shared = {"values": task.values, "aim": task.aim, "panel": task.panel}
    tasks = {name: (job, recipe) for name, job in missing.items()}
    for name, files in executor.results(_learn, tasks, shared=shared, progress=progress):
        with atomic_folder(folder / name) as aside:
            for inside, data in files.items():
                path = aside / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    return len(missing)


def _learn(task: tuple[Job, tuple[Any, ...]], shared: Mapping[str, Any]) -> dict[str, bytes]:
    job, (names, settings, seed) = task
    whole = Task(shared["values"], names, shared["aim"], shared["panel"], settings, kind(settings.kind), seed)
    with tempfile.TemporaryDirectory(prefix="bascule-model-") as place:
        made = Path(place) / job.id
        finish(whole, job, made)
        return {str(p.relative_to(made)): p.read_bytes() for p in sorted(made.rglob("*")) if p.is_file()}
