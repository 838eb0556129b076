"""How long a factor's foresight lasts.

1. Cumulative: the IC with the return over the next h bars, per horizon h.
2. Marginal: the IC with the return of the stretch between one horizon and the next only. A cumulative IC of
   a lasting signal *rises* with the horizon, so that decay is read from the marginal one.
3. Half-life: the IC with the return of the single bar at distance x is a·2^(−x / half-life). Bars of a
   stretch of n are nearly independent, so that its IC is the sum of theirs over √n; that curve is fitted by
   least squares, weighted with Newey-West errors. Where it does not hold, the half-life is NaN and
   `Decay.reason` says why.
4. Its interval: rows are drawn anew in blocks (`bootstrap.py`), all stretches of a row together, and the fit
   is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError, Panel
from bascule.evaluate.bootstrap import block_length, resampled_means
from bascule.evaluate.ic import ICSummary, summarise
from bascule.evaluate.labels import Labels
from bascule.evaluate.rows import MIN_BREADTH, Cells, CrossSection, Float64Array

MIN_R2 = 0.8
MIN_T = 2.0
_GRID = 400  # half-lives tried
_REACH = 50.0  # the longest half-life tried, in units of the last stretch's middle


@dataclass(frozen=True)
class Decay:
    """Rank ICs by horizon.

    Attributes:
        horizons: bars, ascending.
        cumulative: IC with the return over each horizon.
        marginal: IC with the return of the stretch that ends at each horizon.
        half_life: bars after which the marginal IC has halved; NaN if not identified.
        r2: share of the weighted squares of the marginal ICs that the fit explains; NaN if there was no fit.
        reason: why the half-life is not identified, or "".
        low: lower end of the half-life's interval; NaN if none was asked for or found.
        high: upper end, infinite where the data do not bound it.
    """

    horizons: tuple[int, ...]
    cumulative: tuple[ICSummary, ...]
    marginal: tuple[ICSummary, ...]
    half_life: float
    r2: float
    reason: str
    low: float = math.nan
    high: float = math.nan

    @property
    def identified(self) -> bool:
        """True if a half-life was found."""
        return not self.reason


def decay(
    factor: Cells,
    panel: Panel,
    horizons: Sequence[int],
    *,
    rank: bool = True,
    min_breadth: int = MIN_BREADTH,
    reps: int = 0,
    level: float = 0.95,
    seed: int = 0,
    labels: Labels | None = None,
) -> Decay:
    """IC of one factor ``[T, N]`` by horizon, over the panel's members.

    Args:
        factor: values of the panel's shape.
        panel: gives opens and members.
        horizons: strictly ascending, in bars.
        rank: rank IC (Spearman) rather than IC (Pearson).
        min_breadth: fewest instruments in a row.
        reps: bootstrap samples for the half-life's interval; 0 = no interval.
        level: confidence of that interval.
        seed: of the samples.
        labels: of this panel; pass them when many factors are measured.

    Raises:
        ConfigError: the horizons do not ascend from 1 bar or more.
    """
    if not horizons or list(horizons) != sorted(set(horizons)) or horizons[0] < 1:
        raise ConfigError(
            f"horizons {list(horizons)}", where="decay", remedy="give ascending horizons of at least 1 bar"
        )
    values = CrossSection.of(factor, panel.members, rank=rank)
    known = labels or Labels(panel)

    def measure(length: int, delay: int) -> Float64Array:
        return values.correlate(known.section(length, delay=delay, rank=rank), min_breadth)

    starts = (0, *horizons[:-1])
    lengths = [h - start for start, h in zip(starts, horizons, strict=True)]
    series = np.stack([measure(n, start) for n, start in zip(lengths, starts, strict=True)], axis=1)
    cumulative = (measure(h, 0) for h in horizons)
    marginal = tuple(summarise(one, n) for one, n in zip(series.T, lengths, strict=True))
    begin, end = np.array(starts, np.float64), np.array(horizons, np.float64)
    means = np.array([s.mean for s in marginal])
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = means / np.array([s.t for s in marginal])
    half_life, r2, reason = half_life_of(begin, end, means, marginal[0].t, errors)
    low = high = math.nan
    if reps and not reason:
        there = series[np.isfinite(series).any(axis=1)]
        first = there[np.isfinite(there[:, 0]), 0]
        block = max(block_length(first), float(max(lengths)))
        drawn = resampled_means(there, block=min(block, len(there) / 3.0), reps=reps, seed=seed)
        low, high = _interval(begin, end, drawn, errors, np.sign(means[0]), level)
    return Decay(
        tuple(horizons),
        tuple(summarise(one, h) for one, h in zip(cumulative, horizons, strict=True)),
        marginal,
        half_life,
        r2,
        reason,
        low,
        high,
    )


def half_life_of(
    begin: Float64Array,
    end: Float64Array,
    ic: Float64Array,
    first_t: float,
    errors: Float64Array | None = None,
) -> tuple[float, float, str]:
    """Fit step 3 of the module; return ``(half_life, r2, reason)``, reason "" where identified.

    Args:
        begin: bars before each stretch ``[H]``.
        end: bars to its end ``[H]``.
        ic: marginal IC of each stretch ``[H]``.
        first_t: t-statistic of the first one.
        errors: standard error of each; None = equal weights, and every change of sign counts.
    """
    none = math.nan
    if not np.isfinite(ic).all() or (errors is not None and not np.isfinite(errors).all()):
        return none, none, "some horizons have no IC"
    if len(ic) < 3:
        return none, none, "fewer than 3 horizons"
    if not abs(first_t) >= MIN_T:
        return none, none, f"no significant IC at the first horizon (|t| < {MIN_T:g})"
    against = np.sign(ic) != np.sign(ic[0])
    if errors is not None:
        against &= np.abs(ic) >= MIN_T * np.abs(errors)
    if against.any():
        return none, none, "the marginal IC changes sign"
    weight = np.ones(len(ic)) if errors is None else _weights(errors)
    grid = _half_lives(end)
    best = int(np.argmax(_explained(begin, end, ic[None, :], weight, grid, np.sign(ic[0]))[0]))
    if best == len(grid) - 1:
        return none, none, "the marginal IC does not decay"
    half_life = _refined(begin, end, ic, weight, grid[max(0, best - 1)], grid[best + 1])
    basis = _curve(begin, end, np.array([half_life]))[0]
    height = float((weight * basis) @ ic / ((weight * basis) @ basis))
    # about zero, not about the mean: a slow decay is nearly constant over the horizons, and still a decay
    r2 = 1.0 - float(weight @ (ic - height * basis) ** 2) / float(weight @ ic**2)
    if not r2 >= MIN_R2:
        return none, r2, f"the decay is not exponential (R² < {MIN_R2:g})"
    return half_life, r2, ""


def _weights(errors: Float64Array) -> Float64Array:
    result: Float64Array = 1.0 / np.maximum(errors**2, 1e-300)
    return result


def _half_lives(end: Float64Array) -> Float64Array:
    return np.geomspace(end[0] / 20.0, end[-1] * _REACH, _GRID)


def _curve(begin: Float64Array, end: Float64Array, half_lives: Float64Array) -> Float64Array:
    """IC of each stretch, for a = 1 and each half-life ``[G, H]``: the integral of the curve over √n."""
    scale = half_lives[:, None]
    area: Float64Array = scale / math.log(2.0) * (np.exp2(-begin / scale) - np.exp2(-end / scale))
    return area / np.sqrt(end - begin)


def _explained(
    begin: Float64Array,
    end: Float64Array,
    ic: Float64Array,
    weight: Float64Array,
    grid: Float64Array,
    sign: float,
) -> Float64Array:
    """Weighted sum of squares of each row of ``ic [R, H]`` that each half-life explains ``[R, G]``."""
    basis = _curve(begin, end, grid)
    projected = ic @ (weight * basis).T
    # a curve of the other sign explains nothing
    found: Float64Array = np.maximum(projected * sign, 0.0) ** 2 / ((weight * basis) * basis).sum(axis=1)
    return found


def _refined(
    begin: Float64Array, end: Float64Array, ic: Float64Array, weight: Float64Array, low: float, high: float
) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        found = _explained(begin, end, ic[None, :], weight, np.exp([log]), float(np.sign(ic[0])))
        return -float(found[0, 0])

    found = minimize_scalar(
        loss, bounds=(math.log(low), math.log(high)), method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(found.x)


def _interval(
    begin: Float64Array,
    end: Float64Array,
    drawn: Float64Array,
    errors: Float64Array,
    sign: float,
    level: float,
) -> tuple[float, float]:
    """Of the half-life, from bootstrap means ``drawn [R, H]``; NaN where no sample has all stretches."""
    grid = _half_lives(end)
    good = drawn[np.isfinite(drawn).all(axis=1)]
    if not len(good):
        return math.nan, math.nan
    best = np.argmax(_explained(begin, end, good, _weights(errors), grid, sign), axis=1)
    fitted = np.where(best == len(grid) - 1, math.inf, grid[best])
    tail = (1.0 - level) / 2.0
    # order statistics: interpolating with an infinite value would give NaN
    low, high = np.quantile(fitted, (tail, 1.0 - tail), method="inverted_cdf")
    return float(low), float(high)
