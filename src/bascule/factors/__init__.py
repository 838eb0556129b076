"""Libraries of factors as text: qlib's Alpha158 and Alpha360, and those of YAML files."""

from bascule.factors.catalogue import LIBRARIES, library, load, resolve, unique
from bascule.factors.factor import Factor

__all__ = ["LIBRARIES", "Factor", "library", "load", "resolve", "unique"]
