"""Candles of a bundle's whole universe as one panel, and signals from it: read once a candle, for all pairs.

1. The universe is the bundle's, never the whitelist: a run with one pair sees the cross-section of all.
2. Nothing is read again while the candles are the same. In a live bot they only change between two loops
   (`turn`).
3. When a candle is new, only its row is computed and joins the rows before: any window that covers the
   look-back gives the same values. If an older candle has changed, or an instrument came or went, all rows
   are computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.freqtrade import feed
from bascule.core import Instrument, Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.core.timeframe import TimeArray
from bascule.signals import Bundle, SignalFrame

if TYPE_CHECKING:
    import pandas as pd

# candles that carry signals in a live run: it trades on the newest, its charts show some more
SHOWN_LIVE = 200
RISK_COLUMNS = ("volatility", "beta", "market_volatility")


class Source:
    """Candles and signals of one bundle.

    Args:
        bundle: whose.
        stored: signals are the bundle's own; else computed from candles.
        live: candles are the exchange's newest; else those of the backtest.

    Methods take freqtrade's data provider and configuration: freqtrade sets both after the strategy is made.
    """

    def __init__(self, bundle: Bundle, *, stored: bool, live: bool) -> None:
        self.bundle = bundle
        self.stored = stored
        self.live = live
        self._loop: float | None = None
        self._read: float | None = None
        self._panel: tuple[Any, Panel] | None = None
        self._signals: tuple[Any, SignalFrame] | None = None
        self._risk: tuple[Any, RiskColumns] | None = None
        self._before: tuple[Panel, SignalFrame] | None = None

    def turn(self, loop: float) -> None:
        """A new loop of a live bot begins: candles may be new. Never called, they always may be."""
        self._loop = loop

    @property
    def timeframe(self) -> Timeframe:
        """Of the bundle."""
        return self.bundle.spec.bar

    def pairs(self, dp: Any) -> list[str]:
        """The universe; live without pairs that left the exchange."""
        pairs = [Instrument.parse(name).pair for name in self.bundle.instruments]
        return [pair for pair in pairs if dp.market(pair) is not None] if self.live else pairs

    def candles(self, dp: Any) -> dict[str, pd.DataFrame]:
        """Live: what the exchange gave, not copied."""
        return {pair: dp.ohlcv(pair, str(self.timeframe), copy=False) for pair in self.pairs(dp)}

    def panel(self, dp: Any, config: dict[str, Any]) -> tuple[Any, Panel, bool]:
        """Key of the candles, their panel, and whether it is new."""
        key: Any
        if self._panel is not None and self._loop is not None and self._loop == self._read:
            return *self._panel, False
        self._read = self._loop
        if self.live:
            key = [
                (pair, len(one), one["date"].iat[-1]) for pair, one in self.candles(dp).items() if len(one)
            ]
        else:
            key = (id(dp), config.get("timerange"), config.get("startup_candle_count"))
        if self._panel is not None and self._panel[0] == key:
            return *self._panel, False
        listed = dict(zip(self.bundle.instruments, self.bundle.manifest.listed_times, strict=True))
        panel = feed.panel_of(
            self.candles(dp)
            if self.live
            else {pair: dp.historic_ohlcv(pair, str(self.timeframe)) for pair in self.pairs(dp)},
            self.timeframe,
            bars=self.bundle.lookback + SHOWN_LIVE if self.live else None,
            listed={name: time for name, time in listed.items() if not np.isnat(time)},
        )
        self._panel = (key, panel)
        return key, panel, True

    def signals(self, dp: Any, config: dict[str, Any]) -> tuple[SignalFrame, bool]:
        """Signals of all pairs, and whether they were computed just now."""
        if self.stored:
            return self.bundle.signals, False
        key, panel, _ = self.panel(dp, config)
        if self._signals is not None and self._signals[0] == key:
            return self._signals[1], False
        self._signals = (key, self._newest(panel) if self.live else self.bundle.live(panel))
        return self._signals[1], True

    def _newest(self, panel: Panel) -> SignalFrame:
        """Signals of the rows that are shown, of which only the new ones are computed."""
        frame = None
        if self._before is not None:
            old, known = self._before
            fresh = int((panel.time[-1] - known.time[-1]) / panel.timeframe.delta) if len(known.time) else 0
            if 0 < fresh < SHOWN_LIVE and _continues(old, panel):
                part = self.bundle.live(panel.rows(-(self.bundle.lookback + fresh), None))
                if len(part.time) == fresh:
                    frame = joined(known.rows(-(SHOWN_LIVE - fresh), None), part)
        if frame is None:
            frame = self.bundle.live(panel)
        self._before = (panel, frame)
        return frame

    def risk(self, dp: Any, config: dict[str, Any]) -> RiskColumns:
        """Volatility and beta of all pairs, computed from candles whatever the mode."""
        key, panel, _ = self.panel(dp, config)
        if self._risk is None or self._risk[0] != key:
            self._risk = (key, risk_columns(panel, self.bundle))
        return self._risk[1]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what every process can read again."""
        return {**self.__dict__, "_panel": None, "_signals": None, "_risk": None, "_before": None}


