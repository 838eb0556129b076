"""qlib, with its expressions computed by the engine: ``qlib.init(**bascule.qlib(provider_uri=…))``.

1. `settings.settings` gives the keys of ``qlib.init`` that register two providers of ours (``settings.py``).
2. `provider.ExpressionProvider` turns field texts into qlib's objects without ``eval`` (``texts.py``).
3. `provider.DatasetProvider` answers ``D.features`` and with it loaders, handlers and datasets: columns are
   read off qlib's objects (``columns.py``), files are read (``files.py``), all columns are computed over all
   instruments at once (``evaluation.py``), one frame is built (``frame.py``).
4. What cannot be planned goes through qlib's own path; one `LeftToQlib` warning names each operator.
"""

from __future__ import annotations

from bascule.bridge.qlib.settings import settings


class LeftToQlib(UserWarning):
    """The engine left an operator to qlib: the values are the same, the speed is qlib's."""


__all__ = ["LeftToQlib", "settings"]
