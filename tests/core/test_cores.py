from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bascule.core.cores import cores


def test_what_is_asked_for_is_given() -> None:
    assert cores(3) == 3 and cores(0) == cores(1) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinities")
def test_a_process_counts_the_processors_it_may_use() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "from bascule.cluster import ClusterSettings\n"
        "from bascule.cluster.local import Processes\n"
        "from bascule.core.cores import cores\n"
        "print(cores(), Processes(ClusterSettings()).workers)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
    assert cores() == len(os.sched_getaffinity(0))
