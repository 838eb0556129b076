"""Black-Litterman on factors against its closed forms, skfolio, and numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError, DataError
from bascule.portfolio import (
    Views,
    ViewSettings,
    implied_premia,
    load_views,
    parse_view,
    posterior,
    views_of,
    views_of_alpha,
)
from bascule.risk import RiskModel

NAMES = ("market", "size", "momentum", "carry")


def _model(seed: int = 0, n: int = 60, names: tuple[str, ...] = NAMES) -> RiskModel:
    random = np.random.default_rng(seed)
    k = len(names)
    half = random.standard_normal((k, k)) * 0.01
    b = random.standard_normal((n, k))
    b[:, 0] = 1
    instruments = tuple(f"C{i:03d}_USDT" for i in range(n))
    noise = random.uniform(1e-5, 4e-4, n)
    return RiskModel(names, instruments, b, half @ half.T, noise, 8760, np.datetime64("2024-01-01", "ns"))


def _views(model: RiskModel, tau: float = 0.05) -> Views:
    settings = ViewSettings.read(
        {
            "per": "bar",
            "tau": tau,
            "views": [
                {"view": "momentum = 0.0008", "confidence": 0.6},
                {"view": "carry - size = 0.0005", "confidence": 0.4},
                {"view": "0.5*market + 0.5*momentum = -0.0001", "confidence": 0.25},
            ],
        }
    )
    return views_of(settings, model.names, model.factor_covariance, model.bars_a_year)


def test_equals_the_closed_form_with_inverses() -> None:
    model, tau = _model(), 0.05
    s, views = model.factor_covariance, _views(_model(), 0.05)
    prior = np.array([0.001, 0.0, 0.0002, -0.0001])
    found = posterior(NAMES, s, prior, views, tau=tau)
    v, o = np.linalg.inv(tau * s), np.linalg.inv(views.uncertainty)
    m = np.linalg.inv(v + views.picks.T @ o @ views.picks)
    assert found.mean == pytest.approx(m @ (v @ prior + views.picks.T @ o @ views.values), rel=1e-9)
    assert found.uncertainty == pytest.approx(m, rel=1e-8)
    assert found.covariance == pytest.approx(s + m, rel=1e-10)
    mean, assets = found.assets(model)
    dense = model.exposures @ (s + m) @ model.exposures.T + np.diag(model.specific_variance)
    assert mean == pytest.approx(model.exposures @ found.mean)
    assert assets.covariance() == pytest.approx(dense)


def test_equals_skfolio() -> None:
    import pandas as pd
    from skfolio.prior import BlackLitterman, EmpiricalPrior

    random = np.random.default_rng(1)
    returns = pd.DataFrame(random.standard_normal((500, 4)) * 0.01 + 0.001, columns=list(NAMES))
    lines = ["momentum == 0.0008", "carry - size == 0.0005"]
    theirs = BlackLitterman(lines, tau=0.02, view_confidences=[0.6, 0.4], prior_estimator=EmpiricalPrior())
    their = theirs.fit(returns).return_distribution_
    s, prior = returns.cov().to_numpy(), returns.mean().to_numpy()
    settings = ViewSettings.read(
        {
            "per": "bar",
            "tau": 0.02,
            "views": [
                {"view": "momentum = 0.0008", "confidence": 0.6},
                {"view": "carry - size = 0.0005", "confidence": 0.4},
            ],
        }
    )
    found = posterior(NAMES, s, prior, views_of(settings, NAMES, s, 8760), tau=0.02)
    assert found.mean == pytest.approx(their.mu, rel=1e-10)
    assert found.covariance == pytest.approx(their.covariance, rel=1e-10)


def test_factors_that_are_the_assets_give_the_asset_level_answer() -> None:
    """B = I and D = 0: the factor form is Black & Litterman's own."""
    n = 6
    random = np.random.default_rng(2)
    half = random.standard_normal((n, n)) * 0.02
    sigma = half @ half.T
    names = tuple(f"C{i}" for i in range(n))
    model = RiskModel(names, names, np.eye(n), sigma, np.zeros(n), 365, np.datetime64("2024-01-01", "ns"))
    market = random.dirichlet(np.ones(n))
    prior = implied_premia(model, market, 2.5)
    assert prior == pytest.approx(2.5 * sigma @ market)
    picks, q, omega = random.standard_normal((2, n)), np.array([0.01, -0.02]), np.diag([1e-4, 2e-4])
    found = posterior(names, sigma, prior, Views(picks, q, omega, ("a", "b")), tau=0.1)
    mean, assets = found.assets(model)
    ts = np.linalg.inv(0.1 * sigma)
    m = np.linalg.inv(ts + picks.T @ np.linalg.inv(omega) @ picks)
    assert mean == pytest.approx(m @ (ts @ prior + picks.T @ np.linalg.inv(omega) @ q), rel=1e-7)
    assert assets.covariance() == pytest.approx(sigma + m, rel=1e-7)


