"""Factor returns by weighted least squares, all rows at once (Barra style).

For each row: y = X f + u with weights w (Menchero, Orr & Wang 2011, "The Barra US Equity Model (USE4)",
sec. 3), X the exposures at the end of the row before, y the returns of the row.

1. A block of rows is scaled by √w and stacked as ``[t, K + 1, N]``; one batched product gives all normal
   equations and Xᵀw y at once.
2. A Cholesky decomposition whose steps run over all rows of the block; a factor whose pivot is below
   `PIVOT` of its diagonal is linearly dependent on those before it: it gets NaN in that row.
3. Residuals, R², and the classical standard errors √(diag((XᵀWX)⁻¹) · Σwu² / (n − K)), as statsmodels' WLS.

A factor that is NaN for a whole row is left out of that row. The compiled core does the same row by row where
it is built (`bascule.kernels.native.wls`); the two agree to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.rows import Float64Array
from bascule.kernels.native import wls
from bascule.risk.batched import PIVOT, inverses

Executor = Literal["auto", "native", "reference"]

_CELLS = 1 << 18  # float64 cells of one block: it stays in the processor's cache


@dataclass(frozen=True, eq=False)
class CrossSections:
    """What the regressions of all rows gave.

    Attributes:
        returns: factor returns ``[T, K]``; NaN where a factor is not there or depends on others.
        errors: their standard errors ``[T, K]``.
        residuals: specific returns, float32 ``[T, N]``; NaN outside the regression.
        r2: weighted R², about the weighted mean ``[T]``.
        count: instruments in the regression ``[T]``.
    """

    returns: Float64Array
    errors: Float64Array
    residuals: FloatArray
    r2: Float64Array
    count: NDArray[np.int64]

    @property
    def t(self) -> Float64Array:
        """Cross-sectional t-statistics ``[T, K]``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Float64Array = self.returns / self.errors
        return result


def regress(
    exposures: FloatArray,
    returns: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    *,
    counted: BoolArray | None = None,
    executor: Executor = "auto",
) -> CrossSections:
    """Regress each row of returns on that row of exposures.

    Args:
        exposures: ``[K, T, N]``, known before the returns; NaN counts 0 (average), a factor that is NaN in
            all counted cells of a row is left out there.
        returns: ``[T, N]``; NaN is left out.
        weights: ≥ 0 ``[T, N]``; 0 is left out.
        counted: instruments to regress on ``[T, N]``; default all with a finite first factor.
        executor: ``"native"`` = the compiled core, ``"reference"`` = NumPy, ``"auto"`` = the core where it is
            built. They agree to rounding.

    Raises:
        DataError: shapes do not fit.
    """
    k, rows, width = exposures.shape
    if returns.shape != (rows, width) or weights.shape != (rows, width):
        raise DataError(
            f"exposures {[k, rows, width]}, returns {list(returns.shape)} and weights {list(weights.shape)} "
            "do not fit",
            where="risk.regress",
        )
    found = CrossSections(
        np.empty((rows, k)),
        np.empty((rows, k)),
        np.empty((rows, width), np.float32),
        np.empty(rows),
        np.empty(rows, np.int64),
    )
    if executor != "reference" and exposures.dtype == np.float32 and min(k, width) > 0:
        parts = (found.returns, found.errors, found.residuals, found.r2, found.count)
        if wls.wls() is not None:
            wls.run(exposures, _floats(returns), _floats(weights), counted, PIVOT, parts)
            return found
    if executor == "native":
        raise DataError(
            "the native core is not built, or is an older one",
            where="risk.regress",
            remedy='use executor="auto", or install again where a C++20 compiler is at hand',
        )
    step = max(1, _CELLS // max(1, (k + 1) * width))
    for start in range(0, rows, step):
        cut = slice(start, start + step)
        inside = np.isfinite(exposures[0, cut]) if counted is None else counted[cut]
        _block(exposures[:, cut], returns[cut], weights[cut], inside, found, cut)
    return found


def _floats(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _block(
    exposures: FloatArray,
    returns: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    inside: BoolArray,
    found: CrossSections,
    cut: slice,
) -> None:
    k = len(exposures)
    known = inside & np.isfinite(returns) & (weights > 0.0)
    root = np.sqrt(np.where(known, weights, 0.0).astype(np.float64))
    stack = np.empty((len(root), k + 1, root.shape[1]))
    np.multiply(exposures.transpose(1, 0, 2), root[:, None, :], out=stack[:, :k])
    np.multiply(returns, root, out=stack[:, k])
    # NaN · 0 is NaN: cells that are left out, and unknown exposures
    np.copyto(stack, 0.0, where=np.isnan(stack))
    gram = stack @ stack.transpose(0, 2, 1)
    columns = np.ascontiguousarray(gram.transpose(1, 2, 0))
    inverse, dropped = inverses(columns[:k, :k])
    slopes = (inverse * columns[:k, k]).sum(axis=1)
    fitted = np.matmul(slopes.T[:, None, :], stack[:, :k])[:, 0]
    residual = stack[:, k] - fitted
    count = known.sum(axis=1)
    free = count - (k - dropped.sum(axis=0))
    squares = np.einsum("tn,tn->t", residual, residual)
    total = columns[k, k] - _mean_square(root, stack[:, k])
    some = free > 0
    variance = squares / np.where(some, free, 1)
    spread = np.sqrt(np.diagonal(inverse).T * variance)
    good = ~dropped & (free >= 0)
    found.returns[cut] = np.where(good, slopes, np.nan).T
    found.errors[cut] = np.where(good & some, spread, np.nan).T
    with np.errstate(divide="ignore", invalid="ignore"):
        found.residuals[cut] = np.where(known, residual / root, np.nan)
        found.r2[cut] = np.where(some & (total > 0.0), 1.0 - squares / total, np.nan)
    found.count[cut] = count


def _mean_square(root: Float64Array, scaled: Float64Array) -> Float64Array:
    """Σw·ȳ² of each row, ȳ the weighted mean ``[t]``."""
    mass = np.einsum("tn,tn->t", root, root)
    total = np.einsum("tn,tn->t", root, scaled)
    result: Float64Array = total**2 / np.where(mass > 0.0, mass, 1.0)
    return result
