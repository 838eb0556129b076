"""Real servers on loopback: a webhook, and freqtrade's API as it was recorded (version 2026.9)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD = "bascule", "a-secret-of-the-bot"

TRADE: dict[str, Any] = {
    "trade_id": 1, "pair": "AAA/USDT", "amount": 10.0, "open_rate": 100.0, "current_rate": 101.0,
    "is_short": False, "is_open": True, "has_open_orders": False,
    "orders": [
        {
            "order_id": "o1", "pair": "AAA/USDT", "status": "closed", "amount": 10.0, "filled": 10.0,
            "remaining": 0.0, "average": 100.2, "price": 100.0, "is_open": False, "ft_order_side": "buy",
            "order_timestamp": 1_767_225_660_000, "order_filled_timestamp": 1_767_225_662_000,
        },
        {
            "order_id": "o2", "pair": "AAA/USDT", "status": "canceled", "amount": 10.0, "filled": 5.0,
            "remaining": 5.0, "average": 99.9, "price": 100.0, "is_open": False, "ft_order_side": "sell",
            "order_timestamp": 1_767_225_670_000, "order_filled_timestamp": 1_767_225_680_000,
        },
    ],
}  # fmt: skip


class FakeBot:
    """freqtrade's answers; `asked` holds what was posted, `trades` changes with exits."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.logins = 0
        self.token = ""
        self.broken = False
        self.trades = [json.loads(json.dumps(TRADE))]
        self.replies: dict[str, Any] = {
            "/show_config": {"state": "running", "timeframe": "1h", "strategy": "Alpha"},
            "/health": {"last_process_ts": 1_767_225_600},
            "/profit": {"profit_all_ratio": 0.05},
            "/balance": {"total": 2_000.0, "total_bot": 2_020.0},
            "/trades": {"trades": []},
        }

    def expire(self) -> None:
        """The access token is not valid any more."""
        self.token = "expired"

    def get(self, path: str) -> Any:
        return self.trades if path == "/status" else self.replies[path]

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        if path == "/forceexit":
            for trade in self.trades:
                if str(trade["trade_id"]) == body["tradeid"]:
                    trade["amount"] -= body["amount"]
        return {"status": "ok"} if path != "/start" else {"status": "starting trader ..."}


@contextmanager
def bot_server(bot: FakeBot) -> Iterator[str]:
    """The address of a server that answers as freqtrade does, with its login."""
    import base64

    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, code: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _serve(self, body: Any) -> None:
            path = self.path.partition("?")[0].removeprefix("/api/v1")
            given = self.headers.get("Authorization", "")
            if bot.broken:
                self._answer(502, {"error": "bot is not in the correct state"})
            elif path == "/token/login":
                if given != basic:
                    self._answer(401, {"detail": "Incorrect username or password"})
                    return
                bot.logins += 1
                bot.token = f"token-{bot.logins}"
                self._answer(200, {"access_token": bot.token, "refresh_token": "refresh"})
            elif path == "/token/refresh":
                bot.token = "refreshed"
                self._answer(200, {"access_token": bot.token}) if given == "Bearer refresh" else self._answer(
                    401, {}
                )
            elif given not in (f"Bearer {bot.token}", basic):
                self._answer(401, {"detail": "Could not validate credentials"})
            else:
                self._answer(200, bot.get(path) if body is None else bot.post(path, body[0]))

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._serve((json.loads(raw) if raw else None,))

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        yield url


@contextmanager
def webhook(took: list[dict[str, Any]], code: list[int]) -> Iterator[str]:
    """The Apprise address of a webhook that keeps what it gets and answers with ``code[0]``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if code[0] == 200:
                took.append(json.loads(raw))
            self.send_response(code[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        yield url.replace("http://", "json://") + "/?store=no"


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
