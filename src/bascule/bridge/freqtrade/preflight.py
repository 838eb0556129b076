"""What has to be right before a bot starts, and how one is doing.

`check` looks at a prepared user folder and says of each thing whether it is good, doubtful or bad. It changes
nothing and talks to nobody but the exchange's clock. `status` reads what a bot left in its folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from freqtrade.enums import RunMode

from bascule.bridge.freqtrade import credentials, emergency, launch, livecheck, prepare
from bascule.bridge.freqtrade.secrets import SHORTEST, scan, secrets_of
from bascule.bridge.freqtrade.trust import require_trusted
from bascule.bridge.freqtrade.venues import LARGEST_SKEW
from bascule.core import BasculeError, BridgeError, SetupError, moment
from bascule.core.ports import is_free
from bascule.signals import Bundle

Mark = Literal["good", "doubtful", "bad"]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|true|false|t|f", re.IGNORECASE)
_LENGTHS = {credentials.PASSWORD: 12, credentials.JWT: 32, credentials.WS_TOKEN: 16}
_LOG_TAIL = 200_000  # bytes
_TROUBLES = 5  # newest ones that are told
_LONGEST_LINE = 240  # characters; an exchange's answer may be a page
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
_ENTRY = re.compile(
    rf"^(?P<time>{_TIME}) - (?P<name>\S+) - (?P<level>[A-Z]+) - (?P<text>.*?)(?=^{_TIME} - |\Z)",
    re.DOTALL | re.MULTILINE,
)
# the last line of a traceback that is not indented: the exception that was not answered, and its message
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:: |$).*", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        mark: good, doubtful, bad.
        said: what was found, and for anything but good what to do.
    """

    what: str
    mark: Mark
    said: str


def configuration(folder: Path) -> dict[str, Any]:
    """The configuration of a prepared folder.

    Raises:
        BridgeError: it is no prepared folder.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise SetupError(
            f"cannot be read: {error}", where=str(path), remedy="run: bascule trade prepare"
        ) from None
    if not isinstance(values, dict) or "bascule" not in values:
        raise SetupError("was not written by bascule", where=str(path), remedy="run: bascule trade prepare")
    return values


def check(
    folder: Path,
    environment: Mapping[str, str],
    *,
    now: datetime,
    skew: Callable[[], float] | None = None,
    starting: bool = False,
) -> tuple[Finding, ...]:
    """Look at everything that a start needs.

    Args:
        folder: prepared user folder.
        environment: of the bot, ``.env`` included (`credentials.load`).
        now: the time, aware.
        skew: asks the exchange's clock, in seconds ahead of ours; None leaves that out.
        starting: the bot is started now: nobody may listen on its port.

    Raises:
        BridgeError: it is no prepared folder.
    """
    values = configuration(folder)
    found = [
        _validated(values, environment),
        *_secrets(values, environment),
        _clean(folder, environment),
        _bundle(values, now),
        _database(values),
        _emergency(folder),
        *_server(values, starting=starting),
    ]
    if not values.get("dry_run") and "available_capital" not in values:
        found.append(
            Finding("capital", "doubtful", "the bot may use the whole account: prepare with --capital")
        )
    name = str(values["exchange"]["name"])
    if not values.get("dry_run") and name != launch.EXCHANGE:
        said = f"on {name} one whose answer is lost may be placed twice, and books are not compared"
        found.append(Finding("orders", "doubtful", said))
    if skew is not None:
        found.append(_clock(skew))
    return tuple(found)


def _validated(values: Mapping[str, Any], environment: Mapping[str, str]) -> Finding:
    try:
        prepare.validate(values, environment)
    except BridgeError as error:
        return Finding("configuration", "bad", error.message)
    return Finding("configuration", "good", "freqtrade takes it")


def _secrets(values: Mapping[str, Any], environment: Mapping[str, str]) -> list[Finding]:
    wanted = [credentials.PASSWORD, credentials.JWT]
    if not values.get("dry_run"):
        wanted += [credentials.KEY, credentials.SECRET]
    if values["bascule"].get("role") == "producer":
        wanted.append(credentials.WS_TOKEN)
    if (values.get("external_message_consumer") or {}).get("enabled"):
        wanted.append(credentials.PRODUCERS)
    if (values.get("telegram") or {}).get("enabled"):
        wanted += [credentials.TELEGRAM, credentials.CHAT]
    found = []
    for name in wanted:
        value = environment.get(name, "")
        if not value:
            found.append(Finding(name, "bad", "not set: put it into .env"))
        elif len(value) < _LENGTHS.get(name, SHORTEST):
            found.append(
                Finding(
                    name, "bad", f"shorter than {_LENGTHS.get(name, SHORTEST)} characters: take a longer one"
                )
            )
        elif _NUMBER.fullmatch(value) and not name.endswith(("PASSWORD", "CHAT_ID")):
            found.append(
                Finding(name, "bad", "freqtrade would read it as a number: take one with letters in it")
            )
        else:
            found.append(Finding(name, "good", "set"))
    return found


def _clean(folder: Path, environment: Mapping[str, str]) -> Finding:
    """No secret in any file but ``.env``."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".env"]
    leaks = scan(files, secrets_of(environment))
    if not leaks:
        return Finding("leaks", "good", f"no secret in {len(files)} files")
    first = leaks[0]
    more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
    return Finding("leaks", "bad", f"{first.name} in {first.path}{more}: remove it, and make a new secret")


