"""The alphas that are planted in the synthetic market: formula text, and the same formula as arrays.

The text is what a factor library or a miner would write; the function is its independent reading on the bars
simulated so far. A test evaluates the text with qlib and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """All bars of the market, filled up to the current row ``[T, N]``; NaN where not listed."""

    open: Float64Array
    high: Float64Array
    low: Float64Array
    close: Float64Array
    volume: Float64Array

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Bars:
        """Bars of NaN."""
        return cls(*(np.full(shape, np.nan) for _ in range(5)))


@dataclass(frozen=True)
class PlantedAlpha:
    """One formula whose value drives later returns of the synthetic market.

    Attributes:
        name: short name.
        text: the formula in qlib's language.
        sign: +1 when a high value precedes high returns, -1 when it precedes low ones.
        horizon: bars over which its drift is spread; its IC is largest near this horizon.
        ic: absolute IC at ``horizon`` that its own drift gives it for strength 1; what is measured also holds
            the drift of correlated formulas, and noise.
        window: bars that the formula looks back, its own row included.
        persistence: mean autocorrelation of the standardised value over lags shorter than ``horizon``,
            measured on a market without drift; converts ``ic`` into a drift a bar.
        value: the formula at row ``t`` from bars up to ``t`` only, ``[N]``.
    """

    name: str
    text: str
    sign: int
    horizon: int
    ic: float
    window: int
    persistence: float = field(repr=False)
    value: Callable[[Bars, int], Float64Array] = field(repr=False, compare=False)

    @property
    def loading(self) -> float:
        """Signed drift a bar, in units of the bar's volatility, for a standardised value of one."""
        return self.sign * self.ic / (math.sqrt(self.horizon) * self.persistence)


def _reversal(bars: Bars, t: int) -> Float64Array:
    change: Float64Array = bars.close[t] / bars.close[t - 5] - 1
    return change


def _volume_shock(bars: Bars, t: int) -> Float64Array:
    shock: Float64Array = np.log(bars.volume[t] / bars.volume[t - 47 : t + 1].mean(axis=0))
    return shock


def _range_position(bars: Bars, t: int) -> Float64Array:
    low: Float64Array = bars.low[t - 167 : t + 1].min(axis=0)
    high: Float64Array = bars.high[t - 167 : t + 1].max(axis=0)
    position: Float64Array = (bars.close[t] - low) / (high - low)
    return position


def _price_volume(bars: Bars, t: int) -> Float64Array:
    # of returns, not prices: qlib's Corr gives NaN for prices whose deviation is below 2e-5
    x = bars.close[t - 23 : t + 1] / bars.close[t - 24 : t]
    y = np.log(bars.volume[t - 23 : t + 1])
    x = x - x.mean(axis=0)
    y = y - y.mean(axis=0)
    correlation: Float64Array = (x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    return correlation


PLANTED: tuple[PlantedAlpha, ...] = (
    PlantedAlpha(
        "reversal",
        "$close/Ref($close,5)-1",
        sign=-1,
        horizon=6,
        ic=0.04,
        window=6,
        persistence=0.60,
        value=_reversal,
    ),
    PlantedAlpha(
        "volume_shock",
        "Log($volume/Mean($volume,48))",
        sign=+1,
        horizon=12,
        ic=0.04,
        window=48,
        persistence=0.49,
        value=_volume_shock,
    ),
    PlantedAlpha(
        "range_position",
        "($close-Min($low,168))/(Max($high,168)-Min($low,168))",
        sign=+1,
        horizon=24,
        ic=0.05,
        window=168,
        persistence=0.89,
        value=_range_position,
    ),
    PlantedAlpha(
        "price_volume",
        "Corr($close/Ref($close,1),Log($volume),24)",
        sign=+1,
        horizon=12,
        ic=0.04,
        window=25,
        persistence=0.775,
        value=_price_volume,
    ),
)
