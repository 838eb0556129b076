"""Value at risk and expected shortfall of a return series, one bar ahead, after every row.

- ``historical``: quantile of the last ``window`` returns.
- ``parametric``: a normal or Student quantile times the volatility forecast; the Student's degrees of
  freedom are those that have the kurtosis of the last ``window`` standardised returns.
- ``filtered`` (Barone-Adesi, Giannopoulos & Vosper 1999): quantile of the last ``window`` standardised
  returns times the volatility forecast: today's volatility, the past's tails.

Volatility is exponentially weighted (RiskMetrics 1996), or GARCH(1,1) fitted by `arch` on past rows only,
again every ``refit`` rows. Losses are positive. Row t is a forecast for row t + 1 and uses rows ≤ t.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import DataError, Settings
from bascule.evaluate.rows import Float64Array

Method = Literal["historical", "parametric", "filtered"]
_CELLS = 1 << 22


class TailSettings(Settings):
    """How the tail is measured. Windows are in rows of the series, e.g. days."""

    method: Method = Field(default="filtered", description="historical, parametric or filtered simulation")
    level: float = Field(default=0.99, gt=0.5, lt=1, description="confidence")
    window: int = Field(default=500, ge=50, description="rows of the quantile and of the kurtosis")
    volatility: Literal["ewma", "garch"] = Field(default="ewma", description="volatility forecast")
    half_life: float = Field(default=11.0, gt=0, description="of the EWMA, rows (11 days: RiskMetrics' 0.94)")
    refit: int = Field(default=60, ge=1, description="rows between fits of the GARCH")
    tails: Literal["normal", "student"] = Field(default="student", description="law of parametric")


@dataclass(frozen=True, eq=False)
class Tail:
    """Forecasts after each row, as positive losses; NaN where there is too little history.

    Attributes:
        var: value at risk ``[T]``.
        es: expected shortfall ``[T]``.
        volatility: forecast of the next row's deviation ``[T]``.
    """

    var: Float64Array
    es: Float64Array
    volatility: Float64Array

    def hits(self, returns: Float64Array) -> NDArray[np.bool_]:
        """Whether the loss of row t exceeded the VaR of row t − 1; rows without a forecast are left out."""
        before, now = self.var[:-1], returns[1:]
        known = np.isfinite(before) & np.isfinite(now)
        result: NDArray[np.bool_] = -now[known] > before[known]
        return result


def tail_risk(returns: Float64Array, settings: TailSettings | None = None) -> Tail:
    """VaR and expected shortfall of the next row, after every row.

    Args:
        returns: of a portfolio ``[T]``, finite.
        settings: method and memory.

    Raises:
        DataError: a return is not finite.
    """
    settings = settings or TailSettings()
    if returns.ndim != 1 or not np.isfinite(returns).all():
        raise DataError(
            "returns must be one finite series",
            where="risk.tail_risk",
            remedy="fill gaps with 0 or leave them out",
        )
    deviation = _volatility(returns, settings)
    if settings.method == "historical":
        var, es = _quantiles(returns, settings)
        return Tail(var, es, deviation)
    before = np.full(len(returns), np.nan)
    before[1:] = deviation[:-1]
    good = before > 0.0
    scores = np.where(good, returns / np.where(good, before, 1.0), np.nan)
    first = int(np.argmax(np.isfinite(scores))) if np.isfinite(scores).any() else len(scores)
    used = np.nan_to_num(scores[first:])  # a row without any volatility before it counts as no move
    var, es = (np.full(len(returns), np.nan) for _ in range(2))
    parts = _quantiles(used, settings) if settings.method == "filtered" else _law(used, settings)
    var[first:], es[first:] = parts
    return Tail(var * deviation, es * deviation, deviation)


def portfolio_history(weights: Float64Array, returns: Float64Array) -> Float64Array:
    """What today's weights would have earned in each past row ``[T]``; an unknown return counts 0.

    Args:
        weights: ``[N]``.
        returns: ``[T, N]``.
    """
    result: Float64Array = np.nan_to_num(returns) @ np.nan_to_num(weights)
    return result


def _volatility(returns: Float64Array, settings: TailSettings) -> Float64Array:
    """Forecast of the next row's deviation after each row."""
    if settings.volatility == "garch":
        return _garch(returns, settings)
    from bascule.risk.covariance import smooth

    ratio = 0.5 ** (1.0 / settings.half_life)
    forecast = np.sqrt(smooth(returns**2, np.ones(len(returns), bool), ratio))
    forecast[: min(len(forecast), 20)] = np.nan
    return forecast


