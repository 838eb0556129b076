"""Candle lengths. Crypto trades all hours of all days, so a timeframe is a fixed number of seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from bascule.core.errors import ConfigError, NotATimeError

_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
_SECONDS_A_YEAR = 365 * 86_400
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$", re.IGNORECASE)
TimeArray = NDArray[np.datetime64]
Moment = np.datetime64 | datetime | str


def moment(value: Moment) -> np.datetime64:
    """A UTC time as ``datetime64[ns]``; times with a zone are converted, those without one are UTC.

    Raises:
        NotATimeError: a text that is no time.
    """
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    result: np.datetime64 = np.asarray(value, "datetime64[ns]").reshape(1)[0]
    return result


def _read(text: str) -> np.datetime64 | datetime:
    found: np.datetime64 | datetime
    try:
        found = datetime.fromisoformat(text) if _ZONE.search(text) else np.datetime64(text, "ns")
    except ValueError:
        found = np.datetime64("NaT")
    if isinstance(found, np.datetime64) and np.isnat(found):
        raise NotATimeError(
            f"{text!r} is no time", where="time", remedy="write 2024-01-31, or 2024-01-31T12:00 (UTC)"
        )
    return found


@dataclass(frozen=True, order=True)
class Timeframe:
    """A candle length, written as freqtrade writes it: ``1m 5m 15m 1h 4h 1d``.

    Attributes:
        seconds: length of one candle in seconds; candles open at multiples of it since 1970-01-01 UTC
            (weeks too: freqtrade's Monday weeks are not supported, so ``1w`` is refused).
    """

    seconds: int

    @classmethod
    def parse(cls, text: str, *, where: str = "timeframe") -> Timeframe:
        """Read ``text`` such as ``"1h"``.

        Raises:
            ConfigError: not a number followed by m, h or d, or not a divisor or multiple of a day.
        """
        match = re.fullmatch(r"([1-9]\d*)([mhd])", text)
        if not match:
            raise ConfigError(
                f"unknown timeframe {text!r}", where=where, remedy="use a form such as 5m, 1h, 4h or 1d"
            )
        seconds = int(match[1]) * _UNITS[match[2]]
        if 86_400 % seconds and seconds % 86_400:
            raise ConfigError(
                f"timeframe {text!r} neither divides a day nor is whole days",
                where=where,
                remedy="use one of 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d",
            )
        return cls(seconds)

    @classmethod
    def of(cls, value: Timeframe | str) -> Timeframe:
        """A timeframe, or its text; errors as `parse`."""
        return cls.parse(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        for unit in "dhm":
            if self.seconds % _UNITS[unit] == 0:
                return f"{self.seconds // _UNITS[unit]}{unit}"
        return f"{self.seconds}s"

    @property
    def nanoseconds(self) -> int:
        """Length in nanoseconds, for whole-number times since 1970."""
        return self.seconds * 1_000_000_000

    @property
    def delta(self) -> np.timedelta64:
        """Length as ``timedelta64[ns]``."""
        return np.timedelta64(self.nanoseconds, "ns")

    @property
    def qlib(self) -> str:
        """qlib's name of this frequency: ``day`` for one day, else minutes (``60min``)."""
        return "day" if self.seconds == 86_400 else f"{self.seconds // 60}min"

    @property
    def bars_a_day(self) -> int:
        """Candles in one day (at least 1)."""
        return max(1, 86_400 // self.seconds)

    @property
    def bars_a_year(self) -> float:
        """Candles in a 365-day year, for annualising."""
        return _SECONDS_A_YEAR / self.seconds

    def bars(self, days: float) -> int:
        """The number of candles that cover ``days`` days, rounded up, at least 1."""
        return max(1, int(np.ceil(days * 86_400 / self.seconds)))

    def floor(self, time: Moment) -> np.datetime64:
        """The open time of the candle that contains ``time`` (UTC)."""
        ns = int(moment(time).astype(np.int64))
        return np.datetime64(ns // self.nanoseconds * self.nanoseconds, "ns")

    def axis(self, first: np.datetime64, last: np.datetime64) -> TimeArray:
        """All candle open times from ``first`` to ``last``, both included, as ``datetime64[ns]``."""
        start, stop = self.floor(first), self.floor(last)
        return np.arange(start, stop + self.delta, self.delta, dtype="datetime64[ns]")
