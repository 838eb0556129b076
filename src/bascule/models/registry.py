"""The kinds of model by name, and by qlib's own way of naming them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bascule.core import ConfigError, Registry
from bascule.models.boosters import CatBoostKind, XGBoostKind
from bascule.models.kind import Kind
from bascule.models.linear import LinearKind
from bascule.models.networks import NETWORKS
from bascule.models.trees import DoubleEnsembleKind, HighFrequencyKind, LightGBMKind

_TREES = (LightGBMKind(), HighFrequencyKind(), XGBoostKind(), CatBoostKind(), DoubleEnsembleKind())
_LIBRARIES = {"torch": ("torch",), "models": ("xgboost", "catboost")}
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,11}")


def _accept(name: str, part: Any, folder: Path) -> Kind:
    """An extension's kind of model: an object of a class made from `Kind`."""
    if not isinstance(part, Kind):
        raise ConfigError("it is no object of a Kind", remedy="give an object: models=[Own()]")
    if not _PREFIX.fullmatch(str(getattr(part, "prefix", ""))):
        raise ConfigError(
            "it has no prefix for model ids", remedy="write prefix = 'own': up to 12 small letters and digits"
        )
    if not isinstance(getattr(part, "parameters", None), frozenset):
        raise ConfigError("it does not name its parameters", remedy="write parameters = frozenset({'alpha'})")
    return part


KINDS: Registry[Kind] = Registry(
    "models", {one.name: one for one in (*_TREES, LinearKind(), *NETWORKS)}, _accept
)


def kind(name: str, module: str | None = None) -> Kind:
    """Look a kind up.

    Args:
        name: a kind's name or qlib's class name.
        module: qlib's module path (``module_path`` in its configurations), which tells classes of one name
            apart.

    Raises:
        ConfigError: unknown, or not one that Bascule keeps in a form that is safe to load.
    """
    if module is None:
        if name in KINDS:
            return KINDS[name]
        named = [one for one in KINDS.values() if one.cls == name]
    else:
        named = [one for one in KINDS.values() if name in (one.cls, one.name) and one.module == module]
        # qlib also exports its models one level up
        if not named and module == "qlib.contrib.model" and name in KINDS:
            named = [KINDS[name]]
    if named:
        return named[0]
    shown = name if module is None else f"{module}.{name}"
    near = get_close_matches(name, KINDS, n=1)
    raise ConfigError(
        f"unknown kind of model {shown!r}",
        where="model.kind",
        remedy=(f"did you mean {near[0]!r}? " if near else "")
        + f"known: {', '.join(sorted(KINDS))}; docs/models.md says why others are not",
    )


def require(chosen: Kind) -> None:
    """Refuse a kind whose library is not installed.

    Raises:
        ConfigError: naming the extra that brings it.
    """
    for library in _LIBRARIES.get(chosen.extra, ()):
        wanted = library in chosen.packages
        if wanted and find_spec(library) is None:
            raise ConfigError(
                f"{chosen.name} needs {library}, which is not installed",
                where="model.kind",
                remedy=f"pip install 'bascule[{chosen.extra}]'",
            )
