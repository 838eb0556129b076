"""Explicit repair of rows that the store refuses; every row that it touches is counted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import numpy as np

from bascule.core import ConfigError
from bascule.data.rows import OHLC, BoolArray, Rows

Repair = Literal["sort", "duplicates", "impossible"]
REPAIRS: tuple[Repair, ...] = get_args(Repair)


def repair_rows(rows: Rows, policy: Collection[Repair]) -> tuple[Rows, dict[str, int]]:
    """Apply a policy.

    ``sort`` orders each instrument by time; ``duplicates`` keeps of several rows of one time the one that
    came last in the source; ``impossible`` drops candles that cannot be (empty or non-positive prices,
    negative volume, high below low, open or close outside of them).

    Returns:
        The repaired rows, grouped by instrument, and the number of rows moved or dropped, by repair.

    Raises:
        ConfigError: an unknown repair.
    """
    unknown = set(policy) - set(REPAIRS)
    if unknown:
        raise ConfigError(
            f"unknown repair {sorted(unknown)[0]!r}", where="repair", remedy=f"known: {', '.join(REPAIRS)}"
        )
    counts = dict.fromkeys(REPAIRS, 0)
    rows = rows.by_instrument()
    if "sort" in policy:
        order = rows.order()
        if order is not None:
            counts["sort"] = int((order != np.arange(len(rows))).sum())
            rows = rows.take(order)
    if "impossible" in policy:
        wrong = impossible(rows)
        counts["impossible"] = int(wrong.sum())
        rows = rows.take(~wrong)
    if "duplicates" in policy:
        again = _superseded(rows)
        counts["duplicates"] = int(again.sum())
        rows = rows.take(~again)
    return rows, {name: count for name, count in counts.items() if count}


def impossible(rows: Rows) -> BoolArray:
    """Candles that cannot be ``[R]``."""
    opened, high, low, close = (rows.values[name] for name in OHLC)
    volume = rows.values["volume"]
    # written so that a NaN makes it false
    fine = (low > 0) & (low <= opened) & (low <= close) & (opened <= high) & (close <= high)
    fine &= (high < np.inf) & (volume >= 0) & (volume < np.inf)
    bad: BoolArray = ~fine
    return bad


def _superseded(rows: Rows) -> BoolArray:
    """Rows of whose instrument and time a later row exists ``[R]``."""
    order = np.lexsort((rows.time, rows.codes))
    code, time = rows.codes[order], rows.time[order]
    again = np.zeros(len(rows), bool)
    again[order[:-1]] = (code[1:] == code[:-1]) & (time[1:] == time[:-1])
    return again
