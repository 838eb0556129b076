"""qlib's recorder, kept in memory.

Several of qlib's models log their training curve through the global recorder ``R`` and fail where qlib was
not initialised; its default (mlflow) writes each number to a database. `recording` lends ``R`` a manager of
qlib's own interface that keeps the numbers in a dict, and gives ``R`` back as it was, whatever happens in
between. Where the caller has an experiment of his own running, that one stays and receives the numbers.

Importing this module imports qlib.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from qlib.workflow import QlibRecorder, R
from qlib.workflow.exp import Experiment
from qlib.workflow.expm import ExpManager
from qlib.workflow.recorder import Recorder

Metrics = dict[str, list[float]]


class MemoryRecorder(Recorder):  # type: ignore[misc]
    """Keeps metrics by name, in the order in which they were logged."""

    def __init__(self) -> None:
        super().__init__("memory", "memory")
        self.id = "memory"
        self.metrics: Metrics = {}
        self.params: dict[str, Any] = {}

    def log_metrics(self, step: int | None = None, **kwargs: float) -> None:
        for name, value in kwargs.items():
            self.metrics.setdefault(name, []).append(float(value))

    def log_params(self, **kwargs: Any) -> None:
        self.params.update(kwargs)

    def list_metrics(self) -> dict[str, float]:
        return {name: values[-1] for name, values in self.metrics.items()}

    def list_params(self) -> dict[str, Any]:
        return dict(self.params)


class _MemoryManager(ExpManager):  # type: ignore[misc]
    """One running experiment with one recorder; opens no other."""

    def __init__(self, recorder: MemoryRecorder) -> None:
        # the base's constructor writes the process-wide default URI, which is not ours to change
        self._active_exp_uri = None
        self._default_exp_name = "memory"
        self.active_experiment = Experiment("memory", "memory")
        self.active_experiment.active_recorder = recorder

    @property
    def uri(self) -> str:
        return "memory:"


@contextlib.contextmanager
def recording() -> Iterator[Metrics]:
    """Let qlib models log; yields what they log (empty where the caller's own run receives it)."""
    before = getattr(R, "exp_manager", None)
    if before is not None and before.active_experiment is not None:
        yield {}
        return
    recorder = MemoryRecorder()
    manager = _MemoryManager(recorder)
    R.register(QlibRecorder(manager))
    try:
        yield recorder.metrics
    finally:
        # a recorder whose experiment runs refuses to be replaced
        manager.active_experiment = None
        R.register(None if before is None else QlibRecorder(before))
