"""Safe mode and the second data venue: what a running bot goes by when its candles are late.

1. Each loop, `DataDesk.look` compares every pair's newest candle with the clock. A pair is late when the
   candle that closed last is not there ``late_after`` seconds after its close.
2. When ``late_share`` of the pairs are late, the venue's own calls fail (`venues.Health`), or its clock is
   more than ``largest_skew`` from ours, the bot is in safe mode: exits, stops and reductions go on; there is
   no entry and no increase.
3. The candles of late pairs are then asked of the second venue, once a candle. They are joined to the first
   venue's history with prices brought to its level by the last common candle and volumes to its size by the
   medians; if the two disagree on the price by more than ``largest_gap`` the second one is not believed.
   Signals and exits go on with these candles.
4. By a clock that is ahead, candles that are still forming look closed. Where ours is wrong the venue's
   counts (`DataDesk.right`).
5. After ``calm_looks`` good looks in a row all is as before.

Free of freqtrade, without a clock of its own: the strategy (`guarded.py`) gives it candles and time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bascule.bridge.freqtrade.feed import CANDLE, utc
from bascule.bridge.freqtrade.venues import LARGEST_SKEW, Format, RestVenue, Venue
from bascule.core import BridgeError, Instrument, Settings, Timeframe, moment

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
_OVERLAP = 24  # candles that both venues are compared on
_PROBE_EVERY = 60.0  # seconds


class SecondVenue(Settings):
    """Where candles come from when the first venue's are late."""

    name: Format = Field(default="bybit", description="format of its public interface")
    url: str | None = Field(default=None, description="scheme and host; default the exchange's public ones")
    timeout: float = Field(default=5.0, gt=0, le=60, description="seconds for a call")


class GuardSettings(Settings):
    """Safe mode and data failover; configuration key ``bascule.guard``."""

    late_after: float = Field(
        default=120.0, gt=0, description="seconds after its close at which a missing candle is late"
    )
    late_share: float = Field(
        default=0.3, gt=0, le=1, description="share of pairs with late candles that means safe mode"
    )
    calm_looks: int = Field(default=3, ge=1, description="good looks in a row that end safe mode")
    second: SecondVenue | None = Field(default=None, description="second data venue; none = safe mode only")
    largest_gap: float = Field(
        default=0.02, gt=0, lt=1, description="largest difference of the venues' prices, fraction"
    )
    probe: bool = Field(
        default=True, description="ask the first venue for its time once a minute, and when our clock was set"
    )
    largest_skew: float = Field(
        default=LARGEST_SKEW,
        gt=0,
        description="seconds between the venue's clock and ours that are no trouble",
    )


