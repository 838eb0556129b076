"""What a model learns: raw forward returns, made comparable.

1. Returns of each horizon may be divided by the instrument's trailing volatility, known at the row, so that
   the wildest coins do not fill both ends of every ranking.
2. They are compared within their row (`samples.target`), or within the liquidity tiers of their row, so that
   the model learns to choose among alike instruments rather than between large and small ones.
3. With several horizons, the mean of their labels is learned: a slower, less noisy aim. The folds must then
   be purged by the longest.
"""

from __future__ import annotations

import numpy as np

from bascule.core import Panel
from bascule.core.panel import FloatArray
from bascule.evaluate import forward_return, liquidity_tiers
from bascule.evaluate.rows import trailing_sums
from bascule.models.samples import target
from bascule.models.settings import ModelSettings


def learned(label: FloatArray, panel: Panel, settings: ModelSettings) -> FloatArray:
    """Targets float32 ``[T, N]``, NaN where there is nothing to learn.

    Args:
        label: raw forward returns ``[T, N]`` of the main horizon.
        panel: gives members, and closes, opens and volumes where the settings need them.
        settings: see the module.
    """
    volatility = trailing_volatility(panel, settings.scale_days) if settings.scale == "volatility" else None
    masks = [panel.members]
    if settings.tiers > 1:
        masks = [panel.members & tier for tier in liquidity_tiers(panel, settings.tiers).values()]
    returns = [label, *(forward_return(panel, h, funding=settings.funding) for h in settings.horizons)]
    total = np.zeros(panel.shape, np.float32)
    for one in returns:
        scaled = one if volatility is None else one / volatility
        aim = np.full(panel.shape, np.nan, np.float32)
        for mask in masks:
            part = target(scaled, mask, settings.label)
            known = np.isfinite(part)
            aim[known] = part[known]
        total += aim
    return (total / np.float32(len(returns))).astype(np.float32)


def trailing_volatility(panel: Panel, days: float) -> FloatArray:
    """Standard deviation of the bars' log returns over the last ``days`` ``[T, N]``.

    NaN with less than half of the window's bars, or where nothing moved.
    """
    close = panel["close"].astype(np.float64)
    move = np.full(close.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        move[1:] = np.log(close[1:] / close[:-1])
    window = max(2, min(panel.timeframe.bars(days), len(close)))
    known = np.isfinite(move)
    count = trailing_sums(known.astype(np.float64), window)
    mean = trailing_sums(np.where(known, move, 0.0), window) / np.maximum(count, 1.0)
    square = trailing_sums(np.where(known, move**2, 0.0), window) / np.maximum(count, 1.0)
    variance = square - mean**2
    good = (count >= window / 2) & (variance > 1e-14)
    return np.where(good, np.sqrt(np.where(good, variance, 1.0)), np.nan).astype(np.float32)
