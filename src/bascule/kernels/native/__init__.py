"""The compiled kernels: a small C++ core behind a plain C face, loaded with ctypes.

The shared library does not depend on the version of Python. It holds every kernel once for each instruction
set and picks the best that the machine runs; all of them give the same bits. Where it was not built,
`library` gives None and the engine computes with the NumPy kernels instead.

Environment: ``BASCULE_NATIVE`` may name an instruction set (``avx512``, ``avx2``, ``baseline``), or be
``off``.
"""

from bascule.kernels.native.binding import Correlation, Input, Output, Run, SlotShape
from bascule.kernels.native.library import LANES, OPCODES, Library, library

__all__ = [
    "LANES",
    "OPCODES",
    "Correlation",
    "Input",
    "Library",
    "Output",
    "Run",
    "SlotShape",
    "library",
]
