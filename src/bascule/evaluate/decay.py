"""How long a factor's foresight lasts.

1. Cumulative: the IC with the return over the next h bars, per horizon h.
2. Marginal: the IC with the return of the stretch between one horizon and the next only. A cumulative IC of
   a lasting signal *rises* with the horizon, so that decay is read from the marginal one.
3. Half-life: a least-squares line through ln |marginal IC| against the middle x of each stretch, from the
   model IC(x) = a·2^(−x / half-life). Where it does not hold, the half-life is NaN and
   `Decay.reason` says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError, Panel
from bascule.evaluate.ic import ICSummary, summarise
from bascule.evaluate.labels import forward_return
from bascule.evaluate.rows import MIN_BREADTH, Cells, CrossSection, Float64Array

MIN_R2 = 0.5
MIN_T = 2.0


@dataclass(frozen=True)
class Decay:
    """Rank ICs by horizon.

    Attributes:
        horizons: bars, ascending.
        cumulative: IC with the return over each horizon.
        marginal: IC with the return of the stretch that ends at each horizon.
        half_life: bars after which the marginal IC has halved; NaN if not identified.
        r2: share of the variance of ln |marginal IC| that the fit explains; NaN if there was no fit.
        reason: why the half-life is not identified, or "".
    """

    horizons: tuple[int, ...]
    cumulative: tuple[ICSummary, ...]
    marginal: tuple[ICSummary, ...]
    half_life: float
    r2: float
    reason: str

    @property
    def identified(self) -> bool:
        """True if a half-life was found."""
        return not self.reason


def decay(
    factor: Cells, panel: Panel, horizons: Sequence[int], *, rank: bool = True, min_breadth: int = MIN_BREADTH
) -> Decay:
    """IC of one factor ``[T, N]`` by horizon, over the panel's members.

    Args:
        factor: values of the panel's shape.
        panel: gives opens and members.
        horizons: strictly ascending, in bars.
        rank: rank IC (Spearman) rather than IC (Pearson).
        min_breadth: fewest instruments in a row.
    """
    if not horizons or list(horizons) != sorted(set(horizons)) or horizons[0] < 1:
        raise ConfigError(
            f"horizons {list(horizons)}", where="decay", remedy="give ascending horizons of at least 1 bar"
        )
    values = CrossSection.of(factor, panel.members, rank=rank)

    def measure(length: int, delay: int) -> ICSummary:
        label = forward_return(panel, length, delay=delay)
        series = values.correlate(CrossSection.of(label, panel.members, rank=rank), min_breadth)
        return summarise(series, length)

    starts = (0, *horizons[:-1])
    cumulative = tuple(measure(h, 0) for h in horizons)
    marginal = tuple(measure(h - start, start) for start, h in zip(starts, horizons, strict=True))
    middle = np.array([(start + h) / 2.0 for start, h in zip(starts, horizons, strict=True)])
    half_life, r2, reason = half_life_of(middle, np.array([s.mean for s in marginal]), marginal[0].t)
    return Decay(tuple(horizons), cumulative, marginal, half_life, r2, reason)


def half_life_of(bars: Float64Array, ic: Float64Array, first_t: float) -> tuple[float, float, str]:
    """Fit IC = a·2^(−bars / half-life); return ``(half_life, r2, reason)``, reason "" where identified."""
    none = math.nan
    if not np.isfinite(ic).all():
        return none, none, "some horizons have no IC"
    if len(ic) < 3:
        return none, none, "fewer than 3 horizons"
    if not abs(first_t) >= MIN_T:
        return none, none, f"no significant IC at the first horizon (|t| < {MIN_T:g})"
    if (np.sign(ic) != np.sign(ic[0])).any():
        return none, none, "the marginal IC changes sign"
    y = np.log(np.abs(ic))
    x = bars - bars.mean()
    slope = float(x @ (y - y.mean()) / (x @ x))
    spread = float(((y - y.mean()) ** 2).sum())
    residual = float(((y - y.mean() - slope * x) ** 2).sum())
    r2 = 1.0 - residual / spread if spread > 0.0 else none
    if slope >= 0.0:
        return none, r2, "the marginal IC does not decay"
    if not r2 >= MIN_R2:
        return none, r2, f"the decay is not exponential (R² < {MIN_R2:g})"
    return math.log(2.0) / -slope, r2, ""
