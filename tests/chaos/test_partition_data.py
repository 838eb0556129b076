"""A data source that falls silent in the middle of an update: packets vanish, nobody refuses anything.

Promised: the update ends by itself, within its tries and time-outs, with one clear error; the store is as it
was, to the byte of its fingerprint; the next update, the way being whole again, ends with the store of an
update that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.data.store import Store
from tests.chaos.network import Network, Relay
from tests.data.sources.exchanges import DIALECTS, Market
from tests.data.sources.server import FakeTime, Wire

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("partition")]
ROOT = Path(__file__).parents[2]
UPDATE = """
import json, sys
import numpy as np
from pathlib import Path
from bascule.core import DataError
from bascule.data.sources import Context
from bascule.data.update import UpdateSettings, update
settings, now, journal = json.loads(sys.argv[1]), np.datetime64(sys.argv[2], "ns"), sys.argv[3]
try:
    context = Context(np.random.default_rng(0), lambda: now, journal=Path(journal))
    update(UpdateSettings.read(settings), context)
except DataError as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""
NAMES = ("BTC/USDT", "ETH/USDT")


def run(network: Network | None, folder: Path, url: str, now: str, *, timeout: float = 120.0) -> Any:
    """Update a store in a process of its own, over there where there is a network."""
    options = {"venue": "binance", "base_url": url, "pace": False, "timeout_seconds": 2.0}
    options |= {"attempts": 2, "base_seconds": 0.1, "max_seconds": 0.2}
    feed = {"source": "exchange", "options": options, "instruments": NAMES, "start": "2023-01-01"}
    settings = json.dumps({"store": str(folder / "store"), "feeds": [feed]})
    line = [sys.executable, "-c", UPDATE, settings, now, str(folder / "journal")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.run(
        line if network is None else network.command(line),
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("direction", ["to", "from"])
def test_an_update_without_answers_leaves_the_store_whole(tmp_path: Path, direction: Any) -> None:
    clock = FakeTime("2023-03-01T00:30")
    market = Market(clock, listed="2022-12-01")
    asked = [0]

    with Network() as network, Wire(DIALECTS["binance"](market), date=clock.clock) as wire:

        def look(sent: bytes) -> None:
            if b"/klines?" in sent:
                asked[0] += 1
                if asked[0] == limit[0]:
                    network.cut(direction)

        limit = [-1]
        with Relay(network.here, int(wire.url.rsplit(":", 1)[1]), look) as relay:
            url = f"http://{network.here}:{relay.port}"
            done = run(network, tmp_path, url, "2023-03-01T00:30")
            assert done.returncode == 0, done.stdout + done.stderr
            store = Store.open(tmp_path / "store")
            before, held = store.fingerprint("1h"), len(store.frame("1h"))

            clock.now = np.datetime64("2023-10-01T00:30", "ns")
            asked[0], limit[0] = 0, 4  # in the middle: there are six pages to fetch
            began = time.monotonic()
            done = run(network, tmp_path, url, "2023-10-01T00:30")
            assert done.returncode == 3, done.stdout + done.stderr
            assert done.stdout.count("remedy") == 1 and "check the connection" in done.stdout, done.stdout
            assert time.monotonic() - began < 60
            store = Store.open(tmp_path / "store")
            assert store.verify() > 0
            assert (store.fingerprint("1h"), len(store.frame("1h"))) == (before, held)

            network.heal()
            asked[0], limit[0] = 0, -1
            done = run(network, tmp_path, url, "2023-10-01T00:30")
            assert done.returncode == 0, done.stdout + done.stderr
            again = asked[0]
            assert run(None, tmp_path / "other", wire.url, "2023-10-01T00:30").returncode == 0
    store = Store.open(tmp_path / "store")
    assert store.fingerprint("1h") == Store.open(tmp_path / "other" / "store").fingerprint("1h")
    assert len(store.frame("1h")) > held and again > 0
