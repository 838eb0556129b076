"""Labels: what a factor is asked to foresee, and the control in which nothing can be foreseen.

`forward_return` makes one; `Labels` keeps those of a panel, ready for correlating, for however many factors.
"""

from __future__ import annotations

import numpy as np

from bascule.core import ConfigError, Panel
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import Cells, CrossSection


def forward_return(panel: Panel, horizon: int, *, delay: int = 0, funding: bool = False) -> FloatArray:
    """Return from the open of row t + 1 + delay to that of row t + 1 + delay + horizon, float32 ``[T, N]``.

    Row t may be traded from the open of t + 1 on, so this is what a signal of row t can earn, costs apart.
    NaN where either candle has no trade or lies behind the panel's end.

    Args:
        panel: needs the field ``open``.
        horizon: bars held, ≥ 1.
        delay: bars to wait before entering, ≥ 0.
        funding: less the funding rates that a long position pays meanwhile: those settled after its entry,
            that at its end included. Needs the field ``funding_rate``, NaN = none.

    Raises:
        ConfigError: horizon or delay is out of range, or the panel has no funding rates.
    """
    if funding and "funding_rate" not in panel.fields:
        raise ConfigError(
            "returns after funding need funding rates, and the candles have none",
            where="forward_return",
            remedy="use perpetuals with funding_rate, or returns of prices",
        )
    if horizon < 1 or delay < 0:
        raise ConfigError(
            f"horizon {horizon} with delay {delay}",
            where="forward_return",
            remedy="use a horizon of at least 1 bar and a delay of at least 0",
        )
    opens = panel["open"]
    result = np.full(opens.shape, np.nan, np.float32)
    enter = 1 + delay
    rows = len(opens) - enter - horizon
    if rows > 0:
        entry = opens[enter : enter + rows].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            earned = opens[enter + horizon : enter + horizon + rows] / entry - 1.0
        earned[~np.isfinite(earned)] = np.nan
        if funding:
            paid = np.cumsum(np.nan_to_num(panel["funding_rate"].astype(np.float64)), axis=0)
            earned -= paid[enter + horizon : enter + horizon + rows] - paid[enter : enter + rows]
        result[:rows] = earned
    return result


class Labels:
    """Forward returns of one panel, each computed, centred and ranked once.

    Args:
        panel: gives opens and members.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._returns: dict[tuple[int, int], FloatArray] = {}
        self._sections: dict[tuple[int, int, bool], CrossSection] = {}

    def returns(self, horizon: int, *, delay: int = 0) -> FloatArray:
        """`forward_return` ``[T, N]``."""
        key = (horizon, delay)
        if key not in self._returns:
            self._returns[key] = forward_return(self.panel, horizon, delay=delay)
        return self._returns[key]

    def section(self, horizon: int, *, delay: int = 0, rank: bool) -> CrossSection:
        """The same over the members, centred, or ranked and centred."""
        key = (horizon, delay, rank)
        if key not in self._sections:
            label = self.returns(horizon, delay=delay)
            self._sections[key] = CrossSection.of(label, self.panel.members, rank=rank)
        return self._sections[key]


def shuffle(label: Cells, seed: int) -> Cells:
    """``label`` with the finite cells of every row permuted at random: no factor can foresee it.

    Each row keeps its own values, so breadth, scale and fat tails stay what they are.
    """
    random = np.random.default_rng(seed)
    finite = np.isfinite(label)
    result = np.full_like(label, np.nan)
    # both orders put the finite cells first: the k-th finite cell receives a random finite cell's value
    places = np.argsort(~finite, axis=1, kind="stable")
    draws = np.argsort(np.where(finite, random.random(label.shape), np.inf), axis=1, kind="stable")
    np.put_along_axis(result, places, np.take_along_axis(label, draws, axis=1), axis=1)
    return result
