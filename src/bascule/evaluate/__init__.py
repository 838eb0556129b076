"""Floor 3: how good a factor is, and whether it is honest.

1. `labels.py`: the forward return, and the shuffled control.
2. `rows.py`: exact average ranks and correlations, row by row.
3. `ic.py`: IC series and their Newey-West significance; `table.py`: all factors × horizons.
4. `decay.py`, `quantiles.py`: how long it lasts; what its quantiles earn before and after costs.
5. `leakage.py`: the leak audit.

All take arrays ``[T, N]`` (or ``[F, T, N]``) and count only members of the universe.
"""

from bascule.evaluate.decay import Decay, decay
from bascule.evaluate.ic import ICSummary, ic_series, newey_west_lags, newey_west_t, summarise
from bascule.evaluate.labels import forward_return, shuffle
from bascule.evaluate.leakage import (
    Suspicion,
    SuspicionSettings,
    TruncationReport,
    suspicion,
    truncation,
)
from bascule.evaluate.quantiles import QuantileReturns, quantile_returns
from bascule.evaluate.rows import MIN_BREADTH, percentiles, row_ranks, row_sums
from bascule.evaluate.table import table, turnover

__all__ = [
    "MIN_BREADTH",
    "Decay",
    "ICSummary",
    "QuantileReturns",
    "Suspicion",
    "SuspicionSettings",
    "TruncationReport",
    "decay",
    "forward_return",
    "ic_series",
    "newey_west_lags",
    "newey_west_t",
    "percentiles",
    "quantile_returns",
    "row_ranks",
    "row_sums",
    "shuffle",
    "summarise",
    "suspicion",
    "table",
    "truncation",
    "turnover",
]
