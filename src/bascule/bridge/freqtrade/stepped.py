"""``python -m bascule.bridge.freqtrade.stepped URL …``: a bot that lives in a replay exchange's time.

The bot is freqtrade itself, its own main loop included. Two things are put under it:

1. Its clock is the exchange's stepped clock (`time_machine`).
2. When it sleeps, the exchange's clock moves on by as long, and its own follows. Between two sleeps no time
   passes: three days take as long as the work in them, and the same run gives the same trades.

At the moment ``--until`` it is stopped as by Ctrl-C. Sleeping threads (the REST server's) sleep for real: a
bot with threads that work on their own, as FreqAI's training does, needs a ``--pace`` that lets them keep up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

_TIMEOUT = 60.0  # of a question to the exchange


class ExchangeTime:
    """The exchange's stepped clock, and ours after it.

    Args:
        url: of the exchange.
        until: when the bot is stopped, seconds since 1970.
    """

    def __init__(self, url: str, until: float) -> None:
        import time_machine

        self.url, self.until = url.rstrip("/"), until
        self.seconds = self._ask("GET", "")
        self._travel = time_machine.travel(self._when(), tick=False)
        self._traveller = self._travel.start()

    def sleep(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            KeyboardInterrupt: the end has come.
        """
        self.seconds = self._ask("POST", f"?advance={max(seconds, 0.0)}")
        self._traveller.move_to(self._when(), tick=False)
        if self.seconds >= self.until:
            raise KeyboardInterrupt

    def _when(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def _ask(self, method: str, query: str) -> float:
        address = f"{self.url}/admin/clock{query}"
        with urlopen(Request(address, method=method), timeout=_TIMEOUT) as answer:  # noqa: S310 - ours
            return float(json.load(answer)["time"]) / 1_000


def install(clock: ExchangeTime, pace: float = 0.0) -> None:
    """Let the main thread and its coroutines sleep in exchange time.

    Args:
        clock: whose time.
        pace: real seconds that the main thread's sleep takes at least.
    """
    really, really_async = time.sleep, asyncio.sleep

    def sleep(seconds: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return really(seconds)
        really(pace)
        return clock.sleep(seconds)

    async def sleep_async(delay: float, result: Any = None) -> Any:
        here = threading.current_thread() is threading.main_thread()
        if here and delay > 0:
            clock.sleep(delay)
        return await really_async(0 if here else delay, result)

    time.sleep = sleep
    asyncio.sleep = sleep_async


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the exchange's time and run freqtrade with the other arguments."""
    parser = argparse.ArgumentParser(prog="python -m bascule.bridge.freqtrade.stepped", description=__doc__)
    parser.add_argument("url", help="of the replay exchange, with a stepped clock")
    parser.add_argument("--until", required=True, help="UTC time at which the bot is stopped")
    parser.add_argument("--pace", type=float, default=0.0, help="real seconds that a sleep takes at least")
    chosen, rest = parser.parse_known_args(arguments)
    from freqtrade.main import main as run

    from bascule.bridge.freqtrade import launch

    until = datetime.fromisoformat(chosen.until).replace(tzinfo=UTC).timestamp()
    launch.install(trading=True)
    install(ExchangeTime(chosen.url, until), chosen.pace)
    run(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
