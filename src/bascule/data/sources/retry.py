"""Repeat what failed for a passing reason: exponential back-off, jitter, and the server's own word."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import numpy as np
from pydantic import Field

from bascule.core import OutageError, Settings
from bascule.data.sources.context import Context

T = TypeVar("T")
RETRYABLE_STATUS = frozenset({408, 418, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


class RetrySettings(Settings):
    """How often and how patiently a request is repeated."""

    attempts: int = Field(6, ge=1, le=50, description="tries of one request, the first included")
    base_seconds: float = Field(1.0, ge=0, le=60, description="first pause; each further one doubles")
    max_seconds: float = Field(60.0, ge=0, le=3600, description="longest pause by back-off")
    jitter: float = Field(0.5, ge=0, le=1, description="share of a pause that is drawn at random")
    patience_seconds: float = Field(300.0, ge=0, description="longest pause a server may ask for")
    timeout_seconds: float = Field(20.0, gt=0, le=600, description="time-out of one request")


class TransientError(Exception):
    """A fault that may pass. Internal: `Retry` turns it into an OutageError when it does not pass.

    Attributes:
        wait: seconds the server asked to wait, None = it did not say.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Retry:
    """Runs requests under one policy and counts them.

    Attributes:
        requests: tries so far.
        retries: tries beyond each first one.
    """

    def __init__(self, settings: RetrySettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self.requests = 0
        self.retries = 0

    def run(self, work: Callable[[], T], *, where: str | Callable[[], str]) -> T:
        """The result of ``work``, repeated while it raises `TransientError`.

        Args:
            work: one try.
            where: place for the error, or a function that tells it once the error is there.

        Raises:
            OutageError: it failed ``attempts`` times, or the server asked for more than ``patience_seconds``.
        """
        settings = self._settings
        for attempt in range(settings.attempts):
            self.requests += 1
            try:
                return work()
            except TransientError as fault:
                last = fault
            if last.wait is not None and last.wait > settings.patience_seconds:
                raise OutageError(
                    f"{last}; the server asks to wait {last.wait:.0f} s",
                    where=_told(where),
                    remedy="fetch again later: finished chunks are kept; or raise patience_seconds",
                ) from last
            if attempt + 1 < settings.attempts:
                self.retries += 1
                self._context.sleep(self._pause(attempt, last.wait))
        raise OutageError(
            f"{last} ({settings.attempts} tries)",
            where=_told(where),
            remedy="check the connection and the base URL, then fetch again: finished chunks are kept",
        ) from last

    def _pause(self, attempt: int, asked: float | None) -> float:
        settings = self._settings
        full = min(settings.max_seconds, settings.base_seconds * 2.0**attempt)
        pause = full * (1 - settings.jitter * float(self._context.random.random()))
        # what the server asks for is a floor; the jitter on top keeps many clients from coming back at once
        return pause if asked is None else asked + pause


def _told(where: str | Callable[[], str]) -> str:
    return where if isinstance(where, str) else where()


def retry_after(text: str | None, now: np.datetime64) -> float | None:
    """Seconds of a ``Retry-After`` header: a number, or an HTTP date (RFC 9110, section 10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        then = http_date(text)
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    return None if then is None else max(0.0, float((then - now) / np.timedelta64(1, "s")))


def http_date(text: str | None) -> np.datetime64 | None:
    """An HTTP date as UTC ``datetime64[ns]``, None if it is none."""
    if not text:
        return None
    try:
        when: datetime = parsedate_to_datetime(text)
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        plain = aware.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return np.datetime64(plain, "ns")
