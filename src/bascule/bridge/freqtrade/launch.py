"""``python -m bascule.bridge.freqtrade.launch``: freqtrade, with leverage tiers for pairs it knows none of.

freqtrade carries the leverage tiers of today's Binance perpetuals in a file and refuses to backtest any other
pair: delisted perpetuals (leaving them out is survivorship bias) and invented ones. For the pairs named in
the configuration, key ``bascule.assumed_tiers``, this adds one cautious tier, and changes nothing else. It is
used only where such pairs are; any other run is freqtrade as installed.
"""

from __future__ import annotations

import sys
from typing import Any

# low leverage and a high maintenance margin: liquidated earlier than any real tier would
ASSUMED_TIER = {
    "minNotional": 0.0,
    "maxNotional": 1e12,
    "maintenanceMarginRate": 0.1,
    "maxLeverage": 5.0,
    "info": {"cum": 0.0},  # what freqtrade subtracts from the maintenance margin
}


def main() -> None:
    """Patch and run freqtrade's own main."""
    # freqtrade's resolver looks the class up by its name in this package
    from freqtrade import exchange
    from freqtrade.main import main as run

    class WithAssumedTiers(exchange.Binance):
        def load_leverage_tiers(self) -> dict[str, list[dict[str, Any]]]:
            tiers: dict[str, list[dict[str, Any]]] = super().load_leverage_tiers()
            for pair in (self._config.get("bascule") or {}).get("assumed_tiers", []):
                tiers.setdefault(pair, [dict(ASSUMED_TIER)])
            return tiers

    exchange.Binance = WithAssumedTiers
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
