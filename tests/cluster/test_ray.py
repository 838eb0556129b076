"""A Ray cluster of this machine gives the bits of one process, survives killed workers and a cut-off driver.

Ray reads the mode of authentication when it is imported, hence only inside of the tests.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bascule import cluster
from bascule.core import BasculeError, ConfigError
from bascule.core.ports import free_port
from tests.cluster import work
from tests.cluster.raynodes import authenticated, node
from tests.markets import random_panel

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra cluster is not installed"),
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A head node with token authentication; its address."""
    port = free_port()
    options = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2"]
    with authenticated(), node(*options, "--include-dashboard=false"):
        yield f"127.0.0.1:{port}"


def test_the_same_bits_as_in_one_process_through_everything(head: str, tmp_path: Path) -> None:
    panel = random_panel(0, 900, 40)
    texts = {"a": ["Mean($close,5)/$close", "CSRank($volume)"], "b": ["Corr($close,$volume,10)"]}
    matrix = np.random.default_rng(0).standard_normal((1000, 200))
    with cluster.connect(head) as executor:
        assert executor.workers == 2

        found = executor.map(work.factors, texts, shared={"panel": panel})
        for name, one in texts.items():
            np.testing.assert_array_equal(found[name], work.factors(one, {"panel": panel}))

        found = executor.map(work.draw, {str(k): k for k in range(6)}, shared={"matrix": matrix})
        assert list(found) == [str(k) for k in range(6)]
        for k in range(6):
            np.testing.assert_array_equal(found[str(k)], work.draw(k, {"matrix": matrix}))

        # lent, not copied: nobody may write
        seen = executor.map(work.address, {str(k): k for k in range(4)}, shared={"matrix": matrix})
        assert not any(writeable for _, _, writeable in seen.values())

        done = executor.map(work.die_once, {f"t{k}": (k, str(tmp_path)) for k in range(6)})
        assert done == {f"t{k}": k for k in range(6)}
        assert (tmp_path / "died").exists()

        with pytest.raises(ConfigError, match="three is too many") as caught:
            executor.map(work.refuse, {f"t{k}": k for k in range(5)})
        assert caught.value.__notes__[-1] == "in task t3"

        (tmp_path / "stop").touch()
        tasks = {f"t{k}": (k, str(tmp_path)) for k in range(6)}
        with pytest.raises(ConfigError, match="stopped"):
            executor.map(work.count_calls, tasks, journal=tmp_path / "journal.sqlite")
        (tmp_path / "stop").unlink()
        # what a cluster began, one machine may finish
        with cluster.connect("local", workers=1) as here:
            found = here.map(work.count_calls, tasks, journal=tmp_path / "journal.sqlite")
        assert found == {f"t{k}": 10 * k for k in range(6)}

    with (
        cluster.connect(head, retries=1) as executor,
        pytest.raises(BasculeError, match=r"task t2.*died 2 times"),
    ):
        executor.map(work.die_always, {f"t{k}": k for k in range(4)})


def test_an_address_where_nobody_answers() -> None:
    with pytest.raises(ConfigError, match="does not answer"):
        cluster.connect(f"127.0.0.1:{free_port()}")
