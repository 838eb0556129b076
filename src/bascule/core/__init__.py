"""Floor 0: what every floor above speaks in. Knows no market, no model, no third-party trading library."""

from bascule.core.errors import (
    BasculeError,
    BridgeError,
    BundleError,
    ConfigError,
    DataError,
    ExpressionError,
    OutageError,
    StoreError,
    UniverseError,
)
from bascule.core.extensionfile import Extension, ExtensionRecord
from bascule.core.extensions import Registry
from bascule.core.instrument import Instrument
from bascule.core.panel import Panel
from bascule.core.progress import Progress, silent
from bascule.core.settings import Settings
from bascule.core.timeframe import Moment, Timeframe, moment
from bascule.core.yamls import yaml_mapping, yaml_value

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
    "StoreError",
    "Timeframe",
    "UniverseError",
    "moment",
    "silent",
    "yaml_mapping",
    "yaml_value",
]
