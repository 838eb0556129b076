"""Files that are either wholly there or not there: write aside, fsync, rename, fsync the folder.

A reader never sees a half-written file or folder, whenever the writer is killed. What a killed writer leaves
behind carries `TEMPORARY` in its name; `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"
_FSYNCS = 16


def _aside(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _fsync(path)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit it replaces ``path`` in one step, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        _fsync(aside)
        aside.replace(path)
        fsync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on a clean exit it becomes ``path``, which must not exist yet.

    Raises:
        FileExistsError: ``path`` is there already: finished folders are never changed.
    """
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        # in parallel: the disk's journal commits waiting fsyncs together
        with ThreadPoolExecutor(_FSYNCS) as pool:
            list(pool.map(_fsync, (aside, *aside.rglob("*"))))
        aside.rename(path)
        fsync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def point(link: Path, target: Path) -> None:
    """Make the symbolic link ``link`` lead to ``target`` (beside or below it), in one step."""
    aside = _aside(link)
    aside.symlink_to(os.path.relpath(target, link.parent))
    aside.replace(link)
    fsync_folder(link.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON with sorted keys, atomically."""
    with atomic_file(path) as aside:
        aside.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", "utf-8")


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """A short, stable digest (16 hex digits) of a JSON-able value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sweep(folder: Path) -> int:
    """Remove what killed writers left directly in ``folder``, return how many. For its one writer to call."""
    count = 0
    for item in folder.glob(f"{TEMPORARY}*"):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)
        count += 1
    return count
