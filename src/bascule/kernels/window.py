"""Rolling windows by doubling: the one way in which all sums of a window are formed.

1. `history` takes the rows that the windows need, as float64, with NaN above the first row, and says which
   values count (finite ones; NaN and infinite values do not).
2. `doubled` turns the *state* of single bars (say count, mean, squared deviations) into that of windows:
   states of 2, 4, 8 … bars by joining each with the one before it, and the state of n bars by joining the
   powers of two that n is made of, the smallest newest.

The order of additions follows from n alone. So a value has the same bits wherever its row lies in the array,
however many rows there are and whichever other windows are asked for; nothing is carried from bar to bar, so
a spike leaves no trace once it is out of the window; and the error grows with log(n), not with n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core.panel import BoolArray

Cells = NDArray[Any]  # of any type, booleans too
Array = NDArray[np.float64]
AnyFloat = NDArray[np.float32] | NDArray[np.float64]
Ages = NDArray[np.int64]
State = tuple[Array, ...]
Merge = Callable[[State, State, int], State]


def history(x: AnyFloat, window: int, rows: int) -> tuple[Array, BoolArray]:
    """The last ``rows`` rows of ``x`` and the ``window - 1`` rows before them.

    Args:
        x: ``[L, N]``; missing history above its first row counts as NaN.
        window: bars.
        rows: how many rows are to get a value.

    Returns:
        values ``[window - 1 + rows, N]`` in float64 with 0 where there is none, and where there is one.
    """
    need = window - 1 + rows
    have = min(need, len(x))
    values = np.zeros((need, x.shape[1]))
    valid = np.zeros((need, x.shape[1]), np.bool_)
    if have:
        tail = x[len(x) - have :]
        np.isfinite(tail, out=valid[need - have :])
        np.copyto(values[need - have :], tail, where=valid[need - have :])
    return values, valid


def doubled(bars: State, windows: Iterable[int], rows: int, merge: Merge) -> dict[int, State]:
    """The state of each window in the last ``rows`` rows.

    Args:
        bars: state of each single bar, arrays of ``max(windows) - 1 + rows`` rows.
        windows: bars, each at least 1.
        rows: how many rows are to get a value.
        merge: joins a newer state with the older one before it; third argument: bars in the newer one.
    """
    wanted = sorted(set(windows))
    partial: dict[int, tuple[State, int]] = {}
    power, size = bars, 1
    while True:
        for window in wanted:
            if window & size:
                if window in partial:
                    newer, length = partial[window]
                    partial[window] = merge(newer, _rows(power, rows, length), length), length + size
                else:
                    partial[window] = _rows(power, rows, 0), size
        if size * 2 > wanted[-1]:
            break
        kept = len(power[0]) - size
        power = merge(_rows(power, kept, 0), _rows(power, kept, size), size)
        size *= 2
    return {window: state for window, (state, _) in partial.items()}


def _rows(state: State, rows: int, lag: int) -> State:
    """The rows that end ``lag`` rows before the last."""
    stop = len(state[0]) - lag
    return tuple(array[stop - rows : stop] for array in state)


def lengths(ages: Ages, window: int) -> Ages:
    """How many bars of a window the instrument has been listed for ``[rows, N]``; 0 before its first bar.

    Args:
        ages: bars since the first one ``[rows, N]``, 0 = the first, negative = not yet listed.
        window: bars.
    """
    return np.clip(ages + 1, 0, window)