def _bundle(values: Mapping[str, Any], now: datetime) -> Finding:
    try:
        bundle = Bundle.open(values["bascule"]["bundle"])
        require_trusted(bundle, {**values, "runmode": RunMode.DRY_RUN if values["dry_run"] else RunMode.LIVE})
    except BasculeError as error:
        return Finding("bundle", "bad", str(error))
    window = bundle.manifest.models[-1].test
    begun, end = window.times
    today = moment(now)
    if today < begun:
        return Finding("bundle", "bad", f"its newest model is for {window.start} and later")
    age = (today - end) / np.timedelta64(1, "D")
    length = (end - begun) / np.timedelta64(1, "D")
    # a model is meant for its own test window; one more is what a late retraining may take
    if age > length:
        return Finding("bundle", "doubtful", f"its newest model was meant for up to {window.end}: train anew")
    return Finding("bundle", "good", f"{bundle.id}, newest model from {window.start}")


def _database(values: Mapping[str, Any]) -> Finding:
    path = Path(str(values["db_url"]).removeprefix("sqlite:///"))
    if not path.is_file():
        return Finding("database", "good", f"{path.name} will be made")
    try:
        orders = livecheck.read_orders(path)
        count = int(livecheck.read_trades(path)["is_open"].sum())
    except BridgeError as error:
        return Finding("database", "bad", error.message)
    dry = orders["order_id"].astype(str).str.startswith("dry_run")
    if not values.get("dry_run") and dry.any():
        return Finding("database", "bad", "it holds orders of a dry run: move it away")
    return Finding("database", "good", f"{path.name}, {count} open trades are taken up again")


def _emergency(folder: Path) -> Finding:
    given = emergency.in_force(folder)
    if given.state is emergency.State.RUN:
        return Finding("emergency", "good", "none")
    return Finding(
        "emergency", "doubtful", f"{given.state}: {given.reason}; bascule emergency resume ends it"
    )


def _server(values: Mapping[str, Any], *, starting: bool) -> Iterator[Finding]:
    """freqtrade waits for ever, and silently, for a port that somebody else has."""
    server = values.get("api_server") or {}
    if not server.get("enabled"):
        return
    port = int(server["listen_port"])
    if is_free(port, str(server["listen_ip_address"])):
        yield Finding("REST server", "good", f"port {port} is free")
    elif starting:
        yield Finding("REST server", "bad", f"port {port} is in use: prepare the folder with another --port")
    else:
        yield Finding("REST server", "doubtful", f"port {port} is in use: fine if this bot is running")


