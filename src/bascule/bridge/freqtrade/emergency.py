"""The emergency plan: what a running bot may still do, decided from outside and obeyed in its next loop.

1. There are four states, by severity: `run`; `halt`, no entry and no increase any more; `hedge`, as halt, and
   a hedge leg covers what is held (futures; on spot it is a halt); `flatten`, as halt, and everything is
   sold.
2. A command is a new file ``user_data/emergency/000007.json``, written in one step, with a number above all
   others. The newest one is in force until the next, over restarts. Files are never changed or removed: the
   folder is the journal.
3. Who has nothing but a shell puts an empty file ``HALT``, ``HEDGE`` or ``FLATTEN`` into the user folder. It
   holds while it is there; of flag and command the more severe one counts.
4. Over freqtrade's REST (`send`) a command travels as a lock of all pairs whose reason starts with
   ``bascule:``. The bot takes it into the journal and removes the lock (`from_reason`).
5. What cannot be read counts as halt: a damaged file must never mean that all is well.
6. The bot says once what it does about a command (`obey`), beside the command: ``000007.obeyed.json``.

Nothing of freqtrade is imported here: command line, web and monitor use this module as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from bascule.core import BridgeError, SetupError
from bascule.core.files import write_json

FOLDER = "emergency"
PREFIX = "bascule:"
_NUMBERED = re.compile(r"(\d{6,})\.json")
# freqtrade keeps 255 characters of a lock's reason
_LONGEST_REASON = 200


class State(StrEnum):
    """What the bot may do."""

    RUN = "run"
    HALT = "halt"
    HEDGE = "hedge"
    FLATTEN = "flatten"

    @property
    def severity(self) -> int:
        """0 for `run`, rising."""
        return list(State).index(self)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        number: its place in the journal; 0 = none was ever given, or a flag file.
        state: what holds.
        reason: why, in words.
        by: who gave it.
        at: when, ISO 8601 UTC; empty for a flag file.
        source: where it came in: ``file``, ``flag``, or a lock's name.
    """

    number: int
    state: State
    reason: str
    by: str
    at: str
    source: str = "file"

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {**self.__dict__, "state": str(self.state)}


NOTHING = Command(0, State.RUN, "", "", "")


def command(
    folder: Path, state: State | str, *, reason: str, by: str, now: datetime, source: str = "file"
) -> Command:
    """Give a command to the bot of this user folder.

    Args:
        folder: freqtrade's user_data.
        state: what shall hold.
        reason: why; kept in the journal.
        by: who says so.
        now: the time, aware.
        source: where it came in.

    Raises:
        BridgeError: an unknown state, no reason, or the folder is not there.
    """
    chosen = _state(state)
    if not reason.strip():
        raise SetupError(
            "an emergency command needs a reason", where="emergency", remedy="say why in a few words"
        )
    if not folder.is_dir():
        raise SetupError(
            "there is no such user folder", where=str(folder), remedy="name freqtrade's user_data folder"
        )
    with _writing(folder):
        numbers = [number for number, _ in _files(folder)]
        given = Command(max(numbers, default=0) + 1, chosen, reason.strip(), by, _stamp(now), source)
        write_json(folder / FOLDER / f"{given.number:06d}.json", given.to_dict())
    return given


def in_force(folder: Path) -> Command:
    """What holds now: the newest command or a flag file, whichever is more severe."""
    newest = NOTHING
    files = _files(folder)
    if files:
        newest = _read(*files[-1])
    raised = [state for state in State if state is not State.RUN and (folder / state.upper()).exists()]
    if raised and raised[-1].severity > newest.state.severity:
        name = raised[-1].upper()
        return Command(0, raised[-1], f"the file {name} is there", "flag", "", "flag")
    return newest


def journal(folder: Path) -> tuple[Command, ...]:
    """All commands, oldest first; a damaged one shows as a halt."""
    return tuple(_read(number, path) for number, path in _files(folder))


def obey(folder: Path, given: Command, note: str, *, now: datetime) -> bool:
    """Note, once, what the bot does about a command.

    Returns:
        False if that was noted before, or if it is a flag file, which has no place in the journal.
    """
    path = folder / FOLDER / f"{given.number:06d}.obeyed.json"
    if given.number == 0 or path.exists():
        return False
    write_json(path, {"number": given.number, "note": note, "at": _stamp(now)})
    return True


def obeyed(folder: Path, number: int) -> dict[str, object] | None:
    """What the bot noted about a command (``note``, ``at``); None = it did not see it yet."""
    try:
        found = json.loads((folder / FOLDER / f"{number:06d}.obeyed.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def from_reason(reason: str | None) -> tuple[State, str] | None:
    """State and words of a lock's reason ``bascule:halt exchange is slow``; None = it is none of ours."""
    if not reason or not reason.startswith(PREFIX):
        return None
    name, _, words = reason.removeprefix(PREFIX).strip().partition(" ")
    with contextlib.suppress(ValueError):
        return State(name.lower()), words.strip() or "no reason given"
    # a misspelt order was meant as one: better to stand still than to ignore it
    return State.HALT, f"not understood: {reason}"


def send(
    url: str,
    state: State | str,
    *,
    reason: str,
    user: str,
    password: str,
    now: datetime,
    timeout: float = 10.0,
) -> None:
    """Give a command over freqtrade's REST API.

    Args:
        url: of the API server, e.g. ``http://127.0.0.1:8080``.
        state: what shall hold.
        reason: why.
        user: of the API server.
        password: of the API server; it appears in no message.
        now: the time, aware.
        timeout: seconds.

    Raises:
        BridgeError: the bot did not take it.
    """
    import httpx

    chosen = _state(state)
    lock = {
        "pair": "*",
        "side": "*",
        "until": (now + timedelta(days=1)).isoformat(),
        "reason": f"{PREFIX}{chosen} {reason.strip()}"[:_LONGEST_REASON],
    }
    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/api/v1/locks", json=[lock], auth=(user, password), timeout=timeout
        )
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise BridgeError(
            f"the bot refused: status {error.response.status_code}",
            where=url,
            remedy="check user and password of its api_server",
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BridgeError(
            f"the bot does not answer ({type(error).__name__})",
            where=url,
            remedy="check address and api_server, or give the command in its user folder",
        ) from None


def _state(state: State | str) -> State:
    try:
        return State(str(state).lower())
    except ValueError:
        raise SetupError(
            f"unknown state {state!r}", where="emergency", remedy=f"choose {', '.join(State)}"
        ) from None


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Numbers and paths of the commands, ascending."""
    home = folder / FOLDER
    if not home.is_dir():
        return []
    found = [(_NUMBERED.fullmatch(path.name), path) for path in home.iterdir()]
    return sorted((int(match[1]), path) for match, path in found if match)


def _read(number: int, path: Path) -> Command:
    try:
        found = json.loads(path.read_text("utf-8"))
        return Command(
            number,
            State(found["state"]),
            str(found["reason"]),
            str(found["by"]),
            str(found["at"]),
            str(found["source"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Command(number, State.HALT, f"{path.name} cannot be read ({type(error).__name__})", "", "")


def _stamp(now: datetime) -> str:
    if now.tzinfo is None:
        raise SetupError("the time has no zone", where="emergency", remedy="pass an aware datetime")
    return now.isoformat(timespec="seconds")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process."""
    home = folder / FOLDER
    home.mkdir(exist_ok=True)
    with (home / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
