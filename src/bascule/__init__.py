"""Bascule: the bridge between research (qlib) and trading (freqtrade) for crypto.

Floors, lowest first; each imports only from those below it::

    core      panels, instruments, timeframes, errors, settings, atomic files, extensions
    expr      the factor language          kernels   array functions     data  store and health
    cluster   work over processes and machines
    engine    plans and evaluates expressions over panels
    factors   libraries of factor text     evaluate  IC, decay, labels
    models    walk-forward learning        risk      risk scores         miners  search
    portfolio target weights
    signals   the frozen bundle, and the one computation behind research and live
    bridge    qlib, freqtrade, the replay exchange
    monitor   live measures, rules, actions, jobs
    testing   laws for users' own operators, factors, models, sources, searchers
    app       command line, pipeline, report, dashboard (app.web)

Importing this package is light; heavy libraries are imported by the functions that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def qlib(provider_uri: Any, **others: Any) -> dict[str, Any]:
    """Arguments of ``qlib.init`` that put the engine under qlib; see `bascule.bridge.qlib.settings`."""
    # by name: this package is below all floors, and a plain import would count as one from here
    arguments: dict[str, Any] = import_module("bascule.bridge.qlib").settings(provider_uri, **others)
    return arguments
