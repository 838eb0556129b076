"""Risk of each instrument and of the whole, from candles alone.

1. Returns are close to close of neighbouring candles, both traded; a return across a gap is not used.
2. The market factor is the equal- or dollar-volume-weighted return of the row's members, or a leader's.
3. Volatility: root of the exponentially weighted mean of squared returns (RiskMetrics 1996, zero mean), over
   a finite window, annualised.
4. Beta: slope on the market over a finite window, shrunk to 1 by its own uncertainty (Vasicek 1973):
   β* = (β·s₀² + se²) / (s₀² + se²).
5. Illiquidity: log₁₀ of the mean of |return| / dollar volume in millions (Amihud 2002).
6. Score of an instrument, in [0, 1]: weighted mean of four percentiles: its volatility, beta and illiquidity
   among the members of the row, and its volatility in its own recent past. An unknown part counts 1: what
   cannot be measured is taken as risky. Monotone in each part.
7. Score of the portfolio, in [0, 1]: weighted mean of the market volatility's and drawdown's percentiles in
   their own recent past, and the average correlation implied by market and instrument volatilities.
8. Regime: `Regime`, from the portfolio score and the sign of the market's recent return.

Windows are finite and sums have a fixed order (`windows.py`): any stretch of candles that covers `lookback`
gives the bits of the whole history.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bascule.core import Panel, UniverseError
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import percentiles, row_sums
from bascule.evaluate.rows import Float64Array
from bascule.risk.model import close_returns
from bascule.risk.settings import RiskSettings, Windows, windows
from bascule.risk.windows import drawdown, history_percentile, window_sum

_HISTORY_POINTS = 100


class Regime(IntEnum):
    """State of the market: level of the portfolio score × direction of the market."""

    UNKNOWN = -1
    CALM_UP = 0
    CALM_DOWN = 1
    NORMAL_UP = 2
    NORMAL_DOWN = 3
    STRESSED_UP = 4
    STRESSED_DOWN = 5


@dataclass(frozen=True, eq=False)
class RiskScores:
    """Risk values; NaN outside members and where history is too short.

    Attributes:
        volatility: annualised, 0.8 = 80 % a year, float32 ``[T, N]``.
        beta: to the market factor, shrunk, float32 ``[T, N]``.
        illiquidity: log₁₀ of |return| per million of quote currency traded, float32 ``[T, N]``.
        score: 0 = safest of the row, 1 = riskiest, float32 ``[T, N]``.
        portfolio: 0 = calmest of recent times, 1 = most dangerous, float32 ``[T]``.
        regime: `Regime` codes, int8 ``[T]``.
    """

    volatility: FloatArray
    beta: FloatArray
    illiquidity: FloatArray
    score: FloatArray
    portfolio: FloatArray
    regime: NDArray[np.int8]

    def rows(self, start: int | None, stop: int | None = None) -> RiskScores:
        """The rows ``start:stop`` (views)."""
        cut = slice(start, stop)
        return RiskScores(
            self.volatility[cut],
            self.beta[cut],
            self.illiquidity[cut],
            self.score[cut],
            self.portfolio[cut],
            self.regime[cut],
        )


@dataclass(frozen=True, eq=False)
class _Market:
    """Returns with unknown ones as 0, and where they are known; the market factor likewise."""

    returns: Float64Array
    known: BoolArray
    factor: Float64Array
    factor_known: BoolArray
    equal: Float64Array
    equal_known: BoolArray
    dollars: Float64Array


def compute(panel: Panel, settings: RiskSettings | None = None) -> RiskScores:
    """All risk values of a panel with ``close`` and ``volume``.

    Raises:
        UniverseError: the leader is not in the panel.
        DataError: a field is missing.
    """
    settings = settings or RiskSettings()
    span = windows(settings, panel.timeframe)
    market = _market(panel, settings, span)
    members = panel.members
    year = panel.timeframe.bars_a_year
    variance = _ewma(market.returns**2, market.known, span, settings)
    volatility = np.sqrt(variance * year)
    beta = _beta(market, span, settings)
    illiquidity = _illiquidity(market, span, settings)
    step = max(1, span.history // _HISTORY_POINTS)
    parts = (
        (settings.weight_volatility, percentiles(volatility, members)),
        (settings.weight_beta, percentiles(beta, members)),
        (settings.weight_illiquidity, percentiles(illiquidity, members)),
        (settings.weight_history, history_percentile(volatility, span.history, step)),
    )
    score = _blend(parts, members & np.isfinite(volatility))
    portfolio = _portfolio(market, variance, members, span, settings)
    return RiskScores(
        volatility=_inside(volatility, members),
        beta=_inside(beta, members),
        illiquidity=_inside(illiquidity, members),
        score=score.astype(np.float32),
        portfolio=portfolio.astype(np.float32),
        regime=_regime(portfolio, market, span, settings),
    )


def _inside(values: Float64Array, members: BoolArray) -> FloatArray:
    return np.where(members, values, np.nan).astype(np.float32)


def _blend(parts: tuple[tuple[float, Float64Array], ...], where: BoolArray) -> Float64Array:
    """Weighted mean of parts in [0, 1], unknown parts counting 1; NaN outside ``where``."""
    total = np.zeros(where.shape)
    for weight, part in parts:
        total += weight * np.where(np.isfinite(part), part, 1.0)
    total /= sum(weight for weight, _ in parts)
    return np.where(where, np.clip(total, 0.0, 1.0), np.nan)


def _market(panel: Panel, settings: RiskSettings, span: Windows) -> _Market:
    close = panel["close"].astype(np.float64)
    dollars = close * panel["volume"]
    returns = close_returns(panel)
    known = np.isfinite(returns)
    returns[~known] = 0.0
    used = (known & panel.members).astype(np.float64)
    equal, some = _weighted(returns, used)
    factor, factor_known = equal, some
    if settings.leader is not None:
        if settings.leader not in panel.instruments:
            raise UniverseError(
                f"the leader {settings.leader} is not in the panel",
                where="risk.leader",
                remedy=f"choose one of {', '.join(panel.instruments[:8])}, …, or none",
            )
        n = panel.instruments.index(settings.leader)
        factor, factor_known = returns[:, n].copy(), known[:, n].copy()
    elif settings.market == "volume":
        # weights end one candle earlier: a candle's own volume rises with its own move
        traded = window_sum(np.where(np.isfinite(dollars), dollars, 0.0), span.illiquidity - 1)
        weights = np.zeros_like(traded)
        weights[1:] = traded[:-1]
        factor, factor_known = _weighted(returns, used * weights)
    return _Market(returns, known, factor, factor_known, equal, some, dollars)


def _weighted(returns: Float64Array, weights: Float64Array) -> tuple[Float64Array, BoolArray]:
    """Weighted mean of each row ``[T]``, 0 where no weight, and where there was some."""
    total = row_sums(weights)
    some = total > 0.0
    return np.where(some, row_sums(returns * weights) / np.where(some, total, 1.0), 0.0), some


def _ewma(squares: Float64Array, known: BoolArray, span: Windows, settings: RiskSettings) -> Float64Array:
    decay = 0.5 ** (1.0 / span.half_life)
    weight = window_sum(known.astype(np.float64), span.volatility, decay)
    count = window_sum(known.astype(np.float64), span.volatility)
    total = window_sum(squares, span.volatility, decay)
    enough = count >= settings.min_share * span.volatility
    return np.where(enough, total / np.where(enough, weight, 1.0), np.nan)


def _beta(market: _Market, span: Windows, settings: RiskSettings) -> Float64Array:
    both = market.known & market.factor_known[:, None]
    x = np.where(both, market.factor[:, None], 0.0)
    y = np.where(both, market.returns, 0.0)
    n, sx, sy, sxx, sxy, syy = (
        window_sum(values, span.beta) for values in (both.astype(np.float64), x, y, x * x, x * y, y * y)
    )
    enough = (n >= max(3.0, settings.min_share * span.beta)) & (sxx > 0.0)
    n = np.where(enough, n, 3.0)
    varies = sxx - sx * sx / n
    enough &= varies > 1e-12 * sxx
    varies = np.where(enough, varies, 1.0)
    shared = sxy - sx * sy / n
    slope = shared / varies
    residual = np.maximum(syy - sy * sy / n - slope * shared, 0.0) / (n - 2.0)
    error = residual / varies
    prior = settings.beta_prior_sd**2
    return np.where(enough, (slope * prior + error) / (prior + error), np.nan)


def _illiquidity(market: _Market, span: Windows, settings: RiskSettings) -> Float64Array:
    good = market.known & np.isfinite(market.dollars) & (market.dollars > 0.0)
    impact = np.where(good, np.abs(market.returns) / np.where(good, market.dollars / 1e6, 1.0), 0.0)
    count = window_sum(good.astype(np.float64), span.illiquidity)
    total = window_sum(impact, span.illiquidity)
    enough = (count >= settings.min_share * span.illiquidity) & (total > 0.0)
    # log of a whole array, never of a masked one, so that every row takes the same path
    return np.where(enough, np.log10(np.where(enough, total / np.maximum(count, 1.0), 1.0)), np.nan)


def _portfolio(
    market: _Market, variance: Float64Array, members: BoolArray, span: Windows, settings: RiskSettings
) -> Float64Array:
    step = max(1, span.history // _HISTORY_POINTS)
    level = _ewma(market.factor**2, market.factor_known, span, settings)
    fall = drawdown(np.log1p(np.maximum(market.factor, -0.99)), span.volatility)
    parts = (
        (settings.weight_market_volatility, history_percentile(level, span.history, step)),
        (settings.weight_drawdown, history_percentile(fall, span.history, step)),
        (settings.weight_correlation, _correlation(market, variance, members, span, settings)),
    )
    return _blend(parts, np.isfinite(parts[0][1]))


def _correlation(
    market: _Market, variance: Float64Array, members: BoolArray, span: Windows, settings: RiskSettings
) -> Float64Array:
    """Average correlation that the equal-weighted market's variance implies, in [0, 1] ``[T]``."""
    whole = _ewma(market.equal**2, market.equal_known, span, settings)
    used = members & np.isfinite(variance)
    count = row_sums(used.astype(np.float64))
    some = count >= 2.0
    count = np.where(some, count, 2.0)
    filled = np.where(used, variance, 0.0)
    own = row_sums(filled) / count**2
    together = (row_sums(np.sqrt(filled)) / count) ** 2 - own
    some &= together > 0.0
    result = (whole - own) / np.where(some, together, 1.0)
    return np.where(some, np.clip(result, 0.0, 1.0), np.nan)


def _regime(
    portfolio: Float64Array, market: _Market, span: Windows, settings: RiskSettings
) -> NDArray[np.int8]:
    trend = window_sum(market.factor, span.trend)
    level = np.where(portfolio < settings.calm, 0, np.where(portfolio > settings.stressed, 2, 1))
    code = 2 * level + (trend < 0.0)
    return np.where(np.isfinite(portfolio), code, Regime.UNKNOWN).astype(np.int8)
