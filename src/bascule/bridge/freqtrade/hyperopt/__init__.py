"""Hyper-optimisation of the strategy's thresholds that counts its tries and is judged out of sample.

1. `losses.py`: what freqtrade's optimiser minimises: the deflated Sharpe ratio, Calmar after more costs, the
   worst market regime; all of the equity marked to market at every candle, by day.
2. `walkforward.py`: optimise on a window with ``freqtrade hyperopt``, test on the next with ``freqtrade
   backtesting``, and so on; resumable, seeded; every set of parameters goes to the trial ledger.
   `outcomes.py`: its settings and what came of it, as kept on disk.
3. `stability.py`: do the parameters stay where they were, and are their neighbours as good?
4. ``shims/`` holds the files that freqtrade's loader of losses wants (``--hyperopt-path``).
"""

from __future__ import annotations

from pathlib import Path

from bascule.bridge.freqtrade.hyperopt.outcomes import (
    Epoch,
    Fold,
    HyperoptSettings,
    Outcome,
    WalkForward,
    stored,
)
from bascule.bridge.freqtrade.hyperopt.stability import Parameter, Stability, stability
from bascule.bridge.freqtrade.hyperopt.walkforward import folds, walk_forward

__all__ = [
    "SHIMS",
    "Epoch",
    "Fold",
    "HyperoptSettings",
    "Outcome",
    "Parameter",
    "Stability",
    "WalkForward",
    "folds",
    "stability",
    "stored",
    "walk_forward",
]

SHIMS = Path(__file__).parent / "shims"
"""For freqtrade's ``--hyperopt-path``."""