class DataDesk:
    """Which candles a bot goes by, and whether it may enter.

    Args:
        timeframe: candle length.
        settings: limits.
        market: spot or futures.
        first: the venue that freqtrade trades on, for probes; None = no probes.
        second: for late candles; default as the settings say.

    Attributes:
        safe: True while there may be no entry.
        reason: why, in words; empty when all is well.
        ahead: seconds that the first venue's clock was ahead of ours at the last probe; 0 = not known.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        settings: GuardSettings,
        market: Literal["spot", "futures"] = "spot",
        *,
        first: Venue | None = None,
        second: Venue | None = None,
    ) -> None:
        self.timeframe, self.settings = timeframe, settings
        self.first = first
        chosen = settings.second
        if second is None and chosen is not None:
            second = RestVenue(chosen.name, market, url=chosen.url, timeout=chosen.timeout)
        self.second = second
        self.safe = False
        self.reason = ""
        self._good = 0
        self._late: frozenset[str] = frozenset()
        self._borrowed: dict[str, pd.DataFrame] = {}  # pair → joined candles
        self._asked: dict[str, np.datetime64] = {}  # pair → candle that the second venue was asked for
        self.ahead = 0.0
        self._probed = -np.inf
        self._offset = -np.inf  # of our clock from one that nobody sets, at the last probe

    def expected(self, now: datetime) -> np.datetime64:
        """Open time of the candle that closed last."""
        return self.timeframe.floor(now) - self.timeframe.delta

    @property
    def skewed(self) -> bool:
        """Whether our clock is wrong by the first venue's; an answer that took long says less."""
        if self.first is None:
            return False
        return abs(self.ahead) > self.settings.largest_skew + self.first.health.latency

    def right(self, now: datetime) -> datetime:
        """The time: ours, or, where that is wrong, the first venue's."""
        return now + timedelta(seconds=self.ahead) if self.skewed else now

    def look(
        self, candles: Mapping[str, pd.DataFrame], now: datetime, *, steady: float | None = None
    ) -> tuple[str, ...]:
        """Compare candles with the clock.

        Args:
            candles: pair → newest candles of the first venue, all closed.
            now: the time by our clock, aware.
            steady: seconds of a clock that nobody sets; by it a clock that was set is known at once.

        Returns:
            What has to be told now.
        """
        self._probe(now, steady)
        now = self.right(now)
        wanted = self.expected(now)
        due = wanted + self.timeframe.delta + np.timedelta64(int(self.settings.late_after * 1e9), "ns")
        late = {pair for pair, frame in candles.items() if _newest(frame) < wanted and moment(now) >= due} | {
            pair for pair, frame in candles.items() if _newest(frame) < wanted - self.timeframe.delta
        }
        self._late = frozenset(late)
        for pair in set(self._borrowed) - late:
            del self._borrowed[pair]
        share = len(late) / len(candles) if candles else 1.0
        troubles = []
        if share >= self.settings.late_share:
            troubles.append(f"candles of {len(late)} of {len(candles)} pairs are late")
        if self.first is not None and self.first.health.state == "down":
            troubles.append(f"{self.first.name} fails in {self.first.health.error_rate:.0%} of the calls")
        if self.first is not None and self.skewed:
            troubles.append(f"our clock is {-self.ahead:+.1f} s from {self.first.name}'s: set it")
        return self._turn("; ".join(troubles))

    def _turn(self, trouble: str) -> tuple[str, ...]:
        if trouble:
            self._good = 0
            news = () if self.safe else (f"safe mode, no entries: {trouble}",)
            self.safe, self.reason = True, trouble
        elif self.safe:
            self._good += 1
            if self._good < self.settings.calm_looks:
                return ()
            self.safe, self.reason = False, ""
            news = ("safe mode is over",)
        else:
            return ()
        for line in news:
            log.warning(line)
        return news

    def _probe(self, now: datetime, steady: float | None) -> None:
        seconds = now.timestamp()
        offset = seconds - (steady or 0.0)
        was_set = steady is not None and abs(offset - self._offset) > self.settings.largest_skew / 2.0
        # a clock that was set back must not silence the probes
        recent = 0.0 <= seconds - self._probed < _PROBE_EVERY
        if self.first is None or not self.settings.probe or (recent and not was_set):
            return
        self._probed, self._offset = seconds, offset
        try:
            self.ahead = self.first.ping()
        except BridgeError as error:
            log.warning("probe: %s", error)

    def frame(self, pair: str, frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
        """The pair's candles: the first venue's, with the second one's behind them where those are late."""
        if pair not in self._late or self.second is None or not len(frame):
            return frame
        now = self.right(now)
        wanted = self.expected(now)
        if self._asked.get(pair) != wanted:
            self._asked[pair] = wanted
            try:
                self._borrowed[pair] = self._join(pair, frame, now)
            except BridgeError as error:
                log.warning("%s: %s", pair, error)
        joined = self._borrowed.get(pair)
        return frame if joined is None else joined.copy()

    def _join(self, pair: str, frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
        assert self.second is not None
        missing = int((self.expected(now) - _newest(frame)) / self.timeframe.delta)
        other = self.second.candles(
            Instrument.parse(pair),
            self.timeframe,
            missing + _OVERLAP,
            now_ms=int(now.timestamp() * 1_000),
        )
        return splice(frame, other, largest_gap=self.settings.largest_gap, where=f"{self.second.name} {pair}")


def splice(first: pd.DataFrame, second: pd.DataFrame, *, largest_gap: float, where: str) -> pd.DataFrame:
    """Candles of one venue, and behind them those of another at the first one's level of price and volume.

    Args:
        first: ``date, open, high, low, close, volume``, oldest first; further columns stay, empty behind.
        second: the same columns; must overlap the first in at least one candle.
        largest_gap: of the two prices at the last common candle.
        where: for errors.

    Raises:
        BridgeError: there is no common candle, the prices differ by too much, or nothing is added.
    """
    import pandas as pd

    common = first.merge(second, on="date", suffixes=("", "_other"))
    later = second[second["date"] > first["date"].iat[-1]]
    if common.empty or later.empty:
        raise BridgeError(
            "no common candle" if common.empty else "no newer candle",
            where=where,
            remedy="wait for the first venue, or name another second one",
        )
    ours, theirs = (common[name].to_numpy(np.float64) for name in ("close", "close_other"))
    level = float(ours[-1] / theirs[-1])
    if not abs(level - 1.0) <= largest_gap:
        raise BridgeError(
            f"the venues' prices differ by {abs(level - 1.0):.1%}",
            where=where,
            remedy="find out which one is right before anything is traded",
        )
    own, other = (float(np.median(common[name])) for name in ("volume", "volume_other"))
    size = own / other if other > 0 else 1.0
    added = later[["date", *CANDLE]].copy()
    added[list(CANDLE[:4])] *= level
    added["volume"] *= size
    added = added.astype({name: first[name].dtype for name in CANDLE})
    return pd.concat([first, added], ignore_index=True)


def _newest(frame: pd.DataFrame) -> np.datetime64:
    newest: np.datetime64 = utc(frame["date"].iloc[-1:])[0] if len(frame) else np.datetime64(0, "ns")
    return newest
