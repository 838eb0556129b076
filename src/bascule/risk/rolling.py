"""Rolling time-series betas of all instruments on a few factor returns (Fama & French 1993 style).

1. Products of factors and returns are summed over blocks of rows, and blocks over windows by differences of
   cumulative sums: no window is summed twice.
2. Instruments without gaps share one inverse of XᵀX a window; others have their own over the rows they have.
3. Errors: classical, or Newey & West (1987): the sandwich (XᵀX)⁻¹·S·(XᵀX)⁻¹ with Bartlett weights, from the
   residuals of each window.
4. `shrink`: each beta is drawn to its prior by its own uncertainty (Vasicek 1973): the market's to 1, the
   others' to 0.
5. `stability`: betas of windows that do not overlap differ by less than 2 errors; OLS-CUSUM (Ploberger &
   Krämer 1992) over the whole sample.

Row t uses rows ≤ t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError, DataError
from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array
from bascule.risk.batched import inverses

_CELLS = 1 << 22  # float64 cells of the largest intermediate


@dataclass(frozen=True, eq=False)
class RollingBetas:
    """Betas at some rows.

    Attributes:
        rows: last row of each window ``[R]``.
        window: rows in a window.
        betas: ``[K, R, N]``; NaN where a window has too few rows or factors depend on each other.
        errors: standard errors ``[K, R, N]``.
        alpha: intercept, per bar ``[R, N]``.
        r2: share of the variance that the factors explain ``[R, N]``.
        count: rows used ``[R, N]``.
    """

    rows: NDArray[np.int64]
    window: int
    betas: Float64Array
    errors: Float64Array
    alpha: Float64Array
    r2: Float64Array
    count: Float64Array


def rolling_betas(
    returns: Float64Array,
    factors: Float64Array,
    window: int,
    *,
    every: int = 1,
    errors: Literal["plain", "newey-west"] = "plain",
    lags: int = 5,
    min_share: float = 0.5,
) -> RollingBetas:
    """Regressions with intercept over the last ``window`` rows, at every ``every``-th row.

    Args:
        returns: ``[T, N]``, NaN where there is none.
        factors: ``[T, K]``; a row with a NaN is left out.
        window: rows.
        every: step between windows, the first ends at row ``window − 1``.
        errors: ``newey-west`` costs a pass over each window: use it with a larger ``every``.
        lags: of Newey-West.
        min_share: of the window's rows that must be there.

    Raises:
        ConfigError: the window is too short, or a number is out of range.
        DataError: shapes do not fit.
    """
    rows, width = returns.shape
    k = factors.shape[1]
    if len(factors) != rows:
        raise DataError(f"{rows} rows of returns, {len(factors)} of factors", where="risk.rolling_betas")
    _check(k, window, every, lags, min_share)
    ends = np.arange(window - 1, rows, every)
    shape = (len(ends), width)
    found = RollingBetas(
        ends,
        window,
        *(np.full((k, *shape), np.nan) for _ in range(2)),
        *(np.full(shape, np.nan) for _ in range(3)),
    )
    if not len(ends):
        return found
    there: BoolArray = np.asarray(np.isfinite(factors).all(axis=1))
    design = np.column_stack([np.ones(rows), factors])
    design[~there] = 0.0
    known: BoolArray = np.isfinite(returns) & there[:, None]
    whole = (known == there[:, None]).all(axis=0)
    sums = _Sums(ends, window, every)
    least = max(k + 2.0, min_share * window)
    shared = np.flatnonzero(whole)
    step = max(1, _CELLS // ((k + 1) * rows))
    if len(shared):
        gram = _gram(design, there[:, None].astype(np.float64), sums)[..., 0]
        inverse, dropped = inverses(gram)
        for start in range(0, len(shared), step):
            n = shared[start : start + step]
            _solve(design, returns, known, n, sums, (inverse[..., None], dropped[..., None]), least, found)
    step = max(1, _CELLS // ((k + 1) ** 2 * len(ends)))
    single = np.flatnonzero(~whole)
    for start in range(0, len(single), step):
        n = single[start : start + step]
        gram = _gram(design, known[:, n].astype(np.float64), sums)
        inverse, dropped = inverses(gram.reshape(k + 1, k + 1, -1))
        parts = (inverse.reshape(gram.shape), dropped.reshape(k + 1, *gram.shape[2:]))
        _solve(design, returns, known, n, sums, parts, least, found)
    if errors == "newey-west":
        _newey_west(design, returns, known, found, lags)
    return found


def _check(k: int, window: int, every: int, lags: int, min_share: float) -> None:
    if window < k + 3 or every < 1 or lags < 0 or not 0.0 < min_share <= 1.0:
        raise ConfigError(
            f"window {window}, every {every}, lags {lags}, min_share {min_share} for {k} factors",
            where="risk.rolling_betas",
            remedy=f"window ≥ {k + 3}, every ≥ 1, lags ≥ 0, 0 < min_share ≤ 1",
        )


class _Sums:
    """Sums over the windows, by blocks."""

    def __init__(self, ends: NDArray[np.int64], window: int, every: int) -> None:
        self.block = gcd(window, every)
        self.high = (ends + 1) // self.block
        self.low = (ends + 1 - window) // self.block
        self.length = int(self.high[-1]) * self.block

    def __call__(self, values: Float64Array) -> Float64Array:
        """``[T, …]`` → ``[R, …]``; values finite."""
        used = values[: self.length]
        if self.block > 1:
            used = used.reshape(-1, self.block, *values.shape[1:]).sum(axis=1)
        total = np.zeros((len(used) + 1, *used.shape[1:]))
        np.cumsum(used, axis=0, out=total[1:])
        result: Float64Array = total[self.high] - total[self.low]
        return result


def _gram(design: Float64Array, known: Float64Array, sums: _Sums) -> Float64Array:
    """XᵀX of each window and instrument ``[P, P, R, n]``."""
    p = design.shape[1]
    gram = np.empty((p, p, len(sums.high), known.shape[1]))
    for i in range(p):
        for j in range(i, p):
            gram[i, j] = gram[j, i] = sums((design[:, i] * design[:, j])[:, None] * known)
    return gram


def _solve(
    design: Float64Array,
    returns: Float64Array,
    known: BoolArray,
    n: NDArray[np.int64],
    sums: _Sums,
    parts: tuple[Float64Array, BoolArray],
    least: float,
    found: RollingBetas,
) -> None:
    """Slopes, errors and R² of the instruments ``n`` from the inverses ``[P, P, R, n or 1]``."""
    inverse, dropped = parts
    y = np.where(known[:, n], returns[:, n], 0.0)
    cross = np.stack([sums(column[:, None] * y) for column in design.T])
    squares = sums(y * y)
    count = sums(known[:, n].astype(np.float64))
    slopes = np.stack([sum(inverse[i, j] * cross[j] for j in range(len(cross))) for i in range(len(cross))])
    residual = np.maximum(squares - (slopes * cross).sum(axis=0), 0.0)
    mean = cross[0] / np.maximum(count, 1.0)
    total = squares - count * mean**2
    good = (count >= least) & ~dropped[0]
    free = np.where(good, count - len(cross), 1.0)
    spread = np.sqrt(np.einsum("iirn->irn", inverse) * (residual / free))
    fine = good & ~dropped[1:]
    found.betas[:, :, n] = np.where(fine, slopes[1:], np.nan)
    found.errors[:, :, n] = np.where(fine, spread[1:], np.nan)
    found.alpha[:, n] = np.where(good, slopes[0], np.nan)
    varies = good & (total > 1e-14 * squares)
    found.r2[:, n] = np.where(varies, 1.0 - residual / np.where(varies, total, 1.0), np.nan)
    found.count[:, n] = count


def _newey_west(
    design: Float64Array, returns: Float64Array, known: BoolArray, found: RollingBetas, lags: int
) -> None:
    """Replace the errors of every window by heteroskedasticity- and autocorrelation-consistent ones."""
    p = design.shape[1]
    for r, end in enumerate(found.rows):
        cut = slice(end + 1 - found.window, end + 1)
        x, mask = design[cut], known[cut]
        slopes = np.concatenate([found.alpha[None, r], found.betas[:, r]])
        good = np.isfinite(slopes).all(axis=0)
        residual = np.where(mask, returns[cut] - x @ np.where(good, slopes, 0.0), 0.0)
        score = x[:, :, None] * residual[:, None, :]  # [L, P, N]
        smoothed = score.copy()
        for lag in range(1, lags + 1):
            weight = 1.0 - lag / (lags + 1.0)
            smoothed[lag:] += weight * score[:-lag]
            smoothed[:-lag] += weight * score[lag:]
        meat = score.transpose(2, 1, 0) @ smoothed.transpose(2, 0, 1)
        gram = (x.T[None] * mask.T[:, None, :].astype(np.float64)) @ x
        gram[~good] = np.eye(p)
        bread = np.linalg.inv(gram)
        variance = np.einsum("npq,nqr,npr->np", bread, meat, bread)
        found.errors[:, r] = np.where(good, np.sqrt(np.maximum(variance[:, 1:].T, 0.0)), np.nan)


def shrink(found: RollingBetas, means: Float64Array, deviations: Float64Array) -> RollingBetas:
    """Betas drawn to their priors: β* = (β/se² + μ/τ²) / (1/se² + 1/τ²), errors accordingly.

    Args:
        found: betas with errors.
        means: prior mean of each factor's betas ``[K]``, e.g. 1 for the market.
        deviations: prior spread ``[K]``, > 0.
    """
    mean, prior = means[:, None, None], deviations[:, None, None] ** 2
    own = found.errors**2
    total = prior + own
    return replace(
        found, betas=(found.betas * prior + mean * own) / total, errors=np.sqrt(own * prior / total)
    )


@dataclass(frozen=True, eq=False)
class Stability:
    """How steady betas are.

    Attributes:
        stable: share of changes between neighbouring windows that do not overlap with |t| < 2 ``[K, N]``.
        changes: number of such changes ``[K, N]``.
        cusum: OLS-CUSUM statistic ``[N]``; above 1.358 betas changed, at 5 %.
        p_value: of it ``[N]``.
    """

    stable: Float64Array
    changes: NDArray[np.int64]
    cusum: Float64Array
    p_value: Float64Array


def stability(found: RollingBetas, returns: Float64Array, factors: Float64Array) -> Stability:
    """Stability of rolling betas and of one regression over the whole sample."""
    step = (
        max(1, -(-found.window // max(1, int(found.rows[1] - found.rows[0])))) if len(found.rows) > 1 else 1
    )
    betas, errors = found.betas[:, ::step], found.errors[:, ::step]
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.diff(betas, axis=1) / np.sqrt(errors[:, 1:] ** 2 + errors[:, :-1] ** 2)
    known = np.isfinite(t)
    changes = known.sum(axis=1)
    stable = np.where(changes > 0, (known & (np.abs(t) < 2.0)).sum(axis=1) / np.maximum(changes, 1), np.nan)
    statistic = np.array([_cusum(returns[:, n], factors) for n in range(returns.shape[1])])
    order = np.arange(1, 101)[:, None]
    series = 2.0 * ((-1.0) ** (order + 1) * np.exp(-2.0 * order**2 * statistic**2)).sum(axis=0)
    p = np.where(np.isfinite(statistic), np.clip(series, 0.0, 1.0), np.nan)
    return Stability(stable, changes, statistic, np.where(statistic < 0.2, 1.0, p))


def _cusum(y: Float64Array, factors: Float64Array) -> float:
    good = np.isfinite(y) & np.isfinite(factors).all(axis=1)
    count, columns = int(good.sum()), factors.shape[1] + 1
    if count < columns + 2:
        return float("nan")
    x = np.column_stack([np.ones(count), factors[good]])
    residual = y[good] - x @ np.linalg.lstsq(x, y[good], rcond=None)[0]
    scale = np.sqrt((residual @ residual) / (count - columns) * count)
    return float(np.abs(np.cumsum(residual)).max() / scale) if scale > 0.0 else float("nan")
