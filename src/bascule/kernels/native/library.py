"""Finding and opening the shared library, and refusing one that does not fit this code."""

from __future__ import annotations

import ctypes
import logging
import os
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

from bascule.kernels.native.binding import Correlation, Run

LANES = 16  # instruments in a tile
_ABI = 2
_NAME = "_core.so"
_SWITCH = "BASCULE_NATIVE"

OPCODES: dict[str, int] = {
    "COPY": 1, "ABS": 2, "SIGN": 3, "LOG": 4, "SIGNED_LOG": 5, "NOT": 6,
    "ADD": 16, "SUB": 17, "MUL": 18, "DIV": 19, "POWER": 20, "SIGNED_POWER": 21, "GREATER": 22, "LESS": 23,
    "GT": 24, "GE": 25, "LT": 26, "LE": 27, "EQ": 28, "NE": 29, "AND": 30, "OR": 31,
    "IF": 48, "IF_KNOWN": 49,
    "MOMENTS": 64, "SHAPE": 65, "SUM": 66, "COUNT": 67, "DEVIATION": 68, "RANK": 69, "SHARE": 70,
    "EXTREMA": 80, "ORDER": 81, "EMA": 82, "PAIRS": 96,
}  # fmt: skip


class Library:
    """The loaded core.

    Attributes:
        path: where it was found.
        sets: instruction sets that this machine runs, best first.
        chosen: the one in use.
    """

    def __init__(self, path: Path, wanted: str = "") -> None:
        """Open the library at ``path``.

        Raises:
            OSError: it cannot be loaded, was built from other code, or lacks the wanted instruction set.
        """
        self.path = path
        self._dll = ctypes.CDLL(str(path))
        self._dll.bascule_opcodes.restype = ctypes.c_char_p
        self._dll.bascule_sets.restype = ctypes.c_char_p
        self._dll.bascule_run.restype = ctypes.c_int64
        self._dll.bascule_run.argtypes = (ctypes.POINTER(Run), ctypes.c_char_p)
        self._dll.bascule_correlate.restype = ctypes.c_int64
        self._dll.bascule_correlate.argtypes = (
            ctypes.POINTER(Run),
            ctypes.POINTER(Correlation),
            ctypes.c_char_p,
        )
        theirs = dict(item.split("=") for item in self._dll.bascule_opcodes().decode().split())
        if self._dll.bascule_abi() != _ABI or {k: int(v) for k, v in theirs.items()} != OPCODES:
            raise OSError(f"{path} was built from another version of this code")
        self.sets = tuple(self._dll.bascule_sets().decode().split())
        if wanted and wanted not in self.sets:
            raise OSError(f"{_SWITCH}={wanted}: this machine runs {', '.join(self.sets)}")
        self.chosen = wanted or self.sets[0]

    def run(self, run: Run) -> None:
        """Run a program (the GIL is released meanwhile).

        Raises:
            MemoryError: a worker's memory cannot be had.
            AssertionError: the program is malformed: a bug in the lowering, nothing was computed.
        """
        _judge(self._dll.bascule_run(ctypes.byref(run), self.chosen.encode()))

    def correlate(self, run: Run, correlation: Correlation) -> None:
        """Run a program and correlate its outputs with labels instead of keeping them; errors as in `run`."""
        chosen = self.chosen.encode()
        _judge(self._dll.bascule_correlate(ctypes.byref(run), ctypes.byref(correlation), chosen))

    def function(self, name: str, arguments: tuple[type, ...]) -> Any:
        """A further function that returns a code; None where this build has none of that name."""
        try:
            found = getattr(self._dll, name)
        except AttributeError:
            return None
        found.restype, found.argtypes = ctypes.c_int64, arguments
        return found


def _judge(code: int) -> None:
    if code == -100:
        raise MemoryError("no memory for the engine's tiles")
    if code:
        raise AssertionError(f"the native core refused a program (code {code})")


@cache
def library() -> Library | None:
    """The core, or None where it is not to be had or is switched off; one notice if it should be there."""
    wanted = os.environ.get(_SWITCH, "")
    if wanted == "off":
        return None
    places = (Path(__file__).parent, Path(sysconfig.get_path("platlib")) / "bascule" / "kernels" / "native")
    for folder in places:
        path = folder / _NAME
        if path.is_file():
            try:
                return Library(path, wanted)
            except OSError as error:
                _notice(str(error))
                return None
    _notice("it was not built when bascule was installed")
    return None


def _notice(reason: str) -> None:
    logging.getLogger("bascule").warning(
        "the compiled kernels are not in use: %s. Factors are computed with NumPy, with the same meaning but "
        "far slower. Remedy: install a wheel, or a C++20 compiler and install again.",
        reason,
    )
