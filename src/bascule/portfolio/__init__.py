"""Floor 5: from ranks and risk to target weights (`weights.py`), and what they earn (`simulation.py`)."""

from bascule.portfolio.simulation import Simulation, equal_hold, leader_hold, simulate
from bascule.portfolio.weights import PortfolioSettings, target_weights

__all__ = [
    "PortfolioSettings",
    "Simulation",
    "equal_hold",
    "leader_hold",
    "simulate",
    "target_weights",
]
