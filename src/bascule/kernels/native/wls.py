"""Weighted least squares of all rows of a panel by the compiled core; ``wls.cpp`` has the algorithm."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core.cores import cores
from bascule.kernels.native.library import library

_ROWS = 4_096  # rows of one call; a thread takes one after the other
_I64, _PTR = ctypes.c_int64, ctypes.c_void_p


class Wls(ctypes.Structure):
    """The struct ``Wls`` of ``wls.cpp``; see there for the meaning of each field."""

    _fields_ = (
        ("exposures", _PTR),
        *((name, _I64) for name in ("k", "rows", "n", "factor_stride", "row_stride")),
        ("returns", _PTR),
        ("weights", _PTR),
        ("wide_returns", _I64),
        ("wide_weights", _I64),
        ("counted", _PTR),
        ("pivot", ctypes.c_double),
        *((name, _PTR) for name in ("slopes", "errors", "residuals", "r2", "count")),
    )


def wls() -> Any:
    """The core's function for this machine; None where the core is not there, or is an older one."""
    core = library()
    return None if core is None else core.function(f"bascule_wls_{core.chosen}", (ctypes.POINTER(Wls),))


def run(
    exposures: NDArray[np.float32],
    returns: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    counted: NDArray[np.bool_] | None,
    pivot: float,
    out: tuple[NDArray[Any], ...],
    *,
    threads: int | None = None,
) -> None:
    """Regress every row.

    Args:
        exposures: ``[K, T, N]``, instruments next to each other; NaN counts 0.
        returns: ``[T, N]`` float32 or float64.
        weights: ``[T, N]`` float32 or float64.
        counted: which cells to use ``[T, N]``; None = where the first exposure is finite.
        pivot: below this share of its diagonal a factor depends on those before it.
        out: slopes and errors ``[T, K]``, residuals float32 ``[T, N]``, r2 ``[T]``, count int64 ``[T]``.
        threads: at most; None = one a processor.

    Raises:
        MemoryError: no memory for a block of rows.
    """
    function = wls()
    k, rows, n = exposures.shape
    if exposures.strides[2] != 4:
        exposures = np.ascontiguousarray(exposures)
    y, w = (np.ascontiguousarray(one) for one in (returns, weights))
    mask = None if counted is None else np.ascontiguousarray(counted)

    def block(start: int) -> int:
        cut = slice(start, min(start + _ROWS, rows))
        pointers = [one[cut].ctypes.data for one in out]
        given = Wls(
            exposures[:, cut].ctypes.data, k, cut.stop - cut.start, n, exposures.strides[0] // 4,
            exposures.strides[1] // 4, y[cut].ctypes.data, w[cut].ctypes.data, y.dtype == np.float64,
            w.dtype == np.float64, None if mask is None else mask[cut].ctypes.data, pivot, *pointers,
        )  # fmt: skip
        return int(function(ctypes.byref(given)))

    starts = range(0, rows, _ROWS)
    most = min(cores(threads), max(len(starts), 1))
    if most == 1:
        codes = [block(start) for start in starts]
    else:
        with ThreadPoolExecutor(most) as pool:
            codes = list(pool.map(block, starts))
    if any(codes):
        raise MemoryError("no memory for the regressions' blocks")
