"""Names of factors as a user types them: looked up, completed, and told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.factors import Factor


def pick(names: Sequence[str]) -> tuple[Factor, ...]:
    """Factors that the command line names, refused where two share a name; see `locate`."""
    from bascule.factors import unique

    return unique(factor for _, factor in locate(names))


def locate(names: Sequence[str]) -> list[tuple[str, Factor]]:
    """Factors that the command line names, each with its library or file ("" = a text).

    Args:
        names: ``NAME``, ``library:NAME``, a library, a YAML file, or a text with a ``$`` in it, which may be
            given a name: ``NAME=text``.

    Raises:
        ConfigError: a name is in no library, or in several.
        ExpressionError: a text is not of the language, or reads the future.
    """
    from bascule.factors import LIBRARIES, Factor, resolve

    chosen: list[tuple[str, Factor]] = []
    for number, name in enumerate(names, 1):
        if "$" in name:
            label, sign, text = name.partition("=")
            named = sign and label.isidentifier()
            chosen.append(("", Factor(label, text) if named else Factor(f"TEXT{number}", name)))
        elif name in LIBRARIES or name.endswith((".yaml", ".yml")):
            chosen += [(name, factor) for factor in resolve([name])]
        else:
            chosen.append(_named(name))
    return chosen


def _named(name: str) -> tuple[str, Factor]:
    from difflib import get_close_matches

    from bascule.factors import LIBRARIES, library

    place, colon, short = name.rpartition(":")
    hits = {
        one: factor
        for one in ([place] if colon else LIBRARIES)
        for factor in library(one)
        if factor.name == short
    }
    texts = {factor.text for factor in hits.values()}
    if len(texts) == 1:
        return next(iter(hits.items()))
    if hits:
        raise ConfigError(
            f"{name!r} means different texts in {' and '.join(hits)}",
            where="factor",
            remedy=f"write {next(iter(hits))}:{name}",
        )
    known = sorted({factor.name for one in LIBRARIES for factor in library(one)})
    near = get_close_matches(short.upper(), known, n=3)
    remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else "see: bascule factor search"
    raise ConfigError(f"no library has a factor {name!r}", where="factor", remedy=remedy)


# -- completion ------------------------------------------------------------------------------------------


def libraries_like(incomplete: str) -> list[str]:
    """Completion: names of libraries."""
    from bascule.factors import LIBRARIES

    return [name for name in LIBRARIES if name.startswith(incomplete)]


def factors_like(incomplete: str) -> list[str]:
    """Completion: names of libraries, and after ``library:`` of its factors."""
    place, colon, start = incomplete.rpartition(":")
    if not colon:
        return libraries_like(incomplete)
    from bascule.factors import LIBRARIES, names

    if place not in LIBRARIES:
        return []
    return [f"{place}:{one}" for one in names(place) if one.startswith(start)]
