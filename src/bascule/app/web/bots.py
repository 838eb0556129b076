"""Live bots through freqtrade's REST API.

1. One reading of a bot at a time, kept for some seconds: a hundred viewers ask a bot no more than one does.
2. A bot that does not answer is shown as such, with the reason; it never holds a page up for longer than the
   time-out.
3. Passwords come from the environment, go to the bot only, and are in no page, log or error.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from bascule.app.web.kept import Missing
from bascule.app.web.settings import BotSettings
from bascule.core import BridgeError, ConfigError

Action = Literal["start", "pause", "stop", "reload_config"]
ACTIONS: tuple[Action, ...] = ("start", "pause", "stop", "reload_config")
KEEP = 4.0  # seconds that a reading is shown
TIMEOUT = 4.0
_LOG_LINES, _DAYS = 120, 30


@dataclass(frozen=True)
class BotState:
    """A bot as it was a moment ago.

    Attributes:
        name: as in the settings.
        alive: it answered.
        problem: why not, or "".
        config: of ``show_config``: state, strategy, exchange, timeframe, dry_run, trading_mode, …
        profit: of ``profit``.
        balance: of ``balance``.
        trades: open ones, of ``status``.
        daily: profit by day, oldest first, of ``daily``.
        logs: newest lines, of ``logs``: (time, logger, level, message).
        latency: seconds that the whole reading took.
    """

    name: str
    alive: bool
    problem: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    profit: Mapping[str, Any] = field(default_factory=dict)
    balance: Mapping[str, Any] = field(default_factory=dict)
    trades: tuple[Mapping[str, Any], ...] = ()
    daily: tuple[Mapping[str, Any], ...] = ()
    logs: tuple[tuple[str, str, str, str], ...] = ()
    latency: float = 0.0

    @property
    def state(self) -> str:
        """``running``, ``paused``, ``stopped``, or ``unreachable``."""
        return str(self.config.get("state", "unknown")) if self.alive else "unreachable"


class Bots:
    """The bots of the settings.

    Args:
        settings: one a bot.
        environment: where passwords are.
        transport: to the bots; None = the network.
    """

    def __init__(
        self,
        settings: tuple[BotSettings, ...],
        environment: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = {bot.name: bot for bot in settings}
        self._environment = os.environ if environment is None else environment
        self._transport = transport
        self._held: dict[str, tuple[float, BotState]] = {}
        self._locks: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in self._settings}
        for bot in settings:
            if bot.password_env not in self._environment:
                raise ConfigError(
                    f"the environment variable {bot.password_env} is not set",
                    where=f"bots: {bot.name}",
                    remedy="set it to the password of the bot's API server",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the settings."""
        return tuple(self._settings)

    async def all(self) -> list[BotState]:
        """All bots, asked at the same time."""
        return list(await asyncio.gather(*(self.get(name) for name in self._settings)))

    async def get(self, name: str) -> BotState:
        """One bot, as it was at most `KEEP` seconds ago.

        Raises:
            Missing: there is none of that name.
        """
        if name not in self._settings:
            raise Missing(f"there is no bot {name!r}")
        async with self._locks[name]:
            held = self._held.get(name)
            if held is None or time.monotonic() - held[0] > KEEP:
                held = (time.monotonic(), await self._read(self._settings[name]))
                self._held[name] = held
            return held[1]

    async def act(self, name: str, action: str) -> str:
        """Start, pause (no entries), stop a bot, or let it read its configuration again.

        Raises:
            Missing: there is no such bot or action.
            BridgeError: the bot did not take it.
        """
        if name not in self._settings or action not in ACTIONS:
            raise Missing(f"there is no bot {name!r}, or no action {action!r}")
        try:
            async with self._client(self._settings[name]) as client:
                answer = await client.post(f"/api/v1/{action}")
                answer.raise_for_status()
                told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise BridgeError(
                f"the bot did not {action}: {_reason(error)}", where=name, remedy="look at the bot's log"
            ) from None
        self._held.pop(name, None)
        return str(told.get("status", "done")) if isinstance(told, dict) else "done"

    def _client(self, bot: BotSettings) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=bot.url.rstrip("/"),
            auth=(bot.username, self._environment[bot.password_env]),
            timeout=TIMEOUT,
            transport=self._transport,
            trust_env=False,
        )

    async def _read(self, bot: BotSettings) -> BotState:
        began = time.monotonic()
        paths = (
            "show_config",
            "profit",
            "balance",
            "status",
            f"daily?timescale={_DAYS}",
            f"logs?limit={_LOG_LINES}",
        )
        try:
            async with self._client(bot) as client:
                answers = await asyncio.gather(*(_ask(client, path) for path in paths))
            config, profit, balance, trades, daily, logs = answers
            return BotState(
                bot.name,
                alive=True,
                config=_mapping(config),
                profit=_mapping(profit),
                balance=_mapping(balance),
                trades=_mappings(trades),
                daily=_mappings(_mapping(daily).get("data", []))[::-1],
                logs=tuple(_line(line) for line in _mapping(logs).get("logs", [])),
                latency=time.monotonic() - began,
            )
        except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
            return BotState(bot.name, False, _reason(error), latency=time.monotonic() - began)


async def _ask(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/api/v1/{path}")
    if answer.status_code in (502, 503):  # freqtrade: the bot is not in a state to tell this
        return {}
    answer.raise_for_status()
    return answer.json()


def _mapping(value: Any) -> dict[str, Any]:
    if value == [] or isinstance(value, dict):
        return value or {}
    raise ValueError("the answer is not what freqtrade sends")


def _mappings(value: Any) -> tuple[dict[str, Any], ...]:
    if value == {}:
        return ()
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return tuple(value)
    raise ValueError("the answer is not what freqtrade sends")


def _line(line: Any) -> tuple[str, str, str, str]:
    when, _, logger, level, message = line
    return str(when), str(logger), str(level), str(message)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        return "wrong user name or password" if code == 401 else f"it answered with {code}"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, httpx.TransportError):
        return "no connection"
    return str(error)
