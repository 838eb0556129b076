"""Backup and restore of everything that is not made from something else.

1. `create` copies the named files and folders into a new folder ``backup-<UTC>``, which appears in one step
   (`core.files.atomic_folder`) and is never changed.
2. SQLite files are copied by SQLite's own online backup: what was committed is in it, whole, while others
   write. Their ``-wal`` and ``-shm`` files are left out.
3. Folders that have a writer's lock (stores, bundles, champions) are held while they are copied, so that no
   writer works in them. Links are kept as links; a link to what is not in the copy is an error.
4. ``manifest.json`` names every file with its SHA-256 and size, and where everything came from.
5. `verify` reads every byte again; `restore` verifies first, then writes each root aside, checks its sums,
   and renames it into place. What is there already is kept beside it as ``<name>.before-<UTC>``.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import Field, model_validator

from bascule import __version__
from bascule.core import Progress, Settings, StoreError, silent
from bascule.core.files import TEMPORARY, atomic_folder, checksum, fsync_folder, sweep, write_json

MANIFEST = "manifest.json"
CONTENT = "content"
_PREFIX = "backup-"
_MAGIC = b"SQLite format 3\x00"
_LOCK = ".lock"
_SIDES = ("-wal", "-shm", "-journal")


class Entry(Settings):
    """One file or link of a backup."""

    path: str = Field(description="below content/")
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(description="of the file; empty for a link")
    link: str = Field(default="", description="where a link leads")

    @model_validator(mode="after")
    def _inside(self) -> Self:
        parts = PurePosixPath(self.path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ValueError(f"{self.path!r} leads out of the backup")
        return self


class Manifest(Settings):
    """What a backup holds."""

    created: str = Field(description="UTC")
    version: str = Field(description="of Bascule")
    roots: dict[str, str] = Field(description="name below content/ → where it came from")
    entries: tuple[Entry, ...] = Field(description="all files and links")

    @model_validator(mode="after")
    def _plain_names(self) -> Self:
        for name in self.roots:
            if name in ("", ".", "..") or "/" in name:
                raise ValueError(f"{name!r} leads out of the backup")
        return self


@dataclass(frozen=True)
class Backup:
    """A finished backup.

    Attributes:
        path: its folder.
        manifest: what it holds.
    """

    path: Path
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.manifest.entries)


def create(
    sources: Sequence[Path],
    folder: Path,
    *,
    now: datetime,
    skip: Sequence[str] = (),
    patience: float = 60.0,
    progress: Progress = silent,
) -> Backup:
    """Make a backup.

    Args:
        sources: files and folders; their last names must differ.
        folder: where backups are kept; not inside a source.
        now: the time, for its name.
        skip: patterns of names to leave out, e.g. ``*.log``, ``logs``.
        patience: seconds to wait for a writer.
        progress: told after each file.

    Raises:
        StoreError: a source is missing, is being written for longer, or has a link out of it; there is a
            backup of this second; the disk is full.
    """
    roots = _roots(sources, folder)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / f"{_PREFIX}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    try:
        with atomic_folder(path) as aside:
            entries: list[Entry] = []
            for name, source in roots.items():
                entries += _copy(source, aside / CONTENT / name, aside / CONTENT, skip, patience, progress)
            values = {
                "created": now.astimezone(UTC).isoformat(),
                "version": __version__,
                "roots": {name: str(source) for name, source in roots.items()},
                "entries": [entry.model_dump() for entry in entries],
            }
            Manifest.read(values, where=MANIFEST)
            write_json(aside / MANIFEST, values)
    except FileExistsError:
        raise StoreError(
            "a backup of this second is there", where=str(path), remedy="wait a second"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot be copied: {error}", where=str(path), remedy="check permissions and free space"
        ) from None
    return Backup(path, Manifest.read(values))


def load(path: Path) -> Backup:
    """A backup's manifest.

    Raises:
        StoreError: it is missing or damaged.
    """
    import json

    try:
        values = json.loads((path / MANIFEST).read_text("utf-8"))
        return Backup(path, Manifest.read(values, where=str(path / MANIFEST)))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StoreError(
            f"this is no backup: {error}", where=str(path), remedy=f"name a folder {_PREFIX}…"
        ) from None


def verify(path: Path, progress: Progress = silent) -> Backup:
    """Read every byte of a backup again.

    Raises:
        StoreError: a file is missing, foreign or changed.
    """
    backup = load(path)
    content = path / CONTENT
    wanted = {entry.path for entry in backup.manifest.entries}
    present = {_relative(item, content) for item in content.rglob("*") if item.is_symlink() or item.is_file()}
    problems = [f"{name} is missing" for name in sorted(wanted - present)]
    problems += [f"{name} does not belong to it" for name in sorted(present - wanted)]
    for done, entry in enumerate(backup.manifest.entries, 1):
        if entry.path in present and not _same(content / entry.path, entry):
            problems.append(f"{entry.path} was changed")
        progress(done, len(backup.manifest.entries), entry.path)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StoreError(f"damaged: {problems[0]}{more}", where=str(path), remedy="use another backup")
    return backup


def restore(path: Path, target: Path, *, now: datetime, progress: Progress = silent) -> list[Path]:
    """Put a backup's content below ``target``; stop what uses it before.

    Args:
        path: of the backup.
        target: folder that gets one item for each root.
        now: the time, for the names of what was there before.
        progress: told after each file that was verified.

    Returns:
        What was restored.

    Raises:
        StoreError: the backup is damaged, or cannot be written there: nothing is changed then.
    """
    backup = verify(path, progress)
    try:
        target.mkdir(parents=True, exist_ok=True)
        sweep(target)
        asides = _beside(backup, target)
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error}", where=str(target), remedy="check permissions and free space"
        ) from None
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    for entry in backup.manifest.entries:
        name, _, rest = entry.path.partition("/")
        copied = target / f"{TEMPORARY}restore-{name}"
        if not _same(copied / rest if rest else copied, entry):
            raise StoreError(
                f"{entry.path} was not written as it is in the backup",
                where=str(target),
                remedy="check the disk",
            )
    restored = []
    for name, aside in asides:
        place = target / name
        if place.is_symlink() or place.exists():
            place.rename(target / f"{name}.before-{stamp}")
        aside.rename(place)
        restored.append(place)
    fsync_folder(target)
    return restored


def _beside(backup: Backup, target: Path) -> list[tuple[str, Path]]:
    """Copy the roots beside their places; names and copies."""
    asides = []
    for name in backup.manifest.roots:
        aside = target / f"{TEMPORARY}restore-{name}"
        source = backup.path / CONTENT / name
        if source.is_dir():
            shutil.copytree(source, aside, symlinks=True)
        else:
            shutil.copy2(source, aside)
        asides.append((name, aside))
    return asides


def prune(folder: Path, keep: int) -> list[Path]:
    """Remove all backups of a folder but the newest ``keep``; returns what was removed."""
    found = sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / MANIFEST).is_file())
    gone = found[: max(0, len(found) - keep)]
    for path in gone:
        shutil.rmtree(path)
    return gone


# -- inside ----------------------------------------------------------------------------------------------


def _roots(sources: Sequence[Path], folder: Path) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for given in sources:
        source = given.absolute()
        if not source.exists():
            raise StoreError("it is not there", where=str(source), remedy="name what is to be backed up")
        if folder.absolute().is_relative_to(source):
            raise StoreError(
                "backups would lie in what is backed up",
                where=str(folder),
                remedy="choose a folder beside it",
            )
        if source.name in roots:
            raise StoreError(
                f"two sources are called {source.name}", where=str(source), remedy="back them up apart"
            )
        roots[source.name] = source
    if not roots:
        raise StoreError("there is nothing to back up", where="backup", remedy="name files or folders")
    return roots


def _copy(
    source: Path, target: Path, content: Path, skip: Sequence[str], patience: float, progress: Progress
) -> list[Entry]:
    """Copy one root under the locks of its folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        return [_file(source, target, content)]
    entries: list[Entry] = []
    with contextlib.ExitStack() as stack:
        for lock in sorted(source.rglob(_LOCK)):
            if lock.is_file():
                stack.enter_context(_held(lock, patience))
        items = list(_walk(source, skip))
        for done, item in enumerate(items, 1):
            place = target / item.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if item.is_symlink():
                entries.append(_link(item, place, source, content))
            elif item.is_dir():
                place.mkdir(exist_ok=True)
            else:
                entries.append(_file(item, place, content))
            progress(done, len(items), item.name)
    target.mkdir(exist_ok=True)
    for entry in entries:
        if entry.link and not (content / entry.path).exists():
            raise StoreError(
                f"what the link {entry.path} leads to is left out",
                where=str(source),
                remedy="leave out both or none with --skip",
            )
    return entries


