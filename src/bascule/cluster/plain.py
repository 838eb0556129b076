"""Reading pickles of results without running what is in them.

A pickle names functions and has them called. Here it may name data only: numbers, texts, containers, arrays,
tables, times, paths, and the dataclasses, settings and enumerations of this package and of the package whose
work it was. Anything else is refused before it is called.

Source: Python's library reference, "pickle: Restricting Globals".
"""

from __future__ import annotations

import io
import pickle
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from bascule.core import Settings

_BUILTINS = {"bytearray", "bytes", "complex", "frozenset", "list", "range", "set", "slice", "tuple", "dict"}
_NAMED: dict[str, set[str]] = {
    "builtins": _BUILTINS,
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath"},
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked"},
    "pandas._libs.internals": {"_unpickle_block"},
    "pandas._libs.tslibs.offsets": {"Day", "Hour", "Milli", "Minute", "Second"},
    "pandas._libs.tslibs.timedeltas": {"_timedelta_unpickle"},
    "pandas._libs.tslibs.timestamps": {"_unpickle_timestamp"},
    "pandas.core.arrays.datetimes": {"DatetimeArray"},
    "pandas.core.dtypes.dtypes": {"DatetimeTZDtype"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.indexes.base": {"Index", "_new_Index"},
    "pandas.core.indexes.datetimes": {"DatetimeIndex", "_new_DatetimeIndex"},
    "pandas.core.indexes.multi": {"MultiIndex"},
    "pandas.core.indexes.range": {"RangeIndex"},
    "pandas.core.internals.managers": {"BlockManager", "SingleBlockManager"},
    "pandas.core.series": {"Series"},
}


def loads(data: bytes, *packages: str) -> Any:
    """What a pickle holds.

    Args:
        data: the pickle.
        packages: top-level packages whose dataclasses, settings and enumerations it may hold, too.

    Raises:
        pickle.UnpicklingError: it names something that is no data.
    """
    return _Reader(io.BytesIO(data), {"bascule", *packages}).load()


class _Reader(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, packages: set[str]) -> None:
        super().__init__(stream)
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """The class, or one of the few functions that put data together."""
        if name in _NAMED.get(module, ()):
            return super().find_class(module, name)
        if module.partition(".")[0] in self._packages:
            found = super().find_class(module, name)
            # a dotted name could lead from a module to what it imports
            own = isinstance(found, type) and found.__module__.partition(".")[0] in self._packages
            if own and (is_dataclass(found) or issubclass(found, Settings | Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no data")
