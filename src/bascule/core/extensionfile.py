"""An extension as a user writes it, and how its module is found and run; see `core.extensions`.

1. A file is read once: the bytes that are digested are the bytes that are run.
2. A module is imported; its digest covers all Python files of its outermost package.
3. Whatever fails is one error that names file and line.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bascule.core.errors import BasculeError, ConfigError
from bascule.core.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "bascule.extensions"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


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
        models: objects of classes made from `bascule.models.Kind`, each called by its `name`.
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
class Found:
    """An extension whose module has run.

    Attributes:
        extension: what it brings.
        sha256: digest of its source.
        source: a file's absolute path, a module's or an entry point's name; "" = made on the spot.
        folder: of its module, for files beside it.
    """

    extension: Extension
    sha256: str
    source: str
    folder: Path


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


class _Read(importlib.abc.SourceLoader):
    """Runs the very bytes that were digested, whatever becomes of the file meanwhile."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = str(path), content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._content


def from_file(path: Path, where: str) -> Found:
    """Run a file.

    Raises:
        ConfigError: it cannot be read, fails, or names no extension.
    """
    path = path.resolve()
    if os.pathsep in str(path):
        raise ConfigError(
            f"its path {path} holds a {os.pathsep!r}, by which lists of files are separated",
            where=where,
            remedy="give the folder another name",
        )
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
        except BaseException:  # Ctrl-C in the midst of it: half a module must not be found the next time
            del sys.modules[name]
            raise
    return Found(_named(module, None, str(path)), digest, str(path), path.parent)


def from_module(name: str, point: EntryPoint | None, where: str) -> Found:
    """Import a module, or what an entry point names.

    Raises:
        ConfigError: there is none, it fails, or it names no extension.
    """
    wanted = name if point is None else point.module
    if not _MODULE.fullmatch(wanted):
        raise ConfigError(f"{name!r} is no extension", where=where, remedy="name a .py file or a module")
    place = wanted
    try:
        spec = importlib.util.find_spec(wanted)  # imports the packages above it
        if spec is not None:
            place = spec.origin or wanted
            module = importlib.import_module(wanted)
    except Exception as error:  # whatever a user's code may raise
        absent = isinstance(error, ModuleNotFoundError) and f"{wanted}.".startswith(f"{error.name}.")
        if not absent:
            raise _broken(error, place) from error
        spec = None
    if spec is None:
        raise ConfigError(
            f"there is no extension {name!r}",
            where=where,
            remedy="install its package, put its folder on PYTHONPATH, or name its .py file",
        )
    found = _named(module, None if point is None else point.attr or None, wanted)
    digest, folder = _digest(module)
    return Found(found, digest, name, folder)


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
    if isinstance(error, SyntaxError):  # maybe of another file, which this one imports
        place, line = error.filename or place, error.lineno
    shown = f"{error.where}: {error.message}" if isinstance(error, BasculeError) else str(error)
    remedy = error.remedy if isinstance(error, BasculeError) else None
    return ConfigError(
        f"the extension's module fails: {type(error).__name__}: {shown}",
        where=f"{place}:{line}" if line else place,
        remedy=remedy or "mend the line; python FILE shows the whole traceback",
    )
