"""Libraries of factors as text: qlib's Alpha158, Alpha360 and MACD, WorldQuant's Alpha101, crypto factors,
and those of YAML files; with a catalogue to search.
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
