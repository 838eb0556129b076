"""``python -m bascule.bridge.freqtrade.launch``: freqtrade, with what our runs need besides.

1. Leverage tiers for pairs it knows none of. freqtrade carries those of today's Binance perpetuals in a file
   and refuses to backtest any other pair: delisted perpetuals (leaving them out is survivorship bias) and
   invented ones. For the pairs named in the configuration, key ``bascule.assumed_tiers``, one cautious tier
   is added. Runs with an account ask the exchange and are left as they are.
2. Orders that are placed once, whatever happens to the exchange's answer (`onceonly.py`). Runs that place no
   orders are left as they are, and so is any exchange but Binance: the others name orders in other ways.
3. A live bot compares its books with the exchange's when it starts and every few minutes (`reconcile.py`;
   settings: configuration key ``bascule.reconcile``).
4. A bot whose REST server cannot start, because somebody else has its port, ends. freqtrade would wait for
   ever.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule.core import BasculeError

EXCHANGE = "binance"  # freqtrade's name of the one whose orders are placed once
# low leverage and a high maintenance margin: liquidated earlier than any real tier would
ASSUMED_TIER = {
    "minNotional": 0.0,
    "maxNotional": 1e12,
    "maintenanceMarginRate": 0.1,
    "maxLeverage": 5.0,
    "info": {"cum": 0.0},  # what freqtrade subtracts from the maintenance margin
}


def install(*, trading: bool = False) -> None:
    """Put our exchange class in the place of freqtrade's, and for a bot that trades our bot class too."""
    # freqtrade's resolver looks the class up by its name in this package
    from freqtrade import exchange
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade.onceonly import FOLDER, OnceOnly
    from bascule.bridge.freqtrade.reconcile import known_order

    class Completed(exchange.Binance):
        once: OnceOnly | None = None

        def __init__(self, config: dict[str, Any], **options: Any) -> None:
            super().__init__(config, **options)
            if config.get("runmode") == RunMode.LIVE and not config["dry_run"]:
                folder = Path(config["user_data_dir"]) / "bascule" / FOLDER
                self.once = OnceOnly(self._api, folder, known_order)
                self._api.create_order = self.once.create_order
                self._api.cancel_order = self.once.cancel_order

        def create_order(self, *, leverage: float, **rest: Any) -> Any:
            if self.once is not None:
                self.once.leverage = leverage
            return super().create_order(leverage=leverage, **rest)

        def load_leverage_tiers(self) -> dict[str, list[dict[str, Any]]]:
            tiers: dict[str, list[dict[str, Any]]] = super().load_leverage_tiers()
            for pair in (self._config.get("bascule") or {}).get("assumed_tiers", []):
                tiers.setdefault(pair, [dict(ASSUMED_TIER)])
            return tiers

    Completed.__name__ = Completed.__qualname__ = "Binance"
    exchange.Binance = Completed
    if trading:
        _install_bot()


def _install_bot() -> None:
    from freqtrade import worker
    from freqtrade.exceptions import OperationalException

    from bascule.bridge.freqtrade.reconcile import Reconciler
    from bascule.bridge.freqtrade.strays import ReconcileSettings

    class Reconciling(worker.FreqtradeBot):
        _reconciler: Reconciler | None = None

        def startup(self) -> None:
            super().startup()
            once = getattr(self.exchange, "once", None)
            if once is None:
                return
            try:
                given = (self.config.get("bascule") or {}).get("reconcile") or {}
                settings = ReconcileSettings.read(given, where="bascule.reconcile")
            except BasculeError as error:
                raise OperationalException(str(error)) from None
            self._reconciler = Reconciler(self, once, settings, Path(self.config["user_data_dir"]))
            self._reconciler.look(datetime.now(UTC), starting=True)

        def process(self) -> None:
            super().process()
            if self._reconciler is not None:
                self._reconciler.look(datetime.now(UTC))

    worker.FreqtradeBot = Reconciling
    _end_without_server()


def _end_without_server() -> None:
    """Let a server's start end with its thread; freqtrade looks at nothing but whether it has started."""
    from freqtrade.rpc.api_server.uvicorn_threaded import UvicornServer

    def run_in_thread(self: Any) -> None:
        self.thread = threading.Thread(target=self.run, name="FTUvicorn")
        self.thread.start()
        while not self.started:
            if not self.thread.is_alive():
                raise SystemExit(f"no REST server can listen on port {self.config.port}: is it in use?")
            time.sleep(1e-3)

    UvicornServer.run_in_thread = run_in_thread


def main() -> None:
    """Install and run freqtrade's own main."""
    from freqtrade.main import main as run

    install(trading=sys.argv[1:2] == ["trade"])
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
