"""Settings from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from bascule.core import ConfigError, Settings, yaml_mapping, yaml_value

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


def override(values: dict[str, Any], text: str) -> None:
    """Let ``key.sub=value`` (the value is YAML) win over what a file says.

    Raises:
        ConfigError: the text is no such thing, or leads through something that is no group of settings.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"cannot read {text!r}", where="--set", remedy="write key.sub=value")
    target = values
    *path, last = key.split(".")
    for part in path:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise ConfigError(
                f"{part!r} in {key!r} is not a group of settings", where="--set", remedy="leave it out"
            )
    target[last] = yaml_value(value, f"--set {key}")


def read_settings(kind: type[S], path: Path | None, *, where: str = "options") -> S:
    """The settings of a file; without a file the defaults.

    Raises:
        ConfigError: the file cannot be read, is no mapping, or a value is wrong.
    """
    return kind.read({} if path is None else mapping(path), where=str(path or where))
