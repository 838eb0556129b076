"""Inverses of very many small symmetric matrices: each step runs over all of them at once."""

from __future__ import annotations

import numpy as np

from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array

PIVOT = 1e-10  # a column whose pivot is below this share of its diagonal depends on those before it


def inverses(matrices: Float64Array, pivot: float = PIVOT) -> tuple[Float64Array, BoolArray]:
    """Inverses by Cholesky decomposition, matrices along the last axis.

    Args:
        matrices: symmetric positive semi-definite ``[K, K, t]``.
        pivot: smallest pivot relative to the diagonal.

    Returns:
        ``[K, K, t]`` and which columns were dropped as dependent on earlier ones ``[K, t]``: their rows and
        columns of the inverse are 0, the others invert what is left.
    """
    k, _, count = matrices.shape
    lower = np.zeros_like(matrices)
    dropped = np.zeros((k, count), bool)
    for j in range(k):
        left = matrices[j, j] - np.einsum("lt,lt->t", lower[j, :j], lower[j, :j])
        dropped[j] = ~(left > pivot * matrices[j, j])
        root = np.sqrt(np.where(dropped[j], 1.0, left))
        lower[j, j] = root
        below = matrices[j + 1 :, j] - np.einsum("ilt,lt->it", lower[j + 1 :, :j], lower[j, :j])
        lower[j + 1 :, j] = np.where(dropped[j], 0.0, below / root)
        lower[j, :j] = np.where(dropped[j], 0.0, lower[j, :j])
    half = np.zeros_like(matrices)  # inverse of the lower triangle
    for j in range(k):
        half[j, j] = np.where(dropped[j], 0.0, 1.0 / lower[j, j])
        for i in range(j + 1, k):
            inner = np.einsum("lt,lt->t", lower[i, j:i], half[j:i, j])
            half[i, j] = np.where(dropped[i], 0.0, -inner / lower[i, i])
    return np.einsum("lit,ljt->ijt", half, half), dropped
