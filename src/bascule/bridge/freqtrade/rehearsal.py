"""A prepared bot on stored candles: the replay exchange and the bot, started, watched and ended together.

1. `rehearse` starts a replay exchange on a panel, its clock stepped, its books kept in the bot's folder.
2. The bot of the folder is checked as before any start (`preflight`), at the exchange's time, and run as a
   process of its own that lives in that time (`stepped`). Its configuration is the folder's; only the
   exchange's address and the pause between two looks are laid over it (`OVERLAY`).
3. At the end the books are reconciled. Another rehearsal goes on from there, with trades and balances, unless
   it is to begin afresh.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from bascule.bridge.exchange import (
    AccountSettings,
    FaultPlan,
    Keys,
    ReplayExchange,
    SteppedClock,
    exchange_config,
)
from bascule.bridge.exchange.ledger import FREE, LOCKED
from bascule.bridge.exchange.state import saved_at
from bascule.bridge.freqtrade import credentials, preflight
from bascule.bridge.freqtrade.onceonly import FOLDER
from bascule.core import BridgeError, Moment, Panel, Progress, Settings, SetupError, silent
from bascule.core.files import write_json
from bascule.core.ports import free_port, is_free
from bascule.core.tether import Tethered
from bascule.signals import Bundle

log = logging.getLogger(__name__)
OVERLAY, STATE, PAST, LOG = "rehearsal.json", "exchange.sqlite", "rehearsed.json", "rehearsal.log"
_ENOUGH = 30.0  # seconds that a bot may take to end when told to


class RehearsalSettings(Settings):
    """How a rehearsal goes."""

    hours: float = Field(default=48, gt=0, le=24 * 366, description="length, in hours of the exchange")
    every: int | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="seconds between two looks of the bot; default a sixth of a candle",
    )
    pace: float = Field(default=0, ge=0, le=3_600, description="real seconds that a look takes at least")
    balance: float = Field(default=10_000, gt=0, description="of the stake currency on the exchange")
    fresh: bool = Field(default=False, description="forget the folder's earlier rehearsals")


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal left.

    Attributes:
        begin, end: UTC, of the exchange.
        status: the bot's trades and troubles.
        orders: on the exchange, since its books were opened; 0 if the bot has its own wallet.
        faults: kind → how often it struck.
        balances: of the trader on the exchange, asset → amount, as exact decimals.
        differences: what the exchange's books cannot account for; empty if every unit is.
    """

    begin: np.datetime64
    end: np.datetime64
    status: preflight.Status
    orders: int
    faults: Mapping[str, int]
    balances: Mapping[str, str]
    differences: tuple[str, ...]


def command(folder: Path) -> list[str]:
    """The command line that runs the bot.

    Raises:
        BridgeError: it is no prepared folder.
    """
    return [sys.executable, "-m", "bascule.bridge.freqtrade.launch", *_trade(folder)]


def _trade(folder: Path, *more: Path) -> list[str]:
    values = preflight.configuration(folder)
    files = [part for path in (folder / "config.json", *more) for part in ("--config", str(path))]
    return ["trade", *files, "--userdir", str(folder), "--strategy", str(values["strategy"])]


