"""Factors for sequence models: each one at several times, as factors of their own.

qlib's sequence models read either one long row (Alpha360's way: feature after feature, oldest first) or
windows cut from a time-series dataset. Here both come from the same columns, ``Ref(text, k)`` for
k = steps − 1 … 0. What a model reads is then all in its factor texts: a live bot computes it from candles
like every other factor, look-back included, and stored and live predictions are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bascule.core import ConfigError
from bascule.factors import Factor


def sequence(factors: Iterable[Factor], steps: int) -> tuple[Factor, ...]:
    """Each factor at ``steps`` times, oldest first: ``NAME_lag2, NAME_lag1, NAME`` for three steps.

    Raises:
        ConfigError: fewer than one step.
    """
    if steps < 1:
        raise ConfigError(f"{steps} steps", where="sequence", remedy="give at least one")
    found: list[Factor] = []
    for factor in factors:
        for lag in range(steps - 1, 0, -1):
            found.append(replace(factor, name=f"{factor.name}_lag{lag}", text=f"Ref({factor.text}, {lag})"))
        found.append(factor)
    return tuple(found)
