"""Readings of files that are kept until the file changes, so that many viewers cost one reading."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from bascule.core import BasculeError, StoreError

Value = TypeVar("Value")
# what reading a file ends in that was written by hand, or by another version
_MISREAD = (AttributeError, LookupError, TypeError, ValueError)


class Missing(BasculeError):
    """Nothing of that name is there."""


class NotNow(BasculeError):
    """As things stand, this cannot be done."""


class Kept(Generic[Value]):
    """What ``read`` made of a file, read again when its time, size or identity changes.

    Args:
        read: from path to value; one call at a time.
        most: files kept, the longest unused goes first.
    """

    def __init__(self, read: Callable[[Path], Value], most: int = 32) -> None:
        self._read, self._most = read, most
        self._values: OrderedDict[Path, tuple[tuple[int, int, int], Value]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> Value:
        """The value of a file.

        Raises:
            Missing: there is no such file.
        """
        with self._lock:
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                raise Missing(f"{path.name} is not there") from None
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            held = self._values.get(path)
            if held is None or held[0] != mark:
                held = (mark, self._read(path))
                self._values[path] = held
            self._values.move_to_end(path)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
            return held[1]


def readable(
    places: Mapping[str, Path], read: Callable[[str, Path], Value | None]
) -> tuple[list[Value], tuple[str, ...]]:
    """What can be read of many places, and what is wrong with the others: one damaged file hides only itself.

    Args:
        places: by name.
        read: from name and path to a value; None where there is nothing.
    """
    found, problems = [], []
    for name, path in places.items():
        try:
            value = read(name, path)
        except BasculeError as error:
            problems.append(f"{name}: {error}")
            continue
        except _MISREAD as error:
            problems.append(f"{name}: {_foreign(error)}")
            continue
        if value is not None:
            found.append(value)
    return found, tuple(problems)


def as_written(reading: Callable[..., Value]) -> Callable[..., Value]:
    """Let a method that reads files raise `StoreError` where one is of another shape."""

    @functools.wraps(reading)
    def read(*arguments: Any) -> Value:
        try:
            return reading(*arguments)
        except _MISREAD as error:
            # of which run or folder: the argument that has a name
            named = next((str(one.name) for one in arguments if hasattr(one, "name")), "")
            where = f"{reading.__name__.lstrip('_')} {named}".rstrip()
            raise StoreError(_foreign(error), where=where, remedy="write it anew") from None

    return read


def _foreign(error: Exception) -> str:
    return f"not as it is written by Bascule ({type(error).__name__}: {error})"


def folders(home: Path) -> dict[str, Path]:
    """Folders directly below one, by name, sorted; none where it is not there. Hidden ones are left out."""
    try:
        return {path.name: path for path in sorted(home.iterdir()) if path.is_dir() and path.name[0] != "."}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def thinned(count: int, most: int = 600) -> list[int]:
    """Evenly spaced numbers of rows, the last one among them: a curve of more points looks the same."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})
