"""A bot and its venue lose each other: packets vanish, both ways or one way only, and come again.

Promised: the bot neither crashes nor stops; no order is placed twice; what the bot sent and the network kept
until the way was whole again is not taken for a new order (no stale entry); orders that the venue has and the
bot did not hear of are found; in the end both know the same orders, and the books have no difference.

A refused connection is the easy case. Here nothing comes back at all, so that only time-outs tell, and the
kernel sends once more, when the way is whole again, what nobody confirmed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange
from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.exchange.orders import Order
from bascule.bridge.freqtrade import livecheck, prepare
from bascule.bridge.freqtrade.prepare import PrepareSettings
from tests.bridge.research import Research
from tests.chaos.network import Network, Relay
from tests.e2e import test_rehearsal as rehearsal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("partition"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = 3_600
CANDLES = 2  # that a partition lasts
TIMEOUT_MS = 300


@dataclass
class FarBot(rehearsal.Bot):
    """A bot over there. Its time comes by the way that is never cut, everything else by the data way."""

    network: Network
    control: str

    def start(self, until: np.datetime64) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **rehearsal.SECRETS}
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
            environment.pop(name, None)
        line = [sys.executable, "-m", "bascule.bridge.freqtrade.stepped", self.control]
        line += ["--until", str(until), "trade", "--config", str(self.folder / "config.json")]
        line += ["--userdir", str(self.folder), "--strategy", "BasculeStrategy"]
        with (self.folder / "bot.log").open("ab") as stream:
            return subprocess.Popen(
                self.network.command(line), env=environment, stdout=stream, stderr=subprocess.STDOUT
            )


class Storm:
    """Cuts the way at chosen hours and heals it some candles later, by the exchange's time.

    A cut of "to" falls right after an order has gone to the exchange and before its answer: the bot cannot
    know.
    """

    def __init__(self, network: Network, exchange: ReplayExchange, cuts: list[tuple[float, str]]) -> None:
        self.network, self.exchange, self.cuts = network, exchange, cuts
        self.spans: list[tuple[int, int]] = []  # Unix milliseconds
        self._armed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storm")

    def look(self, sent: bytes) -> None:
        """By the relay: what the bot sends, before it is passed on."""
        if self._armed and sent.startswith((b"POST /api/v3/order", b"POST /fapi/v1/order")):
            self._armed = False
            self.network.cut("to")

    def now(self) -> int:
        return int(self.exchange.market.clock().astype("datetime64[ms]").astype(np.int64))

    def _run(self) -> None:
        begin = int(rehearsal.BEGIN.astype("datetime64[ms]").astype(np.int64))
        for hours, direction in self.cuts:
            if not self._wait(begin + int(hours * HOUR * 1_000)):
                return
            if direction == "to":
                self._armed = True
                while self._armed and not self._stop.wait(0.005):
                    pass
            else:
                self.network.cut(direction)  # type: ignore[arg-type]
            first = self.now()
            self._wait(first + CANDLES * HOUR * 1_000)
            self.network.heal()
            self.spans.append((first, self.now()))

    def _wait(self, until: int) -> bool:
        while self.now() < until:
            if self._stop.wait(0.01):
                return False
        return True

    def __enter__(self) -> Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as found:
        yield found


def prepared(research: Research, folder: Path, url: str) -> None:
    settings = {"mode": "rehearse", "replay_url": url}
    prepare.prepare(research.bundle.path.parent, folder, PrepareSettings.read(settings))
    path = folder / "config.json"
    values = json.loads(path.read_text("utf-8"))
    values["internals"]["process_throttle_secs"] = 1_800
    values["api_server"]["enabled"] = False
    values["exchange"]["ccxt_config"]["timeout"] = TIMEOUT_MS
    path.write_text(json.dumps(values), "utf-8")


def entries_are_fresh(found: FarBot, spans: list[tuple[int, int]]) -> None:
    """No order of the books arrived while the way was cut, or so late that its candle was over."""
    table = livecheck.read_trades(found.database)
    for order in found.exchange.account.orders.values():
        assert not any(first < order.created < last for first, last in spans if _after_cut(order, first))
    for trade in table.to_dict("records"):
        opened = pd.Timestamp(trade["open_date"])
        # entries belong to the look after a candle's close; with a second try half an hour later
        assert opened.minute < 35, trade


def _after_cut(order: Order, first: int) -> bool:
    # the order in whose answer the way was cut was sent before
    return order.created - first > 60_000


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_a_bot_that_loses_its_venue_goes_on_where_it_was(
    spot: Research, futures: Research, tmp_path: Path, network: Network, kind: MarketKind
) -> None:
    research = spot if kind == "spot" else futures
    # as Binance does it, it refuses an order that arrives long after it was sent
    with rehearsal.exchange_of(research, kind, tmp_path, faults=None) as exchange:
        port = int(exchange.url.rsplit(":", 1)[1])
        storm = Storm(network, exchange, [(6.2, "to"), (14.2, "both")])
        with Relay(network.here, port, storm.look) as data, Relay(network.here_control, port) as control:
            folder = tmp_path / "bot"
            prepared(research, folder, f"http://{network.here}:{data.port}")
            url = f"http://{network.here_control}:{control.port}"
            found = FarBot(folder, exchange, network, url)
            began = time.monotonic()
            with storm:
                found.run(24)
            print(kind, round(time.monotonic() - began, 1), storm.spans)
            assert len(storm.spans) == 2
            # it noticed: a test of a network that was not cut would pass without
            assert "RequestTimeout" in found.log or "timed out" in found.log
            # and one order's answer was lost: it was asked for at once, at the next try, or by the comparison
            ways = ("the answer to", "was placed before", "was found at the exchange")
            assert any(way in found.log for way in ways)
            rehearsal.no_crash(found)
            rehearsal.no_secret(found)
            rehearsal.known_and_placed_once(found)
            entries_are_fresh(found, storm.spans)
            assert exchange.differences() == []
            assert len(livecheck.read_trades(found.database)) >= 10
