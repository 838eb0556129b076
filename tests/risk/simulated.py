"""Markets made of known factors, to see whether the models find them again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bascule.core import Panel, Timeframe
from bascule.risk import Exposures


@dataclass(frozen=True)
class Truth:
    """What the market was made of."""

    panel: Panel
    exposures: Exposures
    factor_returns: np.ndarray  # [T, K]
    premia: np.ndarray  # [K] per bar
    covariance: np.ndarray  # [K, K] per bar
    specific: np.ndarray  # [N] deviations per bar


def factor_market(seed: int, rows: int, width: int, *, missing: float = 0.0) -> Truth:
    """Returns = X f + u with a market and three styles; exposures move slowly."""
    random = np.random.default_rng(seed)
    names = ("market", "alpha", "bravo", "charlie")
    deviations = np.array([0.010, 0.004, 0.003, 0.002])
    correlation = np.array([[1, 0.3, 0, -0.2], [0.3, 1, 0.1, 0], [0, 0.1, 1, 0.4], [-0.2, 0, 0.4, 1.0]])
    covariance = correlation * np.outer(deviations, deviations)
    premia = np.array([0.0, 0.0006, 0.0, -0.0004])
    factors = random.multivariate_normal(premia, covariance, rows)
    style = np.empty((3, rows, width))
    style[:, 0] = random.standard_normal((3, width))
    for t in range(1, rows):
        style[:, t] = 0.995 * style[:, t - 1] + 0.1 * random.standard_normal((3, width))
    style -= style.mean(axis=2, keepdims=True)
    style /= style.std(axis=2, keepdims=True)
    values = np.concatenate([np.ones((1, rows, width)), style]).astype(np.float32)
    specific = random.uniform(0.004, 0.02, width)
    returns = random.standard_normal((rows, width)) * specific
    returns[1:] += np.einsum("ktn,tk->tn", values[:, :-1].astype(float), factors[1:])
    close = 100 * np.cumprod(1 + returns, axis=0)
    close[random.random(close.shape) < missing] = np.nan
    step = Timeframe.parse("1h")
    first = np.datetime64("2021-01-01", "ns")
    time = step.axis(first, first + (rows - 1) * step.delta)
    instruments = tuple(f"C{n:03d}_USDT" for n in range(width))
    fields = {"open": close, "close": close, "volume": np.where(np.isfinite(close), 1000.0, np.nan)}
    panel = Panel(
        step,
        time,
        instruments,
        {name: one.astype(np.float32) for name, one in fields.items()},
        np.repeat(time[:1], width),
    )
    inside = panel.members
    values[:, ~inside] = np.nan
    exposures = Exposures(names, ("market", *["style"] * 3), time, instruments, values, inside * 1.0, ())
    return Truth(panel, exposures, factors, premia, covariance, specific)
