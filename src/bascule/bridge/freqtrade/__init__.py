"""freqtrade, with signals from a bundle.

1. `config.build` writes down the whole configuration of a run: dry wallet, costs, pairs, exchange block, and
   the key ``bascule`` that names the bundle (``config.py``).
2. `run.workspace` lays out a user_data folder: the configuration and a three-line strategy file (``run.py``).
3. freqtrade, as a process of its own and with its own command line, loads that file, and through it
   `FactorStrategy`, which reads signals and nothing else (``strategy.py``, ``feed.py``). Where it needs an
   exchange, the replay exchange answers.
4. `run.backtest` returns what `results.load` reads from freqtrade's result file; `run.lookahead` and
   `run.recursive` return freqtrade's own verdicts on bias (``results.py``, ``bias.py``), `wholebook.analyse`
   ours on orders of the whole book.
5. Whatever goes wrong inside becomes one `BridgeError` with freqtrade's own words.
6. `prepare.prepare` writes the user folder of a bot for rehearsal, dry run or live; `preflight` looks at it.
   Bots run `GuardedStrategy` (safe mode, second data venue: ``guarded.py``, ``failover.py``, ``venues.py``)
   or `ConsumerStrategy` (``consumer.py``), place every order once (``onceonly.py``, ``launch.py``), compare
   their books with the exchange's (``reconcile.py``), and can live in a replay exchange's time
   (``stepped.py``). ``credentials.py`` says which variables hold secrets, ``secrets.py`` keeps them out of
   logs and finds them.
7. `livecheck` and `livesignals` lay a bot beside its backtest; ``robust/`` asks what becomes of a bundle when
   the world is a little different.

A strategy file of one's own is three lines::

    from bascule.bridge.freqtrade import FactorStrategy

    class MyAlpha(FactorStrategy):
        bundle = "bundles/current"

Without ``bundle`` the path is taken from the configuration, key ``bascule.bundle``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.strategy import FactorStrategy

__all__ = ["FactorStrategy"]


def __getattr__(name: str) -> Any:
    """Import the strategy on first use: it brings freqtrade, which takes seconds."""
    if name == "FactorStrategy":
        from bascule.bridge.freqtrade.strategy import FactorStrategy

        return FactorStrategy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
