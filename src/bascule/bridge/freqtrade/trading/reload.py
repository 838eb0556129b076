"""A new champion behind ``current``, taken up by a running bot.

1. Where the strategy was given a folder with a ``current`` bundle, the link is looked at every few seconds.
2. If it leads somewhere else, that bundle is opened and verified (`Bundle.open`), and the strategy tries it
   on the candles at hand (``fits``). Only then it replaces the old one, between two loops of the bot.
3. Whatever fails leaves the old bundle serving. It is told once, and tried again at growing intervals: a
   bundle may be on its way from another machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from bascule.core import BasculeError
from bascule.signals import Bundle
from bascule.signals.bundle import CURRENT
from bascule.signals.manifest import MANIFEST

log = logging.getLogger(__name__)
_LONGEST_WAIT = 600.0


class Pointer:
    """Watches one ``current``.

    Args:
        path: what the strategy was given: a bundle, or a folder with a ``current`` one.
        serving: the bundle in use.
        every: seconds between two looks.
    """

    def __init__(self, path: Path | str, serving: Bundle, *, every: float = 10.0) -> None:
        folder = Path(path)
        fixed = (folder / MANIFEST).exists() and not folder.is_symlink() and folder.name != CURRENT
        self._link = None if fixed else folder / CURRENT if (folder / CURRENT).exists() else folder
        self.serving = serving
        self._every = every
        self._next = 0.0
        self._refused: tuple[Path, str] | None = None
        self._wait = every

    def look(self, seconds: float, fits: Callable[[Bundle], None]) -> tuple[Bundle | None, str | None]:
        """Look whether there is a new bundle that can serve.

        Args:
            seconds: now, in Unix seconds.
            fits: raises if the strategy cannot work with a bundle.

        Returns:
            The new bundle, or None; and what has to be told now, or None.
        """
        # further ahead than it can be: the clock was set back
        if self._link is None or seconds < self._next <= seconds + max(self._wait, self._every):
            return None, None
        self._next = seconds + self._every
        try:
            target = self._link.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            return None, self._refuse(self._link, f"cannot be followed ({type(error).__name__})", seconds)
        if target == self.serving.path:
            self._refused, self._wait = None, self._every
            return None, None
        try:
            found = Bundle.open(target)
            fits(found)
        # anything may be wrong with files that somebody else wrote: the old champion must go on
        except Exception as error:  # noqa: BLE001
            words = str(error) if isinstance(error, BasculeError) else f"{type(error).__name__}: {error}"
            return None, self._refuse(target, words, seconds)
        self.serving, self._refused, self._wait = found, None, self._every
        news = f"bundle {found.id} ({target.name}) serves from now on"
        log.info(news)
        return found, news

    def _refuse(self, target: Path, words: str, seconds: float) -> str | None:
        self._next = seconds + self._wait
        self._wait = min(2.0 * self._wait, _LONGEST_WAIT)
        if self._refused == (target, words):
            return None
        self._refused = (target, words)
        news = f"{target.name} is not taken up, {self.serving.path.name} goes on: {words}"
        log.warning(news)
        return news
