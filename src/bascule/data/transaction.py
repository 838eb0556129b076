"""One change of a store: lock, state before it, a swept folder, and one clear error for a full disk."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from bascule.core import StoreError
from bascule.core.files import TEMPORARY, sweep
from bascule.data.lock import writer_lock
from bascule.data.manifest import Manifest

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLACES = (
    "candles/*",
    "tables/*",
    "provider/*",
    "provider/*/*",
    "provider/*/*/instruments",
    "provider/*/*/calendars",
)


@contextlib.contextmanager
def transaction(store: Path, patience: float) -> Iterator[Manifest]:
    """Hold the writer's lock; yields the present state. Whoever writes a new manifest commits.

    Raises:
        StoreError: another writer is at work for longer than ``patience`` seconds, the disk is full, or the
            store is damaged.
    """
    with writer_lock(store, patience):
        manifest = Manifest.read(store)
        _sweep(store, manifest)
        try:
            yield manifest
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise StoreError(
                f"the disk is full ({error.strerror}); nothing was changed",
                where=str(store),
                remedy="free some space, then do the same again",
            ) from error


def _sweep(store: Path, manifest: Manifest) -> None:
    """Remove what killed writers left and files that the present state does not need."""
    needed = manifest.files()
    sweep(store)
    for pattern in _PLACES:
        for folder in store.glob(pattern):
            sweep(folder)
    for pattern in ("candles/*/*.parquet", "tables/*/*.parquet"):
        for path in store.glob(pattern):
            if str(path.relative_to(store)) not in needed and TEMPORARY not in path.name:
                path.unlink()
