"""The libraries of the extra ``risk`` (skfolio with cvxpy and clarabel, networkx), imported when needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bascule.core import ConfigError


def require(module: str, *, purpose: str) -> Any:
    """A module of the extra.

    Args:
        module: dotted name, e.g. ``networkx``.
        purpose: what it is needed for, said in the error.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"{purpose} needs {missing}, which is not installed",
            where=missing,
            remedy="pip install 'bascule[risk]'",
        ) from None
