"""Floor 5: from ranks, risk and views to target weights, and what they earn.

1. `weights.py`: weights by rank, row by row, the same bits live.
2. `views.py`, `blacklitterman.py`: beliefs on factor premia joined to a prior.
3. `limits.py`, `construct.py`, `quadratic.py`, `convex.py`: optimal weights under named limits;
   `rounding.py`: to what an exchange takes.
   `constructed.py`: such weights in a signal recipe, the same live.
4. `simulation.py` (its arithmetic in `ledger.py`): what weights earn after costs.
"""

from bascule.portfolio.blacklitterman import Posterior, implied_premia, posterior
from bascule.portfolio.construct import (
    Construction,
    ConstructionSettings,
    construct,
    construct_path,
    scenarios,
)
from bascule.portfolio.constructed import ConstructedSettings, constructed_weights
from bascule.portfolio.limits import LimitSettings
from bascule.portfolio.rounding import OrderRules, Rounded, round_weights
from bascule.portfolio.simulation import Frictions, Simulation, equal_hold, leader_hold, simulate
from bascule.portfolio.views import (
    View,
    Views,
    ViewSettings,
    load_views,
    parse_view,
    views_of,
    views_of_alpha,
)
from bascule.portfolio.weights import PortfolioSettings, target_weights

__all__ = [
    "ConstructedSettings",
    "Construction",
    "ConstructionSettings",
    "Frictions",
    "LimitSettings",
    "OrderRules",
    "PortfolioSettings",
    "Posterior",
    "Rounded",
    "Simulation",
    "View",
    "ViewSettings",
    "Views",
    "construct",
    "construct_path",
    "constructed_weights",
    "equal_hold",
    "implied_premia",
    "leader_hold",
    "load_views",
    "parse_view",
    "posterior",
    "round_weights",
    "scenarios",
    "simulate",
    "target_weights",
    "views_of",
    "views_of_alpha",
]
