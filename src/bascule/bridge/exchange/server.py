"""The service over HTTP and websockets, on the loopback interface only.

One event loop in a thread of its own serves both; an answer is a few milliseconds of work, so it is computed
in the loop itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from bascule.bridge.exchange.account import Account
from bascule.bridge.exchange.auth import Keys
from bascule.bridge.exchange.clock import Clock, SteppedClock, wall_clock
from bascule.bridge.exchange.faults import FaultPlan
from bascule.bridge.exchange.market import MarketKind, ReplayMarket
from bascule.bridge.exchange.orders import AccountSettings
from bascule.bridge.exchange.service import Asked, Service
from bascule.core import BridgeError, Instrument, Panel, SetupError

if TYPE_CHECKING:
    from aiohttp import web

    from bascule.bridge.exchange.hub import Hub

LOOPBACK = "127.0.0.1"
Venue = Literal["binance", "bybit"]
_JSON = "application/json;charset=UTF-8"


class ReplayExchange:
    """Context manager: a running replay exchange.

    Args:
        source: panel to replay, or instruments alone (see `ReplayMarket`).
        market: ``spot`` or ``futures``.
        clock: the time; default the machine's.
        port: 0 takes a free one.
        account: what the trader owns and on what terms; default 10,000 USDT.
        keys: his keys, which requests must be signed with.
        faults: what goes wrong.
        state: file that keeps the account over restarts; default in memory only.
        enforce_limits: answer 429 beyond Binance's weight limits.
        options: further arguments of `ReplayMarket` (``path``, ``spread``, ``depth_share``, …).

    Attributes:
        market: the market being served.
        service: the exchange without its network.

    Raises:
        BridgeError: on entering, when the port is taken; the state file does not fit.
    """

    def __init__(
        self,
        source: Panel | Sequence[str],
        *,
        clock: Clock = wall_clock,
        market: MarketKind = "spot",
        port: int = 0,
        account: AccountSettings | None = None,
        keys: Keys | None = None,
        faults: FaultPlan | None = None,
        state: Path | None = None,
        enforce_limits: bool = False,
        **options: Any,
    ) -> None:
        plan = faults or FaultPlan()
        if isinstance(source, Panel):
            columns = {Instrument.parse(name).symbol: n for n, name in enumerate(source.instruments)}
            source = plan.spiked(source, columns)
        self.market = ReplayMarket(source, kind=market, clock=clock, halts=plan.halts(), **options)
        self.service = Service(
            self.market, account=account, keys=keys, faults=plan, state=state, enforce_limits=enforce_limits
        )
        self._wanted = port
        self._port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._hub: Hub | None = None

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:<port>``."""
        if self._port is None:
            raise BridgeError(
                "the replay exchange is not running", where="ReplayExchange", remedy="use it in a with block"
            )
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def account(self) -> Account:
        """The trader's account, up to the clock."""
        self.service.catch_up()
        return self.service.engine.account

    def differences(self) -> list[str]:
        """What does not reconcile, in words; empty when every unit is accounted for."""
        with self.service.lock:
            return self.account.differences()

    def step(self, seconds: float) -> None:
        """Move a stepped clock on, and let happen what happens.

        Raises:
            BridgeError: the clock runs by itself.
        """
        clock = self.market.clock
        if not isinstance(clock, SteppedClock):
            raise BridgeError(
                "only a stepped clock can be moved", where="ReplayExchange.step", remedy="use SteppedClock"
            )
        clock.advance(seconds)
        self.service.catch_up()
        if self._loop is not None and self._hub is not None:
            self._loop.call_soon_threadsafe(self._hub.wake)

    def __enter__(self) -> Self:
        ready = threading.Event()
        failed: list[OSError] = []
        self._thread = threading.Thread(
            target=self._run, args=(ready, failed), name="replay-exchange", daemon=True
        )
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            self._thread = None
            raise SetupError(
                f"cannot listen on port {self._wanted}: {failed[0]}",
                where="replay exchange",
                remedy="choose port 0 for a free one",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop = self._thread = self._port = None
        self.service.close()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self, ready: threading.Event, failed: list[OSError]) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        runner: web.AppRunner | None = None
        try:
            runner = loop.run_until_complete(self._listen())
        except OSError as error:
            failed.append(error)
        else:
            self._loop = loop
            self._port = runner.addresses[0][1]
        ready.set()
        try:
            if runner is not None and self._hub is not None:
                loop.run_forever()
                loop.run_until_complete(self._hub.close())
                loop.run_until_complete(runner.cleanup())
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _listen(self) -> web.AppRunner:
        from aiohttp import web

        from bascule.bridge.exchange.hub import Hub

        self._hub = Hub(self.service)
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            # a bot opens one connection per pair at once when it refreshes its candles
            await web.TCPSite(runner, LOOPBACK, self._wanted, backlog=1_024).start()
        except OSError:
            await runner.cleanup()
            raise
        return runner

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        assert self._hub is not None
        asked = Asked(
            request.method,
            request.path,
            request.url.raw_query_string,
            await request.text() if request.can_read_body else "",
            request.headers,
        )
        verdict = self.service.judge(asked)
        if verdict.delay:
            await asyncio.sleep(verdict.delay)
        if request.headers.get("Upgrade", "").lower() == "websocket" and not verdict.cut:
            return await self._hub.serve(request)
        answer = self.service.answer(asked, verdict)
        if asked.method == "POST" and asked.path.startswith("/admin/"):
            self._hub.wake()
        if answer.cut:
            if request.transport is not None:
                request.transport.abort()
            # nobody is there to read it
            return web.Response(status=503)
        headers = {**answer.headers, "Content-Type": _JSON}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


