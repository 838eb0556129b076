"""FreqAI, with factor texts for features and any of qlib's models inside.

1. The configuration's key ``bascule.freqai`` says what is learned: factors of the catalogue, the fixed
   universe, label, model, portfolio, rules (``recipe.py``). FreqAI's own block ``freqai`` says when.
2. `FreqaiFactorStrategy` fills FreqAI's ``feature_engineering_*`` hooks with factor values that the engine
   computes for everybody's candles at once, and trades as `FactorStrategy` does (``strategy.py``,
   ``view.py``).
3. `BasculeFreqaiModel` trains one of Bascule's kinds of model, and predicts (``model.py``): *pooled*, one fit
   for the whole universe on an absolute grid of days (``pooled.py``); or one model a pair, as FreqAI does it
   (``single.py``).
4. FreqAI's outlier detection (dissimilarity index, SVM, DBSCAN) judges every row by what is known at it
   (``outliers.py``); who is an outlier is not entered.
5. ``shims/`` holds the two files that freqtrade's loaders want; `runs` writes configurations and runs
   freqtrade with them (``runs.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bascule.bridge.freqtrade.freqai.recipe import FreqaiRecipe, Plan

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.freqai.model import BasculeFreqaiModel
    from bascule.bridge.freqtrade.freqai.strategy import FreqaiFactorStrategy

__all__ = ["SHIMS", "BasculeFreqaiModel", "FreqaiFactorStrategy", "FreqaiRecipe", "Plan"]

SHIMS = Path(__file__).parent / "shims"
"""For ``--strategy-path`` and the configuration's ``freqaimodel_path``."""


def __getattr__(name: str) -> Any:
    """Import strategy and model on first use: they bring freqtrade, which takes seconds."""
    if name == "BasculeFreqaiModel":
        from bascule.bridge.freqtrade.freqai.model import BasculeFreqaiModel

        return BasculeFreqaiModel
    if name == "FreqaiFactorStrategy":
        from bascule.bridge.freqtrade.freqai.strategy import FreqaiFactorStrategy

        return FreqaiFactorStrategy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
