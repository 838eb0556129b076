"""What is searched for, and who may see which rows.

1. The panel's rows are cut in time: *train* (searchers see what comes out of it, nothing else), *valid*
   (chooses among a searcher's pools), *test* (opened once, by the report). Between two parts lie the label's
   bars and an embargo, which belong to nobody.
2. Labels are forward returns (`evaluate.forward_return`) made from the rows of their own part only: a part's
   last horizon + 1 rows have none. So nothing in a search can be reached that the part does not hold.
3. A part keeps the rows before it as history for look-backs, without labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bascule.core import ConfigError, Panel, Settings
from bascule.core.panel import FloatArray
from bascule.evaluate import MIN_BREADTH, forward_return


class SplitSettings(Settings):
    """How rows are shared out, and what is foretold."""

    horizon: int = Field(default=6, ge=1, le=1000, description="bars of the forward return")
    train: float = Field(default=0.5, gt=0, lt=1, description="share of the rows to search on")
    valid: float = Field(default=0.25, gt=0, lt=1, description="share of the rows to select on")
    embargo: int = Field(default=0, ge=0, description="further bars left out between parts")
    min_breadth: int = Field(default=MIN_BREADTH, ge=2, description="fewest coins of a row that counts")

    @model_validator(mode="after")
    def _leaves_a_test(self) -> Self:
        if self.train + self.valid >= 1:
            raise ValueError("train and valid leave nothing to test on")
        return self


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows with their labels.

    Attributes:
        name: train, valid or test.
        panel: rows ``[0, stop)`` of the panel: history first, then the part.
        label: float32 ``[T, N]``, NaN in the history, and where the return would end after the part.
        first: the part's first row.
        horizon: bars of the label.
        min_breadth: fewest coins of a row that counts.
        notes: what is worth keeping of signals on these rows (`sketches`); no label goes in.
    """

    name: str
    panel: Panel
    label: FloatArray
    first: int
    horizon: int
    min_breadth: int
    notes: dict[str, object] = field(default_factory=dict, repr=False)

    @property
    def window(self) -> tuple[np.datetime64, np.datetime64]:
        """Candles of the part as the ledger of trials names them: half-open, UTC."""
        time = self.panel.time
        return time[self.first], time[-1] + self.panel.timeframe.delta

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Rows of the panel with labels enough for an IC ``[T]``."""
        found: NDArray[np.bool_] = np.isfinite(self.label).sum(axis=1) >= self.min_breadth
        return found

    @classmethod
    def of(cls, name: str, panel: Panel, first: int, stop: int, settings: SplitSettings) -> Part:
        """Rows ``[first, stop)`` of a panel."""
        known = panel.rows(0, stop)
        label = forward_return(known, settings.horizon)
        label[:first] = np.nan
        label[~known.members] = np.nan
        if np.isfinite(label).any(axis=1).sum() < 20:
            raise ConfigError(
                f"the {name} part has fewer than 20 rows with a label",
                where="mining",
                remedy="give more history, or a shorter horizon, or other shares",
            )
        return cls(name, known, label, first, settings.horizon, settings.min_breadth)

    def recent(self, share: float) -> Part:
        """The same part with labels in its last rows only."""
        rows = len(self.label) - self.first
        first = len(self.label) - max(20 + self.horizon, int(rows * share))
        label = self.label.copy()
        label[:first] = np.nan
        return Part(self.name, self.panel, label, first, self.horizon, self.min_breadth)


@dataclass(frozen=True, eq=False)
class Problem:
    """A panel cut into what is searched, selected and tested on.

    Attributes:
        settings: how.
        train: what searchers learn from.
        valid: what chooses.
        fingerprint: of the panel.
    """

    settings: SplitSettings
    train: Part
    valid: Part
    fingerprint: str
    _panel: Panel
    _test: tuple[int, int]

    @classmethod
    def of(cls, panel: Panel, settings: SplitSettings | None = None) -> Problem:
        """Cut a panel.

        Raises:
            ConfigError: a part has too few rows.
        """
        settings = settings or SplitSettings()
        rows, gap = panel.shape[0], settings.embargo
        a, b = int(rows * settings.train), int(rows * (settings.train + settings.valid))
        return cls(
            settings,
            Part.of("train", panel, 0, a, settings),
            Part.of("valid", panel, min(a + gap, b), b, settings),
            panel.fingerprint(),
            panel,
            (min(b + gap, rows), rows),
        )

    def test(self) -> Part:
        """The part that nothing has been chosen on: for the report, once."""
        return Part.of("test", self._panel, *self._test, self.settings)
