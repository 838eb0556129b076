"""Objectives that skfolio optimises: any with its own solver, risk budgeting, HRP and CVaR.

skfolio gets the moments of our risk model through a prior estimator that returns them as they are. Limits
go in as constraints on the weights: its own ``max_turnover`` is per instrument, ours is L1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import ConfigError, DataError
from bascule.evaluate.rows import Float64Array
from bascule.portfolio.limits import Inputs, Limit, conflicts
from bascule.portfolio.quadratic import Infeasible
from bascule.risk import RiskModel
from bascule.risk.extra import require

if TYPE_CHECKING:
    from bascule.portfolio.construct import ConstructionSettings


def optimise(
    model: RiskModel,
    settings: ConstructionSettings,
    limits: Sequence[Limit],
    given: Inputs,
    alpha: Float64Array,
    cost: Float64Array,
    impact: Float64Array,
    scenarios: Float64Array | None,
) -> Float64Array:
    """Optimal weights ``[N]``; arguments as in `construct`.

    Raises:
        Infeasible: no weights meet the limits.
        ConfigError: skfolio is missing, or the objective cannot have these limits.
        DataError: scenarios are missing or do not fit, or the solver failed.
    """
    require("skfolio", purpose=f"objective {settings.objective}")
    n = len(model.instruments)
    if n == 1 and settings.objective in ("hrp", "risk_parity"):
        return _single(limits, given)
    returns = _scenarios(model, settings, scenarios)
    if conflicts(limits, given.current):
        raise Infeasible
    size = float(np.trace(model.factor_covariance @ (model.exposures.T @ model.exposures)))
    size = (size + float(model.specific_variance.sum())) / n * settings.horizon
    # risk budgets do not depend on the size of the covariance, but its solver does
    unit = 1.0 / size if settings.objective == "risk_parity" and size > 0.0 else 1.0
    frame, prior = _prior(model, alpha * settings.horizon, settings.horizon * unit, returns)
    estimator = _estimator(settings, model, limits, given, prior, cost, impact)
    try:
        estimator.fit(frame)
    except Exception as error:  # noqa: BLE001 - skfolio passes on whatever cvxpy and its solvers raise
        raise DataError(
            f"skfolio could not optimise: {' '.join(str(error).split())[:300]}",
            where=f"objective {settings.objective}",
            remedy="loosen limits, or use objective: mean_variance",
        ) from None
    weights = np.asarray(estimator.weights_, np.float64) * _net(settings)
    if settings.objective == "hrp":
        _check_hrp(weights, limits, given)
    return weights


def _net(settings: ConstructionSettings) -> float:
    """Sum of weights that shares are scaled to; 1 for optimisers that choose it themselves."""
    if settings.objective not in ("hrp", "risk_parity"):
        return 1.0
    return min(1.0, settings.limits.gross) if settings.limits.net is None else settings.limits.net[1]


def _single(limits: Sequence[Limit], given: Inputs) -> Float64Array:
    """One instrument: there is nothing to spread, it gets as much as the limits give."""
    weight = np.ones(1)
    if conflicts(limits, given.current):
        raise Infeasible
    for limit in limits:
        if limit.matrix.shape == (1, 3) and limit.matrix[:, [1]].nnz == 0:
            factor = float(limit.matrix.sum())
            if factor > 0.0:
                weight = np.clip(weight, limit.low / factor, limit.high / factor)
    return weight


def _scenarios(
    model: RiskModel, settings: ConstructionSettings, scenarios: Float64Array | None
) -> Float64Array | None:
    n = len(model.instruments)
    if settings.objective != "cvar":
        return None
    if scenarios is None:
        raise ConfigError(
            "cvar needs scenarios", where="construct", remedy="pass scenarios(model, row, count)"
        )
    if scenarios.ndim != 2 or scenarios.shape[1] != n or not np.isfinite(scenarios).all():
        raise DataError(
            f"scenarios {list(scenarios.shape)} must be finite [S, {n}]",
            where="construct",
            remedy="use bascule.portfolio.scenarios, which fills late listings",
        )
    return scenarios


def _prior(
    model: RiskModel, mu: Float64Array, horizon: float, scenarios: Float64Array | None
) -> tuple[Any, Any]:
    """A frame to fit on, and skfolio's prior estimator with the model's moments over the horizon."""
    import pandas as pd
    from skfolio.prior import BasePrior, ReturnDistribution

    covariance = model.covariance() * horizon
    # a covariance of low rank has no Cholesky decomposition
    covariance += np.eye(len(mu)) * 1e-10 * max(float(np.trace(covariance)) / len(mu), 1e-300)
    if scenarios is None:
        # only their shape is looked at: two rows
        values = np.vstack([mu + np.sqrt(np.diag(covariance)), mu - np.sqrt(np.diag(covariance))])
    else:
        values = scenarios * np.sqrt(horizon) + mu
    distribution = ReturnDistribution(mu=mu, covariance=covariance, returns=values)

    class Given(BasePrior):  # type: ignore[misc,unused-ignore]
        """The moments as they are."""

        def __init__(self, distribution: Any = None) -> None:
            self.distribution = distribution

        def fit(self, X: Any, y: Any = None, **others: Any) -> Any:
            """Nothing to estimate."""
            self.return_distribution_ = self.distribution
            return self

    return pd.DataFrame(values, columns=list(model.instruments)), Given(distribution)


def _estimator(
    settings: ConstructionSettings,
    model: RiskModel,
    limits: Sequence[Limit],
    given: Inputs,
    prior: Any,
    cost: Float64Array,
    impact: Float64Array,
) -> Any:
    from skfolio import RiskMeasure
    from skfolio.optimization import HierarchicalRiskParity, MeanRisk, ObjectiveFunction, RiskBudgeting

    if settings.objective == "hrp":
        cap = min(1.0, settings.limits.max_weight)
        return HierarchicalRiskParity(prior_estimator=prior, min_weights=0.0, max_weights=cap)
    constraints = _constraints(limits, given)
    largest = float(np.diag(prior.distribution.covariance).max())
    scale = 1.0 / max(largest if settings.objective != "cvar" else np.sqrt(largest), 1e-300)
    if settings.objective == "risk_parity":
        if settings.limits.side != "long":
            raise ConfigError(
                "risk parity is long only", where="construct", remedy="use side: long, or another objective"
            )
        budget = np.array([settings.budgets.get(name, 1.0) for name in model.instruments])
        return RiskBudgeting(
            risk_measure=RiskMeasure.VARIANCE,
            risk_budget=budget / budget.sum(),
            prior_estimator=prior,
            max_weights=None,
            add_constraints=_constraints(limits, given, shares_of=_net(settings)),
        )
    cvar = settings.objective == "cvar"
    maximise = settings.objective == "mean_variance" or (cvar and bool((prior.distribution.mu != 0.0).any()))
    goal = ObjectiveFunction.MAXIMIZE_UTILITY if maximise else ObjectiveFunction.MINIMIZE_RISK
    return MeanRisk(
        objective_function=goal,
        risk_measure=RiskMeasure.CVAR if cvar else RiskMeasure.VARIANCE,
        risk_aversion=settings.risk_aversion if cvar else settings.risk_aversion / 2.0,
        prior_estimator=prior,
        min_weights=None,
        max_weights=None,
        budget=None,
        cvar_beta=settings.confidence,
        scale_objective=scale,
        add_constraints=constraints,
        add_objective=_penalty(settings, given, cost, impact, maximise),
    )


def _constraints(limits: Sequence[Limit], given: Inputs, *, shares_of: float | None = None) -> Any:
    """A function weights → cvxpy constraints.

    Risk budgeting solves for a multiple of the weights, which add to ``shares_of`` in the end: limits are
    then multiplied by the same.
    """
    import cvxpy as cp

    n = len(given.current)

    def constraints(w: Any) -> list[Any]:
        found = []
        one = cp.Constant(1.0) if shares_of is None else cp.sum(w) / shares_of
        for limit in limits:
            on_w, on_t, on_g = (limit.matrix[:, i * n : (i + 1) * n] for i in range(3))
            value = on_w @ w
            if on_t.nnz:
                value = value + on_t @ cp.abs(w - given.current * one)
            if on_g.nnz:
                value = value + on_g @ cp.abs(w)
            same = np.isfinite(limit.low) & (limit.low == limit.high)
            if same.any():
                if shares_of is not None and limit.label.startswith("net"):
                    continue
                found.append(value[np.flatnonzero(same)] == limit.high[same] * one)
            above = np.flatnonzero(np.isfinite(limit.high) & ~same)
            under = np.flatnonzero(np.isfinite(limit.low) & ~same)
            if len(above):
                found.append(value[above] <= limit.high[above] * one)
            if len(under):
                found.append(value[under] >= limit.low[under] * one)
        return found

    return constraints


def _penalty(
    settings: ConstructionSettings, given: Inputs, cost: Float64Array, impact: Float64Array, maximise: bool
) -> Any:
    """Costs of trading, in the units of skfolio's objective; which adds them in both directions."""
    import cvxpy as cp

    if not (cost > 0.0).any() and not (impact > 0.0).any():
        return None
    # minimum variance is minimised as the variance itself, not γ/2 times it
    scale = 2.0 / settings.risk_aversion if settings.objective == "min_variance" else 1.0
    if maximise:
        scale = -1.0

    def penalty(w: Any) -> Any:
        trade = w - given.current
        return scale * (cost @ cp.abs(trade) + cp.sum(cp.multiply(impact, cp.square(trade))))

    return penalty


def _check_hrp(weights: Float64Array, limits: Sequence[Limit], given: Inputs) -> None:
    """HRP is an allocation, not an optimisation: limits can only be checked."""
    z = np.concatenate([weights, np.abs(weights - given.current), np.abs(weights)])
    broken = [
        limit.label
        for limit in limits
        if ((limit.matrix @ z < limit.low - 1e-6) | (limit.matrix @ z > limit.high + 1e-6)).any()
    ]
    if broken:
        raise ConfigError(
            f"hierarchical risk parity cannot keep to: {'; '.join(broken)}",
            where="objective hrp",
            remedy="drop these limits, or use objective: risk_parity",
        )
