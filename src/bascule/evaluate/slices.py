"""An IC by parts: market regime, year, hour of day, liquidity tier.

1. A part is a set of rows (or of cells, for tiers). The ICs of a part are those of the whole series.
2. The t-statistic of a part keeps the rows' true distances in time: rows outside count as no deviation, so
   that two stretches with a year between them do not pretend to be neighbours.
3. Regimes use what was known at the row only: the mean member's trailing return (bull, bear), and its
   trailing volatility against the median of all earlier ones (calm, wild).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import ConfigError, Panel
from bascule.core.panel import BoolArray
from bascule.evaluate.capacity import traded_value
from bascule.evaluate.ic import ic_series, long_run_sum, newey_west_lags
from bascule.evaluate.rows import MIN_BREADTH, Cells, Float64Array, percentiles, trailing_sums

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("ic", "t", "hit_rate", "n")


def regimes(panel: Panel, days: float = 30.0) -> dict[str, BoolArray]:
    """Rows in a rising, falling, calm and wild market ``[T]``; the first ``days`` belong to none.

    Args:
        panel: gives closes and members.
        days: trailing window.
    """
    close = panel["close"].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        move = np.full(close.shape, np.nan)
        move[1:] = np.log(close[1:] / close[:-1])
    counted = np.isfinite(move) & panel.members
    market = np.where(counted, move, 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    window = panel.timeframe.bars(days)
    trend, volatility = _trailing_mean(market, window), _trailing_mean(market**2, window)
    usual = np.full(len(market), np.nan)
    for start in range(window, len(market), window):  # a new median now and then is all that is needed
        usual[start : start + window] = np.median(volatility[window - 1 : start])
    known = np.isfinite(trend)
    with np.errstate(invalid="ignore"):
        return {
            "bull": known & (trend > 0.0),
            "bear": known & (trend <= 0.0),
            "calm": volatility <= usual,
            "wild": volatility > usual,
        }


def _trailing_mean(series: Float64Array, window: int) -> Float64Array:
    result: Float64Array = trailing_sums(series, window) / window
    result[: window - 1] = np.nan
    return result


def years(panel: Panel) -> dict[str, BoolArray]:
    """Rows of each calendar year (UTC) ``[T]``."""
    year = panel.time.astype("datetime64[Y]")
    return {str(one): year == one for one in np.unique(year)}


def hours(panel: Panel) -> dict[str, BoolArray]:
    """Rows whose candle opens in each hour of the day (UTC) ``[T]``."""
    hour = panel.time.astype("datetime64[h]").astype(np.int64) % 24
    return {f"{one:02d}h": hour == one for one in np.unique(hour)}


def by_rows(series: Float64Array, parts: Mapping[str, BoolArray], horizon: int) -> pd.DataFrame:
    """Mean IC of each part, with a Newey-West t over true distances.

    Args:
        series: ICs ``[T]``, NaN where there is none.
        parts: name → rows ``[T]``.
        horizon: bars of the label.

    Returns:
        One row a part with `COLUMNS`.
    """
    import pandas as pd

    records = [_part(series, rows, horizon) for rows in parts.values()]
    return pd.DataFrame.from_records(records, columns=COLUMNS, index=pd.Index(list(parts), name="part"))


def _part(series: Float64Array, rows: BoolArray, horizon: int) -> tuple[float, float, float, int]:
    chosen = rows & np.isfinite(series)
    n = int(chosen.sum())
    if n < 2:
        return math.nan, math.nan, math.nan, n
    values = series[chosen]
    mean = float(values.mean())
    total = long_run_sum(np.where(chosen, series - mean, 0.0), newey_west_lags(n, horizon))
    t = mean * n / math.sqrt(total) if total > 1e-24 * n else math.nan
    return mean, t, float((values > 0.0).mean()), n


def liquidity_tiers(panel: Panel, tiers: int = 3, days: float = 30.0) -> dict[str, BoolArray]:
    """Cells of each tier by trailing turnover (close × volume) among the members ``[T, N]``, richest first.

    Args:
        panel: gives close, volume and members.
        tiers: how many, 2 to 10.
        days: trailing window.
    """
    if not 2 <= tiers <= 10:
        raise ConfigError(f"{tiers} tiers", where="liquidity_tiers", remedy="use 2 to 10")
    sums = traded_value(panel, panel.timeframe.bars(days))
    place = percentiles(sums, panel.members & (sums > 0.0))
    with np.errstate(invalid="ignore"):
        number = np.floor((1.0 - place) * tiers)
        return {f"tier {n + 1}": number == n for n in range(tiers)}


def by_tier(
    factor: Cells,
    label: Cells,
    tiers: Mapping[str, BoolArray],
    horizon: int,
    *,
    rank: bool = True,
    min_breadth: int = MIN_BREADTH,
) -> pd.DataFrame:
    """IC among the instruments of each tier alone.

    Args:
        factor: values ``[T, N]``.
        label: forward return ``[T, N]``.
        tiers: name → cells ``[T, N]``, members only.
        horizon: bars of the label.
        rank: rank IC.
        min_breadth: fewest instruments of the tier in a row.

    Returns:
        One row a tier with `COLUMNS`.
    """
    import pandas as pd

    records = []
    for cells in tiers.values():
        series = ic_series(factor, label, cells, rank=rank, min_breadth=min_breadth)
        records.append(_part(series, np.ones(len(series), np.bool_), horizon))
    return pd.DataFrame.from_records(records, columns=COLUMNS, index=pd.Index(list(tiers), name="part"))
