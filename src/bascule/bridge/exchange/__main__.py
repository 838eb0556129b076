"""``python -m bascule.bridge.exchange``: serve a store, or bare instruments, until interrupted.

Prints the URL as its first line, so that a parent process can read it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from bascule.bridge.exchange.market import Clock, wall_clock
from bascule.bridge.exchange.server import ReplayExchange
from bascule.core import BasculeError, Panel, Timeframe, moment


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, serve, wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bascule.bridge.exchange", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--store", help="folder of a Bascule store to replay")
    source.add_argument(
        "--instruments", nargs="+", help="store ids or pairs, for runs that ask for no candles"
    )
    parser.add_argument("--timeframe", default="1h", help="timeframe of the store (default 1h)")
    parser.add_argument("--market", choices=("spot", "futures"), default="spot")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--now", help="freeze the clock at this UTC time, e.g. 2024-03-01T12:00")
    chosen = parser.parse_args(arguments)
    try:
        with ReplayExchange(
            _source(chosen), clock=_clock(chosen.now), market=chosen.market, port=chosen.port
        ) as exchange:
            sys.stdout.write(f"{exchange.url}\n")
            sys.stdout.flush()
            _wait()
    except BasculeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _source(chosen: argparse.Namespace) -> Panel | Sequence[str]:
    if chosen.instruments:
        return list(chosen.instruments)
    from pathlib import Path

    from bascule.data.store import Store

    panel: Panel = Store.open(Path(chosen.store)).panel(
        Timeframe.parse(chosen.timeframe, where="--timeframe")
    )
    return panel


def _clock(frozen: str | None) -> Clock:
    if frozen is None:
        return wall_clock
    now = moment(frozen)
    return lambda: now


def _wait() -> None:
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
