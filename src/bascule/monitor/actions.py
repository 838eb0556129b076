"""Carrying out what rules planned, each action once, over crashes too.

1. An action is in the journal before anything is done (`journal.Journal.take`).
2. Whoever carries it out looks first for the traces that it leaves: an emergency command signed with the
   action's key, a job asked for under its key, positions that are already reduced to the amounts which were
   written down beforehand. What was done before a crash is not done again, what was not is.
3. An attempt that fails is written down and repeated, the wait doubling to five minutes; after so many
   attempts the action has failed, and that is an event of its own.

An emergency state is never lowered: while `flatten` is in force, a planned `halt` is done by that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import yaml

from bascule.bridge.freqtrade import emergency
from bascule.core import BasculeError, BridgeError, ConfigError, files
from bascule.monitor.botapi import BotApi
from bascule.monitor.jobs import ask
from bascule.monitor.journal import Journal
from bascule.monitor.records import Action
from bascule.monitor.rotation import rotate
from bascule.monitor.schema import seconds
from bascule.monitor.settings import BotSettings, MonitorSettings

log = logging.getLogger(__name__)
_LONGEST_PAUSE = 300.0
SIGNED = "monitor"


class Actuator:
    """Carries out planned actions.

    Args:
        journal: of the actions.
        settings: of the monitor.
        bots: name → API of the bots.
    """

    def __init__(self, journal: Journal, settings: MonitorSettings, bots: Mapping[str, BotApi]) -> None:
        self.journal, self.settings, self._apis = journal, settings, bots
        self._bots = {bot.name: bot for bot in settings.bots}
        self._how: dict[str, Callable[[Action, datetime], str]] = {
            "halt": self._emergency,
            "hedge": self._emergency,
            "flatten": self._emergency,
            "reduce": self._reduce,
            "switch_venue": self._switch,
            "retrain": self._job,
            "job": self._job,
            "rotate": self._rotate,
        }

    def work(self, now: datetime) -> int:
        """Carry out what is planned and due; returns how many actions ended."""
        ended = 0
        for action in self.journal.planned():
            if not self._due(action, now):
                continue
            status = "done"
            try:
                outcome = self._how[action.do](action, now)
            except BasculeError as error:
                outcome = str(error).replace("\n", " ")
                status = "failed" if action.attempts + 1 >= self.settings.act.attempts else "planned"
                log.warning("%s of %s: %s", action.do, action.target, outcome)
            self.journal.tried(action, outcome, now=now, status=status)
            ended += status != "planned"
        return ended

    def _due(self, action: Action, now: datetime) -> bool:
        if action.tried is None:
            return True
        pause = min(_LONGEST_PAUSE, self.settings.act.retry * 2.0 ** min(action.attempts - 1, 20))
        # a clock that was set back must not make it wait for the time to come round again
        return not 0.0 <= seconds(now) - seconds(action.tried) < pause

    # -- bots ------------------------------------------------------------------------------------------

    def _targets(self, action: Action) -> list[BotSettings]:
        if action.target == "*":
            return list(self._bots.values())
        if action.target not in self._bots:
            raise ConfigError(
                f"there is no bot {action.target!r}",
                where="rules",
                remedy=f"name one of {', '.join(self._bots) or 'bots of the settings (there are none)'}",
            )
        return [self._bots[action.target]]

    def _emergency(self, action: Action, now: datetime) -> str:
        bots = self._targets(action)
        told, problems = [], []
        for bot in bots:  # one bot that does not answer keeps no other from its command
            try:
                told.append(f"{bot.name}: {self._command(bot, emergency.State(action.do), action, now)}")
            except BasculeError as error:
                problems.append(f"{bot.name}: {error.message}")
        if problems:
            raise BridgeError("; ".join(told + problems), where=action.do, remedy="it is tried again")
        return "; ".join(told) or "there is no bot"

    def _command(self, bot: BotSettings, state: emergency.State, action: Action, now: datetime) -> str:
        """Give an emergency command, unless this action gave it before or a more severe one holds."""
        by = f"{SIGNED}:{action.key}"
        if bot.userdir is None:
            self._apis[bot.name].command(state, action.reason, now)
            return f"{state} sent"
        folder = self.settings.within(bot.userdir)
        if any(one.by == by for one in emergency.journal(folder)):
            return f"{state} was given"
        held = emergency.in_force(folder)
        if held.state.severity >= state.severity:
            return f"{held.state} holds already"
        given = emergency.command(folder, state, reason=action.reason, by=by, now=now, source=SIGNED)
        return f"{state}, command {given.number}"

    def _reduce(self, action: Action, now: datetime) -> str:
        """Halt, and sell a share of every position: the amounts to be left are written down first."""
        told = []
        for bot in self._targets(action):
            self._command(bot, emergency.State.HALT, action, now)
            api = self._apis[bot.name]
            trades = _trades(api)
            place = f"left:{bot.name}"
            if place not in action.arguments:
                keep = 1.0 - float(action.arguments.get("share", 0.5))
                left = {str(trade["trade_id"]): float(trade["amount"]) * keep for trade in trades}
                action = self.journal.note(action, **{place: left})
            left = action.arguments[place]
            sold = 0
            for trade in trades:
                name, amount = str(trade["trade_id"]), float(trade["amount"])
                excess = amount - left.get(name, amount)
                # an order of before is still open: what it sells must not be sold twice
                if excess > 1e-9 * amount and not trade.get("has_open_orders"):
                    api.post("/forceexit", {"tradeid": name, "ordertype": "market", "amount": excess})
                    sold += 1
            told.append(f"{bot.name}: halted, {sold} of {len(trades)} positions reduced")
        return "; ".join(told) or "there is no bot"

    def _switch(self, action: Action, now: datetime) -> str:
        """Halt the bot of the venue that fails, start the one that takes over."""
        takes_over = str(action.arguments["to"])
        if takes_over not in self._bots:
            raise ConfigError(
                f"there is no bot {takes_over!r}", where="rules: switch_venue", remedy="add it to the bots"
            )
        answer = self._apis[takes_over].post("/start")
        problem = ""
        try:  # the venue fails, so its bot may not answer: the other one runs all the same
            (bot,) = self._targets(action)
            told = self._command(bot, emergency.State.HALT, action, now)
        except BridgeError as error:
            told, problem = "", error.message
        if problem:
            raise BridgeError(
                f"{takes_over} runs, but {action.target} was not halted: {problem}",
                where="switch_venue",
                remedy="it is tried again; halt it by hand: bascule emergency halt",
            )
        started = str(answer.get("status", "started")) if isinstance(answer, dict) else "started"
        return f"{action.target}: {told}; {takes_over}: {started}"

    # -- jobs ------------------------------------------------------------------------------------------

    def _job(self, action: Action, now: datetime) -> str:
        ask(self.journal.database, action.target, action.key, {"reason": action.reason}, now=now)
        return f"job {action.target} is asked for"

    def _rotate(self, action: Action, now: datetime) -> str:
        """Write the new list of factors, then ask for a training with it."""
        path = self.settings.within(self.settings.act.rotations) / f"{action.key}.yaml"
        if not path.exists():
            turned = rotate(self.settings, self.journal.database)
            if not turned.out:
                return "no factor has decayed: nothing to rotate"
            with files.atomic_file(path) as aside:
                aside.write_text(
                    yaml.safe_dump(list(turned.factors), sort_keys=False, allow_unicode=True), "utf-8"
                )
            action = self.journal.note(action, out=list(turned.out), come=list(turned.come))
        arguments = {"reason": action.reason, "factors": str(path)}
        ask(self.journal.database, action.target, action.key, arguments, now=now)
        out, come = (", ".join(action.arguments.get(name, ())) for name in ("out", "come"))
        return f"out: {out or '-'}; in: {come or '-'}; job {action.target} is asked for"


def _trades(api: BotApi) -> list[dict[str, Any]]:
    found = api.get("/status")
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and {"trade_id", "amount"} <= one.keys() for one in found
    ):
        raise BridgeError("the answer of /status is not what freqtrade sends", where=f"bot {api.name}")
    return found
