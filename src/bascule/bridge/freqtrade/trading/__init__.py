"""The parts that `FactorStrategy` is composed of. Pure: none of them imports freqtrade.

1. `settings.py`: all settings, configuration key ``bascule.trading``; every part is off by default.
2. What it sees: `source.py` reads candles of the universe into a panel and signals from it; `fusion.py` joins
   signals of a coarser timeframe; `rows.py` finds what was known at a time; `reload.py` takes a new bundle.
3. Whether it enters: `gates.py` asks order book and volume; `limits.py` asks what the whole book may lose;
   `guard.py` watches the drawdown of the book.
4. How much: `sizing.py` rebalances and enters in steps; `gearing.py` chooses leverage; `neutral.py` balances
   long and short, and sizes a hedge leg.
5. At what price: `pricing.py`. When it leaves: `stops.py`. `protections.py` writes down freqtrade's own.
6. `garbage.py`: what all of that leaves behind in memory.
"""

from bascule.bridge.freqtrade.trading.settings import TradingSettings

__all__ = ["TradingSettings"]
