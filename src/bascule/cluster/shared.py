"""What all tasks read: arrays and panels, placed once and mapped by every worker of a machine.

A large array becomes a file that workers map read-only, so that ten workers hold it in memory once. One that
is mapped from a file already, as a store's panels are, is not written again. All else travels by pickle.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 1 << 16  # smaller arrays are cheaper to copy than to map


@dataclass(frozen=True)
class Mapped:
    """An array in a file.

    Attributes:
        path: the file.
        dtype: of the elements.
        shape: of the array.
        offset: of its first element, bytes.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    def open(self) -> NDArray[Any]:
        """The array, read-only."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


class Shared:
    """Values by name, as a task sees them. A context manager: some leave files to remove."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def values(self) -> Mapping[str, Any]:
        """The values."""
        return self._values

    def remove(self) -> None:
        """Take away what placing them left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Files(Shared):
    """Values whose arrays lie in files of a temporary folder, or in those that they were mapped from."""

    def __init__(self, values: Mapping[str, Any], folder: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bascule-shared-", dir=folder))
        self._count = 0
        try:
            super().__init__({})
            packed = {name: pickle.dumps(_swap(value, self._put)) for name, value in values.items()}
        except BaseException:
            self.remove()
            raise
        self.packed: tuple[tuple[str, bytes], ...] = tuple(packed.items())

    def values(self) -> Mapping[str, Any]:
        """The values, mapped."""
        return opened(self.packed)

    def remove(self) -> None:
        """Remove the folder; workers that still map its files keep them until they end."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _put(self, array: NDArray[Any]) -> Any:
        if array.dtype.hasobject or array.nbytes < LEAST_BYTES:
            return array
        known = source_of(array)
        if known is not None:
            return known
        path = self._folder / f"{self._count}.bin"
        self._count += 1
        np.ascontiguousarray(array).tofile(path)
        return Mapped(str(path), array.dtype.str, array.shape)


@lru_cache(maxsize=2)
def opened(packed: tuple[tuple[str, bytes], ...]) -> Mapping[str, Any]:
    """The values of a `Files`, opened once in each worker."""
    return {name: _swap(pickle.loads(data), _open) for name, data in packed}  # noqa: S301 - from our own parent


def source_of(array: NDArray[Any]) -> Mapped | None:
    """The file and place that a contiguous array is mapped from, None if it is not."""
    base: Any = array
    while isinstance(base, np.ndarray) and isinstance(base.base, np.ndarray):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None or not array.flags.c_contiguous:
        return None
    if base.mode != "r":  # what may be written is not what the file holds, or will hold
        return None
    inside = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return Mapped(str(base.filename), array.dtype.str, array.shape, int(base.offset) + inside)


def _open(value: Any) -> Any:
    return value.open() if isinstance(value, Mapped) else value


def _swap(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with every array or `Mapped` in it changed; goes into dataclasses, mappings and sequences.

    What holds neither is the very same object.
    """
    if isinstance(value, np.ndarray | Mapped):
        return change(value)
    if isinstance(value, Mapping):
        swapped = {key: _swap(one, change) for key, one in value.items()}
        return swapped if any(swapped[key] is not one for key, one in value.items()) else value
    if type(value) in (tuple, list):
        items = [_swap(one, change) for one in value]
        return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        swapped = _swap(found, change)
        if swapped is found:
            return value
        copy = object.__new__(type(value))
        for name, one in swapped.items():
            # past __init__ and its checks: a half-swapped panel is not one, until it is opened again
            object.__setattr__(copy, name, one)
        return copy
    return value


def digest_of(value: Any) -> str:
    """16 hex digits of values and the arrays in them: equal content, equal digest."""
    digest = hashlib.sha256()

    def take(array: NDArray[Any]) -> Any:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        return None

    digest.update(pickle.dumps(_swap(value, take)))
    return digest.hexdigest()[:16]
