"""How many processors there are for us."""

from __future__ import annotations

import os


def cores(threads: int | None = None) -> int:
    """A number of threads or processes; None = the processors this process may use.

    A container or ``taskset`` gives a process fewer than the machine has.
    """
    if threads is not None:
        return max(1, threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
