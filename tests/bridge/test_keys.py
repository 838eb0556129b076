"""Keys that may withdraw are refused; asked by the real ccxt of servers that answer as the venues do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ccxt
import pytest

from bascule.bridge.freqtrade.keys import permissions, require_least
from bascule.core import BridgeError

PATHS = {
    "binance": "/sapi/v1/account/apiRestrictions",
    "bybit": "/v5/user/query-api",
    "okx": "/api/v5/account/config",
}


class Venue:
    """A venue that knows one private path."""

    def __init__(self) -> None:
        venue = self
        self.answers: dict[str, Any] = {}
        self.signed: list[bool] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                known = path in venue.answers
                body = json.dumps(venue.answers.get(path, {"code": -1, "msg": "no"})).encode()
                headers = {name.lower() for name in self.headers}
                venue.signed.append(
                    "signature" in self.path or bool(headers & {"x-bapi-sign", "ok-access-sign"})
                )
                self.send_response(200 if known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def client(self, name: str) -> Any:
        api = getattr(ccxt, name)({"apiKey": "k" * 10, "secret": "s" * 10, "password": "p" * 10})
        base = f"http://127.0.0.1:{self.server.server_port}"

        def rebased(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: rebased(v) for k, v in value.items()}
            rest = value.partition("://")[2]
            return base + rest[rest.find("/") :] if "/" in rest else base

        api.urls["api"] = rebased(api.urls["api"])
        return api


@pytest.fixture
def venue() -> Iterator[Venue]:
    one = Venue()
    yield one
    one.server.shutdown()
    one.server.server_close()


def answer(name: str, withdraw: bool) -> Any:
    return {
        "binance": {"ipRestrict": True, "enableReading": True, "enableWithdrawals": withdraw},
        "bybit": {
            "retCode": 0,
            "result": {
                "ips": ["*"],
                "permissions": {"Spot": ["SpotTrade"], "Wallet": ["Withdraw"] if withdraw else []},
            },
        },
        "okx": {"code": "0", "data": [{"perm": "read_only,trade" + ",withdraw" * withdraw, "ip": ""}]},
    }[name]


@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_key_that_may_withdraw_is_refused(venue: Venue, name: str) -> None:
    venue.answers[PATHS[name]] = answer(name, withdraw=True)
    api = venue.client(name)
    with pytest.raises(BridgeError, match="may withdraw"):
        require_least(api)
    venue.answers[PATHS[name]] = answer(name, withdraw=False)
    found = require_least(api)
    assert found.withdraw is False
    assert found.bound is (name == "binance")
    assert all(venue.signed)


@pytest.mark.parametrize("name", sorted(PATHS))
def test_no_answer_is_no_permission_and_says_why(venue: Venue, name: str) -> None:
    found = require_least(venue.client(name))
    assert found.withdraw is None
    assert found.said
    venue.answers[PATHS[name]] = {"retCode": 0, "code": "0", "result": {}, "data": [{}]}
    assert require_least(venue.client(name)).withdraw is None


def test_other_venues_cannot_be_asked() -> None:
    found = permissions(ccxt.kraken())
    assert found.withdraw is None
    assert "kraken" in found.said


def test_in_a_rehearsal_nobody_else_is_asked(venue: Venue) -> None:
    api = ccxt.binance({"apiKey": "k" * 10, "secret": "s" * 10})
    api.urls["api"]["public"] = f"http://127.0.0.1:{venue.server.server_port}/api/v3"
    found = permissions(api)
    assert found.withdraw is None
    assert "plays the venue" in found.said
    assert not venue.signed
