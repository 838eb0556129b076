"""``bascule emergency …``: halt, hedge or flatten a running bot, and let it run again."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bascule.app.command import Commands, answer
from bascule.app.options import Last
from bascule.bridge.freqtrade import emergency
from bascule.core import ConfigError

emergency_app = Commands()

USER = "FREQTRADE__API_SERVER__USERNAME"
PASSWORD = "FREQTRADE__API_SERVER__PASSWORD"  # noqa: S105 (a name, not a secret)

Reason = Annotated[str, typer.Argument(help="why; kept in the journal")]
Folder = Annotated[Path | None, typer.Option("--userdir", help="freqtrade's user_data folder")]
Url = Annotated[
    str | None, typer.Option(help=f"the bot's REST API instead; user and password: {USER}, {PASSWORD}")
]


@emergency_app.command("halt", example='bascule emergency halt "the venue is odd" --userdir bot')
def halt(reason: Reason, userdir: Folder = None, url: Url = None) -> None:
    """No entry and no increase any more; open positions keep their exits and stops."""
    _give(emergency.State.HALT, reason, userdir, url)


@emergency_app.command("hedge", example='bascule emergency hedge "a crash" --userdir bot')
def hedge(reason: Reason, userdir: Folder = None, url: Url = None) -> None:
    """As halt, and a hedge leg covers what is held (futures with a hedge pair; else it only halts)."""
    _give(emergency.State.HEDGE, reason, userdir, url)


@emergency_app.command("flatten", example='bascule emergency flatten "a crash" --userdir bot --yes')
def flatten(
    reason: Reason,
    userdir: Folder = None,
    url: Url = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """As halt, and every open position is closed."""
    if not yes:
        typer.confirm("Close every open position?", abort=True)
    _give(emergency.State.FLATTEN, reason, userdir, url)


@emergency_app.command("resume", example='bascule emergency resume "all is well" --userdir bot')
def resume(reason: Reason, userdir: Folder = None, url: Url = None) -> None:
    """Trade again."""
    _give(emergency.State.RUN, reason, userdir, url)


@emergency_app.command("status", example="bascule emergency status --userdir bot")
def status(
    userdir: Annotated[Path, typer.Option("--userdir", help="freqtrade's user_data folder")],
    last: Last = 10,
) -> None:
    """What holds now, and the journal."""
    now = emergency.in_force(userdir)
    table = Table("", "at", "state", "by", "reason", "bot", box=None)
    journal = []
    for one in emergency.journal(userdir)[-last:]:
        seen = emergency.obeyed(userdir, one.number)
        told = f"{seen['at']}: {seen['note']}" if seen else "not seen yet"
        table.add_row(str(one.number), one.at, str(one.state), one.by, one.reason, told)
        journal.append({"command": one, "obeyed": seen})
    answer(
        {"state": now.state, "reason": now.reason, "journal": journal},
        f"{now.state}" + (f": {now.reason}" if now.reason else ""),
        *([table] if table.row_count else []),
    )


def _give(state: emergency.State, reason: str, userdir: Path | None, url: str | None) -> None:
    if (userdir is None) == (url is None):
        raise ConfigError(
            "name either the user folder or the bot's address",
            where="emergency",
            remedy="--userdir user_data, or --url http://127.0.0.1:8080",
        )
    now = datetime.now(UTC)
    if url is not None:
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        if not user or not password:
            raise ConfigError(
                f"{USER} and {PASSWORD} are not set",
                where="environment",
                remedy="set them as for the bot itself",
            )
        emergency.send(url, state, reason=reason, user=user, password=password, now=now)
        answer({"state": state, "sent": True}, f"{state}: sent; the bot obeys in its next loop")
        return
    assert userdir is not None
    given = emergency.command(userdir, state, reason=reason, by=_caller(), now=now)
    held = emergency.in_force(userdir)
    still = [] if held.state is state else [f"careful: {held.state} holds still: {held.reason}"]
    answer(
        {"state": state, "command": given.number, "in_force": held.state},
        *still,
        f"{state}: command {given.number}; the bot obeys in its next loop",
    )


def _caller() -> str:
    """Who gives the command; in a container a user may have a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
