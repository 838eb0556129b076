"""Exposures of instruments to risk factors, from factor texts.

1. `style.py` chooses the factors whose fields the panel has; the others are named with a reason.
2. The factor engine computes all texts in one plan.
3. Per row, over the members: median and robust deviation make scores, winsorised at ±``winsor``
   (`rowwise.robust_scores`).
4. In the order of the catalogue, the factors named in ``after`` are taken out by a weighted regression.
5. Each is scaled to a weighted mean of 0 and a deviation of 1 (Menchero, Orr & Wang 2011, "The Barra US
   Equity Model (USE4)", sec. 2): the weighted market has no style.
6. The first factor is the market: 1 for every member.

A member without a value of a factor counts as average (0) in rows where at least ``min_coverage`` of the
members have one; in other rows the factor is NaN for all. Row t uses candles ≤ t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import Panel, Progress, Settings, UniverseError, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.core.timeframe import TimeArray
from bascule.evaluate.rows import Float64Array
from bascule.risk.rowwise import robust_scores, standardise, take_out
from bascule.risk.style import LeftOut, StyleText, catalogue, choose
from bascule.risk.windows import value_traded

MARKET = "market"
_CELLS = 1 << 21  # of one block of rows: a few arrays of this size fit beside each other


class ExposureSettings(Settings):
    """Which risk factors, and how their values become exposures."""

    factors: tuple[str, ...] | None = Field(
        default=None, description="names of the catalogue, default all that the panel's fields can give"
    )
    extra: tuple[StyleText, ...] = Field(default=(), description="own factors, after those of the catalogue")
    winsor: float = Field(default=3.0, gt=0, le=20, description="scores are pulled in to ± this")
    weighting: Literal["root_volume", "volume", "equal"] = Field(
        default="root_volume",
        description="weights of means and regressions: value traded in 30 days, its root, or none",
    )
    weight_days: float = Field(default=30.0, gt=0, description="window of the value traded")
    min_coverage: float = Field(
        default=0.5, gt=0, le=1, description="share of members that must have a value"
    )
    min_breadth: int = Field(default=8, ge=3, description="fewest members with a value")
    min_age_days: float = Field(default=7.0, ge=0, description="younger instruments have no exposures")


@dataclass(frozen=True, eq=False)
class Exposures:
    """Exposures to risk factors.

    Attributes:
        names: factors ``[K]``, the market first.
        families: of each factor.
        time: candle open times ``[T]``.
        instruments: store ids ``[N]``.
        values: standardised, float32 ``[K, T, N]``; NaN outside members and where a factor is unknown.
        weights: of the regression, float64 ``[T, N]``, 0 outside members.
        left_out: factors that the panel cannot give, with reasons.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    time: TimeArray
    instruments: tuple[str, ...]
    values: FloatArray
    weights: Float64Array
    left_out: tuple[LeftOut, ...]

    @property
    def counted(self) -> BoolArray:
        """Members with exposures ``[T, N]``."""
        found: BoolArray = np.isfinite(self.values[0])
        return found

    def coverage(self) -> dict[str, float]:
        """Share of member cells in which each factor is known."""
        inside = max(int(self.counted.sum()), 1)
        return {
            name: float(np.isfinite(values).sum() / inside)
            for name, values in zip(self.names, self.values, strict=True)
        }


def exposures(
    panel: Panel, settings: ExposureSettings | None = None, *, progress: Progress = silent
) -> Exposures:
    """Exposures of a prepared panel's members.

    Raises:
        ConfigError: a factor is unknown or stands in the wrong order.
        ExpressionError: a text is not of the language, or reads the future.
        UniverseError: no row has ``min_breadth`` members.
    """
    from bascule import engine

    settings = settings or ExposureSettings()
    styles = (*catalogue(), *settings.extra)
    chosen, left = choose(styles, panel.fields, settings.factors, panel)
    counted = _old_enough(panel, settings.min_age_days)
    if counted.sum(axis=1).max(initial=0) < settings.min_breadth:
        raise UniverseError(
            f"no row has {settings.min_breadth} members",
            where="risk.exposures",
            remedy="widen the universe, or lower min_breadth",
        )
    weights = np.where(counted, regression_weights(panel, settings), 0.0)
    values = np.full((1 + len(chosen), *panel.shape), np.nan, np.float32)
    values[0][counted] = 1.0
    if chosen:
        engine.evaluate([factor.text for _, factor in chosen], panel, out=values[1:], progress=progress)
    names = tuple(style.name for style, _ in chosen)
    parents = [[names.index(one) for one in style.after if one in names] for style, _ in chosen]
    step = max(1, _CELLS // max(1, panel.shape[1]))
    for start in range(0, panel.shape[0], step):
        cut = slice(start, start + step)
        _block(values[1:, cut], counted[cut], weights[cut], parents, settings)
    empty = [k for k in range(len(names)) if not np.isfinite(values[1 + k]).any()]
    left += tuple(LeftOut(names[k], "its values are missing, or alike for all members") for k in empty)
    kept = [0, *(1 + k for k in range(len(names)) if k not in empty)]
    families = (MARKET, *(style.family for style, _ in chosen))
    every = (MARKET, *names)
    return Exposures(
        tuple(every[k] for k in kept),
        tuple(families[k] for k in kept),
        panel.time,
        panel.instruments,
        values if not empty else values[kept],
        weights,
        left,
    )


def _old_enough(panel: Panel, days: float) -> BoolArray:
    age = panel.time[:, None] - panel.listed[None, :]
    with np.errstate(invalid="ignore"):
        old: BoolArray = age >= np.timedelta64(int(days * 86_400e9), "ns")
    return panel.members & old


def regression_weights(panel: Panel, settings: ExposureSettings) -> Float64Array:
    """Weights of instruments, > 0 where they traded in the window ``[T, N]``."""
    if settings.weighting == "equal":
        return np.ones(panel.shape)
    traded = value_traded(panel, panel.timeframe.bars(settings.weight_days))
    if settings.weighting == "root_volume":
        traded = np.sqrt(traded)
    top = traded.max(axis=1, initial=0.0)
    result: Float64Array = traded / np.where(top > 0.0, top, 1.0)[:, None]
    return result


def _block(
    values: FloatArray,
    counted: BoolArray,
    weights: Float64Array,
    parents: list[list[int]],
    settings: ExposureSettings,
) -> None:
    """Raw values of a block of rows ``[K, t, N]`` to exposures, in place."""
    scores: list[Float64Array] = []
    members = counted.sum(axis=1)
    for k, above in enumerate(parents):
        raw = values[k].astype(np.float64)
        known = counted & np.isfinite(raw)
        least = np.maximum(settings.min_breadth, np.ceil(settings.min_coverage * members))
        known &= (known.sum(axis=1) >= least)[:, None]
        score = robust_scores(np.where(known, raw, 0.0), known, settings.winsor, settings.min_breadth)
        if above:
            score = take_out(score, [scores[p] for p in above], weights)
        score = standardise(score, weights)
        scores.append(score)
        some: BoolArray = np.asarray(np.isfinite(score).any(axis=1))
        filled = np.where(np.isfinite(score), score, 0.0)
        values[k] = np.where(counted & some[:, None], filled, np.nan)
