"""Floor 5: the frozen bundle, and the one computation behind research and live.

1. A `SignalSpec` is the recipe: timeframe, factors, universe, risk, portfolio, stops, rules (``spec.py``);
   `factor_texts` looks its factors up (``entries.py``).
2. `features` takes a prepared panel to factor values; models take those to raw alphas; `finish` takes raw
   alphas to a `SignalFrame`: ranks, expected returns, risk scores, target weights, stops (``compute.py``,
   ``frame.py``).
3. `lookback` says how much history a row needs. All steps look back over finite windows only, so any window
   that covers it gives the same bits: a live bot needs no database to agree with research.
4. `write_bundle` freezes recipe, models and out-of-sample signals into a folder (``writer.py``,
   ``manifest.py``; ``publish.py`` does it for every new champion); `Bundle.open` verifies it
   (``bundle.py``); `Bundle.signals` is the stored reading, `Bundle.live` the computed one.
"""

from bascule.signals.bundle import Bundle
from bascule.signals.compute import features, finish, lookback, unavailable_live, with_members
from bascule.signals.entries import factor_texts
from bascule.signals.frame import SignalFrame
from bascule.signals.manifest import ModelWindow, Span
from bascule.signals.publish import BundlePublisher
from bascule.signals.spec import FactorText, RuleSettings, SignalSettings, SignalSpec, StopSettings
from bascule.signals.writer import made_with, serve, write_bundle

__all__ = [
    "Bundle",
    "BundlePublisher",
    "FactorText",
    "ModelWindow",
    "RuleSettings",
    "SignalFrame",
    "SignalSettings",
    "SignalSpec",
    "Span",
    "StopSettings",
    "factor_texts",
    "features",
    "finish",
    "lookback",
    "made_with",
    "serve",
    "unavailable_live",
    "with_members",
    "write_bundle",
]
