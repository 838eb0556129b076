"""A small HTTP client for sources without a maintained one: pacing, retries, one clear error.

`HttpSource` is the base of sources that ask one server through it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import Field

from bascule.core import DataError
from bascule.data.sources.chunked import ChunkedSource
from bascule.data.sources.context import Context
from bascule.data.sources.retry import (
    RETRYABLE_STATUS,
    Retry,
    RetrySettings,
    TransientError,
    http_date,
    retry_after,
)
from bascule.data.sources.spec import SourceSpec

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Query = Mapping[str, str | int | float]


class HttpSettings(RetrySettings):
    """Pacing and retries of one server."""

    min_interval_seconds: float = Field(0.0, ge=0, le=60, description="shortest time between two requests")


class HttpClient:
    """GET requests to one server.

    Args:
        source: name of the source, for errors.
        base_url: scheme, host and path prefix.
        settings: pacing and retries.
        context: time, pause and dice.

    Attributes:
        skew_seconds: the server's clock less our own, from the last ``Date`` header (a resolution of one
            second), None before the first reply.
    """

    def __init__(self, source: str, base_url: str, settings: HttpSettings, context: Context) -> None:
        self.source = source
        self.base_url = base_url.rstrip("/")
        self.skew_seconds: float | None = None
        self._settings = settings
        self._context = context
        self._retry = Retry(settings, context)
        self._last: np.datetime64 | None = None
        self._client: httpx.Client | None = None

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._retry.requests

    @property
    def retries(self) -> int:
        """Requests that were repetitions."""
        return self._retry.retries

    def json(self, path: str, query: Query | None = None) -> Any:
        """The decoded JSON reply; errors as `decoded`."""
        return self.decoded(path, query, json.loads)

    def decoded(self, path: str, query: Query | None, decode: Callable[[bytes], T]) -> T:
        """What ``decode`` makes of the reply.

        Args:
            path: path below the base URL.
            query: parameters.
            decode: raises ValueError on a body that is not whole.

        Raises:
            DataError: refused (4xx); unreachable, or still not decodable, after all retries.
        """
        return self._decoded(path, query, lambda body: decode(body or b""), missing_ok=False)

    def found(self, path: str, decode: Callable[[bytes], T]) -> T | None:
        """As `decoded`, but None where the server has no such path (404)."""
        return self._decoded(path, None, lambda body: None if body is None else decode(body), missing_ok=True)

    def _decoded(
        self, path: str, query: Query | None, decode: Callable[[bytes | None], T], *, missing_ok: bool
    ) -> T:
        def work() -> T:
            body = self._get(path, query, missing_ok=missing_ok)
            try:
                return decode(body)
            except ValueError as error:
                # cut short by a proxy or a dying server more often than wrong for good
                raise TransientError(f"the reply cannot be decoded ({excerpt(str(error))})") from error

        return self._retry.run(work, where=self._place(path))

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _place(self, path: str) -> str:
        return f"{self.source} {path}"

    def _pace(self) -> None:
        now = self._context.clock()
        if self._last is not None:
            waited = float((now - self._last) / np.timedelta64(1, "s"))
            if 0 <= waited < self._settings.min_interval_seconds:
                self._context.sleep(self._settings.min_interval_seconds - waited)
        self._last = self._context.clock()

    def _get(self, path: str, query: Query | None, *, missing_ok: bool) -> bytes | None:
        import httpx

        if self._client is None:
            self._client = httpx.Client(
                headers={"User-Agent": "bascule"},
                timeout=self._settings.timeout_seconds,
                follow_redirects=True,
            )
        self._pace()
        try:
            reply = self._client.get(self.base_url + path, params=dict(query) if query else None)
        except httpx.TransportError as error:
            self.close()
            raise TransientError(f"no reply ({type(error).__name__}: {error})") from error
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as error:
            raise DataError(
                f"request failed: {error}", where=self._place(path), remedy="check the base URL"
            ) from error
        served = http_date(reply.headers.get("Date"))
        if served is not None:
            self.skew_seconds = float((served - self._context.clock()) / np.timedelta64(1, "s"))
        if reply.status_code == 404 and missing_ok:
            return None
        if reply.status_code in RETRYABLE_STATUS:
            wait = retry_after(reply.headers.get("Retry-After"), self._context.clock())
            raise TransientError(f"HTTP {reply.status_code}", wait)
        if reply.status_code != 200:
            raise DataError(
                f"HTTP {reply.status_code}: {excerpt(reply.text)}",
                where=self._place(path),
                remedy="check instruments, range, API key and base URL",
            )
        return reply.content


class HttpSource(ChunkedSource):
    """Base of sources that ask one server, by ``self._http``.

    Args:
        spec: what it delivers.
        base_url: of the server; part of what a journalled chunk is known by.
        settings: pacing and retries.
        context: time, pause, dice, journal.
    """

    def __init__(self, spec: SourceSpec, base_url: str, settings: HttpSettings, context: Context) -> None:
        super().__init__(spec, context)
        self._http = HttpClient(spec.name, base_url, settings, context)

    def _identity(self) -> Any:
        return self._http.base_url

    def _traffic(self) -> tuple[int, int]:
        return self._http.requests, self._http.retries

    def _skew(self) -> float | None:
        return self._http.skew_seconds

    def _close(self) -> None:
        self._http.close()


def excerpt(text: str, length: int = 200) -> str:
    """The beginning of a reply, on one line, for an error message."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length] + "…"
