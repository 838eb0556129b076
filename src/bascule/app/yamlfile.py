"""Settings from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from bascule.core import Settings, yaml_mapping

S = TypeVar("S", bound=Settings)


def mapping(path: Path, *, see: str = "the documentation") -> dict[str, Any]:
    """The keys of a YAML file; an empty file has none.

    Args:
        path: the file.
        see: where an example stands, for the error.

    Raises:
        ConfigError: the file cannot be read, or is no mapping.
    """
    return yaml_mapping(path, remedy=f"write lines such as key: value; see {see}")


def read_settings(kind: type[S], path: Path | None, *, where: str = "options") -> S:
    """The settings of a file; without a file the defaults.

    Raises:
        ConfigError: the file cannot be read, is no mapping, or a value is wrong.
    """
    return kind.read({} if path is None else mapping(path), where=str(path or where))
