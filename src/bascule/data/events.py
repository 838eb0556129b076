"""Health checks of what happens to a whole instrument: volumes out of the usual, listings, new units.

1. `_volumes`: dollar volume (so that a split changes nothing) against the median of the block of candles
   before, and the medians of neighbouring blocks against each other.
2. `_listings`: first and last candles inside the data, and long holes. Over a long hole a price that is
   another one means another coin under the same name (LUNA 2022, FTT).
3. `_redenominations`: a step *between* candles (open against the close before) by a power of ten that is not
   undone. A crash happens within candles, so it is not mistaken for one.
4. `_multipliers`: names such as 1000PEPE, of which one unit is many coins.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bascule.data.checks import NORMAL, Check, Float64Array, View
from bascule.data.issues import Issue, Severity
from bascule.data.rows import BoolArray, Int64Array
from bascule.data.units import unscaled

_HOUR = 3_600_000_000_000
_BLOCKS = 3  # blocks of history from which the usual deviation can be told


def _volumes(view: View) -> Iterator[Issue]:
    rows, settings = view.rows, view.settings
    size = settings.volume_bars
    with np.errstate(divide="ignore", invalid="ignore"):
        dollars = np.log(rows.values["close"].astype(np.float64) * rows.values["volume"])
        move = np.abs(np.log(rows.values["close"].astype(np.float64) / rows.values["open"]))
    dollars[~np.isfinite(dollars)] = np.nan
    move[~np.isfinite(move)] = np.inf
    away = np.full(len(rows), np.nan)
    calm = np.zeros(len(rows), bool)
    levels: dict[int, float] = {}
    for code in range(len(rows.ids)):
        start, stop = int(view.rows.bounds[code]), int(view.rows.bounds[code + 1])
        if stop - start < _BLOCKS * size:
            continue
        medians = _block_medians(dollars[start:stop], size)
        usual = np.repeat(medians, size)[: stop - start - size]
        own = dollars[start + size : stop] - usual
        known = own[np.isfinite(own)]
        if not len(known):
            continue
        spread = NORMAL * float(np.median(np.abs(known - np.median(known))))
        away[start + size : stop] = own / max(np.log(settings.volume_times), settings.volume_mads * spread)
        # the usual range of a candle, three times the median: what moved no more than that is no news
        calm[start:stop] = move[start:stop] <= 3 * np.median(move[start:stop])
        steps = np.diff(medians)
        for k in np.flatnonzero(np.abs(steps) > np.log(settings.volume_level_times)):
            levels[start + (int(k) + 1) * size] = float(steps[k])
    high = np.flatnonzero((away > 1) & calm & _alone(away > 1, view))
    low = np.flatnonzero((away < -1) & _alone(away < -1, view))
    yield from view.issues("volume_spike", Severity.WARNING, high, view.candle)
    yield from view.issues("volume_drop", Severity.INFO, low, view.candle)
    yield from view.issues(
        "volume_level",
        Severity.WARNING,
        np.array(list(levels), np.int64),
        lambda i: f"starts {size} candles with {np.exp(levels[i]):.3g} times the usual dollar volume",
    )


def _block_medians(values: Float64Array, size: int) -> Float64Array:
    """Medians of whole blocks of ``size`` values ``[len // size]``; an empty block has the one before."""
    blocks = values[: len(values) // size * size].reshape(-1, size)
    ordered = np.sort(blocks, axis=1)  # NaN last
    count = np.isfinite(blocks).sum(axis=1)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
    last = np.maximum.accumulate(np.where(count > 0, np.arange(len(blocks)), 0))
    found: Float64Array = middle[last]
    return found


def _alone(odd: BoolArray, view: View) -> BoolArray:
    """True where neither neighbour of the same instrument is odd too ``[R]``."""
    before, after = np.zeros(len(odd), bool), np.zeros(len(odd), bool)
    before[1:] = odd[:-1] & view.same
    after[:-1] = odd[1:] & view.same
    alone: BoolArray = ~before & ~after
    return alone


def _listings(view: View) -> Iterator[Issue]:
    rows, bounds = view.rows, view.rows.bounds
    least = view.settings.listing_hours * _HOUR
    first, last = rows.time[bounds[:-1]], rows.time[bounds[1:] - 1]
    opened, final = rows.time.min(), rows.time.max()
    began: Int64Array = bounds[:-1][first - opened >= least]
    ended: Int64Array = bounds[1:][final - last >= least] - 1
    yield from view.issues("listed", Severity.INFO, began, lambda i: "is the first candle")
    yield from view.issues("delisted", Severity.INFO, ended, lambda i: "is the last candle")
    back = np.flatnonzero(view.same & (view.step >= least)) + 1
    between = _between(view)
    other = np.abs(between[back]) > view.settings.relisting_move

    def hole(i: int) -> str:
        return f"after {view.step[i - 1] / _HOUR:g} hours, open {np.exp(between[i]):.4g} times the last close"

    yield from view.issues("relisted", Severity.INFO, back[~other], hole)
    yield from view.issues("migration", Severity.WARNING, back[other], hole)


def _between(view: View) -> Float64Array:
    """Log of open over the close before, NaN at an instrument's first candle ``[R]``."""
    rows = view.rows
    out = np.full(len(rows), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log(rows.values["open"][1:].astype(np.float64) / rows.values["close"][:-1])
    out[1:] = np.where(view.same, step, np.nan)
    return out


def _redenominations(view: View) -> Iterator[Issue]:
    between = _between(view)
    opened = view.rows.values["open"].astype(np.float64)
    whole = np.round(between / np.log(10))
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(view.same, np.log(opened[1:] / opened[:-1]), np.nan)
        found = np.abs(whole) >= 1
        found &= np.abs(between - whole * np.log(10)) <= view.settings.redenomination_slack
        # the candle before opened on the old level: else its close alone was wrong
        found[1:] &= np.abs(moved - between[1:]) < np.log(10) / 2
        found[1:] &= view.step < view.settings.listing_hours * _HOUR  # over a long hole: a `migration`
        undone = np.zeros(len(found), bool)
        undone[:-1] = found[:-1] & (-moved / between[:-1] >= view.settings.reversal)
    back = np.zeros(len(found), bool)
    back[1:] = undone[:-1]  # the way back of a spike is no step either
    at = np.flatnonzero(found & ~undone & ~back)
    yield from view.issues(
        "redenomination",
        Severity.WARNING,
        at,
        lambda i: f"opens {np.exp(between[i]):.4g} times the close before",
    )


def _multipliers(view: View) -> Iterator[Issue]:
    scales = {int(view.rows.bounds[code]): unscaled(name) for code, name in enumerate(view.rows.ids)}
    named = {i: found for i, found in scales.items() if found[1] != 1}
    yield from view.issues(
        "multiplier",
        Severity.INFO,
        np.array(list(named), np.int64),
        lambda i: f"one unit is {named[i][1]:,} of {named[i][0]}",
    )


EVENTS: tuple[Check, ...] = (_volumes, _listings, _redenominations, _multipliers)