def _continues(old: Panel, new: Panel) -> bool:
    """Whether the candles that both panels hold are the same, of the same instruments."""
    shift = int((new.time[0] - old.time[0]) / new.timeframe.delta)
    shared = len(old.time) - shift
    if new.instruments != old.instruments or shift < 0 or not 0 < shared < len(new.time):
        return False
    return all(
        np.array_equal(values[:shared], old[name][shift:], equal_nan=True)
        for name, values in new.fields.items()
    )


def joined(first: SignalFrame, then: SignalFrame) -> SignalFrame:
    """Two stretches of signals of the same instruments, one right after the other."""
    arrays: dict[str, Any] = {
        one.name: np.concatenate([getattr(first, one.name), getattr(then, one.name)])
        for one in fields(first)
        if one.name not in ("timeframe", "instruments")
    }
    return replace(first, **arrays)


@dataclass(frozen=True, eq=False)
class RiskColumns:
    """Risk from candles; row *t* is known at the close of candle *t*.

    Attributes:
        time: candle open times ``[T]``.
        instruments: store ids ``[N]``.
        volatility: annualised, of each instrument ``[T, N]``.
        beta: to the market ``[T, N]``.
        market: annualised volatility of the market ``[T]``.
    """

    time: TimeArray
    instruments: tuple[str, ...]
    volatility: FloatArray
    beta: FloatArray
    market: FloatArray

    def join(self, pair: str, dates: pd.Series) -> dict[str, FloatArray]:
        """The columns `RISK_COLUMNS` at a pair's candles, NaN where unknown."""
        times = feed.utc(dates)
        hit, row = feed.rows_at(self.time, times)
        found = {name: np.full(len(times), np.nan, np.float32) for name in RISK_COLUMNS}
        found["market_volatility"][hit] = self.market[row]
        name = Instrument.parse(pair).id
        if name in self.instruments:
            column = self.instruments.index(name)
            found["volatility"][hit] = self.volatility[row, column]
            found["beta"][hit] = self.beta[row, column]
        return found


def risk_columns(panel: Panel, bundle: Bundle) -> RiskColumns:
    """Risk of a raw panel under the bundle's universe and risk settings; finite windows only.

    The market's volatility is the root of its mean squared return over the volatility window. Rows that the
    panel covers no look-back of are NaN, so that every value is that of the whole history.
    """
    from bascule import risk
    from bascule.data.prepare import prepare
    from bascule.risk.settings import windows
    from bascule.risk.windows import window_sum
    from bascule.signals import with_members

    ranged = with_members(prepare(panel, vwap=bundle.spec.vwap), bundle.spec)
    scores = risk.compute(ranged, bundle.spec.risk)
    length = windows(bundle.spec.risk, panel.timeframe).volatility
    returns = risk.market_returns(ranged, "equal")
    known = np.isfinite(returns)
    squares = window_sum(np.where(known, returns, 0.0)[:, None] ** 2, length)[:, 0]
    count = window_sum(known.astype(np.float64)[:, None], length)[:, 0]
    mean = np.divide(squares, count, out=np.full(len(count), np.nan), where=count >= 0.5 * length)
    market = np.sqrt(mean * panel.timeframe.bars_a_year).astype(np.float32)
    first = bundle.lookback
    parts = [np.array(one, np.float32) for one in (scores.volatility, scores.beta, market)]
    for one in parts:
        one[:first] = np.nan
    return RiskColumns(panel.time, panel.instruments, *parts)
