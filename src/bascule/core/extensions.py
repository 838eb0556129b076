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
import importlib.abc
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import Field

from bascule.core.errors import BasculeError, ConfigError
from bascule.core.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "bascule.extensions"
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
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

T = TypeVar("T")


@dataclass(frozen=True)
class Extension:
    """What a user's module brings.

    Attributes:
        name: of the extension; lower case letters, digits, ``_`` and ``-``.
        version: changed with every change of meaning.
        operators: classes made from the bases of `bascule.expr.own`; each is called by its class's name.
        factors: name of a library → its factors: `Factor` objects, ``{name: text}`` pairs, or a YAML file's
            path seen from the module.
        sources: name → `bascule.data.sources.Entry`.
        models: name → an object of `bascule.models.Kind`; or just the objects.
        searchers: name → a class as `bascule.miners.Searcher` says.
    """

    name: str
    version: str
    operators: Sequence[Any] = ()
    factors: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[Any] = ()
    searchers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is not a name of an extension",
                where="Extension",
                remedy="use lower case letters, digits, _ and -, at most 64",
            )
        if not isinstance(self.version, str) or not self.version.strip():
            raise ConfigError("the version is no text", where=f"extension {self.name}", remedy="write '1.0'")

    def parts(self, seam: str) -> list[tuple[str, Any]]:
        """Name and object of each part of a seam."""
        given = getattr(self, seam)
        if seam == "operators":
            return [(getattr(one, "__name__", repr(one)), one) for one in given]
        if seam == "models":
            return [(str(getattr(one, "name", repr(one))), one) for one in given]
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"{seam} is a {type(given).__name__}",
                where=f"extension {self.name}",
                remedy="write {name: …}",
            )
        return [(str(name), one) for name, one in given.items()]


class ExtensionRecord(Settings):
    """An extension as a bundle or a model remembers it."""

    name: str = Field(min_length=1, description="name of the extension")
    version: str = Field(min_length=1, description="its version")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of its source")


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
            return _admit(source, hashlib.sha256(f"{id(source)}".encode()).hexdigest(), "", Path.cwd())
        name = str(source)
        if name.endswith(".py") or isinstance(source, Path) or os.sep in name:
            return _from_file((root or Path.cwd()) / Path(name).expanduser(), where)
        return _from_module(name, installed().get(name), where)


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
                    _tell(load(name, where=VARIABLE).source, instead_of=name)
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


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


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


# -- finding ---------------------------------------------------------------------------------------------


class _Read(importlib.abc.SourceLoader):
    """Runs the very bytes that were digested, whatever becomes of the file meanwhile."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = str(path), content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._content


def _from_file(path: Path, where: str) -> Loaded:
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the extension {path.name} cannot be read: {error.strerror}",
            where=where,
            remedy="give the path of a Python file, relative to the file that names it",
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    name = f"bascule_extension_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{digest[:8]}"
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.spec_from_loader(name, _Read(path, content))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # annotations of its classes are looked up there
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a user's code may raise
            del sys.modules[name]
            raise _broken(error, str(path)) from error
    return _admit(_named(module, None, str(path)), digest, str(path), path.parent)


def _from_module(name: str, point: EntryPoint | None, where: str) -> Loaded:
    wanted = name if point is None else point.module
    if not _MODULE.fullmatch(wanted):
        raise ConfigError(f"{name!r} is no extension", where=where, remedy="name a .py file or a module")
    try:
        if importlib.util.find_spec(wanted) is None:
            raise ModuleNotFoundError(wanted)
    except ModuleNotFoundError:
        raise ConfigError(
            f"there is no extension {name!r}",
            where=where,
            remedy="install its package, put its folder on PYTHONPATH, or name its .py file",
        ) from None
    try:
        module = importlib.import_module(wanted)
    except Exception as error:  # whatever a user's code may raise
        raise _broken(error, wanted) from error
    found = _named(module, None if point is None else point.attr or None, wanted)
    digest, folder = _digest(module)
    return _admit(found, digest, name, folder)


def _named(module: ModuleType, attribute: str | None, place: str) -> Extension:
    found = getattr(module, attribute or "extension", None)
    if not isinstance(found, Extension):
        raise ConfigError(
            "the module names no extension" if found is None else f"extension is a {type(found).__name__}",
            where=place,
            remedy='write extension = Extension("name", "1.0", …), of bascule.core',
        )
    return found


def _digest(module: ModuleType) -> tuple[str, Path]:
    """Digest of all Python files of the module's outermost package, and the module's folder."""
    own = Path(module.__file__ or ".").resolve()
    outer = sys.modules[module.__name__.partition(".")[0]]
    home = Path(str(outer.__file__)).resolve() if getattr(outer, "__file__", None) else own
    package = hasattr(outer, "__path__") and home.name == "__init__.py"
    files = sorted(home.parent.rglob("*.py")) if package else [own]
    total = hashlib.sha256()
    for one in files:
        total.update(one.relative_to(home.parent if package else own.parent).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(one.read_bytes()).digest())
    return total.hexdigest(), own.parent


def _broken(error: Exception, place: str) -> ConfigError:
    """A user's module that fails: the line of its own file, and what was raised there."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == place:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    shown = f"{error.where}: {error.message}" if isinstance(error, BasculeError) else str(error)
    remedy = error.remedy if isinstance(error, BasculeError) else None
    return ConfigError(
        f"the extension's module fails: {type(error).__name__}: {shown}",
        where=f"{place}:{line}" if line else place,
        remedy=remedy or "mend the line; python FILE shows the whole traceback",
    )


# -- admitting -------------------------------------------------------------------------------------------


def _registry(seam: str) -> Registry[Any]:
    module, _, name = SEAMS[seam].partition(":")
    found: Registry[Any] = getattr(importlib.import_module(module), name)
    return found


def _admit(extension: Extension, digest: str, source: str, folder: Path) -> Loaded:
    known = _LOADED.get(extension.name)
    if known is not None:
        if known.record.sha256 == digest:
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
            registry.put(registry.fit(extension, folder), extension.name)
            done.append(registry)
    except BaseException:
        for registry in done:
            registry.drop(extension.name)
        raise
    remembered = ExtensionRecord(name=extension.name, version=extension.version, sha256=digest)
    _CHANGES.append(f"+{extension.name}")
    found = _LOADED[extension.name] = Loaded(extension, remembered, source, folder)
    if source:
        _ASKED.add(source)
        _tell(source)
    return found


def _tell(source: str, *, instead_of: str | None = None) -> None:
    """Name an extension to the processes that are started from here, relative names turned absolute."""
    told = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    kept = [one for one in told if one not in (source, instead_of)]
    os.environ[VARIABLE] = os.pathsep.join([*kept, source])
