"""The health checks themselves: each marks rows with array operations and yields one issue an instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bascule.core import Instrument, Timeframe
from bascule.data.issues import HealthSettings, Issue, Severity
from bascule.data.rows import OHLC, OHLCV, BoolArray, Int64Array, Rows, stamp

Float64Array = NDArray[np.float64]
NORMAL = 1.4826  # MAD of a normal distribution → its standard deviation
_ENOUGH = 8  # distances from which the timeframe can be told


@dataclass(frozen=True)
class View:
    """Rows sorted by instrument and time, with what several checks need."""

    grouped: Rows  # in the order of the source
    rows: Rows  # sorted
    timeframe: Timeframe
    settings: HealthSettings
    same: BoolArray  # row i + 1 is of the same instrument as row i [R - 1]
    step: Int64Array  # time from row i to row i + 1, in ns [R - 1]
    missing: Int64Array  # candles missing between row i and row i + 1 [R - 1]

    @classmethod
    def of(cls, rows: Rows, timeframe: Timeframe, settings: HealthSettings) -> View:
        grouped = rows.used().by_instrument()
        ordered = grouped.ordered()
        same = ordered.codes[1:] == ordered.codes[:-1]
        step = np.diff(ordered.time)
        missing = np.where(same, np.maximum(step // timeframe.nanoseconds - 1, 0), 0)
        return cls(grouped, ordered, timeframe, settings, same, step, missing)

    def issues(
        self,
        name: str,
        severity: Severity | Callable[[int, int], Severity],
        index: Int64Array,
        example: Callable[[int], str],
        ends: Int64Array | None = None,
    ) -> Iterator[Issue]:
        """One issue an instrument from the sorted rows ``index``; ``ends``: last rows of runs."""
        if not len(index):
            return
        ends = index if ends is None else ends
        rows = self.rows
        codes = rows.codes[index]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(index)], strict=True):
            code, i, j = int(codes[start]), int(index[start]), int(ends[stop - 1])
            count = int(stop - start)
            usual = severity if isinstance(severity, Severity) else severity(code, count)
            grade = self.settings.grade(name, usual)
            if grade is None:
                continue
            first, last = stamp(rows.time[i]), stamp(rows.time[j])
            yield Issue(name, grade, rows.ids[code], count, first, last, f"{first} {example(i)}")

    def candle(self, i: int) -> str:
        """Row ``i`` as text."""
        return " ".join(f"{name}={self.rows.values[name][i]:.7g}" for name in OHLCV)


def _unsorted(view: View) -> Iterator[Issue]:
    rows = view.grouped
    back = (rows.codes[1:] == rows.codes[:-1]) & (np.diff(rows.time) < 0)
    at = np.flatnonzero(back) + 1
    backwards = View(rows, rows, view.timeframe, view.settings, view.same, view.step, view.missing)
    yield from backwards.issues(
        "unsorted", Severity.ERROR, at, lambda i: f"comes after {stamp(rows.time[i - 1])}"
    )


def _duplicates(view: View) -> Iterator[Issue]:
    again = np.flatnonzero(view.same & (view.step == 0)) + 1
    yield from view.issues("duplicates", Severity.ERROR, again, lambda i: f"again: {view.candle(i)}")


def _off_grid(view: View) -> Iterator[Issue]:
    off = np.flatnonzero(view.rows.time % view.timeframe.nanoseconds)
    yield from view.issues(
        "off_grid", Severity.ERROR, off, lambda i: f"is not an opening time of a {view.timeframe} candle"
    )


def _timeframe(view: View) -> Iterator[Issue]:
    """Longer candles than said: all of an instrument's distances are multiples of more than one timeframe.

    Not their median: a coin that is rarely traded has holes everywhere, but on the right grid.
    """
    bounds = view.rows.bounds
    common: dict[int, int] = {}
    for code in range(len(view.rows.ids)):
        start, stop = int(bounds[code]), int(bounds[code + 1])
        steps = view.step[start : max(start, stop - 1)]
        steps = steps[steps > 0]
        if len(steps) >= _ENOUGH and int(np.gcd.reduce(steps)) > view.timeframe.nanoseconds:
            common[start] = int(np.gcd.reduce(steps))
    yield from view.issues(
        "timeframe",
        Severity.ERROR,
        np.array(list(common), np.int64),
        lambda i: f"candles are {common[i] / 1e9:g} s apart, not {view.timeframe.seconds} s",
    )


def _not_finite(view: View) -> Iterator[Issue]:
    bad = ~np.isfinite(view.rows.values["volume"])
    for name in OHLC:
        bad |= ~np.isfinite(view.rows.values[name])
    yield from view.issues("not_finite", Severity.ERROR, np.flatnonzero(bad), view.candle)


def _non_positive(view: View) -> Iterator[Issue]:
    bad = np.zeros(len(view.rows), bool)
    for name in OHLC:
        bad |= view.rows.values[name] <= 0
    yield from view.issues("non_positive", Severity.ERROR, np.flatnonzero(bad), view.candle)


def _negative_volume(view: View) -> Iterator[Issue]:
    bad = np.flatnonzero(view.rows.values["volume"] < 0)
    yield from view.issues("negative_volume", Severity.ERROR, bad, view.candle)


def _impossible(view: View) -> Iterator[Issue]:
    """High below low, or open or close outside of them."""
    opened, high, low, close = (view.rows.values[name] for name in OHLC)
    bad = (high < low) | (opened > high) | (opened < low) | (close > high) | (close < low)
    yield from view.issues("impossible", Severity.ERROR, np.flatnonzero(bad), view.candle)


def _gaps(view: View) -> Iterator[Issue]:
    codes, bounds = view.rows.codes, view.rows.bounds
    lost = np.bincount(codes[:-1], weights=view.missing, minlength=len(view.rows.ids))

    def grade(code: int, _: int) -> Severity:
        share = lost[code] / (lost[code] + bounds[code + 1] - bounds[code])
        return Severity.WARNING if share > view.settings.gap_share else Severity.INFO

    yield from view.issues(
        "gaps",
        grade,
        np.flatnonzero(view.missing),
        lambda i: f"is followed by {view.missing[i]} missing candles",
    )


def _zero_volume(view: View) -> Iterator[Issue]:
    bounds = view.rows.bounds

    def grade(code: int, count: int) -> Severity:
        share = count / (bounds[code + 1] - bounds[code])
        return Severity.WARNING if share > view.settings.zero_volume_share else Severity.INFO

    none = np.flatnonzero(view.rows.values["volume"] == 0)
    yield from view.issues("zero_volume", grade, none, view.candle)


def _stuck(view: View) -> Iterator[Issue]:
    """Runs of at least ``stuck_bars`` candles that were traded at one unchanged price."""
    rows = view.rows
    flat = (rows.values["high"] == rows.values["low"]) & (rows.values["volume"] > 0)
    close = rows.values["close"]
    goes_on = np.zeros(len(rows), bool)
    goes_on[1:] = view.same & flat[1:] & flat[:-1] & (close[1:] == close[:-1])
    heads = np.flatnonzero(~goes_on)
    lengths = np.diff(np.append(heads, len(rows)))
    long = lengths >= view.settings.stuck_bars
    length_of = dict(zip(heads[long].tolist(), lengths[long].tolist(), strict=True))
    yield from view.issues(
        "stuck",
        Severity.WARNING,
        heads[long],
        lambda i: f"starts {length_of[i]} candles at {close[i]:.7g}",
        heads[long] + lengths[long] - 1,
    )


def _spikes(view: View) -> Iterator[Issue]:
    """Isolated spikes (the next candle undoes them) are suspicious; moves to a new level are news."""
    rows = view.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(rows.values["close"].astype(np.float64))
        moves = np.where(view.same, np.diff(log), np.nan)
    limit = _limits(view, moves)
    big = np.abs(moves) > limit[rows.codes[1:]]
    after = np.append(moves[1:], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        undone = -after / moves >= view.settings.reversal
    # the way back of a spike is no second spike
    back = np.zeros(len(big), bool)
    back[1:] = (big & undone)[:-1]

    def example(i: int) -> str:
        gap = f" after {view.missing[i - 1]} missing candles" if view.missing[i - 1] else ""
        return f"log return {moves[i - 1]:+.3f}{gap}"

    yield from view.issues("spike", Severity.WARNING, np.flatnonzero(big & undone & ~back) + 1, example)
    yield from view.issues("jump", Severity.INFO, np.flatnonzero(big & ~undone & ~back) + 1, example)


def _limits(view: View, moves: Float64Array) -> Float64Array:
    """The size of move that is a spike, by instrument ``[N]``."""
    bounds, settings = view.rows.bounds, view.settings
    limits = np.full(len(view.rows.ids), np.inf)
    for code in range(len(limits)):
        own = moves[bounds[code] : max(bounds[code], bounds[code + 1] - 1)]
        own = own[np.isfinite(own)]
        if len(own) >= 10:
            mad = np.median(np.abs(own - np.median(own)))
            limits[code] = max(settings.spike_move, settings.spike_mads * NORMAL * mad)
    return limits


def _funding(view: View) -> Iterator[Issue]:
    """Futures whose funding rates are absent, or absent for longer than funding is ever apart."""
    rows, bounds = view.rows, view.rows.bounds
    rate = rows.values.get("funding_rate")
    known = np.zeros(len(rows), bool) if rate is None else np.isfinite(rate)
    longest = max(view.settings.funding_hours * 3_600_000_000_000, view.timeframe.nanoseconds)
    holes: dict[int, float] = {}
    absent: list[int] = []
    for code, name in enumerate(rows.ids):
        start, stop = int(bounds[code]), int(bounds[code + 1])
        if not Instrument.parse(name).is_future:
            continue
        at = start + np.flatnonzero(known[start:stop])
        if not len(at):
            absent.append(start)
            continue
        edges = np.concatenate([[start], at, [stop - 1]])
        apart = np.diff(rows.time[edges])
        for k in np.flatnonzero(apart > longest):
            holes[int(edges[k])] = apart[k] / 3.6e12
    yield from view.issues(
        "funding_absent", Severity.WARNING, np.array(absent, np.int64), lambda i: "no funding rate at all"
    )
    yield from view.issues(
        "funding_gaps",
        Severity.WARNING,
        np.array(list(holes), np.int64),
        lambda i: f"starts {holes[i]:g} hours without a funding rate",
    )


Check = Callable[[View], Iterator[Issue]]
ERRORS: tuple[Check, ...] = (
    _unsorted,
    _duplicates,
    _off_grid,
    _timeframe,
    _not_finite,
    _non_positive,
    _negative_volume,
    _impossible,
)
CHECKS: tuple[Check, ...] = (*ERRORS, _gaps, _zero_volume, _stuck, _spikes, _funding)