def test_kolm_and_ritter_by_conditioning_the_joint_normal() -> None:
    """r = Bf + u with uncertain premia: E and Cov of r given views, from the joint normal law of (r, views).

    Neither the posterior of the premia nor a matrix identity is used here: only Gaussian conditioning.
    """
    model = _model(3, n=9)
    s, b = model.factor_covariance, model.exposures
    v = 0.07 * s + np.diag([1e-6, 2e-6, 3e-6, 4e-6])  # their prior covariance need not be a multiple of S
    xi = np.array([0.001, -0.0003, 0.0004, 0.0])
    views = _views(model)
    found = posterior(NAMES, s, xi, views, prior_covariance=v)
    mean, assets = found.assets(model)
    rr = b @ (s + v) @ b.T + np.diag(model.specific_variance)
    rq = b @ v @ views.picks.T
    qq = views.picks @ v @ views.picks.T + views.uncertainty
    given = np.linalg.solve(qq, views.values - views.picks @ xi)
    assert mean == pytest.approx(b @ xi + rq @ given, rel=1e-9)
    assert assets.covariance() == pytest.approx(rr - rq @ np.linalg.solve(qq, rq.T), rel=1e-9)
    # the optimal portfolio (γΣ)⁻¹ μ, by the factor form of the inverse
    dense = np.linalg.solve(3.0 * assets.covariance(), mean)
    assert assets.apply(dense) * 3.0 == pytest.approx(mean, rel=1e-6)


def test_kolm_and_ritter_closed_form_by_hand() -> None:
    """Views on every premium, q = θ + ε: the factor form, with numbers that can be followed on paper.

    V = diag(4, 1)·1e-4 and Ω = diag(4, 3)·1e-4 make the posterior weigh prior and view 1 : 1 and 3 : 1:
    θ* = (V⁻¹ + Ω⁻¹)⁻¹ (V⁻¹ξ + Ω⁻¹q), E[r] = Xθ*, Cov[r] = D + X (F + (V⁻¹ + Ω⁻¹)⁻¹) Xᵀ.
    """
    names = ("value", "momentum")
    x = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -2.0]])
    f, d = np.array([[9.0, 2.0], [2.0, 4.0]]) * 1e-4, np.array([1.0, 4.0, 9.0]) * 1e-4
    coins = ("AAA_USDT", "BBB_USDT", "CCC_USDT")
    model = RiskModel(names, coins, x, f, d, 365.0, np.datetime64("2024-01-01", "ns"))
    prior, q = np.array([0.02, 0.01]), np.array([0.04, -0.03])
    views = Views(np.eye(2), q, np.diag([4e-4, 3e-4]), names)
    found = posterior(names, f, prior, views, prior_covariance=np.diag([4e-4, 1e-4]))
    # (0.02 + 0.04) / 2 and (3 · 0.01 − 0.03) / 4; variances 4·4 / (4 + 4) and 1·3 / (1 + 3)
    assert found.mean == pytest.approx([0.03, 0.0], abs=1e-15)
    assert found.uncertainty == pytest.approx(np.diag([2e-4, 0.75e-4]), abs=1e-18)
    mean, assets = found.assets(model)
    assert mean == pytest.approx([0.03, 0.03, 0.0], abs=1e-15)
    # row by row: X (F + M) Xᵀ with F + M = [[11, 2], [2, 4.75]], and D on the diagonal
    expected = np.array([[12.0, 13.0, -4.0], [13.0, 23.75, -13.5], [-4.0, -13.5, 28.0]]) * 1e-4
    assert assets.covariance() == pytest.approx(expected, abs=1e-17)


