"""One writer at a time: an advisory lock that the system frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bascule.core import StoreError

_PAUSE = 0.02


@contextlib.contextmanager
def writer_lock(store: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the writer's lock of the folder ``store``, waiting up to ``patience`` seconds for it.

    Raises:
        StoreError: there is no such folder, or another process holds the lock for longer.
    """
    if not store.is_dir():
        raise StoreError("there is no store", where=str(store), remedy="create it first")
    handle = os.open(store / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience
        while not _taken(handle):
            if time.monotonic() >= deadline:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
                raise StoreError(
                    f"another process ({holder or 'unknown'}) is writing to the store",
                    where=str(store),
                    remedy="wait until it is done",
                )
            time.sleep(_PAUSE)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
