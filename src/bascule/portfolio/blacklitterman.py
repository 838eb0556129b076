"""Black-Litterman on factor premia.

With factor returns f ~ N(μ, S), a prior μ ~ N(π, V), V = τS, and views P·μ = q + ε, ε ~ N(0, Ω):

1. posterior premia      μ* = π + V·Pᵀ·(P·V·Pᵀ + Ω)⁻¹·(q − P·π)
2. their uncertainty     M  = V − V·Pᵀ·(P·V·Pᵀ + Ω)⁻¹·P·V
3. predictive covariance S* = S + M
4. assets r = B·f + u    E[r] = B·μ*,  Cov[r] = B·S*·Bᵀ + D

This is (V⁻¹ + PᵀΩ⁻¹P)⁻¹ (V⁻¹π + PᵀΩ⁻¹q) in a form that holds for a singular S and certain views too (Kolm &
Ritter 2017, "On the Bayesian interpretation of Black-Litterman", EJOR 258; in factor form: Kolm & Ritter
2020, "Factor investing with Black-Litterman-Bayes"). With B = I and D = 0 it is the asset-level model of
Black & Litterman (1992).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bascule.core import DataError
from bascule.evaluate.rows import Float64Array
from bascule.portfolio.views import Views
from bascule.risk import RiskModel


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed of factors, per bar.

    Attributes:
        names: factors ``[K]``.
        prior: π ``[K]``.
        mean: posterior premia ``[K]``.
        uncertainty: M, of the premia ``[K, K]``.
        covariance: S + M, of factor returns ``[K, K]``.
    """

    names: tuple[str, ...]
    prior: Float64Array
    mean: Float64Array
    uncertainty: Float64Array
    covariance: Float64Array

    def assets(self, model: RiskModel) -> tuple[Float64Array, RiskModel]:
        """Expected returns per bar ``[N]``, and the risk model with the posterior factor covariance.

        Raises:
            DataError: the model has other factors.
        """
        if model.names != self.names:
            raise DataError(
                f"the model's factors {model.names} are not the posterior's {self.names}",
                where="Posterior.assets",
            )
        return model.exposures @ self.mean, replace(model, factor_covariance=self.covariance)


def implied_premia(model: RiskModel, market: Float64Array, risk_aversion: float) -> Float64Array:
    """Premia at which holding ``market`` is optimal, per bar: π = δ·F·Bᵀ·w ``[K]``.

    Args:
        model: the risk model.
        market: weights of the market portfolio, e.g. by capitalisation ``[N]``.
        risk_aversion: δ, e.g. market premium / market variance.
    """
    result: Float64Array = risk_aversion * (model.factor_covariance @ (model.exposures.T @ market))
    return result


def posterior(
    names: tuple[str, ...],
    covariance: Float64Array,
    prior: Float64Array,
    views: Views,
    *,
    tau: float = 0.05,
    prior_covariance: Float64Array | None = None,
) -> Posterior:
    """Prior and views joined.

    Args:
        names: factors ``[K]``.
        covariance: S, of factor returns, per bar ``[K, K]``; may be singular.
        prior: π, per bar ``[K]``.
        views: P, q, Ω.
        tau: V = τS where ``prior_covariance`` is not given.
        prior_covariance: V, of the prior premia ``[K, K]``.

    Raises:
        DataError: shapes do not fit, or certain views contradict each other.
    """
    k = len(names)
    shapes = (covariance.shape, prior.shape, views.picks.shape[1:])
    if shapes != ((k, k), (k,), (k,)):
        raise DataError(f"shapes {shapes} do not fit {k} factors", where="black-litterman")
    v = tau * covariance if prior_covariance is None else prior_covariance
    gain = v @ views.picks.T
    inner = views.picks @ gain + views.uncertainty
    surprise = views.values - views.picks @ prior
    # views that say the same with certainty make this singular: the pseudo-inverse counts them once
    inverse = np.linalg.pinv(inner, rcond=1e-12, hermitian=True) if len(surprise) else inner
    scale = float(np.abs(surprise).max(initial=0.0))
    if len(surprise) and np.abs(inner @ (inverse @ surprise) - surprise).max() > 1e-6 * max(scale, 1e-300):
        raise DataError(
            "certain views contradict each other, or are on what has no variance",
            where="black-litterman",
            remedy="lower a confidence, or remove one: " + "; ".join(views.labels),
        )
    mean = prior + gain @ (inverse @ surprise)
    spread = v - gain @ inverse @ gain.T
    spread = 0.5 * (spread + spread.T)
    return Posterior(names, prior, mean, spread, covariance + spread)
