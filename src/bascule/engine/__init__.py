"""Plans factor expressions and evaluates them over a panel: the same bits in research, backtest and live.

`compile` → `Plan`, `evaluate` → float32 ``[F, T, N]``. See `plan` and `execute` for the algorithm.

Dialects differ only where qlib's own rule is unsound:

====================  =====================================  ===========================================
rule                  ``"bascule"`` (default)                ``"qlib"``
====================  =====================================  ===========================================
`Rsquare`, `Corr` of  NaN where the standard deviation is    NaN where it is at most 2e-5, whatever the
a flat window         rounding, relative to the level        price; for `Corr` that of each side alone
`Skew`, `Kurt` of     the same                               NaN where the variance is at most 1e-14
a flat window
`If` on a NaN         NaN                                    the left value
float condition
====================  =====================================  ===========================================
"""

from bascule.engine.correlate import Correlations, ic
from bascule.engine.execute import Executor, evaluate
from bascule.engine.native import evaluate_lanes
from bascule.engine.native_run import buffer
from bascule.engine.plan import Dialect, Graph, Plan, Span, Stage, Step, compile
from bascule.engine.stream import Reader, pieces, write_npy

__all__ = [
    "Correlations",
    "Dialect",
    "Executor",
    "Graph",
    "Plan",
    "Reader",
    "Span",
    "Stage",
    "Step",
    "buffer",
    "compile",
    "evaluate",
    "evaluate_lanes",
    "ic",
    "pieces",
    "write_npy",
]
