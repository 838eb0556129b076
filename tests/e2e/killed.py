"""``python -m tests.e2e.killed WHAT URL …``: a stepped bot that dies right behind an order of its own.

WHAT is entry, stop or exit. The exchange has answered; nothing of it has reached the bot's database yet.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from bascule.bridge.freqtrade import onceonly, stepped


def kind(symbol: str, type: str, side: str, params: dict[str, Any]) -> str:
    """What an order is for."""
    if any(name in params for name in ("stopPrice", "triggerPrice")) or type.lower().startswith("stop"):
        return "stop"
    return "entry" if (not params.get("reduceOnly") if ":" in symbol else side == "buy") else "exit"


def main(what: str, rest: list[str]) -> None:
    """Run the bot until its first such order."""
    really = onceonly.OnceOnly.create_order

    def create_order(self: Any, symbol: str, type: str, side: str, *values: Any, **named: Any) -> Any:
        order = really(self, symbol, type, side, *values, **named)
        params = named.get("params") or (values[2] if len(values) > 2 else {}) or {}
        if kind(symbol, type, side, params) == what:
            print(f"\nkilled behind {what} {order['id']}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return order

    onceonly.OnceOnly.create_order = create_order  # type: ignore[method-assign]
    stepped.main(rest)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
