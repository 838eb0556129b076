"""Websocket connections: who listens to what, and the rounds in which news goes out.

A round takes place every `ROUND` seconds while anybody listens, and at once when a stepped clock was moved.
It asks each feed (`feeds`) for its news once, however many listen, and each event of the account
(`userdata`). Every connection has a queue of its own; who falls `BACKLOG` messages behind is disconnected, as
on the real exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bascule.bridge.exchange.feeds import Feed, feed_of
from bascule.bridge.exchange.service import Service
from bascule.bridge.exchange.userdata import message
from bascule.bridge.exchange.wire import Refusal

if TYPE_CHECKING:
    from aiohttp import web

ROUND = 0.1
BACKLOG = 10_000
_MOST_STREAMS = 1_024
USER = "user data"


@dataclass(eq=False)
class Listener:
    """One connection.

    Attributes:
        combined: messages are wrapped as ``{"stream": …, "data": …}``.
        user: name under which it hears of the account, or None.
        wrap: user messages are wrapped as ``{"subscriptionId": …, "event": …}`` (websocket API).
    """

    number: int
    socket: web.WebSocketResponse
    path: str
    combined: bool
    streams: set[str] = field(default_factory=set)
    user: str | None = None
    wrap: bool = False
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(BACKLOG))
    lost: bool = False

    def put(self, text: str) -> None:
        """Queue a message; a connection that is too far behind is given up."""
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.lost = True


class Hub:
    """All connections of one exchange. Lives in the server's event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.listeners: set[Listener] = set()
        self._feeds: dict[str, Feed] = {}
        self._hearers: dict[str, set[Listener]] = defaultdict(set)
        self._numbers = itertools.count(1)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Begin a round now."""
        self._wake.set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One connection from beginning to end."""
        from aiohttp import WSMsgType, web

        socket = web.WebSocketResponse(heartbeat=None, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        path = request.path
        listener = Listener(next(self._numbers), socket, path, combined=path.rstrip("/").endswith("/stream"))
        names = [part for part in path.split("/ws", 1)[-1].split("/") if part]
        names += [part for part in request.query.get("streams", "").split("/") if part]
        names += [request.query["listenKey"]] if request.query.get("listenKey") else []
        self.listeners.add(listener)
        self._start()
        writer = asyncio.create_task(self._write(listener))
        try:
            # names without a channel are shard numbers of clients, or listen keys
            self._join(listener, [n for n in names if "@" in n or n in self.service.listen_keys])
            async for received in socket:
                if received.type == WSMsgType.TEXT:
                    self._receive(listener, received.data)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            self._leave(listener)
        return socket

    def _leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        for stream in listener.streams:
            self._hearers[stream].discard(listener)
            if not self._hearers[stream]:
                del self._hearers[stream]
                self._feeds.pop(stream, None)

    async def _write(self, listener: Listener) -> None:
        while True:
            text = await listener.queue.get()
            if listener.socket.closed:
                return
            try:
                await listener.socket.send_str(text)
            except ConnectionError:
                return

    # -- what clients say --------------------------------------------------------------------------

    def _receive(self, listener: Listener, text: str) -> None:
        try:
            wish = json.loads(text)
        except (ValueError, RecursionError):
            wish = None
        if not isinstance(wish, dict):
            listener.put(json.dumps({"error": {"code": 2, "msg": "Invalid request: no JSON object"}}))
            return
        if listener.path.startswith(("/ws-api", "/ws-fapi")):
            listener.put(json.dumps(self._call(listener, wish)))
            return
        number, names = wish.get("id"), wish.get("params") or []
        try:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise Refusal(2, "Invalid request: params must be a list of streams")
            result = self._wish(listener, wish.get("method"), names)
        except Refusal as refusal:
            listener.put(json.dumps({"error": {"code": refusal.code, "msg": refusal.message}, "id": number}))
            return
        listener.put(json.dumps({"result": result, "id": number}))
        if wish.get("method") == "SUBSCRIBE":
            self._greet(listener, names)

    def _wish(self, listener: Listener, method: Any, names: list[str]) -> Any:
        if method == "SUBSCRIBE":
            self._join(listener, names, greet=False)
            return None
        if method == "UNSUBSCRIBE":
            for name in names:
                listener.streams.discard(name)
                self._hearers[name].discard(listener)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return sorted(listener.streams)
        raise Refusal(2, f"Invalid request: unknown method {method!r}")

    def _join(self, listener: Listener, names: list[str], *, greet: bool = True) -> None:
        """Subscribe; all names are checked before the first one counts."""
        with self.service.lock:
            now = self.service.market.now_ms()
            fresh = {
                name: feed_of(self.service.market, name, now)
                for name in names
                if name not in self._feeds and name not in self.service.listen_keys
            }
        if len(listener.streams) + len(names) > _MOST_STREAMS:
            raise Refusal(2, f"Invalid request: more than {_MOST_STREAMS} streams")
        self._feeds.update(fresh)
        for name in names:
            if name in self.service.listen_keys:
                listener.user = name
                continue
            listener.streams.add(name)
            self._hearers[name].add(listener)
        if greet:
            self._greet(listener, names)

    def _greet(self, listener: Listener, names: list[str]) -> None:
        with self.service.lock:
            now = self.service.market.now_ms()
            told = [(name, self._feeds[name].current(now)) for name in names if name in self._feeds]
        for name, messages in told:
            for one in messages:
                listener.put(json.dumps({"stream": name, "data": one} if listener.combined else one))

    def _call(self, listener: Listener, wish: dict[str, Any]) -> dict[str, Any]:
        """The websocket API: what clients need to follow their own account."""
        number, method, params = wish.get("id"), wish.get("method"), wish.get("params") or {}
        try:
            if not isinstance(params, dict):
                raise Refusal(-1102, "params must be an object")
            if method == "userDataStream.subscribe.signature":
                self._check(params)
                listener.user, listener.wrap = USER, True
                return {"id": number, "status": 200, "result": {"subscriptionId": listener.number}}
            if method == "userDataStream.unsubscribe":
                listener.user = None
                return {"id": number, "status": 200, "result": {}}
            if method == "ping":
                return {"id": number, "status": 200, "result": {}}
            if method == "time":
                return {"id": number, "status": 200, "result": {"serverTime": self.service.server_ms()}}
            raise Refusal(-1000, f"the replay exchange does not know {method!r} here")
        except Refusal as refusal:
            return {"id": number, "status": refusal.status, "error": refusal.to_json()}

    def _check(self, params: dict[str, Any]) -> None:
        keys, given = self.service.keys, {name: str(value) for name, value in params.items()}
        # the websocket API signs the sorted parameters
        body = "&".join(f"{name}={given[name]}" for name in sorted(given) if name != "signature")
        headers = {"X-MBX-APIKEY": given.get("apiKey", "")}
        signed = f"{body}&signature={given.get('signature', '')}"
        keys.check(headers, "", signed, self.service.server_ms())

    # -- rounds ------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.service.followed = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._rounds())

    async def _rounds(self) -> None:
        while self.listeners:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), ROUND)
            self._wake.clear()
            await self._round()
        with self.service.lock:
            self.service.followed = False
            self.service.events.clear()

    async def _round(self) -> None:
        with self.service.lock:
            self.service.catch_up()
            now = self.service.market.now_ms()
            news = [(name, one) for name, feed in self._feeds.items() for one in feed.news(now)]
            events = [message(self.service.engine, event) for event in self.service.events]
            self.service.events.clear()
            gone = [
                x for x in self.listeners if x.lost or self.service.chaos.disconnects(x.number, x.path, now)
            ]
        for name, one in news:
            plain, wrapped = json.dumps(one), ""
            for listener in self._hearers.get(name, ()):
                if listener.combined:
                    wrapped = wrapped or f'{{"stream": {json.dumps(name)}, "data": {plain}}}'
                listener.put(wrapped if listener.combined else plain)
        for listener in [x for x in self.listeners if x.user is not None]:
            for event in events:
                listener.put(json.dumps(_for(listener, event)))
        for listener in gone:
            await listener.socket.close(code=1008, message=b"disconnected")

    async def close(self) -> None:
        """Close every connection."""
        for listener in list(self.listeners):
            await listener.socket.close(code=1001, message=b"the exchange stops")
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


def _for(listener: Listener, event: dict[str, Any]) -> dict[str, Any]:
    if listener.wrap:
        return {"subscriptionId": listener.number, "event": event}
    return {"stream": listener.user, "data": event} if listener.combined else event
