"""Health of candles as they come: the rules of `health.check`, for each new candle of a running system.

`Validator.push`, once a candle:

1. New candles are compared with their due time and with what came before (`comparisons`); candles with
   errors are told and thrown away, so that they spoil no later judgement.
2. The others join a window of the last candles of each instrument, and every check of `health` looks at the
   window. What it finds at the newest candles is new: an alert.
3. An instrument without its candle is `silent`.
4. Whoever has a quarantining issue (`HealthSettings.quarantine`) is untradable until ``clean_bars`` candles
   in a row have none. A large move cannot be told from a wrong price before the next candle: it quarantines
   as `jump` at once, whatever it turns out to be.

Thresholds that depend on history (deviations of returns, usual volumes) come from the window alone: nothing
from the future, the same when run again over stored candles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import ConfigError, Timeframe, moment
from bascule.core.timeframe import Moment
from bascule.data.checks import ERRORS, View
from bascule.data.comparisons import arrivals, changes
from bascule.data.health import check_rows
from bascule.data.issues import ERROR_KINDS, HealthSettings, Issue, Severity
from bascule.data.repair import impossible
from bascule.data.rows import AVAILABLE, OHLCV, BoolArray, Rows, concat, stamp
from bascule.data.times import utc_nanoseconds

if TYPE_CHECKING:
    import pandas as pd

_SECOND = 1_000_000_000
_BLOCKS = 4  # blocks of `volume_bars` that the window must hold for volumes to be judged
# what a window's edge makes of every instrument: its first candle is not its listing
_NOT_LIVE = frozenset({"listed", "delisted", "timeframe", "funding_absent", "multiplier"})


@dataclass(frozen=True)
class Verdict:
    """What one push found.

    Attributes:
        alerts: new issues, worst first.
        untradable: store id → kinds of issues that keep it in quarantine.
        released: store ids that left quarantine with this push.
    """

    alerts: tuple[Issue, ...]
    untradable: Mapping[str, tuple[str, ...]]
    released: tuple[str, ...]


class Validator:
    """Judges candles as they come. One for a timeframe; not for several threads at once."""

    def __init__(
        self,
        timeframe: Timeframe,
        settings: HealthSettings | None = None,
        *,
        history: pd.DataFrame | None = None,
        window: int | None = None,
    ) -> None:
        """Start from stored candles.

        Args:
            timeframe: candle length.
            settings: thresholds, and who goes into quarantine.
            history: canonical long frame of clean candles; its last ``window`` an instrument are kept.
            window: candles of memory an instrument; default what the volume checks need.

        Raises:
            ConfigError: a window too short for any judgement.
        """
        self.timeframe = timeframe
        self.settings = settings or HealthSettings()
        self.window = window or _BLOCKS * self.settings.volume_bars
        if self.window < 2 * self.settings.stuck_bars:
            raise ConfigError(
                f"a window of {self.window} candles is too short",
                where="live health",
                remedy=f"take at least {2 * self.settings.stuck_bars} (twice stuck_bars)",
            )
        self._rows: Rows | None = None
        if history is not None and len(history):
            self._rows = self._last(Rows.from_frame(history, where="history").ordered())
        self._told: set[tuple[str, str, str]] = set()  # `_key` of issues
        self._quarantine: dict[str, dict[str, int]] = {}  # id → kind → time of the last such issue

    @property
    def untradable(self) -> dict[str, tuple[str, ...]]:
        """Store id → kinds of issues that keep it in quarantine."""
        return {name: tuple(sorted(kinds)) for name, kinds in sorted(self._quarantine.items())}

    def push(
        self, frame: pd.DataFrame, *, now: Moment | None = None, expected: Sequence[str] = ()
    ) -> Verdict:
        """Judge new candles (canonical long frame, perhaps with `available_time`; perhaps empty).

        Args:
            frame: what came since the last push; all candles closed.
            now: present time; default the close of the newest candle.
            expected: store ids that should have the newest candle.

        Raises:
            DataError: the frame is not canonical.
        """
        issues: list[Issue] = []
        newest = None if self._rows is None else int(self._rows.time.max())
        if len(frame):
            rows = Rows.from_frame(frame, where="live candles")
            newest = int(rows.time.max()) if newest is None else max(newest, int(rows.time.max()))
            issues += self._arrived(frame, rows)
            good = rows.take(~self._wrong(rows)).ordered()
            issues += self._judge(good)
        issues += self._silent(expected, newest, now)
        fresh = [issue for issue in issues if self._key(issue) not in self._told]
        self._told |= {self._key(issue) for issue in fresh}
        if newest is not None:  # what lies before the window is not judged again
            oldest = stamp(newest - self.window * self.timeframe.nanoseconds)
            self._told = {key for key in self._told if key[2] >= oldest}
        fresh.sort(key=lambda issue: (-issue.severity, issue.name, issue.instrument))
        return Verdict(tuple(fresh), *self._update(fresh, newest))

    # -- inside ------------------------------------------------------------------------------------

    def _arrived(self, frame: pd.DataFrame, rows: Rows) -> list[Issue]:
        """Errors, arrival times and changed values of the new candles alone."""
        view = View.of(rows, self.timeframe, self.settings)
        issues = [issue for one in ERRORS for issue in one(view) if issue.name not in _NOT_LIVE]
        if AVAILABLE in frame.columns:
            came = utc_nanoseconds(frame[AVAILABLE], where=f"live candles: {AVAILABLE}")
            issues += arrivals(view, came[np.lexsort((rows.time, rows.codes))])
        if self._rows is not None:
            issues += changes(view, self._rows)
        return issues

    def _wrong(self, rows: Rows) -> BoolArray:
        """Candles that no later judgement may rest on ``[R]``."""
        off: BoolArray = rows.time % self.timeframe.nanoseconds != 0
        return impossible(rows) | off

    def _judge(self, good: Rows) -> list[Issue]:
        if not len(good):
            return []
        first = {good.ids[n]: int(good.time[good.codes == n].min()) for n in np.unique(good.codes)}
        joined = good if self._rows is None else concat([self._rows, good])
        order = np.lexsort((joined.time, joined.codes))  # stable: the newer of two equal times comes last
        joined = joined.take(order)
        again = (joined.codes[1:] == joined.codes[:-1]) & (joined.time[1:] == joined.time[:-1])
        self._rows = self._last(joined.take(~np.append(again, False)))
        mine = np.isin(self._rows.ids, list(first))
        touched = self._rows.take(mine[self._rows.codes])
        step = self.timeframe.nanoseconds
        found = check_rows(touched, self.timeframe, self.settings).issues
        # a hole and a wrong price are only known at the candle after them
        return [
            issue
            for issue in found
            if issue.name not in _NOT_LIVE
            and issue.newest >= first.get(issue.instrument, np.iinfo(np.int64).max) - step
        ]

    def _silent(self, expected: Sequence[str], newest: int | None, now: Moment | None) -> list[Issue]:
        grade = self.settings.grade("silent", Severity.WARNING)
        if not expected or grade is None:
            return []
        step = self.timeframe.nanoseconds
        if now is not None:
            due = int(moment(now).astype(np.int64)) - round(self.settings.late_seconds * _SECOND)
            newest = due // step * step - step
        if newest is None:
            return []
        have = set()
        if self._rows is not None:
            at = self._rows.time >= newest
            have = {self._rows.ids[code] for code in np.unique(self._rows.codes[at])}
        text = stamp(newest)
        return [
            Issue("silent", grade, name, 1, text, text, f"{text} has no candle")
            for name in sorted(set(expected) - have)
        ]

    def _update(
        self, fresh: Sequence[Issue], newest: int | None
    ) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        for issue in fresh:
            if issue.name in self.settings.quarantine:
                kinds = self._quarantine.setdefault(issue.instrument, {})
                # an old candle that comes or changes now is trouble now
                at = newest if issue.name in ("late", "restated") else None
                kinds[issue.name] = issue.newest if at is None else at
        released = []
        span = self.settings.clean_bars * self.timeframe.nanoseconds
        for name in list(self._quarantine):
            own = newest if self._rows is None else self._newest(name)
            if own is not None and all(own - at >= span for at in self._quarantine[name].values()):
                del self._quarantine[name]
                released.append(name)
        return self.untradable, tuple(sorted(released))

    def _newest(self, name: str) -> int | None:
        """Time of an instrument's newest good candle: without one nothing is clean."""
        assert self._rows is not None
        if name not in self._rows.ids:
            return None
        own = self._rows.time[self._rows.codes == self._rows.ids.index(name)]
        return int(own.max()) if len(own) else None

    def _last(self, rows: Rows) -> Rows:
        """The last ``window`` candles of each instrument, without columns that are not judged."""
        bounds = rows.bounds
        keep = np.arange(len(rows)) >= (bounds[1:] - self.window)[rows.codes]
        judged = {n: c for n, c in rows.values.items() if n in (*OHLCV, "funding_rate")}
        return Rows(rows.ids, rows.codes, rows.time, judged).take(keep)

    def _key(self, issue: Issue) -> tuple[str, str, str]:
        """Kind, instrument and time: what is told once."""
        # an impossible candle that comes again is the same trouble; a stuck price goes on
        return issue.name, issue.instrument, issue.last if issue.name not in ERROR_KINDS else issue.first
