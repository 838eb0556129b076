"""A seeded synthetic crypto market: not real data, and named so that nobody takes it for real.

1. What depends on no price is drawn first (`draws`): coins, listings and delistings, missing and quiet
   candles, and the shocks of the market, the sectors and each coin.
2. Bars are simulated one after the other (`_simulate`): the planted formulas (`planted.py`) are evaluated on
   the bars so far, standardised over the cross-section, and the mean of their last ``horizon`` values, times
   their loading, drifts the next bar. Nothing that a bar depends on lies after it.
3. Within a bar the price walks over a few steps from open to close; high and low are the extremes of that
   path. Volume has a log-normal level and grows with the size of the move.
4. The bars become the canonical long frame (`_frame`), with quote volume, and for futures with funding rate
   and mark price.

With ``strength=0`` nothing is planted: a null for tests of significance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from bascule.core import Instrument, Panel, Progress, Settings, Timeframe, moment, silent
from bascule.core.timeframe import TimeArray
from bascule.data.draws import HOUR, STEPS, Calendar, Coins, Shocks, ar1, bridges
from bascule.data.planted import PLANTED, Bars, Float64Array, PlantedAlpha
from bascule.data.rows import OHLCV

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1_000  # bars whose inner paths are drawn at once
_FUNDING_HOURS = 8
_CARRY_DAYS = 45  # half-life of lasting differences in funding
_LARGEST = 20_000_000  # candles; all of them are in memory a dozen times
_NAMES = re.compile(r"SYN(BTC|\d{2,3})")
_FEW = 5  # a cross-section smaller than this is not standardised


class SyntheticSettings(Settings):
    """Size and character of the synthetic market."""

    seed: int = Field(default=7, ge=0, description="seed of all randomness; same settings, same market")
    instruments: int = Field(default=30, ge=2, le=500, description="number, the leader SYNBTC included")
    days: int = Field(default=730, ge=10, le=5_000, description="length of the history in days")
    start: date = Field(default=date(2022, 1, 1), description="first day, UTC")
    timeframe: str = Field(default="1h", description="candle length")
    market: Literal["spot", "futures"] = Field(default="spot", description="futures: funding and mark too")
    strength: float = Field(default=1.0, ge=0, le=5, description="multiplies the planted drifts; 0 = none")
    carry: float = Field(
        default=0.0, ge=0, le=5, description="futures: yearly deviation of lasting differences in funding"
    )
    sectors: int = Field(default=5, ge=1, le=50, description="number of sector factors")
    tail: float = Field(default=4.0, gt=2, le=100, description="degrees of freedom of the Student-t shocks")
    late: float = Field(default=0.25, ge=0, le=0.8, description="share of instruments listed after the start")
    delisted: float = Field(default=0.1, ge=0, le=0.8, description="share that vanishes before the end")
    missing: float = Field(default=0.0005, ge=0, le=0.2, description="share of candles that are missing")
    quiet: float = Field(
        default=0.002, ge=0, le=0.5, description="share of bars without trade, thinnest coin"
    )

    @field_validator("timeframe")
    @classmethod
    def _known(cls, value: str) -> str:
        if Timeframe.parse(value).seconds > 86_400:
            raise ValueError("the synthetic market has candles of at most one day")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        candles = self.instruments * self.days * Timeframe.parse(self.timeframe).bars_a_day
        if candles > _LARGEST:
            raise ValueError(f"{candles:,} candles are more than {_LARGEST:,}: fewer days or instruments")
        return self


@dataclass(frozen=True)
class SyntheticMarket:
    """What `generate` returns.

    Attributes:
        frame: canonical long frame (`time, instrument, open, high, low, close, volume, quote_volume`, and for
            futures `funding_rate` (NaN but at settlements), `mark`).
        timeframe: candle length.
        planted: the formulas that drive returns; empty when ``strength`` is 0.
    """

    frame: pd.DataFrame
    timeframe: Timeframe
    planted: tuple[PlantedAlpha, ...]

    def panel(self, *, top: int | None = None) -> Panel:
        """The market as a prepared panel, ready for factors.

        Args:
            top: universe of this many by traded value of 30 days, point-in-time; None = all that trade.
        """
        from bascule.data.prepare import prepare
        from bascule.data.universe import UniverseSettings, membership

        found = prepare(Panel.from_long(self.frame, self.timeframe))
        return found if top is None else found.with_universe(membership(found, UniverseSettings(top=top)))


def is_synthetic(instruments: Iterable[str]) -> bool:
    """Whether these are the instruments of a generated market, by their names alone."""
    found = [Instrument.parse(name).base for name in instruments]
    return bool(found) and all(_NAMES.fullmatch(base) for base in found)


def generate(settings: SyntheticSettings | None = None, *, progress: Progress = silent) -> SyntheticMarket:
    """Simulate the market that ``settings`` describe; a pure function of them."""
    settings = settings or SyntheticSettings()
    timeframe = Timeframe.parse(settings.timeframe)
    rng = np.random.default_rng(settings.seed)
    bars_a_day = timeframe.bars_a_day
    start = moment(settings.start.isoformat())
    time = start + np.arange(settings.days * bars_a_day) * timeframe.delta
    coins = Coins.draw(settings, rng)
    calendar = Calendar.draw(settings, len(time), coins.rank, rng)
    shocks = Shocks.draw(settings, time, timeframe, coins, rng)
    planted = PLANTED if settings.strength > 0 else ()
    bars, quote_volume = _simulate(settings, coins, calendar, shocks, planted, rng, progress)
    frame = _frame(settings, time, coins, calendar.present, bars, quote_volume, rng)
    return SyntheticMarket(frame, timeframe, planted)


class _Drift:
    """Turns planted formulas into the drift of the next bar, in units of its volatility ``[N]``."""

    def __init__(self, planted: tuple[PlantedAlpha, ...], strength: float, n: int) -> None:
        self._planted = planted
        self._loadings = [alpha.loading * strength for alpha in planted]
        self._recent = [np.zeros((alpha.horizon, n)) for alpha in planted]

    def after(self, bars: Bars, t: int) -> Float64Array:
        """Take in row ``t`` and return the drift for row ``t + 1``."""
        drift = np.zeros(bars.close.shape[1])
        for alpha, loading, recent in zip(self._planted, self._loadings, self._recent, strict=True):
            slot = recent[t % alpha.horizon]
            slot[:] = 0.0
            if t >= alpha.window - 1:
                value = alpha.value(bars, t)
                known = np.isfinite(value)
                if known.sum() >= _FEW:
                    slot[known] = _standardise(value[known])
            drift += loading * recent.mean(axis=0)
        return drift


def _standardise(value: Float64Array) -> Float64Array:
    deviation = value - value.mean()
    scale = np.sqrt((deviation * deviation).mean())
    return np.clip(deviation / scale, -3, 3) if scale > 0 else np.zeros_like(value)


def _simulate(
    settings: SyntheticSettings,
    coins: Coins,
    calendar: Calendar,
    shocks: Shocks,
    planted: tuple[PlantedAlpha, ...],
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[Bars, Float64Array]:
    """Bars ``[T, N]`` (NaN before listing and after delisting) and quote volume ``[T, N]``."""
    rows, n = shocks.move.shape
    bars = Bars.empty((rows, n))
    quote_volume = np.full((rows, n), np.nan)
    drift_of = _Drift(planted, settings.strength, n)
    drift = np.zeros(n)
    price = coins.price.copy()
    tick = coins.tick
    steps = np.arange(1, STEPS + 1) / STEPS
    for t in range(rows):
        if t % _BLOCK == 0:
            ways = bridges(rng, min(_BLOCK, rows - t), n)
            progress(t, rows, "synthetic market")
        alive, trades = calendar.alive[t], calendar.trades[t]
        move = shocks.move[t] + drift * shocks.scale[t] + calendar.crash[t]
        move[~trades] = 0.0
        spread = np.where(trades, shocks.total[t], 0.0)
        path = price[:, None] * np.exp(move[:, None] * steps + spread[:, None] * ways[t % _BLOCK])
        path = np.maximum(np.round(path / tick[:, None]), 1) * tick[:, None]
        close = path[:, -1]
        bars.open[t] = np.where(alive, price, np.nan)
        bars.high[t] = np.where(alive, np.maximum(price, path.max(axis=1)), np.nan)
        bars.low[t] = np.where(alive, np.minimum(price, path.min(axis=1)), np.nan)
        bars.close[t] = np.where(alive, close, np.nan)
        # trading grows with the size of the move against what is usual
        dollars = np.exp(shocks.activity[t] + 0.6 * np.log1p(np.abs(move) / shocks.total[t]))
        dollars = np.where(trades, dollars, 0.0)
        quote_volume[t] = np.where(alive, dollars, np.nan)
        bars.volume[t] = quote_volume[t] / (0.5 * price + 0.5 * path.mean(axis=1))
        price = np.where(alive, close, price)
        if planted:
            with np.errstate(divide="ignore", invalid="ignore"):
                drift = drift_of.after(bars, t)
    progress(rows, rows, "synthetic market")
    return bars, quote_volume


def _frame(
    settings: SyntheticSettings,
    time: TimeArray,
    coins: Coins,
    present: NDArray[np.bool_],
    bars: Bars,
    quote_volume: Float64Array,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The canonical long frame: sorted by instrument and time, only present candles, float32."""
    import pandas as pd

    order = np.argsort(np.array(coins.ids))
    keep = present.T[order].reshape(-1)
    rows, n = present.shape
    columns: dict[str, object] = {
        "time": pd.DatetimeIndex(np.tile(time, n)[keep]).tz_localize("UTC"),
        "instrument": np.repeat(np.array(coins.ids, object)[order], rows)[keep],
    }

    def put(name: str, values: Float64Array) -> None:
        columns[name] = values.T[order].reshape(-1)[keep].astype(np.float32)

    for name in OHLCV:
        put(name, getattr(bars, name))
    put("quote_volume", quote_volume)
    if settings.market == "futures":
        hours = Timeframe.parse(settings.timeframe).seconds / HOUR
        premium = ar1(rng.normal(size=(rows, n)), 36 / hours)
        rate = 1e-4 + 1.5e-4 * premium
        if settings.carry > 0:  # of an own generator: the rest of the market stays as it is without
            lasting = np.random.default_rng([settings.seed, 1]).normal(size=(rows, n))
            a_year = 365 * 24 / _FUNDING_HOURS
            rate += settings.carry / a_year * ar1(lasting, _CARRY_DAYS * 24 / hours)
        settles = time.astype("datetime64[s]").astype(np.int64) % (_FUNDING_HOURS * HOUR) == 0
        put("funding_rate", np.where(settles[:, None], rate, np.nan))
        mark = bars.close * np.exp(2e-4 * rng.normal(size=(rows, n)))
        put("mark", mark)
    return pd.DataFrame(columns)