def serve(
    source: Panel | Sequence[str],
    *,
    clock: Clock = wall_clock,
    market: MarketKind = "spot",
    port: int = 0,
    **options: Any,
) -> ReplayExchange:
    """A `ReplayExchange` that is already running; leave it with ``with`` or ``__exit__``."""
    return ReplayExchange(source, clock=clock, market=market, port=port, **options).__enter__()


def exchange_config(
    url: str,
    market: MarketKind = "spot",
    *,
    keys: Keys | None = None,
    enable_ws: bool = False,
    venue: Venue = "binance",
) -> dict[str, Any]:
    """The freqtrade ``exchange`` block that leads to a replay exchange (without the pair whitelist).

    ``only_from_ccxt`` keeps freqtrade off the public archive, and ``types`` keeps ccxt from asking markets
    that are not served.

    Args:
        url: of the exchange.
        market: its kind.
        keys: written into the block, for live mode (they open nothing but a replay exchange).
        enable_ws: let freqtrade follow candles by websocket (Binance's format, spot).
        venue: whose format to speak; ``bybit`` has public data only.
    """
    types = ["spot" if market == "spot" else "linear"]
    urls: dict[str, Any] = {"public": url, "private": url} if venue == "bybit" else _binance_urls(url, market)
    block: dict[str, Any] = {
        "name": venue,
        "enable_ws": enable_ws,
        "only_from_ccxt": True,
        "ccxt_config": {
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": types}},
            "urls": {"api": urls},
        },
    }
    return block if keys is None else block | {"key": keys.key, "secret": keys.secret}


def _binance_urls(url: str, market: MarketKind) -> dict[str, Any]:
    socket = "ws" + url.removeprefix("http")
    # sapi is asked for currencies once keys are set; it must not reach out either
    urls: dict[str, Any] = {"sapi": f"{url}/sapi/v1"}
    if market == "spot":
        urls |= {"public": f"{url}/api/v3", "private": f"{url}/api/v3", "v1": f"{url}/api/v1"}
        # ccxt knows spot streams by "/stream" in their address
        urls["ws"] = {"spot": f"{socket}/stream/ws", "ws-api": {"spot": f"{socket}/ws-api/v3"}}
        return urls
    for name, version in (("", "v1"), ("V2", "v2"), ("V3", "v3")):
        urls |= {f"fapi{access}{name}": f"{url}/fapi/{version}" for access in ("Public", "Private")}
    urls["fapiData"] = f"{url}/futures/data"
    urls["ws"] = {"linear": f"{socket}/ws", "ws-api": {"linear": f"{socket}/ws-fapi/v1"}}
    return urls