def _walk(folder: Path, skip: Sequence[str]) -> Iterator[Path]:
    for item in sorted(folder.iterdir()):
        name = item.name
        if name == _LOCK or name.startswith(TEMPORARY) or any(item.match(pattern) for pattern in skip):
            continue
        if any(
            name.endswith(side) and _is_sqlite(item.with_name(name.removesuffix(side))) for side in _SIDES
        ):
            continue
        if item.is_symlink() or item.is_dir() or item.is_file():  # sockets and pipes are nobody's state
            yield item
        if item.is_dir() and not item.is_symlink():
            yield from _walk(item, skip)


def _file(source: Path, target: Path, content: Path) -> Entry:
    if _is_sqlite(source):
        _sqlite(source, target)
    else:
        shutil.copy2(source, target)
    return Entry(path=_relative(target, content), size=target.stat().st_size, sha256=checksum(target))


def _link(source: Path, target: Path, root: Path, content: Path) -> Entry:
    leads = str(source.readlink())
    resolved = (source.parent / leads).resolve()
    if not resolved.exists() or not resolved.is_relative_to(root.resolve()):
        raise StoreError(
            f"a link that leads to {leads}, which is not part of it",
            where=str(source),
            remedy="mend the link, or leave it out with --skip",
        )
    target.symlink_to(leads)
    return Entry(path=_relative(target, content), size=0, sha256="", link=leads)


def _sqlite(source: Path, target: Path) -> None:
    """SQLite's own copy of a database that may be in use."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=30.0)) as old,
            contextlib.closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            found = new.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(
            f"SQLite cannot copy it: {error}", where=str(source), remedy="check the file"
        ) from None
    if found != "ok":
        raise StoreError(f"damaged: {found}", where=str(source), remedy="restore it from an older backup")
    shutil.copymode(source, target)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


@contextlib.contextmanager
def _held(lock: Path, patience: float) -> Iterator[None]:
    """Hold a writer's lock file."""
    with lock.open("r") as stream:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"it is being written for longer than {patience:g} s",
                        where=str(lock.parent),
                        remedy="wait for the writer, or give more patience",
                    ) from None
                time.sleep(0.05)
        yield


def _same(path: Path, entry: Entry) -> bool:
    if entry.link:
        return path.is_symlink() and str(path.readlink()) == entry.link
    return path.is_file() and path.stat().st_size == entry.size and checksum(path) == entry.sha256


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
