"""``bascule doctor``: whether everything around bascule is as it has to be.

1. `examine` goes through `environment`, `machine` and `ports` (`doctormachine.py`), `stores`, `config`,
   `bundle`, `keys`, `bot` and `clock`. An error that a user can mend becomes a finding, too.
2. A finding is ``ok``, ``warn`` (works, but look at it) or ``fail`` (will not work), with a remedy.
3. Nothing is changed, no secret is printed, and without ``online`` nobody outside is asked.
4. `report` answers with a table, or JSON; exit code 1 if something fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bascule.app.doctormachine import Finding, Mark, environment, judged, machine, ports
from bascule.core import BasculeError, Progress, silent

if TYPE_CHECKING:
    from bascule.core import Timeframe
    from bascule.data.store import Store

STALE = timedelta(days=3)  # of the newest candle of a store of real candles
LOOKED_AT = timedelta(days=30)  # of candles whose health is checked here; `data check` takes all
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Places:
    """What is to be looked at, besides the machine.

    Attributes:
        stores: folders of stores, or of runs with a store; none: those of the runs under ``runs/``.
        config: a run's YAML file.
        bundle: a bundle, or a folder with a current one.
        trusted: public keys that the bundle has to be signed with.
        bot: a bot's user folder.
    """

    stores: tuple[Path, ...] = ()
    config: Path | None = None
    bundle: Path | None = None
    trusted: tuple[Path, ...] = ()
    bot: Path | None = None


def report(places: Places, *, online: bool) -> None:
    """Answer with what was found; exit code 1 if something fails."""
    import typer
    from rich.table import Table
    from rich.text import Text

    from bascule.app.command import Code, answer
    from bascule.app.console import bar

    with bar("Doctor") as progress:
        found = examine(places, now=datetime.now(UTC), environ=os.environ, online=online, progress=progress)
    table = Table("area", "what", "", "found", box=None)
    for one in found:
        said = Text(one.said + (f"\n→ {one.remedy}" if one.remedy else ""))
        table.add_row(one.area, one.what, Text(one.mark, _COLOURS[one.mark]), said)
    count = {mark: sum(one.mark == mark for one in found) for mark in _COLOURS}
    well = count["fail"] == 0
    summary = f"{count['ok']} ok, {count['warn']} warnings, {count['fail']} failures"
    answer({"well": well, "count": count, "findings": found}, table, summary)
    if not well:
        raise typer.Exit(Code.FOUND)


def examine(
    places: Places,
    *,
    now: datetime,
    environ: Mapping[str, str],
    online: bool = False,
    progress: Progress = silent,
) -> tuple[Finding, ...]:
    """Look at everything.

    Args:
        places: what to look at.
        now: the time, aware.
        environ: environment variables.
        online: also ask the venue for its clock, and what the bot's key may do.
        progress: told as the work advances.
    """
    steps: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("environment", environment),
        ("machine", lambda: machine(Path.cwd())),
        ("data", lambda: stores(places.stores, now)),
        ("config", lambda: config(places.config)),
        ("bundle", lambda: bundle(places.bundle, places.trusted, now)),
        ("keys", lambda: keys(environ)),
        ("bot", lambda: bot(places.bot, environ, now, online=online)),
        ("clock", lambda: clock(online=online and places.bot is None)),
        ("ports", ports),
    ]
    found: list[Finding] = []
    for number, (area, look) in enumerate(steps):
        progress(number, len(steps), area)
        try:
            found += look()
        except BasculeError as error:
            place = f"{error.where}: " if error.where else ""
            found.append(Finding(area, area, "fail", f"{place}{error.message}", error.remedy or ""))
    return tuple(found)


# -- what bascule works on -------------------------------------------------------------------------------


def stores(named: Sequence[Path], now: datetime) -> Iterator[Finding]:
    """Whether stores open, are healthy lately, and are fresh."""
    from bascule.data.store import Store

    found = [path / "store" if (path / "store").is_dir() else path for path in named]
    found = found or sorted(path for path in Path("runs").glob("*/store") if path.is_dir())
    if not found:
        yield Finding("data", "stores", "ok", "none under runs/; name others with --store")
    for path in found:
        try:
            store = Store.open(path)
            for timeframe in store.timeframes:
                yield from _candles(store, timeframe, now)
        except BasculeError as error:
            yield Finding("data", str(path), "fail", error.message, error.remedy or "")


def _candles(store: Store, timeframe: Timeframe, now: datetime) -> Iterator[Finding]:
    """Age, and the health of the newest candles, of one timeframe."""
    from bascule.data import health
    from bascule.data.health import HealthSettings
    from bascule.data.synthetic import is_synthetic

    section, what = store.section(timeframe), f"{store.path} {timeframe}"
    if not section.spans:
        yield Finding("data", what, "warn", "no candle", "bascule data update")
        return
    last = max(stop for _, stop in section.spans.values())
    moment = datetime.fromisoformat(last.removesuffix("Z")).replace(tzinfo=UTC)
    made_up = is_synthetic(section.spans)
    age = now - moment
    said = f"{section.rows:,} candles of {len(section.spans)} instruments up to {last}"
    if made_up or age <= STALE:
        yield Finding("data", what, "ok", f"{said}{' (synthetic market)' if made_up else ''}")
    else:
        yield Finding("data", what, "warn", f"{said}, {age.days} days ago", "bascule data update")
    frame = store.frame(timeframe, start=(moment - LOOKED_AT).replace(tzinfo=None).isoformat())
    report = health.check(frame, timeframe, HealthSettings())
    kinds = sorted({issue.name for issue in report.errors})
    days = f"of the last {LOOKED_AT.days} days"
    yield judged(
        "data",
        f"{what} health",
        not kinds,
        f"no error {days}" if not kinds else f"errors {days}: {', '.join(kinds)}",
        f"bascule data check {store.path}",
    )


def config(path: Path | None) -> Iterator[Finding]:
    """Whether a run's file is right, its factors included."""
    if path is None:
        return
    from bascule.app.config import load
    from bascule.factors import resolve

    loaded = load(path)
    count = len(resolve(loaded.factors))
    yield Finding("config", str(path), "ok", f"{count} factors, {loaded.timeframe} candles")


