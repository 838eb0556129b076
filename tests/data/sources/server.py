"""A real HTTP server on the loopback interface that speaks a source's wire format and fails on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np

Query = dict[str, str]
Answer = Any  # JSON-able, bytes, str, or Status
Route = Callable[[Query], Answer]
Fault = Literal["429", "500", "truncate", "short", "reset", "garbage", "html"]


class Status(Exception):
    """Answer with this HTTP status and body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self, now: str) -> None:
        self.now = np.datetime64(now, "ns")
        self.slept: list[float] = []

    def clock(self) -> np.datetime64:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now = self.now + np.timedelta64(int(seconds * 1e9), "ns")


class Wire:
    """Context manager: the server.

    Args:
        routes: path → function of the query. A key ending in ``/`` also takes all longer paths, which are
            handed over as ``query["path"]``.
        date: the time of the ``Date`` header; None leaves the header out.

    Attributes:
        faults: consumed one a request, oldest first; None = answer well.
        seen: ``(path, query)`` of all requests, failed ones too.
    """

    def __init__(
        self, routes: Mapping[str, Route], *, date: Callable[[], np.datetime64] | None = None
    ) -> None:
        self.routes = dict(routes)
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.seen: list[tuple[str, Query]] = []
        self.date = date
        self.retry_after = "7"
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self) -> None:
                wire.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                # http.server writes the Date header with this
                now = wire.date() if wire.date else np.datetime64("1970-01-01", "ns")
                return super().date_time_string(float(now.astype(np.int64)) / 1e9)

            def send_header(self, keyword: str, value: str) -> None:
                if keyword != "Date" or wire.date is not None:
                    super().send_header(keyword, value)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # -- answering ---------------------------------------------------------------------------------

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query))
        with self.lock:
            self.seen.append((parts.path, dict(query)))
            fault = self.always or (self.faults.popleft() if self.faults else None)
        if fault == "429":
            self.reply(handler, 429, b'{"code":-1003,"msg":"Too many requests"}', self.retry_after)
        elif fault == "500":
            self.reply(handler, 503, b"upstream is down")
        elif fault == "reset":
            # a linger of zero sends RST: the client sees "connection reset by peer"
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
        elif fault == "garbage":
            self.reply(handler, 200, b'{"hello":"world"}')
        elif fault == "html":
            self.reply(handler, 403, b"<html><body>Forbidden</body></html>")
        else:
            status, body = self.find(parts.path, query)
            if fault == "truncate":  # a proxy that ends the body early and mends the length
                self.reply(handler, status, body[: max(1, len(body) // 2)])
            elif fault == "short":  # a connection that dies within the body
                self.reply(handler, status, body, cut=True)
            else:
                self.reply(handler, status, body)

    def find(self, path: str, query: Query) -> tuple[int, bytes]:
        route = self.routes.get(path)
        if route is None:
            prefix = next((p for p in self.routes if p.endswith("/") and path.startswith(p)), None)
            if prefix is None:
                return 404, b'{"error":"no such path"}'
            route, query = self.routes[prefix], {**query, "path": path.removeprefix(prefix)}
        try:
            body = route(query)
        except Status as refusal:
            return refusal.status, encode(refusal.body)
        return 200, encode(body)

    @staticmethod
    def reply(
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        retry_after: str | None = None,
        *,
        cut: bool = False,
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            handler.send_header("Retry-After", retry_after)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if cut else body)
        handler.wfile.flush()
        if cut:
            handler.close_connection = True


def encode(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body).encode()
