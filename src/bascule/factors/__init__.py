"""Floor 3: libraries of factors as text, to be named, read and searched.

1. `factor.py`: one factor, checked when it is built; a text that reads the future is none.
2. `alpha158.py`, `alpha360.py`: qlib's; ``alpha101.yaml``: WorldQuant's; ``macd.yaml``; ``crypto.yaml``.
3. `catalogue.py`: factors by library, file or entry of a configuration, and finding them.
4. `processors.py`: values made comparable within each row, before a model sees them.
"""

from bascule.factors.catalogue import (
    LIBRARIES,
    Found,
    available,
    library,
    load,
    names,
    require,
    resolve,
    search,
    unique,
)
from bascule.factors.factor import Factor

__all__ = [
    "LIBRARIES",
    "Factor",
    "Found",
    "available",
    "library",
    "load",
    "names",
    "require",
    "resolve",
    "search",
    "unique",
]
