"""Information coefficients of many expressions at once, without keeping their values.

1. The native core computes all factors for a chunk of rows, correlates each row with every label, and goes on
   to the next chunk. What only a label knows (order, ranks, centred values) is prepared once a chunk.
2. Without the core: factors by `evaluate`, correlations by the NumPy kernels.

Correlations count the cells where factor, label and mask agree to have a value; those of ranks are exact,
ties averaged (Spearman).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Panel
from bascule.core.panel import BoolArray, FloatArray
from bascule.engine import native
from bascule.engine.execute import Executor, by_core, evaluate
from bascule.engine.plan import Plan, compile
from bascule.expr import Node
from bascule.kernels.correlate import correlations

# factors that are held at a time without the core
_HELD = 16


class Correlations(NamedTuple):
    """Of each expression with each label, row by row: float64 ``[F, H, T]``, or None if not asked for."""

    plain: NDArray[np.float64] | None
    rank: NDArray[np.float64] | None


def ic(
    plan: Plan | str | Node | Sequence[str | Node],
    panel: Panel,
    labels: FloatArray,
    *,
    plain: bool = True,
    rank: bool = False,
    mask: BoolArray | None = None,
    min_breadth: int = 5,
    threads: int | None = None,
    executor: Executor = "auto",
) -> Correlations:
    """Correlate expressions with labels across instruments.

    Args:
        plan: a plan, or the texts or nodes to plan first.
        panel: as in `evaluate`.
        labels: what came after, such as forward returns of several horizons, float32 ``[H, T, N]``.
        plain: Pearson correlations are wanted.
        rank: rank correlations are wanted.
        mask: the universe ``[T, N]``; None = every cell.
        min_breadth: a row with fewer common cells gives NaN (at least 2).
        threads: as in `evaluate`.
        executor: as in `evaluate`.

    Raises:
        DataError: shapes or types do not fit the panel.
        ExpressionError: a text is not of the language.
    """
    if not isinstance(plan, Plan):
        plan = compile(plan)
    if labels.ndim != 3 or labels.shape[1:] != panel.shape or not len(labels) or labels.dtype != np.float32:
        expected = f"float32[H, {panel.shape[0]}, {panel.shape[1]}]"
        raise DataError(f"labels are {labels.dtype}{list(labels.shape)}, expected {expected}", where="ic")
    if mask is not None and (mask.shape != panel.shape or mask.dtype != np.bool_):
        raise DataError(
            f"mask is {mask.dtype}{list(mask.shape)}, expected bool{list(panel.shape)}", where="ic"
        )
    if min_breadth < 2:
        raise DataError(f"min_breadth is {min_breadth}", where="ic", remedy="use at least 2")
    for name in plan.fields:
        panel[name]  # a missing field is one clear error, at once
    shape = (len(plan.nodes), len(labels), panel.shape[0])
    found = Correlations(np.full(shape, np.nan) if plain else None, np.full(shape, np.nan) if rank else None)
    if min(panel.shape) == 0 or not (plain or rank):
        return found
    if by_core(plan, executor):
        given = np.ascontiguousarray(labels), None if mask is None else np.ascontiguousarray(mask)
        native.correlations(plan, panel, *given, *found, min_breadth, threads)
    else:
        _with_numpy(plan, panel, labels, mask, found, min_breadth)
    return found


def _with_numpy(
    plan: Plan, panel: Panel, labels: FloatArray, mask: BoolArray | None, found: Correlations, least: int
) -> None:
    for start in range(0, len(plan.nodes), _HELD):
        part = compile(plan.nodes[start : start + _HELD], dialect=plan.dialect)
        for index, values in enumerate(evaluate(part, panel, executor="reference"), start):
            for horizon, label in enumerate(labels):
                if found.plain is not None:
                    found.plain[index, horizon] = correlations(values, label, mask, least, rank=False)
                if found.rank is not None:
                    found.rank[index, horizon] = correlations(values, label, mask, least, rank=True)
