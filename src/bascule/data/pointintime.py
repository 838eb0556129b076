"""Slow data on the candles: each row gets what was known at its close, and nothing else.

For a field and an instrument, of the rows with ``available_time <= close of candle t``:

1. those without a value of this field are passed over;
2. the row that describes the latest ``time`` counts, and of its revisions the latest: a correction of an old
   value never hides a newer one;
3. a value that became available longer ago than ``max_age`` is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import DataError, Instrument, Panel
from bascule.data.rows import AVAILABLE, FloatArray, Int64Array
from bascule.data.slow import KEY, Scope
from bascule.data.units import unscaled

if TYPE_CHECKING:
    import pandas as pd


def join(
    panel: Panel,
    table: pd.DataFrame,
    scope: Scope,
    *,
    fields: Sequence[str] | None = None,
    max_age: np.timedelta64 | None = None,
) -> Panel:
    """The panel with the fields of a table of slow data (as `slow.read` gives it).

    Args:
        panel: candles.
        table: ``time``, ``available_time``, ``instrument`` and fields.
        scope: what its ``instrument`` holds. ``instrument``: store ids; ``asset``: a coin, given to all its
            pairs; ``global``: given to all; ``venue``: given to all, one field a venue (``score_binance``).
        fields: which; default all.
        max_age: time after which a value is not used any more; default never.

    Raises:
        DataError: an unknown field, or one that the panel has already.
    """
    names = [c for c in table.columns if c not in KEY] if fields is None else list(fields)
    unknown = [name for name in names if name not in table.columns]
    if unknown:
        raise DataError(
            f"field {unknown[0]!r} is not in the table",
            where="point in time",
            remedy=f"at hand: {', '.join(c for c in table.columns if c not in KEY)}",
        )
    closes = (panel.time + panel.timeframe.delta).astype(np.int64)
    oldest = None if max_age is None else int(max_age / np.timedelta64(1, "ns"))
    columns: dict[str, FloatArray] = {}
    keys = [_key(name, scope) for name in panel.instruments]
    for key, part in table.groupby("instrument", sort=True):
        place = [n for n, wanted in enumerate(keys) if wanted in (None, key)]
        if not place:
            continue
        for name in names:
            told = f"{name}_{str(key).lower()}" if scope == "venue" else name
            if told not in columns:
                columns[told] = np.full(panel.shape, np.nan, np.float32)
            columns[told][:, place] = as_of(part, name, closes, oldest)[:, None]
    if scope != "venue":
        for name in names:
            columns.setdefault(name, np.full(panel.shape, np.nan, np.float32))
    taken = sorted(set(columns) & set(panel.fields))
    if taken:
        raise DataError(
            f"the panel has a field {taken[0]!r} already",
            where="point in time",
            remedy="choose other fields of the table, or rename its column",
        )
    return panel.with_fields(**columns)


def _key(instrument: str, scope: Scope) -> str | None:
    """What an instrument is called in a table, None = every row is for it."""
    if scope in ("global", "venue"):
        return None
    return instrument if scope == "instrument" else Instrument.parse(unscaled(instrument)[0]).base


def as_of(part: pd.DataFrame, name: str, closes: Int64Array, oldest: int | None) -> FloatArray:
    """The values of one field and instrument as known at each of ``closes`` (ns since 1970) ``[T]``."""
    values = part[name].to_numpy(np.float32)
    known = ~np.isnan(values)
    time, available = (
        part[c].dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)[known]
        for c in ("time", AVAILABLE)
    )
    order = np.lexsort((time, available))
    time, available, values = time[order], available[order], values[known][order]
    if not len(time):
        return np.full(len(closes), np.nan, np.float32)
    newest = time == np.maximum.accumulate(time)
    available, values = available[newest], values[newest]
    place = np.searchsorted(available, closes, side="right") - 1
    found = np.where(place >= 0, values[np.maximum(place, 0)], np.float32(np.nan))
    if oldest is not None:
        found[closes - available[np.maximum(place, 0)] > oldest] = np.nan
    return found.astype(np.float32)
