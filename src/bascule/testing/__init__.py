"""What a user's own operator, factor, model, source or searcher must hold, tried on awkward data.

1. `markets.py`: a small market with gaps, a halt, late and dead instruments, ties, a constant stretch, a
   spike and a changing universe.
2. `laws.py`: what holds for every expression: no look-ahead, the same bits in every window of rows, nothing
   of other instruments, nothing before the listing, a faithful text. Bascule's tests hold its own operators
   to them by these very functions.
3. `parts.py`: what holds for models, sources and searchers.
4. `check` tries all parts of an extension; ``bascule extension check FILE`` prints what it finds.
"""

from bascule.testing.laws import LAWS, Finding, examples, expression, operator
from bascule.testing.markets import untidy
from bascule.testing.parts import check, factors, model, searcher, source

__all__ = [
    "LAWS",
    "Finding",
    "check",
    "examples",
    "expression",
    "factors",
    "model",
    "operator",
    "searcher",
    "source",
    "untidy",
]
