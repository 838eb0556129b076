"""Values of a user's own operators (`bascule.expr.own`), for both executors.

1. Operands become float64 in one layout: cells in a row, or windows in rows of their own, so that NumPy adds
   in the same order whatever the shape of the panel.
2. A window is a copy: a user's function that writes into it harms nobody. Long panels go piece by piece.
3. What comes back is checked, and is NaN wherever there is nothing to compute from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from bascule.core import ExpressionError
from bascule.core.panel import BoolArray
from bascule.expr import Kind
from bascule.expr.own import Float64, OwnOperator
from bascule.kernels.window import Cells

# numbers of one piece of windows: 16 MiB
_PIECE = 1 << 21


def own(node: OwnOperator, operands: Sequence[Cells], rows: int, members: BoolArray | None = None) -> Float64:
    """Values ``[rows, N]``.

    Args:
        node: the operator.
        operands: of its series, each ``[T, N]``: the last ``rows`` rows and maybe some before them; what lies
            before the first counts as missing.
        rows: how many are wanted.
        members: the universe ``[rows, N]``, for operators across instruments.

    Raises:
        ExpressionError: the operator's function fails, or gives something else than it should.
    """
    if node.kind in (Kind.ROLLING, Kind.PAIR):
        return _windows(node, operands, rows)
    exact = [np.ascontiguousarray(one[len(one) - rows :], np.float64) for one in operands]
    if node.kind is Kind.CROSS:
        assert members is not None
        known = members & np.logical_and.reduce([np.isfinite(one) for one in exact])
        values = _called(node, [np.where(known, one, np.nan) for one in exact], exact[0].shape)
        return np.where(known, values, np.nan)
    return _called(node, [one.ravel().copy() for one in exact], (exact[0].size,)).reshape(exact[0].shape)


def _windows(node: OwnOperator, operands: Sequence[Cells], rows: int) -> Float64:
    back = node.back
    assert back is not None
    width = operands[0].shape[1]
    found = np.empty((rows, width))
    padded = []
    for one in operands:
        lack = max(0, rows + back - len(one))
        missing = np.full((lack, width), np.nan)
        padded.append(np.concatenate([missing, one[max(0, len(one) - rows - back) :].astype(np.float64)]))
    step = max(1, _PIECE // max(1, width * (back + 1)))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        cells = (stop - start) * width
        views = [
            np.lib.stride_tricks.sliding_window_view(one[start : stop + back], back + 1, axis=0)
            for one in padded
        ]
        given = [np.array(view, order="C").reshape(cells, back + 1) for view in views]
        found[start:stop] = _called(node, given, (cells,)).reshape(stop - start, width)
    return found


def _called(node: OwnOperator, operands: list[Float64], shape: tuple[int, ...]) -> Float64:
    place = f"operator {type(node).__name__}"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of a window without a value
            values = np.asarray(node.values(*operands))
    except Exception as error:  # whatever a user's function may raise
        raise ExpressionError(
            f"its function fails: {type(error).__name__}: {error}",
            where=place,
            remedy="mend values(); bascule extension check tries it on awkward data",
        ) from error
    if values.shape != shape or values.dtype.kind not in "fiub":
        raise ExpressionError(
            f"its function gave {values.dtype}{list(values.shape)}, expected numbers {list(shape)}",
            where=place,
            remedy="give one number for each cell, such as x.mean(axis=1) of windows",
        )
    return values.astype(np.float64, copy=False)
