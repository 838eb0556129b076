"""Everybody's candles and factor values at one moment, shared by features, training and predictions.

1. The candles of the whole universe become one prepared panel under the universe's membership.
2. The engine computes all factors for all instruments at once.
3. Each pair's features are a column of that; dates without a row have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.freqtrade import feed
from bascule.bridge.freqtrade.freqai.recipe import Plan
from bascule.core import Instrument, Panel, SetupError
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import IntArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class View:
    """A panel and its factors.

    Attributes:
        panel: prepared, under the universe ``[T, N]``; instruments of the plan.
        values: factor values ``[F, T, N]``, NaN outside the universe.
        key: what it was made of; equal keys, equal views.
    """

    panel: Panel
    values: FloatArray
    key: Any

    @cached_property
    def _by_pair(self) -> FloatArray:
        """The values ``[N, F, T]``: one pair's lie together, as a data frame keeps its columns."""
        count, rows, width = self.values.shape
        found = np.empty((width, count, rows), np.float32)
        for number, factor in enumerate(self.values):
            found[:, number] = factor.T
        return found

    def column(self, pair: str) -> int:
        """The pair's column.

        Raises:
            BridgeError: it is not of the universe.
        """
        name = Instrument.parse(pair).id
        if name not in self.panel.instruments:
            raise SetupError(
                f"{pair} is not of the universe",
                where="pair_whitelist",
                remedy="add it to bascule.freqai.pairs, or do not trade it",
            )
        return self.panel.instruments.index(name)

    def rows(self, dates: pd.Series) -> IntArray:
        """Row of each date, −1 where there is none."""
        times = feed.utc(dates)
        found = np.searchsorted(self.panel.time, times)
        inside = np.minimum(found, len(self.panel.time) - 1)
        return np.where(self.panel.time[inside] == times, inside, -1)

    def features(self, pair: str, dates: pd.Series) -> FloatArray:
        """Factor values of a pair ``[len(dates), F]``, NaN where there is no row."""
        rows, own = self.rows(dates), self._by_pair[self.column(pair)]
        if len(rows) and rows[0] >= 0 and (np.diff(rows) == 1).all():
            found: FloatArray = own[:, rows[0] : rows[-1] + 1]
        else:
            found = own[:, rows]
            found[:, rows < 0] = np.nan
        return found.T


def view(candles: Mapping[str, pd.DataFrame], plan: Plan, key: Any, *, bars: int | None = None) -> View:
    """Compute a view.

    Args:
        candles: pair → data frame as freqtrade serves it; pairs without candles may be left out.
        plan: the recipe.
        key: see `View`.
        bars: only so many candles up to the newest one.

    Raises:
        BridgeError: nobody has a candle.
    """
    from bascule import signals
    from bascule.data.prepare import prepare

    raw = feed.panel_of(candles, plan.spec.bar, bars=bars)
    panel = signals.with_members(prepare(_widened(raw, plan.instruments), vwap=plan.spec.vwap), plan.spec)
    return View(panel, signals.features(panel, plan.spec), key)


def _widened(panel: Panel, instruments: tuple[str, ...]) -> Panel:
    """The panel with exactly these instruments; who has no candles never traded."""
    target = [instruments.index(name) for name in panel.instruments if name in instruments]
    source = [i for i, name in enumerate(panel.instruments) if name in instruments]
    shape = (len(panel.time), len(instruments))
    fields: dict[str, FloatArray] = {}
    for name, values in panel.fields.items():
        fields[name] = np.full(shape, np.nan, np.float32)
        fields[name][:, target] = values[:, source]
    listed = np.full(len(instruments), np.datetime64("NaT", "ns"))
    listed[target] = panel.listed[source]
    return Panel(panel.timeframe, panel.time, instruments, fields, listed)


def joined(history: pd.DataFrame | None, recent: pd.DataFrame) -> pd.DataFrame:
    """Older candles followed by newer ones; where both have a candle the newer frame's counts."""
    import pandas as pd

    if history is None or history.empty:
        return recent
    if recent.empty:
        return history
    columns = list(recent.columns.intersection(history.columns))
    older = history.loc[history["date"] < recent["date"].iloc[0], columns]
    return pd.concat([older, recent[columns]], ignore_index=True) if len(older) else recent