def test_limits_of_confidence() -> None:
    model = _model()
    s, prior = model.factor_covariance, np.full(4, 0.0002)

    def at(confidence: float) -> np.ndarray:
        one = ViewSettings.read({"per": "bar", "views": [{"view": "size = 0.002", "confidence": confidence}]})
        return posterior(NAMES, s, prior, views_of(one, NAMES, s, 8760)).mean

    assert at(1.0)[1] == pytest.approx(0.002)
    assert at(0.5)[1] == pytest.approx((0.002 + 0.0002) / 2)
    assert at(1e-9) == pytest.approx(prior, rel=1e-5)
    none = posterior(NAMES, s, prior, views_of(ViewSettings(), NAMES, s, 8760))
    assert none.mean == pytest.approx(prior) and none.uncertainty == pytest.approx(0.05 * s)


def test_a_singular_covariance_and_contradicting_certainties() -> None:
    s = np.zeros((4, 4))
    s[:2, :2] = [[1e-4, 1e-4], [1e-4, 1e-4]]
    prior = np.zeros(4)
    certain = {"per": "bar", "views": [{"view": "market = 0.001", "confidence": 1.0}]}
    found = posterior(NAMES, s, prior, views_of(ViewSettings.read(certain), NAMES, s, 8760))
    assert found.mean == pytest.approx([0.001, 0.001, 0, 0])
    certain["views"].append({"view": "market = 0.002", "confidence": 1.0})  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="contradict"):
        posterior(NAMES, s, prior, views_of(ViewSettings.read(certain), NAMES, s, 8760))


def test_views_are_read_with_their_unit(tmp_path: Path) -> None:
    path = tmp_path / "views.yaml"
    path.write_text("per: day\nviews:\n- {view: 'momentum - 0.5*size = 0.0024', confidence: 0.5}\n")
    views = views_of(load_views(path), NAMES, np.eye(4), 8760)
    assert views.values == pytest.approx([0.0001])
    assert views.picks.tolist() == [[0, -0.5, 1, 0]]
    assert parse_view("-size = 1e-3", NAMES)[0].tolist() == [0, -1, 0, 0]
    for bad, says in (
        ("momentum", "not a view"),
        ("momentum + = 3", "not a view"),
        ("size momentum = 1", "not a view"),
        ("size = much", "not a view"),
        ("sise = 0.1", "unknown factor 'sise'"),
        ("size - size = 0.1", "not a view"),
    ):
        with pytest.raises(ConfigError, match=says):
            parse_view(bad, NAMES)
    path.write_text("views: [{view: 'a = 1', confidense: 1}]")
    with pytest.raises(ConfigError, match="unknown key"):
        load_views(path)
    path.write_text("[")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_views(path)


def test_alphas_become_views_on_the_factors_behind_them() -> None:
    model = _model(5, n=200)
    truth = np.array([0.0005, 0.0, 0.001, -0.0007])
    random = np.random.default_rng(0)
    alpha = model.exposures @ truth + random.standard_normal(200) * 0.001
    alpha[:20] = np.nan
    views = views_of_alpha(model, alpha, ic=0.3)
    assert views.values == pytest.approx(truth, abs=4e-4)
    weak = views_of_alpha(model, alpha, ic=0.03)
    assert np.diag(weak.uncertainty) == pytest.approx(
        np.diag(views.uncertainty) * (1 / 0.03**2 - 1) / (1 / 0.3**2 - 1)
    )
    joined = views.join(_views(model))
    assert joined.picks.shape == (7, 4) and joined.uncertainty[0, 5] == 0
    found = posterior(NAMES, model.factor_covariance, np.zeros(4), joined)
    assert np.isfinite(found.mean).all()
    with pytest.raises(DataError, match="alphas for 4 factors"):
        views_of_alpha(model, np.full(200, np.nan), ic=0.1)
    with pytest.raises(ConfigError, match="ic is"):
        views_of_alpha(model, alpha, ic=0)
