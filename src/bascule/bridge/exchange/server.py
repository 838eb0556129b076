"""The routes over HTTP, on the loopback interface only.

The standard library's threading server is enough: the clients are one bot on the same machine, an answer is a
few milliseconds of work, and a thread needs no second event loop beside freqtrade's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from bascule.bridge.exchange.market import Clock, MarketKind, ReplayMarket, wall_clock
from bascule.bridge.exchange.routes import answer
from bascule.core import BridgeError, Panel

LOOPBACK = "127.0.0.1"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # a bot opens one connection per pair at once when it refreshes its candles
    request_queue_size = 256
    market: ReplayMarket


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self) -> None:
        """Answer from the routes."""
        parts = urlsplit(self.path)
        status, body = answer(self.server.market, parts.path, dict(parse_qsl(parts.query)))
        self._send(status, body)

    def do_POST(self) -> None:
        """Nothing can be ordered here: orders of a dry run never leave freqtrade."""
        # the body must be read, or a kept-alive connection would take it for the next request
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})

    do_PUT = do_DELETE = do_POST

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep standard error clean."""


class ReplayExchange:
    """Context manager: a running replay exchange.

    Args:
        source: panel to replay, or instruments alone (see `ReplayMarket`).
        market: ``spot`` or ``futures``.
        clock: the time; default the machine's.
        port: 0 takes a free one.
        options: further arguments of `ReplayMarket`.

    Attributes:
        market: the market being served.
        url: ``http://127.0.0.1:<port>`` while running.

    Raises:
        BridgeError: on entering, when the port is taken.
    """

    def __init__(
        self,
        source: Panel | Sequence[str],
        *,
        clock: Clock = wall_clock,
        market: MarketKind = "spot",
        port: int = 0,
        **options: float,
    ) -> None:
        self.market = ReplayMarket(source, kind=market, clock=clock, **options)
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise BridgeError(
                "the replay exchange is not running", where="ReplayExchange", remedy="use it in a with block"
            )
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        try:
            self._server = _Server((LOOPBACK, self._port), _Handler)
        except OSError as error:
            raise BridgeError(
                f"cannot listen on port {self._port}: {error}",
                where="replay exchange",
                remedy="choose port 0 for a free one",
            ) from None
        self._server.market = self.market
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="replay-exchange", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None


def serve(
    source: Panel | Sequence[str],
    *,
    clock: Clock = wall_clock,
    market: MarketKind = "spot",
    port: int = 0,
    **options: float,
) -> ReplayExchange:
    """A `ReplayExchange` that is already running; leave it with ``with`` or ``__exit__``."""
    return ReplayExchange(source, clock=clock, market=market, port=port, **options).__enter__()


def exchange_config(url: str, market: MarketKind = "spot") -> dict[str, Any]:
    """The freqtrade ``exchange`` block that leads to a replay exchange (without the pair whitelist).

    ``only_from_ccxt`` keeps freqtrade off the public archive, ``enable_ws`` off websockets, and ``types``
    keeps ccxt from asking markets that are not served.
    """
    if market == "spot":
        types = ["spot"]
        urls = {"public": f"{url}/api/v3", "private": f"{url}/api/v3", "v1": f"{url}/api/v1"}
    else:
        types = ["linear"]
        urls = {
            "fapiPublic": f"{url}/fapi/v1",
            "fapiPublicV2": f"{url}/fapi/v2",
            "fapiPublicV3": f"{url}/fapi/v3",
            "fapiPrivate": f"{url}/fapi/v1",
            "fapiPrivateV2": f"{url}/fapi/v2",
            "fapiPrivateV3": f"{url}/fapi/v3",
            "fapiData": f"{url}/futures/data",
        }
    # sapi is asked for currencies once keys are set; it must not reach out either
    urls["sapi"] = f"{url}/sapi/v1"
    return {
        "name": "binance",
        "enable_ws": False,
        "only_from_ccxt": True,
        "ccxt_config": {
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": types}},
            "urls": {"api": urls},
        },
    }
