"""From expected returns and risk to target weights, under limits.

1. `limits.py`: the settings become named linear limits.
2. ``mean_variance`` and ``min_variance`` go through the factor structure (`quadratic.py`); ``risk_parity``
   (with budgets), ``hrp`` and ``cvar`` are skfolio's (`convex.py`), as is every objective with ``solver:
   skfolio``.
3. Limits that no portfolio meets raise an error that names a smallest contradicting set of them.
4. `rounding.py` brings weights to what an exchange takes.

Instruments without exposures or specific risk are not in the `RiskModel`, so nothing is ever held in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Progress, Settings, UniverseError, silent
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import Float64Array
from bascule.portfolio.limits import Inputs, Limit, LimitSettings, conflicts, infeasible, limits
from bascule.portfolio.quadratic import Infeasible, Utility, solve
from bascule.risk import FactorModel, RiskModel

Objective = Literal["mean_variance", "min_variance", "risk_parity", "hrp", "cvar"]
_DUST = 1e-7  # a smaller weight is the solver's rounding


class ConstructionSettings(Settings):
    """How target weights are found."""

    objective: Objective = Field(default="mean_variance", description="what is optimised")
    solver: Literal["factor", "skfolio"] = Field(
        default="factor", description="of mean_variance and min_variance; the others are skfolio's"
    )
    risk_aversion: float = Field(default=5.0, gt=0, description="γ of mean − γ/2 · variance")
    horizon: float = Field(
        default=24.0, gt=0, description="bars that a position is held for, against its costs"
    )
    cost: float = Field(
        default=0.0, ge=0, le=0.1, description="fee, half spread and slippage of a unit traded"
    )
    impact: float = Field(
        default=0.0,
        ge=0,
        description="linear impact: times a day's volatility when a day's volume is traded",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the CVaR")
    budgets: Mapping[str, float] = Field(
        default={}, description="shares of risk by instrument (risk_parity); default equal"
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="what may be held")


@dataclass(frozen=True, eq=False)
class Construction:
    """A portfolio.

    Attributes:
        instruments: store ids ``[N]``.
        weights: shares of equity ``[N]``.
        volatility: annualised forecast.
        expected_return: a year, before costs; 0 without alphas.
        turnover: Σ|trades| from the current weights.
        cost: of trading there, share of equity.
        exposures: to each factor.
        contributions: shares of the variance by factor, and ``specific``.
        binding: limits that hold the portfolio back.
    """

    instruments: tuple[str, ...]
    weights: Float64Array
    volatility: float
    expected_return: float
    turnover: float
    cost: float
    exposures: dict[str, float]
    contributions: dict[str, float]
    binding: tuple[str, ...]


def construct(
    model: RiskModel,
    settings: ConstructionSettings | None = None,
    *,
    alpha: Float64Array | None = None,
    current: Float64Array | None = None,
    market: Float64Array | None = None,
    volume: Float64Array | None = None,
    scenarios: Float64Array | None = None,
) -> Construction:
    """One portfolio.

    Args:
        model: the risk model, per bar.
        settings: objective and limits.
        alpha: expected returns per bar, NaN = 0 ``[N]``; needed by mean_variance.
        current: weights held now, default none ``[N]``.
        market: market portfolio for beta neutrality, default equal weights ``[N]``.
        volume: value traded a day ``[N]``, for liquidity limits and impact.
        scenarios: joint returns per bar ``[S, N]``, needed by cvar (see `scenarios`).

    Raises:
        ConfigError: limits contradict each other (they are named), an option is missing, or skfolio is.
        DataError: arrays do not fit, or the solver failed.
    """
    settings = settings or ConstructionSettings()
    n = len(model.instruments)
    given = _inputs(n, current, market, volume)
    if alpha is None and settings.objective == "mean_variance":
        raise ConfigError("no alphas", where="construct", remedy="pass alpha, or use objective: min_variance")
    expected = np.zeros(n) if alpha is None else np.nan_to_num(_fits("alpha", alpha, n))
    chosen = limits(model, settings.limits, given)
    cost, impact = _costs(model, settings, given)
    try:
        if settings.objective in ("mean_variance", "min_variance") and settings.solver == "factor":
            used = expected if settings.objective == "mean_variance" else np.zeros(n)
            utility = Utility(
                used * settings.horizon, settings.risk_aversion * settings.horizon, cost, impact
            )
            weights = solve(model, chosen, given.current, utility)
        else:
            from bascule.portfolio.convex import optimise

            weights = optimise(model, settings, chosen, given, expected, cost, impact, scenarios)
    except Infeasible:
        labels = conflicts(chosen, given.current) or tuple(limit.label for limit in chosen)
        raise infeasible(labels, n) from None
    weights = np.where(np.abs(weights) > _DUST, weights, 0.0)
    trades = np.abs(weights - given.current)
    return Construction(
        model.instruments,
        weights,
        model.volatility(weights),
        float(expected @ weights) * model.bars_a_year,
        float(trades.sum()),
        float(cost @ trades + impact @ trades**2),
        model.factor_exposures(weights),
        model.contributions(weights),
        _binding(chosen, weights, given.current),
    )


def construct_path(
    model: FactorModel,
    settings: ConstructionSettings | None = None,
    *,
    alpha: FloatArray | None = None,
    volume: Float64Array | None = None,
    every: int = 24,
    first: int = 0,
    progress: Progress = silent,
) -> FloatArray:
    """Target weights of all rows, optimised on the absolute grid of ``every`` bars and held between, ``[T,
    N]``.

    They fit a signal frame's ``target_weight``. Row t uses rows ≤ t; rows before there is a risk model hold
    nothing; what is no member any more is sold at once. The current weights of each step are the last
    targets.

    Args:
        model: the fitted factor model.
        settings: objective and limits.
        alpha: expected returns per bar ``[T, N]``.
        volume: value traded a day ``[T, N]``.
        every: bars between rebalances.
        first: row to begin with.
        progress: told about rows done.

    Raises:
        ConfigError: limits contradict each other at a row, which is named.
    """
    rows, width = model.exposures.values.shape[1:]
    result = np.zeros((rows, width), np.float32)
    tick = model.time.astype(np.int64) // model.timeframe.delta.astype(np.int64)
    held = np.zeros(width)
    inside = np.isfinite(model.specific_variance) & model.exposures.counted
    places = {name: i for i, name in enumerate(model.exposures.instruments)}
    for t in range(first, rows):
        held = np.where(inside[t], held, 0.0)
        if tick[t] % every == 0:
            now = _snapshot(model, t)
            if now is not None:
                index = np.array([places[name] for name in now.instruments])
                try:
                    made = construct(
                        now,
                        settings,
                        alpha=None if alpha is None else alpha[t, index].astype(np.float64),
                        current=held[index],
                        volume=None if volume is None else volume[t, index],
                    )
                except (ConfigError, DataError) as error:
                    place = f"{model.time[t]}, {error.where}"
                    raise type(error)(error.message, where=place, remedy=error.remedy) from None
                held = np.zeros(width)
                held[index] = made.weights
            progress(t + 1, rows, "rebalances")
        result[t] = held
    return result


def _snapshot(model: FactorModel, row: int) -> RiskModel | None:
    try:
        return model.at(row)
    except UniverseError:
        return None


def scenarios(model: FactorModel, row: int, count: int, *, seed: int = 0) -> Float64Array:
    """Joint returns of the instruments of ``model.at(row)`` under the last ``count`` rows' shocks ``[S, N]``.

    Factor returns of the past through today's exposures, plus specific returns: without these a CVaR
    optimiser finds portfolios without any risk. Where an instrument had none (listed later, a gap) it gets
    that of another in the same row, drawn by ``seed`` and scaled to its own specific risk. Means are 0.

    Raises:
        DataError: fewer than 30 rows are there.
    """
    now = model.at(row)
    keep = [model.names.index(name) for name in now.names]
    index = [model.exposures.instruments.index(name) for name in now.instruments]
    span = slice(max(0, row + 1 - count), row + 1)
    shocks = model.sections.returns[span][:, keep]
    good = np.isfinite(shocks).all(axis=1)
    if good.sum() < 30:
        raise DataError(
            f"{int(good.sum())} rows of factor returns",
            where="scenarios",
            remedy="use a later row or more rows",
        )
    # standardised by what was forecast at the time, so that another instrument's can stand in
    past = np.sqrt(model.specific_variance[span][:, index])
    own = model.sections.residuals[span][:, index].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.where(past > 0.0, own / past, np.nan)
    scores, shocks = scores[good], shocks[good]
    random = np.random.default_rng(seed)
    deviation = np.sqrt(now.specific_variance)
    for line in scores:
        known = np.flatnonzero(np.isfinite(line))
        unknown = np.flatnonzero(~np.isfinite(line))
        line[unknown] = line[random.choice(known, len(unknown))] if len(known) else 0.0
    specific = scores * deviation
    result: Float64Array = (shocks - shocks.mean(axis=0)) @ now.exposures.T + specific - specific.mean(axis=0)
    return result


def _inputs(
    n: int, current: Float64Array | None, market: Float64Array | None, volume: Float64Array | None
) -> Inputs:
    return Inputs(
        np.zeros(n) if current is None else np.nan_to_num(_fits("current", current, n)),
        np.full(n, 1.0 / n) if market is None else _fits("market", market, n),
        None if volume is None else _fits("volume", volume, n),
    )


def _fits(name: str, values: Float64Array, n: int) -> Float64Array:
    if values.shape != (n,):
        raise DataError(f"{name} is {list(values.shape)}, the model has {n} instruments", where="construct")
    return values.astype(np.float64)


def _costs(
    model: RiskModel, settings: ConstructionSettings, given: Inputs
) -> tuple[Float64Array, Float64Array]:
    """Cost of a unit traded, and of its square ``[N]``."""
    n = len(model.instruments)
    cost = np.full(n, settings.cost)
    if settings.impact == 0.0:
        return cost, np.zeros(n)
    if given.volume is None or settings.limits.capital is None:
        raise ConfigError(
            "impact needs the value traded and the capital",
            where="construct",
            remedy="pass volume and set limits.capital, or impact: 0",
        )
    variance = (model.exposures @ model.root()) ** 2
    daily = np.sqrt((variance.sum(axis=1) + model.specific_variance) * model.bars_a_year / 365.0)
    volume = np.maximum(np.nan_to_num(given.volume), 1e-9)
    return cost, settings.impact * daily * settings.limits.capital / volume


def _binding(chosen: tuple[Limit, ...], weights: Float64Array, current: Float64Array) -> tuple[str, ...]:
    z = np.concatenate([weights, np.abs(weights - current), np.abs(weights)])
    found = []
    for limit in chosen:
        value = limit.matrix @ z
        room = np.minimum(value - limit.low, limit.high - value)
        if limit.label != "side = long" and (room < 1e-5).any():
            found.append(limit.label)
    return tuple(found)
