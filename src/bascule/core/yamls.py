"""Reading YAML: whatever is wrong with a text is one `ConfigError` that names the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bascule.core.errors import ConfigError


def yaml_value(text: str, where: str) -> Any:
    """What a YAML text says: mappings, lists, texts, numbers, dates; nothing in it is executed.

    Args:
        text: one document.
        where: its place, for the error.

    Raises:
        ConfigError: it is no YAML, or says what cannot be (a 31st of February, 100,000 brackets).
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        place = f"{where}:{mark.line + 1}" if mark else where
    except (ValueError, RecursionError) as error:  # PyYAML lets those of its constructors through
        reason, place = str(error), where
    raise ConfigError(
        f"cannot be read, it is not YAML: {reason}", where=place, remedy="mend the YAML syntax there"
    )


def yaml_mapping(path: Path, *, remedy: str = "write lines such as key: value") -> dict[str, Any]:
    """The keys of a YAML file; an empty file has none.

    Args:
        path: the file.
        remedy: what to do where it holds something else.

    Raises:
        ConfigError: the file cannot be read, or is no mapping.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), remedy="name a YAML file") from None
    values = yaml_value(text, str(path))
    if values is not None and not isinstance(values, dict):
        raise ConfigError("is no mapping of settings", where=str(path), remedy=remedy)
    return values or {}