def rehearse(
    folder: Path,
    panel: Panel,
    *,
    start: Moment | None = None,
    settings: RehearsalSettings | None = None,
    faults: FaultPlan | None = None,
    progress: Progress = silent,
) -> Rehearsal:
    """Let a bot prepared for rehearsals trade the panel's candles.

    Args:
        folder: its user folder (``mode: rehearse``).
        panel: candles, with the bundle's whole look-back before the start.
        start: first moment, UTC; default where the newest model's test window begins. An earlier rehearsal of
            the folder is gone on with instead.
        settings: length, pace, money.
        faults: what goes wrong on the way.
        progress: hours that are over.

    Raises:
        BridgeError: the folder is not for rehearsals, something in it is bad, the candles do not reach, or
            the bot ended before its time; with its last words.
    """
    settings = settings or RehearsalSettings()
    values = preflight.configuration(folder)
    if values["bot_name"] != "bascule-rehearse":
        raise SetupError(
            f"{values['bot_name']} is not for rehearsals",
            where=str(folder),
            remedy="bascule trade prepare … --mode rehearse",
        )
    bundle = Bundle.open(values["bascule"]["bundle"])
    begin = _begin(folder, bundle, start, fresh=settings.fresh)
    end = begin + np.timedelta64(round(settings.hours * 3_600), "s")
    _reaches(panel, bundle, begin, end)
    environment = credentials.load(folder)
    _ready(folder, environment, begin)
    with _exchange(folder, panel, bundle, values, environment, begin, settings, faults) as exchange:
        every = settings.every or max(1, bundle.spec.bar.seconds // 6)
        overlay = {
            "exchange": exchange_config(exchange.url, bundle.spec.market),
            "internals": {**values["internals"], "process_throttle_secs": every},
            "api_server": _server(values["api_server"]),
        }
        write_json(folder / OVERLAY, overlay)
        try:
            _run(folder, exchange, end, settings.pace, environment, progress)
        finally:
            write_json(folder / PAST, {"begin": str(begin), "end": str(exchange.market.clock())})
        return _left(folder, exchange, begin, end)


def _server(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The bot's REST server; where somebody has its port, a live bot perhaps, on another."""
    port, address = int(wanted["listen_port"]), str(wanted["listen_ip_address"])
    if wanted["enabled"] and not is_free(port, address):
        port = free_port(address)
        log.warning("port %s is in use: the REST server listens on %s", wanted["listen_port"], port)
    return {**wanted, "listen_port": port}


def _exchange(
    folder: Path,
    panel: Panel,
    bundle: Bundle,
    values: Mapping[str, Any],
    environment: Mapping[str, str],
    begin: np.datetime64,
    settings: RehearsalSettings,
    faults: FaultPlan | None,
) -> ReplayExchange:
    return ReplayExchange(
        panel,
        market=bundle.spec.market,
        path="walk",
        clock=SteppedClock(_clock(folder, begin)),
        account=AccountSettings(balances={values["stake_currency"]: Decimal(str(settings.balance))}),
        keys=Keys(
            key=environment.get(credentials.KEY, Keys.key),
            secret=environment.get(credentials.SECRET, Keys.secret),
            check_time=False,
        ),
        faults=faults,
        state=folder / STATE,
    )


def _left(folder: Path, exchange: ReplayExchange, begin: np.datetime64, end: np.datetime64) -> Rehearsal:
    """What there is to say at the end."""
    account, chaos = exchange.account, exchange.service.chaos
    struck: dict[str, int] = {}
    for place, fault in enumerate(chaos.plan.faults):
        struck[fault.kind] = struck.get(fault.kind, 0) + chaos.counts[place]
    held: dict[str, Decimal] = {}
    for (name, asset), amount in account.ledger.balances().items():
        if name in (FREE, LOCKED):
            held[asset] = held.get(asset, Decimal(0)) + amount
    return Rehearsal(
        begin=begin,
        end=end,
        status=preflight.status(folder),
        orders=len(account.orders),
        faults=struck,
        balances={asset: str(amount) for asset, amount in sorted(held.items()) if amount},
        differences=tuple(exchange.differences()),
    )


def _begin(folder: Path, bundle: Bundle, start: Moment | None, *, fresh: bool) -> np.datetime64:
    """Where to begin, the folder's earlier rehearsals forgotten or gone on with."""
    if fresh:
        guards = "bascule/*.trades-rehearse*.guard.json"
        for pattern in ("trades-rehearse*.sqlite*", f"{STATE}*", PAST, guards):
            for path in folder.glob(pattern):
                path.unlink()
        shutil.rmtree(folder / "bascule" / FOLDER, ignore_errors=True)
    last = _left_at(folder)
    if last is not None:
        if start is not None:
            raise SetupError(
                f"this bot has already rehearsed until {_minute(last)}",
                where=str(folder),
                remedy="leave --start out to go on from there, or begin anew with --fresh",
            )
        return bundle.spec.bar.floor(last)
    return bundle.spec.bar.floor(bundle.manifest.models[-1].test.times[0] if start is None else start)


def _clock(folder: Path, begin: np.datetime64) -> np.datetime64:
    """The exchange's time at the start: the candle before has just closed, or where it was interrupted."""
    closed = begin + np.timedelta64(2, "s")
    last = _left_at(folder)
    return closed if last is None else max(closed, last)


def _left_at(folder: Path) -> np.datetime64 | None:
    """The exchange's time at the end of the folder's earlier rehearsal; None = there was none."""
    past = folder / PAST
    told = np.datetime64(json.loads(past.read_text("utf-8"))["end"], "ns") if past.is_file() else None
    # one that was killed could not tell, but its books have the time
    return max((at for at in (told, saved_at(folder / STATE)) if at is not None), default=None)


def _reaches(panel: Panel, bundle: Bundle, begin: np.datetime64, end: np.datetime64) -> None:
    bar = bundle.spec.bar
    first, last = begin - bundle.lookback * bar.delta, panel.time[-1] + bar.delta
    if panel.time[0] > first or end > last:
        raise SetupError(
            f"the candles reach from {_minute(panel.time[0])} to {_minute(last)}, the rehearsal takes those "
            f"from {_minute(first)} ({bundle.lookback} of look-back) to {_minute(end)}",
            where="candles",
            remedy="choose another start, fewer hours, or a store with more candles",
        )
    missing = sorted(set(bundle.instruments) - set(panel.instruments))
    if missing:
        raise SetupError(
            f"there are no candles of {', '.join(missing[:5])}",
            where="candles",
            remedy="use the store that the bundle was made from",
        )


def _minute(moment: np.datetime64) -> str:
    return str(moment)[:16]


def _ready(folder: Path, environment: Mapping[str, str], begin: np.datetime64) -> None:
    now = datetime.fromtimestamp(int(begin.astype("datetime64[s]").astype(np.int64)), UTC)
    bad = [one for one in preflight.check(folder, environment, now=now) if one.mark == "bad"]
    if bad:
        raise SetupError(
            "; ".join(f"{one.what}: {one.said}" for one in bad),
            where=str(folder),
            remedy="mend it; bascule trade check shows all that is looked at",
        )


def _run(
    folder: Path,
    exchange: ReplayExchange,
    end: np.datetime64,
    pace: float,
    environment: Mapping[str, str],
    progress: Progress,
) -> None:
    """The bot from its start to its end."""
    line = [exchange.url, "--until", str(end)[:19]]
    if pace:
        line += ["--pace", str(pace)]
    clock, begin = exchange.market.clock, exchange.market.clock()
    hours = max(1, round((end - begin) / np.timedelta64(1, "h")))
    log = folder / "logs" / LOG
    with log.open("wb") as stream:
        bot = Tethered(
            "bascule.bridge.freqtrade.stepped",
            [*line, *_trade(folder, folder / OVERLAY)],
            env=dict(environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            while bot.poll() is None:
                now = clock()
                progress(int((now - begin) / np.timedelta64(1, "h")), hours, _minute(now))
                time.sleep(0.2)
        finally:
            _stop(bot)
    if bot.returncode not in (0, 130) or clock() < end:
        tail = log.read_text("utf-8", errors="replace").strip().splitlines()[-8:]
        raise BridgeError(
            f"the bot ended at {_minute(clock())} with code {bot.returncode}:\n" + "\n".join(tail),
            where=str(log),
            remedy="its log says more",
        )
    progress(hours, hours, _minute(end))


def _stop(bot: Tethered) -> None:
    if bot.poll() is not None:
        return
    bot.terminate()
    try:
        bot.wait(_ENOUGH)
    except subprocess.TimeoutExpired:
        bot.end()
