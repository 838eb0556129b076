"""Where factors come from: named libraries, YAML files, and entries of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from bascule.core import ConfigError
from bascule.factors.alpha158 import alpha158
from bascule.factors.alpha360 import alpha360
from bascule.factors.factor import Factor

LIBRARIES: dict[str, Callable[[], Iterable[Factor]]] = {"alpha158": alpha158, "alpha360": alpha360}
_KEYS = ("name", "text", "family", "source", "note")

Entry = str | Path | Mapping[str, Any] | Factor


@cache
def library(name: str) -> tuple[Factor, ...]:
    """All factors of a library.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in LIBRARIES:
        near = get_close_matches(name, LIBRARIES, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"libraries: {', '.join(LIBRARIES)}"
        raise ConfigError(f"unknown factor library {name!r}", where="factors", remedy=remedy)
    return tuple(LIBRARIES[name]())


def load(path: str | Path) -> tuple[Factor, ...]:
    """Read factors from a YAML file.

    Either ``name: text`` pairs or a list of ``{name, text, family, source, note}``, at the top or under the
    key ``factors``.

    Raises:
        ConfigError: the file cannot be read or is not of this form.
        ExpressionError: a text is not of the language, or reads the future.
    """
    import yaml

    place = str(path)
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the file: {error.strerror}", where=place, remedy="check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"not YAML: {reason}", where=place, remedy="correct the file") from None
    if isinstance(content, Mapping) and "factors" in content:
        content = content["factors"]
    if isinstance(content, Mapping):
        items: list[Any] = [{"name": name, "text": text} for name, text in content.items()]
    elif isinstance(content, list) and content:
        items = content
    else:
        raise ConfigError(
            "no factors in the file", where=place, remedy="write lines such as MOM5: $close/Ref($close,5)-1"
        )
    return unique([_one(item, f"{place}, entry {number}") for number, item in enumerate(items, 1)])


def resolve(entries: Iterable[Entry]) -> tuple[Factor, ...]:
    """Factors of a configuration's list.

    Args:
        entries: names of libraries, paths of YAML files, ``{name, text}`` mappings or factors.

    Raises:
        ConfigError: an entry is none of these, there are none, or two factors share a name.
        ExpressionError: a text is not of the language, or reads the future.
    """
    if isinstance(entries, str):
        entries = [entries]
    found: list[Factor] = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, Factor):
            found.append(entry)
        elif isinstance(entry, Path) or (isinstance(entry, str) and entry.endswith((".yaml", ".yml"))):
            found.extend(load(entry))
        elif isinstance(entry, str):
            found.extend(library(entry))
        else:
            found.append(_one(entry, f"factors, entry {number}"))
    if not found:
        raise ConfigError("no factors", where="factors", remedy=f"name a library: {', '.join(LIBRARIES)}")
    return unique(found)


def unique(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """The factors, refused where two share a name.

    Raises:
        ConfigError: they do.
    """
    found: dict[str, Factor] = {}
    for factor in factors:
        if factor.name in found:
            raise ConfigError(
                f"two factors are named {factor.name!r}", where="factors", remedy="rename or remove one"
            )
        found[factor.name] = factor
    return tuple(found.values())


def _one(item: Any, place: str) -> Factor:
    if not isinstance(item, Mapping):
        raise ConfigError(
            f"expected name and text, received {item!r}", where=place, remedy="write {name: …, text: …}"
        )
    unknown = [str(key) for key in item if key not in _KEYS]
    if unknown:
        raise ConfigError(
            f"unknown key {unknown[0]!r}", where=place, remedy=f"known keys: {', '.join(_KEYS)}"
        )
    values: dict[str, Any] = {key: item[key] for key in _KEYS if item.get(key) is not None}
    for key in ("name", "text"):
        if key not in values:
            raise ConfigError(f"the key {key!r} is required", where=place, remedy="add it")
    for key, value in values.items():
        if not isinstance(value, str):
            raise ConfigError(
                f"{key} must be a text, received {value!r}", where=place, remedy="put it in quotes"
            )
    return Factor(**values)
