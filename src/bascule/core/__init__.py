"""Floor 0: what every floor above speaks in. Knows no market, no model, no third-party trading library.

What needs NumPy is imported when it is first named: help and completion in a shell need none of it.
"""

from typing import TYPE_CHECKING, Any

from bascule.core.errors import (
    BasculeError,
    BridgeError,
    BundleError,
    ConfigError,
    DataError,
    ExpressionError,
    OutageError,
    SetupError,
    StoreError,
    UniverseError,
)
from bascule.core.extensionfile import Extension, ExtensionRecord
from bascule.core.extensions import Registry
from bascule.core.instrument import Instrument
from bascule.core.progress import Progress, silent
from bascule.core.settings import Settings
from bascule.core.yamls import yaml_mapping, yaml_value

if TYPE_CHECKING:
    from bascule.core.panel import Panel
    from bascule.core.timeframe import Moment, Timeframe, moment
else:
    _LATER = {"Panel": "panel", "Moment": "timeframe", "Timeframe": "timeframe", "moment": "timeframe"}

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        return found


__all__ = [
    "BasculeError",
    "BridgeError",
    "BundleError",
    "ConfigError",
    "DataError",
    "ExpressionError",
    "Extension",
    "ExtensionRecord",
    "Instrument",
    "Moment",
    "OutageError",
    "Panel",
    "Progress",
    "Registry",
    "Settings",
    "SetupError",
    "StoreError",
    "Timeframe",
    "UniverseError",
    "moment",
    "silent",
    "yaml_mapping",
    "yaml_value",
]
