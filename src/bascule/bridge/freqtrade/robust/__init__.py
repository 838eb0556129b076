"""Robustness: does a bundle earn its money in other regimes, at other costs, a little later, by other luck?

`study` runs all tests of a `RobustSettings` and returns a `Report` with one `Verdict` a test (``study.py``
says how). The wide grids run in a vectorised simulator, key points in the real freqtrade.
"""

from bascule.bridge.freqtrade.robust.book import Held, Market, Scenario, Trades, hold
from bascule.bridge.freqtrade.robust.cells import Cell
from bascule.bridge.freqtrade.robust.histories import Histories, resample
from bascule.bridge.freqtrade.robust.keypoints import TITLES, Point
from bascule.bridge.freqtrade.robust.settings import KeyPoint, Limits, RobustSettings
from bascule.bridge.freqtrade.robust.study import Report, study
from bascule.bridge.freqtrade.robust.verdict import Outcome, Slice, Verdict

__all__ = [
    "TITLES",
    "Cell",
    "Held",
    "Histories",
    "KeyPoint",
    "Limits",
    "Market",
    "Outcome",
    "Point",
    "Report",
    "RobustSettings",
    "Scenario",
    "Slice",
    "Trades",
    "Verdict",
    "hold",
    "resample",
    "study",
]
