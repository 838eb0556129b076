"""Extensions: a user's own operators, factors, sources, models and searchers beside the built-in ones.

1. An extension is a Python module with one name, ``extension``: an `Extension` that says what it brings. It
   is a file, an importable module, or an installed package with an entry point in the group
   ``bascule.extensions``.
2. Nothing is loaded because it lies somewhere: a run's file (``extensions:``), the command line, the variable
   ``BASCULE_EXTENSIONS`` or a call of `load` names it. A bundle never brings code along.
3. `load` runs the module, digests its source, asks the registry of each seam whether the parts are fit, and
   adds all of them or none. It also adds itself to ``BASCULE_EXTENSIONS`` of this process, so that processes
   which are started from it (freqtrade, workers) find the same extension.
4. A `Registry` is the table of one seam: built-in entries, and those of loaded extensions. What is not found
   is looked for in the extensions that ``BASCULE_EXTENSIONS`` names.
5. What is kept (a bundle, a model) records the extensions that it was made with (`record`); whoever uses it
   asks `lacking`: another version, or one changed byte, is another extension.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bascule.core.errors import BasculeError, ConfigError
from bascule.core.extensionfile import Extension, ExtensionRecord, Found, from_file, from_module, installed

VARIABLE = "BASCULE_EXTENSIONS"
REMEDY = f"name the very same extension: {VARIABLE}=own.py, or extensions: in the run's file"

# each seam and its registry; by name, for the floors that hold them are above this one
SEAMS: Mapping[str, str] = {
    "operators": "bascule.expr.registry:OPERATORS",
    "factors": "bascule.factors.catalogue:LIBRARIES",
    "sources": "bascule.data.sources.registry:SOURCES",
    "models": "bascule.models.registry:KINDS",
    "searchers": "bascule.miners.registry:SEARCHERS",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """An extension of this process.

    Attributes:
        extension: what it brings.
        record: what is remembered of it.
        source: what it was loaded by: a file's absolute path, a module's or an entry point's name.
        folder: of its module, for files beside it.
    """

    extension: Extension
    record: ExtensionRecord
    source: str
    folder: Path


class Registry(Mapping[str, T], Generic[T]):
    """The table of one seam. Reads like a mapping of the built-in entries and those of loaded extensions.

    Args:
        seam: a key of `SEAMS`.
        built_in: what Bascule brings.
        accept: from an extension's part to an entry: name, part and folder of the module; raises ConfigError
            (or another of the tree) for what is not fit.
    """

    def __init__(self, seam: str, built_in: Mapping[str, T], accept: Callable[[str, Any, Path], T]) -> None:
        self.seam = seam
        self.built_in = dict(built_in)
        self._accept = accept
        self._own: dict[str, tuple[T, str]] = {}

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self.built_in[name]
        if name not in self._own:
            load_named()
        return self._own[name][0]

    def __iter__(self) -> Iterator[str]:
        load_named()
        yield from self.built_in
        yield from tuple(self._own)

    def __len__(self) -> int:
        load_named()
        return len(self.built_in) + len(self._own)

    def owner(self, name: str) -> str | None:
        """The extension that brought an entry; None = it is built in, or unknown."""
        return self._own[name][1] if name in self._own else None

    def fit(self, extension: Extension, folder: Path) -> dict[str, T]:
        """The entries that an extension's parts make.

        Raises:
            BasculeError: a part is not fit, or its name is taken.
        """
        found: dict[str, T] = {}
        for name, part in extension.parts(self.seam):
            place = f"extension {extension.name}, {self.seam}, {name}"
            taken = "Bascule itself" if name in self.built_in else self.owner(name)
            if taken is not None or name in found:
                raise ConfigError(
                    f"the name is taken by {taken or 'another part'}", where=place, remedy="choose another"
                )
            try:
                found[name] = self._accept(name, part, folder)
            except BasculeError as error:
                inner = f" ({error.where})" if error.where else ""
                raise type(error)(f"{error.message}{inner}", where=place, remedy=error.remedy) from None
        return found

    def put(self, entries: Mapping[str, T], extension: str) -> None:
        """Add entries that `fit` gave."""
        self._own.update({name: (entry, extension) for name, entry in entries.items()})

    def drop(self, extension: str) -> None:
        """Forget an extension's entries."""
        self._own = {name: pair for name, pair in self._own.items() if pair[1] != extension}


# what is loaded: one table for the process, for a factor's text must mean the same in all of it
_LOADED: dict[str, Loaded] = {}
_ASKED: set[str] = set()
_CHANGES: list[str] = []
_LOCK = threading.RLock()


def load(source: str | Path | Extension, *, root: Path | None = None, where: str = "extensions") -> Loaded:
    """Load an extension; one that is loaded already is given back.

    Args:
        source: a file (``own.py``), an importable module (``acme.factors``), the name of an installed
            extension, or an `Extension` made on the spot, which then cannot be part of a bundle.
        root: folder that relative files are seen from; default the working folder.
        where: who names it, for errors.

    Raises:
        ConfigError: it is not there, its module fails, or a part is not fit.
    """
    with _LOCK:
        if isinstance(source, Extension):
            digest = hashlib.sha256(f"{id(source)}".encode()).hexdigest()
            return _admit(Found(source, digest, "", Path.cwd()))
        name = str(source)
        if name.endswith(".py") or isinstance(source, Path) or os.sep in name:
            return _admit(from_file((root or Path.cwd()) / Path(name).expanduser(), where))
        return _admit(from_module(name, installed().get(name), where))


