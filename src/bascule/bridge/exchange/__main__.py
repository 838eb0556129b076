"""``python -m bascule.bridge.exchange``: serve a store, or bare instruments, until interrupted.

Prints the URL as its first line, so that a parent can read it. ``bascule exchange serve`` is the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bascule.bridge.exchange.clock import REAL_TIME
from bascule.bridge.exchange.launch import build, forever, source_of
from bascule.core import BasculeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, serve, wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bascule.bridge.exchange", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--store", type=Path, help="folder of a Bascule store to replay")
    source.add_argument(
        "--instruments", nargs="+", help="store ids or pairs, for runs that ask for no candles"
    )
    parser.add_argument("--timeframe", default="1h", help="timeframe of the store (default 1h)")
    parser.add_argument("--market", choices=("spot", "futures"), default="spot")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--clock", default=REAL_TIME, help="real, step, or a speed such as x60")
    parser.add_argument("--start", help="where the clock begins (UTC), e.g. 2024-03-01T12:00")
    parser.add_argument("--now", help="a clock that stands still there: --clock step --start")
    parser.add_argument("--path", choices=("open", "walk"), default="walk", help="of the forming candle")
    parser.add_argument("--balance", action="append", default=[], help="e.g. USDT=10000 (repeatable)")
    parser.add_argument("--faults", type=Path, help="fault plan (YAML)")
    parser.add_argument("--state", type=Path, help="file that keeps the account over restarts")
    chosen = parser.parse_args(arguments)
    try:
        exchange = build(
            source_of(chosen.store, chosen.instruments, chosen.timeframe, chosen.market),
            market=chosen.market,
            port=chosen.port,
            clock="step" if chosen.now else chosen.clock,
            start=chosen.now or chosen.start,
            path=chosen.path,
            balances=chosen.balance,
            faults=chosen.faults,
            state=chosen.state,
        )
        forever(exchange, _say)
    except BasculeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
