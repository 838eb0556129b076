"""Floor 4: how dangerous each instrument is, and the market as a whole.

`settings.py` says over which windows, `windows.py` sums over them in a fixed order; `scores.py` opens with
the algorithm.
"""

from bascule.risk.scores import Regime, RiskScores, compute
from bascule.risk.settings import RiskSettings, lookback

__all__ = ["Regime", "RiskScores", "RiskSettings", "compute", "lookback"]
