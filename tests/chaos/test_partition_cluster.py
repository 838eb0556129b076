"""A node of a cluster falls silent amid the work: packets vanish, no connection is refused or reset.

Promised: the work ends on the nodes that are left, with the bits of one process, within a minute or two; what
the silent node still answers or writes later changes nothing.
"""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bascule import cluster
from tests.chaos.network import Network
from tests.cluster import work
from tests.cluster.raynodes import authenticated, node

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra cluster is not installed"),
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]
TASKS = 16
# silence is noticed sooner than with Ray's settings, which are meant for busy clusters
HASTY = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}


def places(folder: Path) -> list[str]:
    """The network in which each task that was begun ran."""
    path = folder / "places"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_the_others_end_the_work_of_a_node_that_fell_silent(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((1000, 50))
    tasks = {f"t{k}": (k, str(tmp_path)) for k in range(TASKS)}
    with Network() as network, authenticated():
        with socket.socket() as any_port:
            any_port.bind((network.here, 0))
            port = any_port.getsockname()[1]
        address = f"{network.here}:{port}"
        here = ["--head", f"--port={port}", f"--node-ip-address={network.here}", "--num-cpus=1"]
        there = [f"--address={address}", f"--node-ip-address={network.there}", "--num-cpus=1"]

        def cut() -> None:
            # in the midst of a task over there
            while len(set(places(tmp_path))) < 2:
                time.sleep(0.05)
            network.cut()

        cutter = threading.Thread(target=cut, daemon=True)
        with (
            node(*here, "--include-dashboard=false", settings=HASTY),
            node(*there, before=network.command([]), settings=HASTY),
            cluster.connect(address) as executor,
        ):
            assert executor.workers == 2
            cutter.start()
            found = executor.map(work.draw_slowly, tasks, shared={"matrix": matrix})
        cutter.join(1)
    assert not cutter.is_alive(), "no task ran over there"
    assert len(places(tmp_path)) > TASKS, "no task was begun anew"
    assert list(found) == list(tasks)
    for k in range(TASKS):
        np.testing.assert_array_equal(found[f"t{k}"], work.draw(k, {"matrix": matrix}))
