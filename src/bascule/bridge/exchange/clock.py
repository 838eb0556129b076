"""The exchange's clock: real, accelerated, or stepped. Everything else asks it and never the machine."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import numpy as np

from bascule.core import ConfigError, moment
from bascule.core.timeframe import Moment

Clock = Callable[[], np.datetime64]
REAL_TIME = "real"


def wall_clock() -> np.datetime64:
    """The machine's time, UTC."""
    return np.datetime64(time.time_ns(), "ns")


class AcceleratedClock:
    """A clock that begins at a moment and runs faster than the machine's.

    Args:
        start: what the clock shows when it is made.
        speed: seconds of the exchange per second of the machine, above 0.

    Raises:
        ConfigError: the speed is not above 0.
    """

    def __init__(self, start: Moment, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ConfigError(
                f"the clock's speed must be above 0, received {speed}", where="clock", remedy="use e.g. 60"
            )
        self.start = moment(start)
        self.speed = speed
        self._began = time.monotonic_ns()

    def __call__(self) -> np.datetime64:
        """The exchange's time."""
        elapsed = int((time.monotonic_ns() - self._began) * self.speed)
        result: np.datetime64 = self.start + np.timedelta64(elapsed, "ns")
        return result


class SteppedClock:
    """A clock that stands still until it is told to move, and never moves back.

    Args:
        start: what the clock shows at first.
    """

    def __init__(self, start: Moment) -> None:
        self._now = moment(start)
        self._lock = threading.Lock()

    def __call__(self) -> np.datetime64:
        """The exchange's time."""
        return self._now

    def advance(self, seconds: float) -> np.datetime64:
        """Move on by ``seconds`` (0 or more); the new time.

        Raises:
            ConfigError: the step is negative.
        """
        if not 0 <= seconds < 1e10:
            raise ConfigError(
                f"a step must be 0 seconds or more, received {seconds}",
                where="clock",
                remedy="time never runs back: start another exchange",
            )
        with self._lock:
            self._now = self._now + np.timedelta64(round(seconds * 1e9), "ns")
            return self._now

    def set(self, to: Moment) -> np.datetime64:
        """Move on to a moment, not before the present one; the new time.

        Raises:
            ConfigError: the moment has passed.
        """
        with self._lock:
            target = moment(to)
            if target < self._now:
                raise ConfigError(
                    f"{target} is before the clock's {self._now}",
                    where="clock",
                    remedy="time never runs back: start another exchange",
                )
            self._now = target
            return self._now


def clock_of(mode: str, start: Moment | None = None) -> Clock:
    """A clock by name: ``real``, ``step``, or a speed such as ``x60``.

    Args:
        mode: the name.
        start: where a stepped or accelerated clock begins; the machine's time where it is None.

    Raises:
        ConfigError: no such name, or a real clock was told where to begin.
    """
    begin = wall_clock() if start is None else moment(start)
    if mode == REAL_TIME:
        if start is not None:
            raise ConfigError(
                "real time cannot begin at another moment", where="clock", remedy="use x1 to begin elsewhere"
            )
        return wall_clock
    if mode == "step":
        return SteppedClock(begin)
    found = re.fullmatch(r"x([0-9]+(?:\.[0-9]+)?)", mode)
    if not found:
        raise ConfigError(
            f"unknown clock {mode!r}", where="clock", remedy="use real, step, or a speed such as x60"
        )
    return AcceleratedClock(begin, float(found[1]))


def milliseconds(clock: Clock) -> int:
    """A clock in Unix milliseconds."""
    return int(moment(clock()).astype("datetime64[ms]").astype(np.int64))
