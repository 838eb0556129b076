"""The keys of ``qlib.init`` that put the engine under qlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule.core import ConfigError

_MODULE = "bascule.bridge.qlib.provider"
_OURS = {
    "dataset_provider": {"class": "DatasetProvider", "module_path": _MODULE},
    "expression_provider": {"class": "ExpressionProvider", "module_path": _MODULE},
}
Uri = str | Path | Mapping[str, str | Path]


def settings(provider_uri: Uri, **others: Any) -> dict[str, Any]:
    """The arguments of ``qlib.init``.

    Args:
        provider_uri: qlib's data folder, or one for each frequency, such as ``{"60min": folder}``.
        others: any further argument of ``qlib.init``.

    Raises:
        ConfigError: an argument would take the engine out again.
    """
    for key in _OURS:
        if key in others:
            raise ConfigError(
                f"{key} is what the engine stands in for",
                where="bascule.qlib",
                remedy="leave it out, or call qlib.init without bascule.qlib",
            )
    if others.get("expression_cache") is not None:
        raise ConfigError(
            f"expression_cache={others['expression_cache']!r} evaluates texts as code and is not needed",
            where="bascule.qlib",
            remedy="leave it out: the engine computes faster than the cache reads",
        )
    if isinstance(provider_uri, Mapping):
        uri: str | dict[str, str] = {str(freq): str(path) for freq, path in provider_uri.items()}
    else:
        uri = str(provider_uri)
    # given in full, so that qlib's own defaults for a server do not bring its caches back
    return {"dataset_cache": None, **others, "provider_uri": uri, "expression_cache": None, **_OURS}
