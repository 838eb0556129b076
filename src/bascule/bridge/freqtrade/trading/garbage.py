"""Python's garbage collector in a process that runs for months.

Python looks through all objects only once a quarter as many have grown old as there were when it last did,
and freqtrade begins with 600,000. What trades leave behind in cycles would lie about for a year of hourly
candles: the process grew by 3.6 MiB in 1,000 of them (docs/reliability.md).
"""

from __future__ import annotations

import gc

_DAY = 86_400
_PAST = 1_020  # seconds after midnight: few candles close at 00:17


def set_aside() -> None:
    """Take all that is there now out of the collector's sight: a bot needs it for good."""
    gc.unfreeze()  # of the configuration before this one
    gc.collect()
    gc.freeze()


class Daily:
    """Looks through the rest once a day of the bot's time."""

    def __init__(self) -> None:
        self._day: int | None = None

    def turn(self, seconds: float) -> None:
        """At a moment, seconds since 1970: collect, if that was not done on this day."""
        day = int(seconds - _PAST) // _DAY
        if day != self._day:
            self._day = day
            gc.collect()
