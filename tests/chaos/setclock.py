"""``python -m tests.chaos.setclock URL …``: a bot in stepped time whose machine's clock is set while it runs.

As `bascule.bridge.freqtrade.stepped`, but during each span of the variable ``SET_CLOCK`` (JSON: ``[[begin,
end, off], …]``, begin and end in seconds since 1970 by the exchange's time) the bot's clock is off by so many
seconds. What measures durations (``time.monotonic``) is not touched, as when a real clock is set.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

from bascule.bridge.freqtrade import stepped

SPANS = "SET_CLOCK"


class SetTime(stepped.ExchangeTime):
    """The exchange's time, and a clock that somebody sets."""

    def _when(self) -> datetime:
        spans = json.loads(os.environ[SPANS])
        off = sum(seconds for begin, end, seconds in spans if begin <= self.seconds < end)
        return datetime.fromtimestamp(self.seconds + off, UTC)


if __name__ == "__main__":
    stepped.ExchangeTime = SetTime  # type: ignore[misc]
    stepped.main(sys.argv[1:])