def _garch(returns: Float64Array, settings: TailSettings) -> Float64Array:
    """GARCH(1,1), zero mean: parameters from the rows before, filtered forward."""
    from arch import arch_model

    result = np.full(len(returns), np.nan)
    least = max(250, settings.window // 2)
    for start in range(least, len(returns) + 1, settings.refit):
        past = returns[:start]
        scale = 1.0 / max(float(past.std()), 1e-12)
        model = arch_model(past * scale, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = model.fit(disp="off", show_warning=False)
        omega, alpha, beta = (float(fit.params[name]) for name in ("omega", "alpha[1]", "beta[1]"))
        variance = float(fit.conditional_volatility[-1]) ** 2
        for t in range(start - 1, min(start - 1 + settings.refit, len(returns))):
            variance = omega + alpha * float(returns[t] * scale) ** 2 + beta * variance
            result[t] = np.sqrt(variance) / scale
    return result


def _quantiles(values: Float64Array, settings: TailSettings) -> tuple[Float64Array, Float64Array]:
    """Loss quantile of the last ``window`` values, and the mean of the losses from it on."""
    window = settings.window
    var, es = (np.full(len(values), np.nan) for _ in range(2))
    if len(values) < window:
        return var, es
    views = np.lib.stride_tricks.sliding_window_view(values, window)
    # position (1 − level)·(n + 1): a new value of the same law lies below it with probability 1 − level
    place = max(1.0, (1.0 - settings.level) * (window + 1))
    low = int(place)
    step = max(1, _CELLS // window)
    for start in range(0, len(views), step):
        ordered = np.sort(np.partition(views[start : start + step], low, axis=1)[:, : low + 1], axis=1)
        quantile = ordered[:, low - 1] + (place - low) * (ordered[:, low] - ordered[:, low - 1])
        cut = slice(window - 1 + start, window - 1 + start + len(ordered))
        var[cut] = -quantile
        es[cut] = -ordered[:, :low].mean(axis=1)
    return var, np.maximum(es, var)


def _law(scores: Float64Array, settings: TailSettings) -> tuple[Float64Array, Float64Array]:
    """Quantile and shortfall of the fitted law of unit variance."""
    from scipy import stats

    p = 1.0 - settings.level
    count = len(scores)
    if settings.tails == "normal":
        quantile = float(stats.norm.ppf(p))
        return np.full(count, -quantile), np.full(count, float(stats.norm.pdf(quantile)) / p)
    moments = [np.concatenate([[0.0], np.cumsum(scores**power)]) for power in (2, 4)]
    var, es = (np.full(count, np.nan) for _ in range(2))
    if count < settings.window:
        return var, es
    ends = np.arange(settings.window, count + 1)
    second, fourth = ((m[ends] - m[ends - settings.window]) / settings.window for m in moments)
    excess = np.maximum(fourth / np.maximum(second, 1e-300) ** 2 - 3.0, 1e-3)
    freedom = np.clip(4.0 + 6.0 / excess, 4.05, 200.0)
    unit = np.sqrt((freedom - 2.0) / freedom)
    quantile = stats.t.ppf(p, freedom)
    var[settings.window - 1 :] = -quantile * unit
    shortfall = stats.t.pdf(quantile, freedom) / p * (freedom + quantile**2) / (freedom - 1.0)
    es[settings.window - 1 :] = shortfall * unit
    return var, es
