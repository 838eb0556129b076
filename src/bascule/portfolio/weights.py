"""From ranks and risk to target weights, row by row, without memory of earlier rows.

For each row:

1. Order the members by alpha rank, ties as they stand on the axis. The first ``top`` are the long side and,
   if ``long_short``, the last ``top`` the short side (at most half of the members each).
2. Give each a raw size: equal, by place from its end of the order, or inverse to its volatility; then shrink
   it by its own risk score: size · (1 − ``risk_tilt`` · score).
3. The row may hold G = ``gross`` · (1 − ``risk_scaling`` · portfolio risk) in all; each side of a long-short
   row half of it.
4. Sizes become weights that add to that budget, none above ``max_weight``: what a capped one cannot take goes
   to the others in proportion. Too few names to hold the budget under the cap hold less.

Unknown risk counts as 1. Rows with fewer than ``min_members`` ranked members hold nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import row_sums
from bascule.evaluate.rows import Float64Array, IntArray
from bascule.portfolio.constructed import ConstructedSettings
from bascule.portfolio.rounding import toward_zero
from bascule.risk import RiskScores


class PortfolioSettings(Settings):
    """How ranks become weights."""

    top: int = Field(default=10, ge=1, description="instruments held on each side")
    side: Literal["long", "long_short"] = Field(default="long", description="long only, or both sides")
    weighting: Literal["equal", "rank", "inverse_vol"] = Field(
        default="rank", description="relative size of the chosen instruments"
    )
    max_weight: float = Field(default=0.2, gt=0, le=1, description="largest |weight| of one instrument")
    gross: float = Field(default=1.0, gt=0, le=10, description="largest sum of |weights|")
    risk_scaling: float = Field(
        default=0.5, ge=0, le=1, description="how far the portfolio's risk score shrinks the whole"
    )
    risk_tilt: float = Field(
        default=0.5, ge=0, lt=1, description="how far an instrument's risk score shrinks its share"
    )
    min_members: int = Field(default=5, ge=1, description="fewest ranked members for a row to hold anything")
    construction: ConstructedSettings | None = Field(
        default=None,
        description="optimise the weights under limits; then of the keys above only risk_scaling counts",
    )

    def budget(self, portfolio_risk: FloatArray) -> Float64Array:
        """Share of the whole that the market's risk leaves, in [0, 1] ``[T]``; unknown risk counts 1."""
        risk = np.where(np.isfinite(portfolio_risk), portfolio_risk, 1.0).astype(np.float64)
        share: Float64Array = 1.0 - self.risk_scaling * np.clip(risk, 0.0, 1.0)
        return share


def target_weights(
    alpha_rank: FloatArray, scores: RiskScores, members: BoolArray, settings: PortfolioSettings
) -> FloatArray:
    """Target weights as shares of equity, float32 ``[T, N]``; 0 = no position, negative = short.

    Every row depends on that row alone. Σ|w| ≤ gross and |w| ≤ max_weight hold exactly in float32.

    Args:
        alpha_rank: in [0, 1], 1 = most promising, NaN = no opinion ``[T, N]``.
        scores: risk of the same rows.
        members: universe ``[T, N]``; others get 0.
        settings: sizes and limits.

    Raises:
        DataError: shapes do not fit.
    """
    if not alpha_rank.shape == members.shape == scores.score.shape:
        raise DataError(
            f"alpha_rank {list(alpha_rank.shape)}, members {list(members.shape)} and scores "
            f"{list(scores.score.shape)} differ in shape",
            where="target_weights",
        )
    ranked = members & np.isfinite(alpha_rank)
    count = ranked.sum(axis=1)
    ranked &= (count >= settings.min_members)[:, None]
    budget = settings.gross * settings.budget(scores.portfolio)
    order = np.argsort(np.where(ranked, -alpha_rank, np.inf), axis=1, kind="stable")
    place = np.empty(order.shape, np.int64)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    if settings.side == "long":
        return toward_zero(_side(place, ranked, np.minimum(settings.top, count), scores, settings, budget))
    names = np.minimum(settings.top, count // 2)
    long = _side(place, ranked, names, scores, settings, budget / 2.0)
    short = _side(count[:, None] - 1 - place, ranked, names, scores, settings, budget / 2.0)
    return toward_zero(long - short)


def _side(
    place: IntArray,
    ranked: BoolArray,
    names: IntArray,
    scores: RiskScores,
    settings: PortfolioSettings,
    budget: Float64Array,
) -> Float64Array:
    """Weights ≥ 0 of one side: each row's ``names`` of lowest ``place``, adding to ``budget`` at most."""
    held = ranked & (place < names[:, None])
    if settings.weighting == "equal":
        size = np.ones(place.shape)
    elif settings.weighting == "rank":
        size = (names[:, None] - place).astype(np.float64)
    else:
        volatility = scores.volatility.astype(np.float64)
        good = np.isfinite(volatility) & (volatility > 0.0)
        # an unknown volatility is taken to be as large as the row's largest
        worst = np.where(held & good, volatility, 0.0).max(axis=1, initial=0.0)[:, None]
        size = 1.0 / np.where(good, volatility, np.where(worst > 0.0, worst, 1.0))
    risk = np.where(np.isfinite(scores.score), scores.score, 1.0).astype(np.float64)
    size = np.where(held, size * (1.0 - settings.risk_tilt * np.clip(risk, 0.0, 1.0)), 0.0)
    return _fill(size, budget, settings.max_weight)


def _fill(size: Float64Array, budget: Float64Array, cap: float) -> Float64Array:
    """Weights in proportion to ``size`` that add to ``budget``, none above ``cap``.

    A name that would exceed the cap is fixed at it and the rest is shared anew. Each round fixes at least one
    name of every row that is not done, and a fixed one stays fixed, so this ends.
    """
    fixed = np.zeros(size.shape, bool)
    while True:
        free = np.where(fixed, 0.0, size)
        left = budget - cap * fixed.sum(axis=1)
        total = row_sums(free)
        scale = np.where(total > 0.0, np.maximum(left, 0.0) / np.where(total > 0.0, total, 1.0), 0.0)
        weights = np.where(fixed, cap, free * scale[:, None])
        over = ~fixed & (weights > cap)
        if not over.any():
            return weights
        fixed |= over