def _clock(skew: Callable[[], float]) -> Finding:
    try:
        ahead = skew()
    except BridgeError as error:
        return Finding("exchange", "bad", error.message)
    if abs(ahead) > LARGEST_SKEW:
        return Finding("exchange", "bad", f"its clock is {ahead:+.1f} s from ours: set the machine's clock")
    return Finding("exchange", "good", f"answers; its clock is {ahead:+.2f} s from ours")


@dataclass(frozen=True)
class Status:
    """How a bot is doing, from its folder.

    Attributes:
        name: what the bot is called.
        mode: live or dry run.
        open: open trades: pair, side, opened, price, stake.
        closed: closed trades.
        profit: of closed trades, in the stake currency.
        unfilled: orders that are still open.
        last: time of the newest entry in the log, as written; empty = no log.
        errors: errors and warnings in the end of the log, a line each: when, level, message, exception.
        log: where they are in full.
        command: the emergency state.
        bundle: id of the bundle in force.
    """

    name: str
    mode: str
    open: tuple[tuple[str, str, str, float, float], ...]
    closed: int
    profit: float
    unfilled: int
    last: str
    errors: tuple[str, ...]
    log: str
    command: str
    bundle: str


def status(folder: Path) -> Status:
    """Read a bot's folder.

    Raises:
        BridgeError: it is no prepared folder, or its database is damaged.
        BundleError: there is no good bundle.
    """
    values = configuration(folder)
    path = Path(str(values["db_url"]).removeprefix("sqlite:///"))
    rows: tuple[tuple[str, str, str, float, float], ...] = ()
    closed, profit, unfilled = 0, 0.0, 0
    if path.is_file():
        trades, orders = livecheck.read_trades(path), livecheck.read_orders(path)
        held = trades[trades["is_open"]]
        rows = tuple(
            (
                str(one["pair"]),
                "short" if one["is_short"] else "long",
                f"{one['open_date']:%Y-%m-%d %H:%M}",
                float(one["open_rate"]),
                float(one["stake_amount"]),
            )
            for one in held.to_dict("records")
        )
        closed = len(trades) - len(held)
        profit = float(trades.loc[~trades["is_open"], "profit_abs"].fillna(0.0).sum())
        unfilled = int(orders["open"].sum())
    log = folder / "logs" / "freqtrade.log"
    entries = _tail(log)
    troubles = [one for one in entries if one["level"] in ("WARNING", "ERROR", "CRITICAL")]
    given = emergency.in_force(folder)
    return Status(
        name=str(values["bot_name"]),
        mode="dry run" if values.get("dry_run") else "live",
        open=rows,
        closed=closed,
        profit=profit,
        unfilled=unfilled,
        last=entries[-1]["time"] if entries else "",
        errors=tuple(_in_a_line(one) for one in troubles[-_TROUBLES:]),
        log=str(log),
        command=str(given.state),
        bundle=Bundle.open(values["bascule"]["bundle"]).id,
    )


def _tail(path: Path) -> list[dict[str, str]]:
    """The last entries of a log: time, name, level, and text with all that belongs to it."""
    if not path.is_file():
        return []
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _LOG_TAIL))
        text = stream.read().decode("utf-8", "replace")
    return [match.groupdict() for match in _ENTRY.finditer(text)]


def _in_a_line(entry: Mapping[str, str]) -> str:
    """When, how bad, what was said, and of a traceback the exception alone."""
    said, _, trace = entry["text"].partition("\nTraceback (most recent call last):")
    # of exceptions that led to each other the last one counts
    last = trace.rpartition("\nTraceback (most recent call last):")[2]
    raised = _EXCEPTION.search(last)
    words = " ".join((f"{said.rstrip('. ')}: {raised[0]}" if raised else said).split())
    short = words if len(words) <= _LONGEST_LINE else words[: _LONGEST_LINE - 1] + "…"
    return f"{entry['time'][:19]} {entry['level']}: {short}"
