"""The secrets of a bot: which environment variables hold them, and the files that fill those in.

``.env`` of the user folder is the user's own, and the only file that holds a secret; a rehearsal's is made up
where there is none, for its secrets open nothing. ``.env.example`` names the variables.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bascule.bridge.exchange import Keys
from bascule.core import SetupError
from bascule.core.files import atomic_file

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.prepare import PrepareSettings

EXAMPLE = ".env.example"

KEY, SECRET = "FREQTRADE__EXCHANGE__KEY", "FREQTRADE__EXCHANGE__SECRET"
PASSWORD, JWT = "FREQTRADE__API_SERVER__PASSWORD", "FREQTRADE__API_SERVER__JWT_SECRET_KEY"
WS_TOKEN = "FREQTRADE__API_SERVER__WS_TOKEN"  # noqa: S105
TELEGRAM, CHAT = "FREQTRADE__TELEGRAM__TOKEN", "FREQTRADE__TELEGRAM__CHAT_ID"
PRODUCERS = "FREQTRADE__EXTERNAL_MESSAGE_CONSUMER__PRODUCERS"


def required(settings: PrepareSettings) -> dict[str, str]:
    """Environment variables of this bot's secrets: name → what it is."""
    found = {
        PASSWORD: "password of freqtrade's REST server, at least 12 characters",
        JWT: "signs the REST server's sessions, at least 32 characters: openssl rand -hex 32 | sed s/^/k/",
    }
    if settings.mode == "live" or (settings.mode == "rehearse" and not settings.dry_rehearsal):
        found |= {
            KEY: "the exchange's API key; no right to withdraw, bound to this machine's address",
            SECRET: "the key's secret",
        }
    if settings.role == "producer":
        found[WS_TOKEN] = "token that consumers present"
    if settings.telegram:
        found |= {TELEGRAM: "the bot's token", CHAT: "the chat's number"}
    if settings.role == "consumer":
        found[PRODUCERS] = 'JSON: [{"name": "main", "host": "127.0.0.1", "port": 8080, "ws_token": "…"}]'
    return found


def placeholders(settings: PrepareSettings) -> dict[str, str]:
    """Values of the right form for all secrets, to validate a configuration without them."""
    found = dict.fromkeys(required(settings), "x" * 32)
    if PRODUCERS in found:
        found[PRODUCERS] = '[{"name": "main", "host": "127.0.0.1", "port": 8080, "ws_token": "xxxxxxxx"}]'
    return found


def make_up(path: Path, settings: PrepareSettings) -> None:
    """Write secrets of a rehearsal, which open nothing real; a file that is there is left as it is."""
    if path.exists():
        return
    made = {KEY: Keys.key, SECRET: Keys.secret}
    lines = [
        f"{name}={made.get(name) or 'k' + secrets.token_hex(32)}"
        for name in required(settings)
        if name not in (TELEGRAM, CHAT, PRODUCERS)
    ]
    with atomic_file(path) as aside:
        aside.touch(0o600)
        aside.write_text("# made up for rehearsals\n" + "\n".join(lines) + "\n", "utf-8")


def example(settings: PrepareSettings) -> str:
    """Text of ``.env.example``."""
    lines = [
        "# Copy to .env, fill in, chmod 600. `bascule trade start` reads it; no other file holds secrets.",
        "# freqtrade reads a value that looks like a number as one: let a secret have letters in it.",
    ]
    for name, what in required(settings).items():
        lines += [f"# {what}", f"{name}="]
    return "\n".join(lines) + "\n"


def load(folder: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a bot: ``.env`` of its folder, if there is one, under the given variables.

    Raises:
        BridgeError: ``.env`` is no text, a line of it is not NAME=value, or others may read it.
    """
    found = dict(os.environ if environment is None else environment)
    path = folder / ".env"
    if not path.is_file():
        return found
    if path.stat().st_mode & 0o077:
        raise SetupError("others may read this file", where=str(path), remedy=f"chmod 600 {path}")
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"cannot be read: {error}", where=str(path), remedy="save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.replace("_", "").isalnum():
            raise SetupError("is not NAME=value", where=f"{path}, line {number}", remedy="correct the line")
        # a quoted value is the text between the quotes, as a shell reads it
        bare = value.strip()
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
            bare = bare[1:-1]
        found.setdefault(name, bare)
    return found
