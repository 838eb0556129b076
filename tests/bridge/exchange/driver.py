"""``python -m tests.bridge.exchange.driver CONFIG URL SECONDS STEPS``: the bot in the exchange's time.

Moves the stepped clock of the exchange at URL, its own clock after it, and lets the bot process once a step.
Prints the number of each finished step, so that a test can kill it anywhere.
"""

from __future__ import annotations

import json
import logging
import sys
import urllib.request
from datetime import UTC, datetime
from typing import Any


def ask(url: str, path: str, method: str = "GET") -> Any:
    """An admin request."""
    with urllib.request.urlopen(urllib.request.Request(url + path, method=method), timeout=60) as answer:
        return json.load(answer)


def main(config: str, url: str, seconds: float, steps: int) -> None:
    """Run the bot."""
    import time_machine
    from freqtrade.configuration import Configuration
    from freqtrade.enums import RunMode
    from freqtrade.freqtradebot import FreqtradeBot

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    now = ask(url, "/admin/clock")["time"]
    with time_machine.travel(datetime.fromtimestamp(now / 1_000, UTC), tick=False) as traveller:
        bot = FreqtradeBot(Configuration({"config": [config]}, RunMode.LIVE).get_config())
        bot.startup()
        for step in range(steps):
            now = ask(url, f"/admin/clock?advance={seconds}", "POST")["time"]
            traveller.move_to(datetime.fromtimestamp(now / 1_000, UTC), tick=False)
            try:
                bot.process()
            except Exception as error:
                from freqtrade.exceptions import TemporaryError

                if not isinstance(error, TemporaryError):
                    raise
                logging.warning("temporary: %s", error)
            print(step, flush=True)
        bot.cleanup()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
