"""One writer at a time: an advisory lock that the system frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bascule.core import StoreError


@contextlib.contextmanager
def writer_lock(store: Path) -> Iterator[None]:
    """Hold the writer's lock of the folder ``store``.

    Raises:
        StoreError: there is no such folder, or another process holds the lock.
    """
    if not store.is_dir():
        raise StoreError("there is no store", where=str(store), remedy="create it first")
    handle = os.open(store / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise StoreError(
                f"another process ({holder or 'unknown'}) is writing to the store",
                where=str(store),
                remedy="wait until it is done",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