def bundle(path: Path | None, trusted: Sequence[Path], now: datetime) -> Iterator[Finding]:
    """Whether a bundle is whole, signed as is asked, and how old its newest model is."""
    if path is None:
        return
    from bascule.signals import Bundle, signing
    from bascule.signals.manifest import SIGNATURE

    opened = Bundle.open(path)
    yield Finding("bundle", str(path), "ok", f"{opened.id}: whole")
    if trusted:
        name = signing.require_signed(opened.path, trusted)
        yield Finding("bundle", "signature", "ok", f"by key {name}")
    elif (opened.path / SIGNATURE).exists():
        yield Finding("bundle", "signature", "warn", "there is one, not checked", "name its key: --trust")
    else:
        remedy = "bascule bundle sign, before it is traded live"
        yield Finding("bundle", "signature", "warn", "none", remedy)
    window = opened.manifest.models[-1].test
    first, past = (
        datetime.fromisoformat(t.removesuffix("Z")).replace(tzinfo=UTC) for t in (window.start, window.end)
    )
    # a model is meant for its own test window; one more is what a late retraining may take
    fresh = now <= past + (past - first)
    said = f"newest model meant for {window.start} to {window.end}"
    yield judged("bundle", "age", fresh, said, "train anew: bascule model retrain", mark="warn")


# -- trading ---------------------------------------------------------------------------------------------


def keys(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Which secrets are in the environment; never what they are."""
    from bascule.bridge.freqtrade import credentials
    from bascule.signals.signing import KEY_VARIABLE

    for name in (
        credentials.KEY,
        credentials.SECRET,
        credentials.PASSWORD,
        credentials.JWT,
        credentials.TELEGRAM,
    ):
        said = "set" if environ.get(name) else "not set; a bot may have it in its .env"
        yield Finding("keys", name, "ok", said)
    if (place := environ.get(KEY_VARIABLE)) is None:
        return
    path = Path(place)
    if not path.is_file():
        yield Finding("keys", KEY_VARIABLE, "fail", f"{path}: no such file", "bascule bundle keygen FOLDER")
        return
    private = path.stat().st_mode & 0o077 == 0
    said = str(path) if private else f"{path} can be read by others"
    yield judged("keys", KEY_VARIABLE, private, said, f"chmod 600 {path}")


def bot(folder: Path | None, environ: Mapping[str, str], now: datetime, *, online: bool) -> Iterator[Finding]:
    """What `bascule trade check` looks at; online also what the venue's key may do."""
    if folder is None:
        return
    from bascule.bridge.freqtrade import credentials, preflight
    from bascule.bridge.freqtrade.guarded import first_venue

    secrets = credentials.load(folder, environ)
    values = preflight.configuration(folder)
    venue = first_venue(values, values["trading_mode"]) if online else None
    marks: dict[str, Mark] = {"good": "ok", "doubtful": "warn", "bad": "fail"}
    for one in preflight.check(folder, secrets, now=now, skew=None if venue is None else venue.ping):
        yield Finding("bot", one.what, marks[one.mark], one.said)
    if online and not values.get("dry_run"):
        yield _permission(values, secrets)


def _permission(values: Mapping[str, Any], secrets: Mapping[str, str]) -> Finding:
    """Whether the venue's key may do more than it should."""
    import ccxt

    from bascule.bridge.freqtrade import credentials
    from bascule.bridge.freqtrade.keys import permissions

    exchange = values["exchange"]
    settings = {**(exchange.get("ccxt_config") or {}), "timeout": 10_000}
    settings |= {"apiKey": secrets.get(credentials.KEY, ""), "secret": secrets.get(credentials.SECRET, "")}
    found = permissions(getattr(ccxt, exchange["name"])(settings))
    what = "key's permission"
    if found.withdraw is None:
        return Finding(
            "bot", what, "warn", f"not known: {found.said}", "look at the venue's own page of keys"
        )
    if found.withdraw:
        remedy = "make a key that may read and trade only, bound to this machine's address"
        return Finding("bot", what, "fail", "it may withdraw", remedy)
    if not found.bound:
        return Finding("bot", what, "warn", "usable from any address", "bind it to this machine's address")
    return Finding("bot", what, "ok", "may not withdraw, bound to named addresses")


def clock(*, online: bool, skew: Callable[[], float] | None = None) -> Iterator[Finding]:
    """How far the machine's clock is from a venue's."""
    if not online:
        yield Finding("clock", "drift", "ok", "not asked: --online asks the venue")
        return
    from bascule.bridge.freqtrade.venues import LARGEST_SKEW, RestVenue
    from bascule.core import BridgeError

    try:
        ahead = (skew or RestVenue("binance", "spot").ping)()
    except BridgeError as error:
        yield Finding("clock", "drift", "warn", f"offline? {error.message}", "check the connection")
        return
    said, remedy = f"the venue's clock is {ahead:+.2f} s from ours", "set the machine's clock (NTP)"
    yield judged("clock", "drift", abs(ahead) <= LARGEST_SKEW, said, remedy)
