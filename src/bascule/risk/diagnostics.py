"""Is the risk model right? Reports on factors, exposures and forecasts.

- Factor returns: mean and volatility a year, Newey-West t of the mean, share of rows with a cross-sectional
  |t| > 2 (a factor that never exceeds the 5 % of chance explains nothing).
- Exposures: variance inflation (VIF = diagonal of the inverse correlation), stability (correlation of
  exposures a month apart).
- R² of the cross-sections, and the specific share: Σu² / Σr² over instruments and time.
- Forecasts: the bias statistic, the deviation of return / forecast volatility, 1 when right, with its 95 %
  interval 1 ± √(2/n) (Connor, Goldberg & Korajczyk 2010, "Portfolio Risk Analysis", ch. 14); and QLIKE,
  mean of ln σ² + r²/σ², lower is better, robust to noise of r² (Patton 2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.evaluate import newey_west_lags, newey_west_t
from bascule.evaluate.rows import Float64Array
from bascule.risk.model import FactorModel

_SAMPLES = 200  # rows looked at for VIF and stability


@dataclass(frozen=True)
class FactorReport:
    """One factor. Returns are of a portfolio with exposure 1; a year has 365 days."""

    name: str
    family: str
    mean: float
    volatility: float
    t: float
    significant: float
    vif: float
    stability: float
    coverage: float


@dataclass(frozen=True)
class BiasReport:
    """Forecasts of one portfolio's risk against what came.

    Attributes:
        bias: deviation of standardised returns; above 1 = risk was forecast too low.
        low: lower end of its 95 % interval, if forecasts are right and returns normal.
        high: upper end.
        qlike: mean of ln σ² + r²/σ².
        count: returns.
    """

    bias: float
    low: float
    high: float
    qlike: float
    count: int

    @property
    def good(self) -> bool:
        """Whether the bias lies in its interval."""
        return self.low <= self.bias <= self.high


def factor_reports(model: FactorModel) -> tuple[FactorReport, ...]:
    """One line a factor."""
    year = model.timeframe.bars_a_year
    vif, steady = _vif(model), _stability(model)
    coverage = model.exposures.coverage()
    lines = []
    for k, name in enumerate(model.names):
        series = model.sections.returns[:, k]
        t = model.sections.t[:, k]
        known = series[np.isfinite(series)]
        some = len(known) > 2
        lines.append(
            FactorReport(
                name,
                model.exposures.families[k],
                float(known.mean() * year) if some else math.nan,
                float(known.std(ddof=1) * math.sqrt(year)) if some else math.nan,
                newey_west_t(known, newey_west_lags(len(known), 1)) if some else math.nan,
                float((np.abs(t[np.isfinite(t)]) > 2.0).mean()) if np.isfinite(t).any() else math.nan,
                vif[k],
                steady[k],
                coverage[name],
            )
        )
    return tuple(lines)


def explained(model: FactorModel) -> dict[str, float]:
    """``r2``: mean R² of the rows; ``specific``: Σu²/Σr²; ``total``: 1 − that."""
    residuals = model.sections.residuals.astype(np.float64)
    known = np.isfinite(residuals)
    total = float((model.returns[known] ** 2).sum())
    specific = float((residuals[known] ** 2).sum()) / total if total > 0.0 else math.nan
    r2 = model.sections.r2[np.isfinite(model.sections.r2)]
    return {"r2": float(r2.mean()) if len(r2) else math.nan, "specific": specific, "total": 1.0 - specific}


def _sample(model: FactorModel, first: int = 0) -> NDArray[np.int64]:
    good = np.flatnonzero(model.exposures.counted.sum(axis=1) > len(model.names) + 1)
    good = good[good >= first]
    picks = np.unique(np.linspace(0, max(len(good) - 1, 0), _SAMPLES).round().astype(int))
    return good[picks] if len(good) else good


def _vif(model: FactorModel) -> list[float]:
    """Mean variance inflation of each style factor over sampled rows; 1 for the market."""
    found = []
    for t in _sample(model):
        x = model.exposures.values[1:, t][:, model.exposures.counted[t]].astype(np.float64)
        usable = np.isfinite(x).all(axis=1) & (np.nan_to_num(x).std(axis=1) > 1e-9)
        line = np.full(len(x), np.nan)
        if usable.any():
            correlation = np.atleast_2d(np.corrcoef(x[usable]))
            line[usable] = np.diagonal(np.linalg.pinv(correlation))
        found.append(line)
    if not found:
        return [math.nan] * len(model.names)
    stacked = np.array(found)
    means = [float(c[np.isfinite(c)].mean()) if np.isfinite(c).any() else math.nan for c in stacked.T]
    return [1.0, *means]


def _stability(model: FactorModel) -> list[float]:
    """Mean correlation of exposures with those of 30 days before."""
    back = model.timeframe.bars(30.0)
    result = [1.0]
    rows = _sample(model, back)
    for k in range(1, len(model.names)):
        found = []
        for t in rows:
            now, then = model.exposures.values[k, t], model.exposures.values[k, t - back]
            both = np.isfinite(now) & np.isfinite(then)
            if both.sum() > 5 and now[both].std() > 1e-9 and then[both].std() > 1e-9:
                found.append(float(np.corrcoef(now[both], then[both])[0, 1]))
        result.append(float(np.mean(found)) if found else math.nan)
    return result


def portfolio_variances(model: FactorModel, weights: NDArray[np.floating[Any]]) -> Float64Array:
    """Forecast variance of the next bar of a path of portfolios, after every row ``[T]``.

    Positions in instruments that the model does not know in a row count nothing; NaN before the model begins.
    """
    held = np.nan_to_num(weights.astype(np.float64))
    known = np.isfinite(model.specific_variance) & model.exposures.counted
    held = np.where(known, held, 0.0)
    k = len(model.names)
    exposure = np.empty((len(held), k))
    for j in range(k):
        exposure[:, j] = np.einsum(
            "tn,tn->t", held, np.nan_to_num(model.exposures.values[j]).astype(np.float64)
        )
    begun = np.isfinite(np.diagonal(model.factor_covariance, axis1=1, axis2=2))
    covariance = np.nan_to_num(model.factor_covariance)
    factor = np.einsum("ti,tij,tj->t", exposure, covariance, exposure)
    specific = np.einsum("tn,tn->t", held**2, np.nan_to_num(model.specific_variance))
    result: Float64Array = np.where(begun[:, 0] & known.any(axis=1), factor + specific, np.nan)
    return result


def bias(
    model: FactorModel, weights: NDArray[np.floating[Any]], *, horizon: int = 1, first: int = 0
) -> BiasReport:
    """How good the forecasts of a path of portfolios were.

    Args:
        model: the model.
        weights: after each row's close, held over the next ``horizon`` bars ``[T, N]``.
        horizon: bars; returns do not overlap. Variances scale with it.
        first: row from which on forecasts count.
    """
    forecast = portfolio_variances(model, weights) * horizon
    held = np.where(np.isfinite(model.specific_variance), np.nan_to_num(weights.astype(np.float64)), 0.0)
    moves = np.nan_to_num(model.returns)
    later = np.zeros(moves.shape)
    for step in range(1, horizon + 1):
        later[: len(moves) - horizon] += moves[step : len(moves) - horizon + step]
    earned = np.einsum("tn,tn->t", held, later)
    rows = np.arange(first, len(moves) - horizon, horizon)
    return bias_of(earned[rows], forecast[rows])


def bias_of(returns: Float64Array, variances: Float64Array) -> BiasReport:
    """Bias statistic and QLIKE of returns against their forecast variances ``[n]``."""
    good = np.isfinite(returns) & np.isfinite(variances) & (variances > 0.0)
    count = int(good.sum())
    if count < 2:
        return BiasReport(math.nan, math.nan, math.nan, math.nan, count)
    r, v = returns[good], variances[good]
    half = math.sqrt(2.0 / count)
    qlike = float((np.log(v) + r**2 / v).mean())
    return BiasReport(float((r / np.sqrt(v)).std(ddof=1)), 1.0 - half, 1.0 + half, qlike, count)
