"""An IC by venue: the same factor, made of each exchange's own candles, judged on the very same cells.

1. A panel has one venue. The factor is computed on each venue's panel by itself, and so is the label: what
   one would have known there, and earned there.
2. Rows and coins are brought together: the times that all panels have, and the coins (base assets: BTC is
   the same in BTC_USDT, BTC_USD and BTC_USDT_USDT) that all list; of several pairs of a coin the one with
   the most candles.
3. A cell counts where at every venue the coin is a member and has both a value and a label. Venues then
   differ by their prices and volumes alone, not by what they list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import ConfigError, DataError, Instrument, Panel
from bascule.evaluate.ic import ic_series
from bascule.evaluate.labels import forward_return
from bascule.evaluate.rows import MIN_BREADTH, Cells, IntArray
from bascule.evaluate.slices import by_rows

if TYPE_CHECKING:
    import pandas as pd


def by_venue(
    values: Mapping[str, Cells],
    panels: Mapping[str, Panel],
    horizon: int,
    *,
    start: np.datetime64 | None = None,
    rank: bool = True,
    min_breadth: int = MIN_BREADTH,
) -> pd.DataFrame:
    """IC of one factor at each of several venues.

    Args:
        values: venue → factor values of its panel's shape.
        panels: venue → panel, all of one timeframe.
        horizon: bars of the label.
        start: first row that counts; default the first that all have.
        rank: rank IC.
        min_breadth: fewest coins in a row.

    Returns:
        One row a venue with `slices.COLUMNS`; ``n`` is the same for all, but for rows without any variation.

    Raises:
        ConfigError: there are fewer than two venues, or values and panels do not name the same.
        DataError: timeframes differ, or the venues share too few coins or no time.
    """
    import pandas as pd

    if len(panels) < 2 or set(values) != set(panels):
        raise ConfigError(
            f"values of {sorted(values)} and panels of {sorted(panels)}",
            where="by_venue",
            remedy="give both for each of two or more venues",
        )
    places = _together(panels, start, min_breadth)
    cut = {name: np.ix_(*place) for name, place in places.items()}
    labels = {name: forward_return(panel, horizon)[cut[name]] for name, panel in panels.items()}
    factors = {name: values[name][cut[name]] for name in panels}
    shared = np.logical_and.reduce(
        [
            panel.members[cut[name]] & np.isfinite(labels[name]) & np.isfinite(factors[name])
            for name, panel in panels.items()
        ]
    )
    everything = np.ones(len(shared), np.bool_)
    parts = []
    for name in panels:
        series = ic_series(factors[name], labels[name], shared, rank=rank, min_breadth=min_breadth)
        parts.append(by_rows(series, {name: everything}, horizon))
    return pd.concat(parts)


def _together(
    panels: Mapping[str, Panel], start: np.datetime64 | None, min_breadth: int
) -> dict[str, tuple[IntArray, IntArray]]:
    """Row and column numbers of each panel that all have, in one order."""
    differing = {str(panel.timeframe) for panel in panels.values()}
    if len(differing) > 1:
        raise DataError(
            f"venues have candles of {', '.join(sorted(differing))}",
            where="by_venue",
            remedy="give all of them in one timeframe",
        )
    begin = max(panel.time[0] for panel in panels.values())
    begin = begin if start is None else max(begin, start)
    end = min(panel.time[-1] for panel in panels.values())
    columns = {name: _coins(panel) for name, panel in panels.items()}
    coins = sorted(set.intersection(*(set(held) for held in columns.values())))
    if begin > end or len(coins) < min_breadth:
        raise DataError(
            f"the venues {', '.join(panels)} share {len(coins)} coins, from {begin} to {end}",
            where="by_venue",
            remedy=f"give venues with at least {min_breadth} coins and some time in common",
        )
    found = {}
    for name, panel in panels.items():
        rows = np.flatnonzero((panel.time >= begin) & (panel.time <= end))
        found[name] = (rows, np.array([columns[name][coin] for coin in coins], np.int64))
    return found


def _coins(panel: Panel) -> dict[str, int]:
    """Column of each coin: of several pairs the one with the most candles."""
    candles = panel.traded.sum(axis=0)
    found: dict[str, int] = {}
    for column, name in enumerate(panel.instruments):
        coin = _base(name)
        if coin not in found or candles[column] > candles[found[coin]]:
            found[coin] = column
    return found


def _base(name: str) -> str:
    try:
        return Instrument.parse(name).base
    except DataError:  # no pair, such as a share: its own name is all there is
        return name
