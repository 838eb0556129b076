"""Mean-variance through factor structure: a sparse quadratic programme, never a dense covariance.

    maximise  h·μᵀw − (γ/2)·h·(|Rᵀ Bᵀ w|² + wᵀDw) − cᵀ|w − w₀| − (w − w₀)ᵀ diag(κ) (w − w₀)

with F = R·Rᵀ. The factor exposures y = RᵀBᵀw are variables of their own, so that the matrices have about K·N
entries in place of N². Solved by Clarabel's interior-point method (Goulart & Chen 2024), which comes with
cvxpy. Absolute values enter only where a cost or a limit needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bascule.core import DataError
from bascule.evaluate.rows import Float64Array
from bascule.portfolio.limits import Limit, definitions
from bascule.risk import RiskModel
from bascule.risk.extra import require


class Infeasible(Exception):
    """No weights meet the limits."""


@dataclass(frozen=True, eq=False)
class Utility:
    """What is maximised.

    Attributes:
        alpha: expected return over the horizon ``[N]``.
        risk_aversion: γ times the horizon in bars.
        cost: of one unit traded ``[N]``.
        impact: κ, cost of a trade squared ``[N]``.
    """

    alpha: Float64Array
    risk_aversion: float
    cost: Float64Array
    impact: Float64Array


def solve(model: RiskModel, limits: Sequence[Limit], current: Float64Array, utility: Utility) -> Float64Array:
    """Optimal weights ``[N]``.

    Raises:
        Infeasible: no weights meet the limits.
        DataError: the solver failed, or the problem is unbounded.
        ConfigError: Clarabel is not installed.
    """
    from scipy import sparse

    clarabel = require("clarabel", purpose="portfolio construction")
    n, k = model.exposures.shape
    low, high, sums = _split(limits, n)
    if (low > high + 1e-12).any():
        raise Infeasible
    root = model.exposures @ model.root()
    columns = [slice(0, n), slice(n, 2 * n), slice(2 * n, 3 * n)]
    traded = bool((utility.cost > 0.0).any() or any(abs(s.matrix[:, columns[1]]).nnz for s in sums))
    held = any(abs(s.matrix[:, columns[2]]).nnz for s in sums) and not (low >= 0.0).all()
    parts = [0, *([1] if traded else []), *([2] if held else [])]
    keep = np.concatenate([np.arange(3 * n)[columns[p]] for p in parts])
    width = len(keep) + k

    equal = [(_padded(sparse.csr_array(root.T), k, len(keep), minus_identity=True), np.zeros(k))]
    below: list[tuple[Any, Float64Array]] = []
    for one in sums:
        _add(one, _padded(_whole(one.matrix, columns, held)[:, keep], k, len(keep)), equal, below)
    if traded or held:
        g, h = definitions(current)
        rows = np.concatenate([np.arange(2 * n) if traded else [], np.arange(2 * n, 4 * n) if held else []])
        index = rows.astype(np.int64)
        below.append((_padded(g[index][:, keep], k, len(keep)), h[index]))
    eye = sparse.eye_array(n, width, format="csr")
    for sign, bound in ((1.0, high), (-1.0, -low)):
        good = np.flatnonzero(np.isfinite(bound))
        below.append((sign * eye[good], bound[good]))

    quadratic = np.zeros(width)
    quadratic[:n] = utility.risk_aversion * model.specific_variance + 2.0 * utility.impact
    quadratic[len(keep) :] = utility.risk_aversion
    linear = np.zeros(width)
    linear[:n] = -utility.alpha - 2.0 * utility.impact * current
    if traded:
        linear[n : 2 * n] = utility.cost
    cones = [
        clarabel.ZeroConeT(sum(len(b) for _, b in equal)),
        clarabel.NonnegativeConeT(sum(len(b) for _, b in below)),
    ]
    a = sparse.vstack([m for m, _ in (*equal, *below)], format="csc")
    b = np.concatenate([bound for _, bound in (*equal, *below)])
    variance = float(((root**2).sum(axis=1) + model.specific_variance).mean())
    size = max(utility.risk_aversion * variance, float(np.abs(utility.alpha).max(initial=0.0)))
    size = size if size > 1e-30 else 1.0  # nothing varies and nothing is expected: any portfolio will do
    return _run(clarabel, sparse.diags_array(quadratic, format="csc"), linear, a, b, cones, size)[:n]


Rows = list[tuple[Any, Float64Array]]


def _whole(matrix: Any, columns: list[slice], held: bool) -> Any:
    """A limit's matrix; without variables for |w| (long only) their coefficients go to w."""
    from scipy import sparse

    if held:
        return matrix
    on_w, on_t, on_g = (matrix[:, part] for part in columns)
    return sparse.hstack([on_w + on_g, on_t, on_g], format="csr")


def _add(limit: Limit, matrix: Any, equal: Rows, below: Rows) -> None:
    """A limit's rows, as equations where both ends are the same."""
    if (limit.low == limit.high).all():
        equal.append((matrix, limit.low))
        return
    for sign, bound in ((1.0, limit.high), (-1.0, -limit.low)):
        good = np.flatnonzero(np.isfinite(bound))
        if len(good):
            below.append((sign * matrix[good], bound[good]))


def _run(
    clarabel: Any, p: Any, q: Float64Array, a: Any, b: Float64Array, cones: Any, size: float
) -> Float64Array:
    """Solution of min ½xᵀPx + qᵀx, Ax + s = b; the solver's tolerances are relative to ``size``."""
    from scipy import sparse

    # variances of a candle are small numbers: measure the objective in units of its own size
    scale = 1.0 / size
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.tol_gap_abs = options.tol_gap_rel = 1e-9
    options.tol_feas = 1e-9
    matrices = (sparse.csc_matrix(p * scale), q * scale, sparse.csc_matrix(a), b)
    solution = clarabel.DefaultSolver(*matrices, cones, options).solve()
    status = str(solution.status)
    if "PrimalInfeasible" in status:
        raise Infeasible
    if status not in ("Solved", "AlmostSolved"):
        raise DataError(
            f"the solver stopped: {status}",
            where="portfolio.construct",
            remedy="give limits that bound the weights, and a risk model of full rank or a max_weight",
        )
    return np.asarray(solution.x)


def _padded(matrix: Any, k: int, width: int, *, minus_identity: bool = False) -> Any:
    """A block over [kept z, y]."""
    from scipy import sparse

    rows = matrix.shape[0]
    fill = sparse.csr_array((rows, width - matrix.shape[1]))
    tail = -sparse.eye_array(k, format="csr") if minus_identity else sparse.csr_array((rows, k))
    return sparse.hstack([matrix, fill, tail], format="csr")


def _split(limits: Sequence[Limit], n: int) -> tuple[Float64Array, Float64Array, list[Limit]]:
    """Limits on single weights joined to one box; the others."""
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    others = []
    for limit in limits:
        if limit.matrix.shape[0] == n and limit.matrix.nnz == n:
            low, high = np.maximum(low, limit.low), np.minimum(high, limit.high)
        else:
            others.append(limit)
    return low, high, others
