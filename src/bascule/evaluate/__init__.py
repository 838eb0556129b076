"""Floor 3: how good a factor is, and whether it is honest.

1. `labels.py`: the forward return, kept ready for many factors, and the shuffled control.
2. `rows.py`: exact average ranks and correlations, row by row.
3. `ic.py`: IC series and their Newey-West significance; `table.py`: all factors × horizons.
4. `decay.py`, `quantiles.py`, `capacity.py`: how long it lasts; what its quantiles earn before and after
   costs; how much money it carries. `slices.py`, `venues.py`: by regime, year, hour, liquidity tier, venue.
5. `leakage.py`: the leak audit.
6. `significance.py`, `sharpe.py`, `bootstrap.py`, `overfit.py`: what is left when all tries are counted.
7. `splits.py`: purged, embargoed and combinatorial splits; `ledger.py`: the trials that touched a window.
8. `relations.py`: factors beside each other and in a pool; `verdict.py`: all of it against targets.
9. `sheet.py`: the yardstick of a panel, and everything about one factor, in and out of sample.

All take arrays ``[T, N]`` (or ``[F, T, N]``) and count only members of the universe.
"""

from bascule.evaluate.bootstrap import Interval, mean_interval, resampled_means
from bascule.evaluate.capacity import capacity
from bascule.evaluate.decay import Decay, decay
from bascule.evaluate.ic import ICSummary, Part, ic_series, newey_west_lags, newey_west_t, summarise
from bascule.evaluate.labels import Labels, forward_return, shuffle
from bascule.evaluate.leakage import (
    Suspicion,
    SuspicionSettings,
    TruncationReport,
    suspicion,
    truncation,
)
from bascule.evaluate.ledger import Count, Ledger, Trial
from bascule.evaluate.overfit import Overfitting, overfitting
from bascule.evaluate.quantiles import QuantileReturns, quantile_returns
from bascule.evaluate.relations import Pool, Sample, clusters, contributions, pool
from bascule.evaluate.rows import MIN_BREADTH, percentiles, row_ranks, row_sums
from bascule.evaluate.sharpe import (
    SharpeStatistics,
    deflated_sharpe,
    expected_best_sharpe,
    probabilistic_sharpe,
)
from bascule.evaluate.sheet import Sheet, SheetSettings, Yardstick, split_row
from bascule.evaluate.significance import (
    Discoveries,
    benjamini_hochberg,
    deflated_threshold,
    expected_maximum,
    p_values,
)
from bascule.evaluate.slices import by_rows, by_tier, hours, liquidity_tiers, regimes, years
from bascule.evaluate.splits import Split, combinatorial, paths, purged_folds
from bascule.evaluate.table import autocorrelation, table, turnover
from bascule.evaluate.venues import by_venue
from bascule.evaluate.verdict import Colour, Measured, Targets, Verdict, judge, judge_pool, overall, tally

__all__ = [
    "MIN_BREADTH",
    "Colour",
    "Count",
    "Decay",
    "Discoveries",
    "ICSummary",
    "Interval",
    "Labels",
    "Ledger",
    "Measured",
    "Overfitting",
    "Part",
    "Pool",
    "QuantileReturns",
    "Sample",
    "SharpeStatistics",
    "Sheet",
    "SheetSettings",
    "Split",
    "Suspicion",
    "SuspicionSettings",
    "Targets",
    "Trial",
    "TruncationReport",
    "Verdict",
    "Yardstick",
    "autocorrelation",
    "benjamini_hochberg",
    "by_rows",
    "by_tier",
    "by_venue",
    "capacity",
    "clusters",
    "combinatorial",
    "contributions",
    "decay",
    "deflated_sharpe",
    "deflated_threshold",
    "expected_best_sharpe",
    "expected_maximum",
    "forward_return",
    "hours",
    "ic_series",
    "judge",
    "judge_pool",
    "liquidity_tiers",
    "mean_interval",
    "newey_west_lags",
    "newey_west_t",
    "overall",
    "overfitting",
    "p_values",
    "paths",
    "percentiles",
    "pool",
    "probabilistic_sharpe",
    "purged_folds",
    "quantile_returns",
    "regimes",
    "resampled_means",
    "row_ranks",
    "row_sums",
    "shuffle",
    "split_row",
    "summarise",
    "suspicion",
    "table",
    "tally",
    "truncation",
    "turnover",
    "years",
]