def load_all(sources: Iterable[str | Path], *, root: Path | None = None, where: str = "extensions") -> None:
    """Load several, in order."""
    for source in sources:
        load(source, root=root, where=where)


def load_named() -> None:
    """Load what ``BASCULE_EXTENSIONS`` names (separated as ``PATH`` is), each once."""
    names = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one and one not in _ASKED]
    with _LOCK:
        for name in names:
            if name not in _ASKED:
                _ASKED.add(name)  # first: a part of the extension may look a built-in entry up
                try:
                    source = load(name, where=VARIABLE).source
                    _tell(source, instead_of=name)
                    if source != name:  # unloaded and named again, it is loaded again
                        _ASKED.discard(name)
                except BasculeError:
                    _ASKED.discard(name)  # so that whoever asks next is told the same
                    raise


def unload(name: str) -> None:
    """Forget an extension: for tests and notebooks; what was computed with it stays."""
    with _LOCK:
        gone = _LOADED.pop(name, None)
        if gone is None:
            return
        for seam in SEAMS:
            _registry(seam).drop(name)
        _CHANGES.append(f"-{name}")
        _ASKED.discard(gone.source)
        left = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one and one != gone.source]
        os.environ[VARIABLE] = os.pathsep.join(left)


def generation() -> int:
    """Grows whenever an extension comes or goes: part of the key of whatever is remembered by text."""
    return len(_CHANGES)


def loaded() -> tuple[Loaded, ...]:
    """What is loaded, in the order of loading."""
    load_named()
    return tuple(_LOADED.values())


def record(names: Iterable[str | None]) -> tuple[ExtensionRecord, ...]:
    """What to remember of these extensions (as `Registry.owner` names them), each once, by name.

    Raises:
        ConfigError: one was made on the spot: no other process could load it.
    """
    chosen = sorted({name for name in names if name is not None})
    for name in chosen:
        if not _LOADED[name].source:
            raise ConfigError(
                "it was made on the spot; nobody else could load it",
                where=f"extension {name}",
                remedy="put it into a file, and load that",
            )
    return tuple(_LOADED[name].record for name in chosen)


def lacking(records: Iterable[ExtensionRecord]) -> str | None:
    """Why what was made with these extensions must not be used here, or None.

    Extensions that ``BASCULE_EXTENSIONS`` names, and installed ones of these names, are loaded for it.

    Raises:
        ConfigError: one of them is broken.
    """
    for wanted in records:
        load_named()
        if wanted.name not in _LOADED and wanted.name in installed():
            load(wanted.name)
        found = _LOADED.get(wanted.name)
        if found is None:
            return f"it needs the extension {wanted.name} {wanted.version}, which is not loaded"
        if found.record.version != wanted.version:
            return f"it needs {wanted.name} {wanted.version}, version {found.record.version} is loaded"
        if found.record.sha256 != wanted.sha256:
            return f"it was made with another source of the extension {wanted.name} {wanted.version}"
    return None


# -- admitting -------------------------------------------------------------------------------------------


def _registry(seam: str) -> Registry[Any]:
    module, _, name = SEAMS[seam].partition(":")
    found: Registry[Any] = getattr(importlib.import_module(module), name)
    return found


def _admit(found: Found) -> Loaded:
    """Take all parts of an extension into the registries, or none."""
    extension, source = found.extension, found.source
    known = _LOADED.get(extension.name)
    if known is not None:
        if known.record.sha256 == found.sha256:
            return known
        raise ConfigError(
            f"another extension of this name is loaded ({known.source or 'made on the spot'})",
            where=f"extension {extension.name}, {source or 'made on the spot'}",
            remedy="a changed file needs a new Python process; give different extensions different names",
        )
    filled = [seam for seam in SEAMS if getattr(extension, seam)]
    if not filled:
        raise ConfigError(
            "it brings nothing",
            where=f"extension {extension.name}",
            remedy=f"give it one of: {', '.join(SEAMS)}",
        )
    # operators go in first: factor texts of the same extension may use them
    done: list[Registry[Any]] = []
    try:
        for seam in filled:
            registry = _registry(seam)
            registry.put(registry.fit(extension, found.folder), extension.name)
            done.append(registry)
    except BaseException:
        for registry in done:
            registry.drop(extension.name)
        raise
    remembered = ExtensionRecord(name=extension.name, version=extension.version, sha256=found.sha256)
    _CHANGES.append(f"+{extension.name}")
    held = _LOADED[extension.name] = Loaded(extension, remembered, source, found.folder)
    if source:
        _ASKED.add(source)
        _tell(source)
    return held


def _tell(source: str, *, instead_of: str | None = None) -> None:
    """Name an extension to the processes that are started from here, relative names turned absolute."""
    told = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    kept = [one for one in told if one not in (source, instead_of)]
    os.environ[VARIABLE] = os.pathsep.join([*kept, source])
