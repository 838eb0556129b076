"""Extensions as files and commands name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule.core import ConfigError, extensions


def extend(values: Mapping[str, Any], root: Path, where: str) -> None:
    """Load what the key ``extensions`` of a file's plain values names, before the values are checked.

    Args:
        values: of the file.
        root: its folder, which relative paths are seen from.
        where: the file, for errors.

    Raises:
        ConfigError: the key is no list of texts, or an extension is missing or broken.
    """
    given = values.get("extensions", ())
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ConfigError(
            f"expected a list of extensions, received {given!r}",
            where=f"{where}: extensions",
            remedy="extensions: [own.py]",
        )
    extensions.load_all(given, root=root, where=f"{where}: extensions")
