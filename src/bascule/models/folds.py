"""Walk-forward folds with purge and embargo.

For a test window that starts at row s, with labels of h bars and an embargo of e bars:

1. The label of row t ends at the open of row t + 1 + h. A row may be learned from only if that open is no
   later than the open of row s − e: t + 1 + h ≤ s − e. So h + e rows lie between the last row learned from
   and s (*purge* = h + 1 is the distance that the label alone demands; López de Prado 2018, ch. 7.4).
2. The same distance parts the training rows from the validation rows that stop the training.
3. Test windows follow each other without gap or overlap from ``first_test`` on, so that every row from there
   has exactly one model, and appending rows adds folds but changes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import ConfigError, Settings
from bascule.core.timeframe import TimeArray

Window = tuple[np.datetime64, np.datetime64]
_DAY = np.timedelta64(86_400_000_000_000, "ns")


class WalkForwardSettings(Settings):
    """How history is cut into folds."""

    first_test: date = Field(description="first day of the first test window, UTC")
    test_months: int | None = Field(
        default=1, ge=1, description="length of a test window in calendar months; None: use test_days"
    )
    test_days: int | None = Field(
        default=None, ge=1, description="length of a test window in days, in place of months"
    )
    train_days: int | None = Field(
        default=365, ge=1, description="days of history before a test window; None: all (expanding)"
    )
    min_train_days: int = Field(
        default=60, ge=1, description="fewest days of training rows a fold may have (late data start)"
    )
    valid_share: float = Field(
        default=0.2, ge=0.05, le=0.5, description="share of that history, its end, that stops the training"
    )
    embargo_bars: int = Field(
        default=1, ge=0, description="bars kept free beyond the purge: time to train before first use"
    )

    @model_validator(mode="after")
    def _one_step(self) -> Self:
        if (self.test_months is None) == (self.test_days is None):
            raise ValueError("give either test_months or test_days, the other one null")
        if self.test_months is not None and self.first_test.day != 1:
            raise ValueError("with test_months, first_test must be the first of a month")
        return self


@dataclass(frozen=True)
class Fold:
    """One model's life. Windows are half-open ``[start, end)`` ranges of candle open times, UTC.

    Attributes:
        id: the test window's start, ``2021-01`` or ``2021-01-15``.
        train: rows learned from.
        valid: rows that stop the training.
        test: rows predicted. Its end may lie beyond the data.
        purge: bars from the last training row to the first row that its label may not touch: horizon + 1.
        embargo: further bars kept free.
    """

    id: str
    train: Window
    valid: Window
    test: Window
    purge: int
    embargo: int

    @property
    def horizon(self) -> int:
        """Bars of the label."""
        return self.purge - 1


def folds(time: TimeArray, settings: WalkForwardSettings, horizon: int) -> tuple[Fold, ...]:
    """Cut a panel's time axis into walk-forward folds.

    Args:
        time: regular candle open times ``[T]``, datetime64[ns].
        settings: windows and embargo.
        horizon: bars of the label.

    Raises:
        ConfigError: no test window starts inside the data, or the first one has too little history.
    """
    if horizon < 1 or len(time) < 2:
        raise ConfigError(f"horizon {horizon} with {len(time)} rows", where="folds", remedy="give more data")
    step = time[1] - time[0]
    found: list[Fold] = []
    for start, end in _tests(settings, time[-1]):
        if start < time[0]:
            raise _too_early(settings, start, time[0])
        found.append(_fold(time[0], step, start, end, settings, horizon))
    if not found:
        raise ConfigError(
            f"first_test {settings.first_test} lies after the last row {time[-1]}",
            where="walk_forward.first_test",
            remedy="choose an earlier day or add data",
        )
    return tuple(found)


def _tests(settings: WalkForwardSettings, last: np.datetime64) -> list[Window]:
    """Test windows that start no later than ``last``."""
    origin = np.datetime64(settings.first_test)
    windows: list[Window] = []
    k = 0
    while True:
        if settings.test_months is not None:
            month, length = origin.astype("datetime64[M]"), settings.test_months
            edges = [(month + (k + j) * length).astype("datetime64[ns]") for j in (0, 1)]
        else:
            edges = [(origin + (k + j) * (settings.test_days or 1)).astype("datetime64[ns]") for j in (0, 1)]
        if edges[0] > last:
            return windows
        windows.append((edges[0], edges[1]))
        k += 1


def _fold(
    first: np.datetime64,
    step: np.timedelta64,
    start: np.datetime64,
    end: np.datetime64,
    settings: WalkForwardSettings,
    horizon: int,
) -> Fold:
    begin = first
    if settings.train_days is not None:
        begin = max(first, start - settings.train_days * _DAY)
    gap = (horizon + settings.embargo_bars) * step
    valid_end = start - gap
    bars = int((valid_end - begin) // step)
    valid_start = valid_end - max(1, round(settings.valid_share * bars)) * step
    train_end = valid_start - gap
    if train_end - begin < settings.min_train_days * _DAY:
        raise _too_early(settings, start, begin)
    month = settings.test_months is not None
    return Fold(
        id=str(start.astype("datetime64[M]" if month else "datetime64[D]")),
        train=(begin, train_end),
        valid=(valid_start, valid_end),
        test=(start, end),
        purge=horizon + 1,
        embargo=settings.embargo_bars,
    )


def _too_early(settings: WalkForwardSettings, start: np.datetime64, begin: np.datetime64) -> ConfigError:
    return ConfigError(
        f"the test window from {start.astype('datetime64[D]')} leaves fewer than {settings.min_train_days} "
        f"days of training rows (history starts {begin.astype('datetime64[D]')})",
        where="walk_forward.first_test",
        remedy="start testing later, lengthen train_days, or lower min_train_days or valid_share",
    )
