"""Where factors come from: named libraries, YAML files, and entries of a configuration; and finding them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from bascule.core import ConfigError, DataError, Registry, extensions, yaml_value
from bascule.factors.alpha158 import alpha158
from bascule.factors.alpha360 import alpha360
from bascule.factors.factor import Factor

_KEYS = ("name", "text", "family", "source", "note", "horizon", "tags")

Entry = str | Path | Mapping[str, Any] | Factor


def library(name: str) -> tuple[Factor, ...]:
    """All factors of a library.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in LIBRARIES:
        near = get_close_matches(name, LIBRARIES, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"libraries: {', '.join(LIBRARIES)}"
        raise ConfigError(f"unknown factor library {name!r}", where="factors", remedy=remedy)
    return _made(name, extensions.generation())


@cache
def _made(name: str, generation: int) -> tuple[Factor, ...]:
    """The factors of a library, under the extensions of a `core.extensions.generation`."""
    return tuple(LIBRARIES[name]())


def load(path: str | Path) -> tuple[Factor, ...]:
    """Read factors from a YAML file.

    Either ``name: text`` pairs or a list of ``{name, text, family, source, note, horizon, tags}``, at the top
    or under the key ``factors``.

    Raises:
        ConfigError: the file cannot be read or is not of this form.
        ExpressionError: a text is not of the language, or reads the future.
    """
    place = str(path)
    try:
        content = Path(path).read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the file: {error.strerror}", where=place, remedy="check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not YAML: {error}", where=place, remedy="save the file as UTF-8") from None
    return _read(content, place)


def names(name: str) -> tuple[str, ...]:
    """Names of a library's factors; the texts of a YAML file of ours are not even parsed for it.

    Raises:
        ConfigError: there is no library of that name.
    """
    if name in _SHIPPED:
        return tuple(str(item["name"]) for item in _items(yaml_value(_text(name), name), name))
    return tuple(factor.name for factor in library(name))


def _shipped(name: str) -> tuple[Factor, ...]:
    """A library that is a YAML file of this package."""
    return _read(_text(name), f"{name}.yaml")


def _text(name: str) -> str:
    return resources("bascule.factors").joinpath(f"{name}.yaml").read_text("utf-8")


def _accept(name: str, part: Any, folder: Path) -> Callable[[], Iterable[Factor]]:
    """An extension's library: factors, pairs of name and text, or a YAML file beside the module."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise ConfigError(f"{name!r} is no name of a library", remedy="use small letters, digits and _")
    if isinstance(part, str | Path):
        found = load(folder / part)
    elif isinstance(part, Mapping):
        found = unique([_one({"name": key, "text": text}, str(key)) for key, text in part.items()])
    else:
        found = unique(part)
    if not found or not all(isinstance(one, Factor) for one in found):
        raise ConfigError("it holds no factors", remedy="give {name: text}, Factor objects, or a YAML file")
    return lambda: found


_SHIPPED = ("alpha101", "macd", "crypto")
LIBRARIES: Registry[Callable[[], Iterable[Factor]]] = Registry(
    "factors",
    {"alpha158": alpha158, "alpha360": alpha360, **{name: partial(_shipped, name) for name in _SHIPPED}},
    _accept,
)


def _read(text: str, place: str) -> tuple[Factor, ...]:
    items = _items(yaml_value(text, place), place)
    return unique([_one(item, f"{place}, entry {number}") for number, item in enumerate(items, 1)])


def _items(content: Any, place: str) -> list[Any]:
    """The entries of a file of factors."""
    if isinstance(content, Mapping) and "factors" in content:
        content = content["factors"]
    if isinstance(content, Mapping):
        return [{"name": name, "text": text} for name, text in content.items()]
    if isinstance(content, list) and content:
        return content
    raise ConfigError(
        "no factors in the file", where=place, remedy="write lines such as MOM5: $close/Ref($close,5)-1"
    )


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
        if key not in ("horizon", "tags") and not isinstance(value, str):
            raise ConfigError(
                f"{key} must be a text, received {value!r}", where=place, remedy="put it in quotes"
            )
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError(f"tags must be a list of texts, received {tags!r}", where=place, remedy="[a, b]")
    return Factor(**{**values, "tags": tuple(tags)})


# -- finding ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A factor and the library that holds it."""

    library: str
    factor: Factor


def search(
    words: str = "",
    *,
    libraries: Iterable[str] | None = None,
    family: str | None = None,
    tag: str | None = None,
    field: str | None = None,
    max_lookback: int | None = None,
) -> tuple[Found, ...]:
    """Factors of the libraries that meet all conditions, in the libraries' order.

    Args:
        words: each must occur in name, family, source, note, tags or text (case does not matter).
        libraries: names of libraries or paths of YAML files; default all libraries.
        family: this family exactly.
        tag: with this tag.
        field: reads this field (with or without ``$``).
        max_lookback: needs at most so many bars of history.

    Raises:
        ConfigError: a library is unknown.
    """
    found = []
    for name in LIBRARIES if libraries is None else libraries:
        for factor in resolve([name]):
            if (
                _mentions(factor, words.lower().split())
                and (family is None or factor.family == family)
                and (tag is None or tag in factor.tags)
                and (field is None or field.removeprefix("$") in factor.inputs)
                and (max_lookback is None or _within(factor.lookback, max_lookback))
            ):
                found.append(Found(str(name), factor))
    return tuple(found)


def _mentions(factor: Factor, words: Iterable[str]) -> bool:
    parts = (factor.name, factor.family, factor.source, factor.note, *factor.tags, factor.text)
    everything = " ".join(parts).lower()
    return all(word in everything for word in words)


def _within(lookback: int | None, most: int) -> bool:
    return lookback is not None and lookback <= most


def available(factors: Iterable[Factor], fields: Collection[str]) -> tuple[Factor, ...]:
    """Those whose inputs are all among ``fields`` (names without ``$``, such as ``panel.fields``)."""
    return tuple(factor for factor in factors if set(factor.inputs) <= set(fields))


def require(factors: Iterable[Factor], fields: Collection[str]) -> tuple[Factor, ...]:
    """The factors, refused where one reads a field that is not at hand.

    Raises:
        DataError: it names the fields that are missing and the factors that read them.
    """
    chosen = tuple(factors)
    lacking: dict[str, list[str]] = {}
    for factor in chosen:
        for name in sorted(set(factor.inputs) - set(fields)):
            lacking.setdefault(name, []).append(factor.name)
    if lacking:
        shown = "; ".join(
            f"${name} for {', '.join(users[:3])}{', …' if len(users) > 3 else ''}"
            for name, users in lacking.items()
        )
        raise DataError(
            f"fields are missing: {shown}",
            where="factors",
            remedy="add the data to the store, or leave these factors out (`bascule.factors.available`)",
        )
    return chosen
