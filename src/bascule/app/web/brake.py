"""The emergency brake of all bots: what is in force, and giving a command to every one of them.

1. A bot whose user folder is at hand gets its command there (`bridge.freqtrade.emergency.command`): that
   works when the bot hangs, and the folder says what is in force and what the bot did about it.
2. Another gets it over its REST API; what was sent last is known from the audit log.
3. A bot that cannot be reached keeps nobody else from being told: the answer says how it went for each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from bascule.app.web.audit import Audit
from bascule.app.web.settings import BotSettings, WebSettings
from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.emergency import State
from bascule.core import BasculeError

MODES: tuple[str, ...] = tuple(str(state) for state in State)
ACTION = "emergency"
KEEP = 1.0  # seconds that a reading of the folders is shown
_TIMEOUT = 5.0


@dataclass(frozen=True)
class BrakeState:
    """What is in force for a bot.

    Attributes:
        bot: name.
        mode: ``run`` = everything as usual, ``halt``, ``hedge`` or ``flatten``.
        reason: why.
        by: who said so.
        at: when, ISO 8601; "" if unknown.
        obeyed: what the bot noted about it; "" = nothing yet, or unknown.
        way: ``folder`` or ``rest``: how commands reach it.
    """

    bot: str
    mode: str
    reason: str
    by: str
    at: str
    obeyed: str
    way: str


@dataclass(frozen=True)
class Told:
    """How a command went: ``problem`` is "" where it was taken."""

    bot: str
    problem: str


class Brake:
    """The brake.

    Args:
        settings: with the bots.
        audit: where commands over REST are known from.
        environment: where passwords are; None = the process's.
    """

    def __init__(
        self, settings: WebSettings, audit: Audit, environment: Mapping[str, str] | None = None
    ) -> None:
        self._settings, self._audit = settings, audit
        self._environment = os.environ if environment is None else environment
        self._held: tuple[float, tuple[BrakeState, ...]] | None = None

    def states(self) -> tuple[BrakeState, ...]:
        """What is in force, a bot each, as it was at most `KEEP` seconds ago."""
        held = self._held
        if held is None or time.monotonic() - held[0] > KEEP:
            held = (time.monotonic(), tuple(self._state(bot) for bot in self._settings.bots))
            self._held = held
        return held[1]

    def worst(self) -> BrakeState | None:
        """The most severe state that is not ``run``."""
        pulled = [one for one in self.states() if one.mode != State.RUN]
        return max(pulled, key=lambda one: MODES.index(one.mode), default=None)

    def give(self, mode: str, reason: str, by: str, now: float) -> tuple[Told, ...]:
        """Give a command to all bots at the same time.

        Args:
            mode: one of `MODES`; ``run`` releases the brake.
            reason: why.
            by: who says so.
            now: seconds since 1970.
        """
        moment = datetime.fromtimestamp(now, UTC)

        def tell(bot: BotSettings) -> Told:
            try:
                self._tell(bot, mode, reason, by, moment)
            except (BasculeError, OSError) as error:
                return Told(bot.name, error.message if isinstance(error, BasculeError) else str(error))
            return Told(bot.name, "")

        bots = self._settings.bots
        with ThreadPoolExecutor(max(1, len(bots))) as pool:
            told = tuple(pool.map(tell, bots))
        self._held = None
        return told

    def _tell(self, bot: BotSettings, mode: str, reason: str, by: str, now: datetime) -> None:
        if bot.folder is not None:
            emergency.command(
                self._settings.within(bot.folder), mode, reason=reason, by=by, now=now, source="web"
            )
            return
        emergency.send(
            bot.url, mode, reason=f"{reason} ({by})", user=bot.username,
            password=self._environment[bot.password_env], now=now, timeout=_TIMEOUT,
        )  # fmt: skip

    def _state(self, bot: BotSettings) -> BrakeState:
        if bot.folder is not None:
            folder = self._settings.within(bot.folder)
            given = emergency.in_force(folder)
            note = (emergency.obeyed(folder, given.number) or {}) if given.number else {}
            return BrakeState(
                bot.name,
                str(given.state),
                given.reason,
                given.by,
                given.at,
                str(note.get("note", "")),
                "folder",
            )
        last = self._audit.last(ACTION, bot.name)
        if last is None:
            return BrakeState(bot.name, str(State.RUN), "", "", "", "", "rest")
        mode, _, reason = last.detail.partition(": ")
        at = datetime.fromtimestamp(last.at, UTC).isoformat(timespec="seconds")
        return BrakeState(bot.name, mode, reason, last.who, at, "", "rest")
