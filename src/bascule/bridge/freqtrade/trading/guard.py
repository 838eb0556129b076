"""The drawdown of the whole book: halve, halt, flatten. freqtrade knows only closed trades of pairs.

1. Equity is the wallet plus the gain of open positions; its peak is remembered, over restarts too.
2. From a drawdown of ``halve`` on, new and rebalanced positions have ``share`` of their size; from ``halt``
   on there is no entry or increase; from ``flatten`` on all is closed.
3. A level is left when the drawdown falls below ``recover``. A halted book may be in cash and never recover:
   after ``rest_days`` in halt or flat the peak starts anew at what is left.

A state machine without a clock or a file of its own: the strategy gives it the time and keeps its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bascule.core import Settings

Level = Literal["calm", "halved", "halted", "flat"]
_ORDER: tuple[Level, ...] = ("calm", "halved", "halted", "flat")
_HALTED = 2


class GuardSettings(Settings):
    """Drawdowns of the book, as fractions of the peak; none = that level does not exist."""

    halve: float | None = Field(default=0.1, gt=0, lt=1, description="smaller positions from here on")
    share: float = Field(default=0.5, gt=0, lt=1, description="size of positions then")
    halt: float | None = Field(default=0.2, gt=0, lt=1, description="no entries from here on")
    flatten: float | None = Field(default=None, gt=0, lt=1, description="everything is closed from here on")
    recover: float = Field(default=0.05, ge=0, lt=1, description="all is well again below this")
    rest_days: float = Field(
        default=7.0, gt=0, description="after so long in halt or flat the peak starts anew"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        given = [one for one in (self.recover, self.halve, self.halt, self.flatten) if one is not None]
        if given != sorted(set(given)):
            raise ValueError("recover, halve, halt, flatten must rise")
        return self


@dataclass(frozen=True)
class Verdict:
    """What the guard says.

    Attributes:
        level: calm, halved, halted or flat.
        drawdown: of the equity from its peak, fraction.
        changed: whether the level is new.
    """

    level: Level
    drawdown: float
    changed: bool


class Guard:
    """The state machine. One for a strategy; picklable.

    Attributes:
        live: time that goes back is a clock that was set. In backtests it is the next one of a
            hyper-optimisation.
    """

    def __init__(self, settings: GuardSettings, *, live: bool = False) -> None:
        self.settings, self.live = settings, live
        self._last = float("-inf")
        self._forget()

    def _forget(self) -> None:
        self.level: Level = "calm"
        self._peak = 0.0
        self._since = 0.0  # when halt or flat began, seconds

    @property
    def stopped(self) -> bool:
        """Whether there may be no entry."""
        return _ORDER.index(self.level) >= _HALTED

    @property
    def share(self) -> float:
        """Size of positions, 1 = whole."""
        return self.settings.share if self.level == "halved" else 1.0

    def look(self, equity: float, seconds: float) -> Verdict:
        """Judge the equity of a moment (Unix seconds). In a backtest, time that goes back is a new life."""
        if seconds < self._last and not self.live:
            self._forget()
        self._last = seconds
        self._since = min(self._since, seconds)
        before = _ORDER.index(self.level)
        if self.stopped and seconds - self._since >= self.settings.rest_days * 86_400:
            self._peak, before = equity, 0
        self._peak = max(self._peak, equity)
        drawdown = 1.0 - equity / self._peak if self._peak > 0.0 else 0.0
        limits = (self.settings.halve, self.settings.halt, self.settings.flatten)
        reached = [k for k, limit in enumerate(limits, 1) if limit is not None and drawdown >= limit]
        after = 0 if drawdown < self.settings.recover else max([before, *reached])
        if after >= _HALTED > before:
            self._since = seconds
        changed = _ORDER[after] != self.level
        self.level = _ORDER[after]
        return Verdict(self.level, drawdown, changed)

    def memory(self) -> dict[str, Any]:
        """What must survive a restart."""
        return {"level": self.level, "peak": self._peak, "since": self._since}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take up an earlier life.

        Raises:
            ValueError: that is no memory.
        """
        level, peak, since = memory["level"], float(memory["peak"]), float(memory["since"])
        if level not in _ORDER or not peak >= 0.0 or since != since:
            raise ValueError("not a memory of the book guard")
        self.level, self._peak, self._since = level, peak, since
