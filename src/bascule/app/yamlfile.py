"""One group of settings from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml

from bascule.core import ConfigError, Settings

S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], path: Path | None) -> S:
    """The settings of a file; without a file the defaults.

    Raises:
        ConfigError: the file cannot be read, is no mapping, or a value is wrong.
    """
    if path is None:
        return kind()
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), remedy="name a YAML file") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError("is no list of keys", where=str(path), remedy="write lines such as key: value")
    return kind.read(values or {}, where=str(path))
