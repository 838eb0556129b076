"""Health checks against something beside the candles: their arrival, the store, other venues.

1. `arrivals`: a candle is due a little after its close (`late`) and cannot be there before it (`early`).
2. `changes`: against what was stored before: other values (`restated`), or new candles older than the newest
   stored one (`backfilled`).
3. `disagreements`: against the median of the other venues. What is steady (a premium, another quote
   currency) is taken out by the median over time; what stays beyond is `venue_disagreement`. A steady
   distance that is no premium any more (another unit, another coin) is `venue_mismatch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import DataError
from bascule.data.checks import NORMAL, Float64Array, View
from bascule.data.issues import Issue, Severity
from bascule.data.rows import OHLCV, BoolArray, Int64Array, Rows, stamp
from bascule.data.units import unscaled

if TYPE_CHECKING:
    import pandas as pd

_SECOND = 1_000_000_000
_MISMATCH = 0.25  # log distance: no premium between venues has stayed that wide
_ENOUGH = 20  # common candles from which the usual distance can be told


def arrivals(view: View, available: Int64Array) -> Iterator[Issue]:
    """Candles that were there too late or too early; ``available``: ns since 1970, in row order ``[R]``."""
    after = available - view.rows.time - view.timeframe.nanoseconds
    late = np.flatnonzero(after > view.settings.late_seconds * _SECOND)
    early = np.flatnonzero(after < 0)

    def text(i: int) -> str:
        return f"came {stamp(available[i])}, {after[i] / _SECOND:+.0f} s from its close"

    yield from view.issues("late", Severity.WARNING, late, text)
    yield from view.issues("early", Severity.ERROR, early, text)


def changes(view: View, stored: Rows) -> Iterator[Issue]:
    """What differs from the candles that are stored."""
    rows = view.rows
    place = _find(rows, stored)
    known = place >= 0
    differs = np.zeros(len(rows), bool)
    column_of: dict[int, str] = {}
    for name in (c for c in rows.values if c in stored.values):
        new, old = rows.values[name].astype(np.float64), stored.values[name].astype(np.float64)[place]
        with np.errstate(invalid="ignore"):
            other = known & (np.abs(new - old) > view.settings.restated_share * np.abs(old))
        for i in np.flatnonzero(other & ~differs):
            column_of[int(i)] = name
        differs |= other

    def text(i: int) -> str:
        name = column_of[i]
        return f"{name} {stored.values[name][place[i]]:.7g} is now {rows.values[name][i]:.7g}"

    yield from view.issues("restated", Severity.WARNING, np.flatnonzero(differs), text)
    newest = _newest(rows, stored)
    yield from view.issues(
        "backfilled",
        Severity.INFO,
        np.flatnonzero(~known & (rows.time < newest[rows.codes])),
        lambda i: f"is new, though {stamp(newest[rows.codes[i]])} was stored",
    )


def _find(rows: Rows, stored: Rows) -> Int64Array:
    """Row of ``stored`` with the same instrument and time, -1 where there is none ``[R]``."""
    code = {name: n for n, name in enumerate(stored.ids)}
    to = np.array([code.get(name, -1) for name in rows.ids], np.int64)[rows.codes]
    order = np.lexsort((stored.time, stored.codes))
    out = np.full(len(rows), -1, np.int64)
    bounds = np.searchsorted(stored.codes[order], np.arange(len(stored.ids) + 1))
    for n in range(len(stored.ids)):
        mine = np.flatnonzero(to == n)
        if not len(mine):
            continue
        held = order[bounds[n] : bounds[n + 1]]
        spot = np.searchsorted(stored.time[held], rows.time[mine])
        hit = spot < len(held)
        hit[hit] = stored.time[held[spot[hit]]] == rows.time[mine[hit]]
        out[mine[hit]] = held[spot[hit]]
    return out


def _newest(rows: Rows, stored: Rows) -> Int64Array:
    """Newest stored time of each of ``rows.ids``, or the least integer ``[N]``."""
    newest = np.full(len(rows.ids), np.iinfo(np.int64).min)
    code = {name: n for n, name in enumerate(rows.ids)}
    for n, name in enumerate(stored.ids):
        times = stored.time[stored.codes == n]
        if name in code and len(times):
            newest[code[name]] = times.max()
    return newest


def disagreements(view: View, venues: Mapping[str, pd.DataFrame]) -> Iterator[Issue]:
    """Closes far from those of other venues (long frames with ``time``, ``instrument``, ``close``)."""
    rows, settings = view.rows, view.settings
    others = _closes(rows, venues)
    away = np.full(len(rows), np.nan)
    steady: dict[int, float] = {}
    wide = np.zeros(len(rows), bool)
    for code, name in enumerate(rows.ids):
        cut = slice(int(rows.bounds[code]), int(rows.bounds[code + 1]))
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.log(rows.values["close"][cut].astype(np.float64) / unscaled(name)[1])
            gap = own - np.log(others[cut])
        known = gap[np.isfinite(gap)]
        if len(known) < _ENOUGH:
            continue
        usual = float(np.median(known))
        if abs(usual) > _MISMATCH:
            steady[cut.start + int(np.flatnonzero(np.isfinite(gap))[0])] = usual
        limit = max(
            settings.venue_move, settings.venue_mads * NORMAL * float(np.median(np.abs(known - usual)))
        )
        away[cut] = gap - usual
        with np.errstate(invalid="ignore"):
            wide[cut] = np.abs(gap - usual) > limit
    yield from view.issues(
        "venue_disagreement",
        Severity.WARNING,
        np.flatnonzero(wide),
        lambda i: f"close {rows.values['close'][i]:.7g} is {np.exp(away[i]) - 1:+.1%} from the other venues",
    )
    yield from view.issues(
        "venue_mismatch",
        Severity.WARNING,
        np.array(list(steady), np.int64),
        lambda i: f"the price is always about {np.exp(steady[i]):.4g} times that of the other venues",
    )


def _closes(rows: Rows, venues: Mapping[str, pd.DataFrame]) -> Float64Array:
    """Median close of one coin over the other venues, at each row ``[R]``; NaN where none has it."""
    found = np.full((len(venues), len(rows)), np.nan)
    coin_of = {name: unscaled(name)[0] for name in rows.ids}
    for v, (venue, frame) in enumerate(venues.items()):
        missing = [c for c in ("time", "instrument", "close") if c not in frame.columns]
        if missing:
            raise DataError(
                f"column {missing[0]!r} is missing", where=f"venue {venue}", remedy="give a long frame"
            )
        plain = frame[["time", "instrument", "close"]].assign(
            **{name: np.float32(1) for name in OHLCV if name != "close"}
        )
        told = Rows.from_frame(plain, where=f"venue {venue}").ordered()
        scale = np.array([unscaled(name)[1] for name in told.ids], np.float64)[told.codes]
        coins = {unscaled(name)[0]: n for n, name in enumerate(told.ids)}
        for code, name in enumerate(rows.ids):
            n = coins.get(coin_of[name])
            if n is None:
                continue
            cut = slice(int(rows.bounds[code]), int(rows.bounds[code + 1]))
            held = slice(int(told.bounds[n]), int(told.bounds[n + 1]))
            found[v, cut] = _at(
                told.time[held], told.values["close"][held].astype(np.float64) / scale[held], rows.time[cut]
            )
    return _median(found)


def _at(time: Int64Array, values: Float64Array, wanted: Int64Array) -> Float64Array:
    place = np.minimum(np.searchsorted(time, wanted), len(time) - 1)
    same: BoolArray = time[place] == wanted
    return np.where(same & (values[place] > 0), values[place], np.nan)


def _median(values: Float64Array) -> Float64Array:
    """Median down the columns without NaN; NaN where all are."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    low = np.maximum(count - 1, 0) // 2
    high = np.maximum(count, 1) // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    columns = np.arange(values.shape[1])
    middle: Float64Array = (ordered[low, columns] + ordered[high, columns]) / 2
    return middle
