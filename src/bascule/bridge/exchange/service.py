"""One exchange, without any network: a request goes in, an answer comes out.

1. `judge` asks the fault plan what happens to the request; the server waits as long as the verdict says.
2. `answer` then counts its weight, checks key and signature of private endpoints, brings the account up to
   the clock, and carries the request out.
3. What changed is saved before the answer leaves (`state`), so that an answered order outlives the process.
   A lost reply is carried out and saved all the same.

All of it happens under one lock: the server's thread and the program that started it may both ask.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from bascule.bridge.exchange import admin, routes
from bascule.bridge.exchange.auth import Keys
from bascule.bridge.exchange.bybit import BYBIT_ROUTES, bybit_answer
from bascule.bridge.exchange.chaos import Chaos, Verdict
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.faults import FaultPlan
from bascule.bridge.exchange.futuresroutes import FUTURES_PRIVATE
from bascule.bridge.exchange.market import ReplayMarket
from bascule.bridge.exchange.orders import AccountSettings, Event
from bascule.bridge.exchange.spotroutes import SPOT_PRIVATE
from bascule.bridge.exchange.state import State
from bascule.bridge.exchange.weights import Meter, weight
from bascule.bridge.exchange.wire import Json, Refusal, recognisable

LISTEN_PATHS = ("/api/v3/userDataStream", "/fapi/v1/listenKey")
_FAILURES = {
    418: (-1003, "Way too many requests; IP banned."),
    429: (-1003, "Too many requests; current limit is exceeded."),
    403: (-1003, "Forbidden."),
    504: (
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
}
_OUT_OF_ORDER = (-1001, "Internal error; unable to process your request. Please try again.")


@dataclass(frozen=True)
class Asked:
    """A request, as the network delivered it."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form body together."""
        return dict(parse_qsl(self.query)) | dict(parse_qsl(self.body))


@dataclass(frozen=True)
class Answer:
    """What goes back. ``cut`` means nothing does: the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def _json(body: Json | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()


class Service:
    """See above.

    Args:
        market: the market.
        account: the trader's terms.
        keys: his keys.
        faults: what goes wrong; delistings and spikes must be in the market already.
        state: file of the account, or None to keep it in memory.
        enforce_limits: answer 429 beyond the weight limits.

    Attributes:
        lock: held by everything that looks at or changes the engine.
        events: what user data streams were not told yet.
        followed: there are streams; nothing is kept for nobody.
        listen_keys: live keys of user data streams.
    """

    def __init__(
        self,
        market: ReplayMarket,
        *,
        account: AccountSettings | None = None,
        keys: Keys | None = None,
        faults: FaultPlan | None = None,
        state: Path | None = None,
        enforce_limits: bool = False,
    ) -> None:
        self.market = market
        self.keys = keys or Keys()
        self.engine = Engine(market, account)
        self.chaos = Chaos(faults or FaultPlan())
        self.meter = Meter(market.kind, enforce_limits)
        self.lock = threading.RLock()
        self.events: deque[Event] = deque(maxlen=100_000)
        self.followed = False
        self.listen_keys: set[str] = set()
        self._private = SPOT_PRIVATE if market.kind == "spot" else FUTURES_PRIVATE
        self._state = None if state is None else State(state, self.engine)

    # -- time --------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Bring the account up to the clock and save what happened."""
        with self.lock:
            self.engine.advance()
            self._keep()

    def _keep(self) -> None:
        account = self.engine.account
        if account.outbox:
            if self.followed:
                self.events.extend(account.outbox)
            account.outbox.clear()
            if self._state is not None:
                self._state.save()

    def server_ms(self) -> int:
        """The time that the exchange believes it is."""
        now = self.market.now_ms()
        return now + self.chaos.skew_ms(now)

    def close(self) -> None:
        """Save and close the file."""
        with self.lock:
            if self._state is not None:
                self.engine.advance()
                self._state.save()
                self._state.close()
                self._state = None

    # -- requests ----------------------------------------------------------------------------------

    def judge(self, asked: Asked) -> Verdict:
        """What the fault plan has in store for a request."""
        if asked.path.startswith(admin.PREFIX):
            return Verdict()
        with self.lock:
            symbol = asked.parameters.get("symbol")
            return self.chaos.judge(asked.method, asked.path, symbol, self.market.now_ms())

    def answer(self, asked: Asked, verdict: Verdict | None = None) -> Answer:
        """Carry a request out."""
        verdict = verdict or Verdict()
        with self.lock:
            if asked.path.startswith(admin.PREFIX):
                return self._admin(asked)
            if verdict.cut:
                return Answer(cut=True)
            query = asked.parameters
            cost = weight(self.market.kind, asked.method, asked.path, query)
            used, wait = self.meter.spend(cost, self.market.now_ms())
            headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
            if wait is not None:
                return self._failed(429, wait, headers)
            if verdict.status is not None:
                return self._failed(verdict.status, verdict.retry_after, headers)
            try:
                body = self._carry_out(asked, query, verdict)
                status = 200
            except Refusal as refusal:
                futures = self.market.kind == "futures"
                body = recognisable(refusal) if futures else refusal.to_json()
                status = refusal.status
            self._keep()
            if verdict.lost == "close":
                return Answer(cut=True)
            if verdict.lost is not None:
                return self._failed(504, None, headers)
            return Answer(status, _json(body), headers)

    def _failed(self, status: int, wait: int | None, headers: dict[str, str]) -> Answer:
        code, message = _FAILURES.get(status, _OUT_OF_ORDER)
        if wait is not None:
            headers = headers | {"Retry-After": str(wait)}
        return Answer(status, _json({"code": code, "msg": message}), headers)

    def _carry_out(self, asked: Asked, query: dict[str, str], verdict: Verdict) -> Json | bytes:
        path = asked.path.rstrip("/")
        if path in BYBIT_ROUTES:
            return bybit_answer(self.market, path, query, verdict)
        if path in LISTEN_PATHS:
            return self._listen(asked, query)
        handler = self._private.get((asked.method, path))
        if handler is not None:
            self.keys.check(asked.headers, asked.query, asked.body, self.server_ms())
            if verdict.refusal is not None:
                raise verdict.refusal
            self.engine.advance()
            return handler(self.engine, query)
        if path.endswith("/time") and asked.method == "GET":
            return {"serverTime": self.server_ms()}
        if asked.method != "GET":
            # a key is asked for before anything else is said about a private path
            self.keys.check_key(asked.headers)
            raise Refusal(-5000, f"Path {path}, Method {asked.method} is invalid", 404)
        return routes.answer(self.market, path, query, stale=verdict.stale, doubled=verdict.doubled)

    def _listen(self, asked: Asked, query: dict[str, str]) -> Json:
        """Keys of user data streams: POST makes one, PUT keeps it alive, DELETE ends it."""
        self.keys.check_key(asked.headers)
        if asked.method == "POST":
            key = secrets.token_urlsafe(48)
            self.listen_keys.add(key)
            return {"listenKey": key}
        given = query.get("listenKey")
        if given is not None and given not in self.listen_keys:
            raise Refusal(-1125, "This listenKey does not exist.")
        if asked.method == "DELETE" and given is not None:
            self.listen_keys.discard(given)
        return {}

    def _admin(self, asked: Asked) -> Answer:
        try:
            body, status = admin.answer(self, asked.method, asked.path, asked.parameters), 200
        except Refusal as refusal:
            body, status = refusal.to_json(), refusal.status
        self._keep()
        return Answer(status, _json(body))
