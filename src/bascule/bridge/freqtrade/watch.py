"""Who must not be entered now: the live validator over the candles that a running bot sees.

1. When the bot starts, all candles but the last few are the validator's memory (`data.live.Validator`), and
   those few are judged one after the other, so that trouble of an hour ago counts.
2. Every new candle of the bundle's universe is judged once, whatever number of pairs asks.
3. A pair without the candle before the newest one is silent: the newest itself may still be on its way.
4. What makes a pair untradable, and that it is clean again, is told once.

Signals are not touched: on candles without trouble a live run does what a backtest does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bascule.bridge.freqtrade.feed import CANDLE, utc
from bascule.core import Instrument, Timeframe
from bascule.core.panel import FloatArray
from bascule.data.issues import HealthSettings
from bascule.data.live import Validator

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class Watch:
    """Judges the candles of a live run. One for a strategy."""

    def __init__(self, timeframe: Timeframe, settings: HealthSettings) -> None:
        self.timeframe = timeframe
        self.settings = settings
        self._validator: Validator | None = None
        self._seen: dict[str, np.datetime64] = {}  # store id → its newest judged candle
        self._told: dict[str, set[str]] = {}  # store id → kinds of issues that were told

    def look(self, candles: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
        """Judge what is new.

        Args:
            candles: pair → data frame as freqtrade serves it, all candles closed.

        Returns:
            What has to be told now; it is also logged.

        Raises:
            DataError: the candles have not the form of candles.
        """
        fresh = _fresh(candles, self._seen)
        if not len(fresh):
            return ()
        if self._validator is None:
            edge = fresh["time"].max() - self.settings.clean_bars * self.timeframe.delta
            self._validator = Validator(
                self.timeframe, self.settings, history=fresh[fresh["time"] <= edge].reset_index(drop=True)
            )
            fresh = fresh[fresh["time"] > edge]
        expected = [Instrument.parse(pair).id for pair in candles]
        for _, part in fresh.groupby("time"):
            now = part["time"].iloc[0].to_pydatetime() + self.timeframe.delta.astype("timedelta64[s]").item()
            self._validator.push(part.reset_index(drop=True), now=now, expected=expected)
        return self._news(self._validator.untradable)

    def marks(self, pair: str, dates: pd.Series) -> FloatArray:
        """1 at a pair's newest candle if it must not be entered now, else 0 ``[len(dates)]``."""
        found = np.zeros(len(dates), np.float32)
        if len(found) and Instrument.parse(pair).id in self._told:
            found[-1] = 1
        return found

    def _news(self, untradable: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        news = []
        for name, kinds in untradable.items():
            told = self._told.setdefault(name, set())
            new = sorted(set(kinds) - told)
            told.update(new)
            if new:
                news.append(f"{Instrument.parse(name).pair} is not entered: {', '.join(new)}")
                log.warning(news[-1])
        for name in sorted(set(self._told) - set(untradable)):
            del self._told[name]
            news.append(f"{Instrument.parse(name).pair} is clean again")
            log.info(news[-1])
        return tuple(news)


def _fresh(candles: Mapping[str, pd.DataFrame], seen: dict[str, np.datetime64]) -> pd.DataFrame:
    """Candles that were not judged yet, as a canonical long frame by time; remembers them in ``seen``."""
    import pandas as pd

    times, names, columns = [], [], []
    for pair, frame in candles.items():
        if not len(frame):
            continue
        name = Instrument.parse(pair).id
        time = utc(frame["date"])
        new = time > seen[name] if name in seen else np.ones(len(time), bool)
        if new.any():
            seen[name] = time[-1]
            times.append(time[new])
            names += [name] * len(times[-1])
            columns.append([frame[column].to_numpy()[new].astype(np.float32) for column in CANDLE])
    if not times:
        return pd.DataFrame()
    # one frame of all: a frame a pair, put together, took most of the time of a candle
    joined = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    when = pd.DatetimeIndex(np.concatenate(times)).tz_localize("UTC")
    return pd.DataFrame({"time": when, "instrument": names, **dict(zip(CANDLE, joined, strict=True))})
