"""A seeded synthetic crypto market: not real data, and named so that nobody takes it for real.

1. Listing, delisting, missing and quiet candles are drawn first (`_Calendar`); none depends on a price.
2. Shocks follow (`_Shocks`): a market and several sector factors and one own shock an instrument, all
   Student-t, scaled by stochastic volatility (a fast and a slow log-volatility component, which rise when the
   market falls) and by the season of day and week (`_volatility`).
3. Bars are simulated one after the other (`_simulate`): the planted formulas (`planted.py`) are evaluated on
   the bars so far, standardised over the cross-section, and the mean of their last ``horizon`` values, times
   their loading, drifts the next bar. Nothing that a bar depends on lies after it.
4. Within a bar the price walks over a few steps from open to close; high and low are the extremes of that
   path. Volume has a log-normal level and grows with the size of the move.
5. The bars become the canonical long frame (`_frame`), with quote volume, and for futures with funding rate
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
from bascule.data.planted import PLANTED, Bars, Float64Array, PlantedAlpha

if TYPE_CHECKING:
    import pandas as pd

_HOUR = 3_600
_STEPS = 6  # points of the path within a bar
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
    coins = _Coins.draw(settings, rng)
    calendar = _Calendar.draw(settings, len(time), coins.rank, rng)
    shocks = _Shocks.draw(settings, time, timeframe, coins, rng)
    planted = PLANTED if settings.strength > 0 else ()
    bars, quote_volume = _simulate(settings, coins, calendar, shocks, planted, rng, progress)
    frame = _frame(settings, time, coins, calendar.present, bars, quote_volume, rng)
    return SyntheticMarket(frame, timeframe, planted)


@dataclass(frozen=True)
class _Coins:
    """What stays constant for each instrument ``[N]``; the market leader is the first."""

    ids: tuple[str, ...]
    rank: Float64Array  # 0 = largest … 1 = smallest
    price: Float64Array
    tick: Float64Array
    dollars: Float64Array  # mean quote volume an hour
    beta: Float64Array
    sector: NDArray[np.int64]
    own: Float64Array  # volatility of the own shock, an hour

    @classmethod
    def draw(cls, settings: SyntheticSettings, rng: np.random.Generator) -> _Coins:
        n = settings.instruments
        settle = "USDT" if settings.market == "futures" else None
        names = ["SYNBTC", *(f"SYN{i:02d}" for i in range(1, n))]
        rank = np.arange(n) / max(1, n - 1)
        price = 10 ** rng.uniform(-4, 3.3, n)
        price[0] = 40_000.0
        tick = 10.0 ** np.maximum(np.floor(np.log10(price)) - 5, -8)
        # a heavy-headed size distribution: the leader trades about a thousand times the smallest
        dollars = 3e7 * np.exp(-6.5 * rank + rng.normal(0, 0.35, n))
        beta = rng.uniform(0.7, 1.4, n)
        own = 0.008 * np.exp(rng.normal(0, 0.2, n)) * (0.85 + 0.4 * rank)
        beta[0], own[0], dollars[0] = 1.0, 0.002, 6e7
        sector = rng.integers(0, settings.sectors, n)
        ids = tuple(Instrument(name, "USDT", settle).id for name in names)
        return cls(ids, rank, np.round(price / tick) * tick, tick, dollars, beta, sector, own)


@dataclass(frozen=True)
class _Calendar:
    """When each instrument is alive, present in the data, and trades ``[T, N]``."""

    alive: NDArray[np.bool_]
    present: NDArray[np.bool_]  # alive and not missing
    trades: NDArray[np.bool_]  # present and not quiet
    crash: Float64Array  # log return on the news that ends in a delisting, else 0

    @classmethod
    def draw(
        cls, settings: SyntheticSettings, rows: int, rank: Float64Array, rng: np.random.Generator
    ) -> _Calendar:
        n = len(rank)
        first = np.zeros(n, np.int64)
        last = np.full(n, rows - 1)
        others = rng.permutation(np.arange(1, n))
        late = others[: round(settings.late * n)]
        first[late] = rng.integers(rows // 20, rows * 6 // 10, len(late))
        gone = others[len(others) - round(settings.delisted * n) :]
        last[gone] = rng.integers(rows * 7 // 10, rows * 19 // 20, len(gone))
        t = np.arange(rows)[:, None]
        alive = (t >= first) & (t <= last)
        missing = rng.random((rows, n)) < settings.missing / 2
        for at in np.flatnonzero(rng.random(rows) < settings.missing / 4):  # an outage of the whole venue
            missing[at : at + int(rng.integers(1, 4))] = True
        missing[first, np.arange(n)] = False
        quiet = rng.random((rows, n)) < settings.quiet * rank**2
        quiet[first, np.arange(n)] = False
        crash = np.zeros((rows, n))
        news = last[gone] - rng.integers(1, 1 + min(rows // 10, 240), len(gone))
        crash[news, gone] = -rng.uniform(0.5, 1.5, len(gone))
        present = alive & ~missing
        return cls(alive, present, present & ~quiet, crash)


@dataclass(frozen=True)
class _Shocks:
    """All randomness of prices and volumes that does not depend on prices."""

    move: Float64Array  # log return before drift [T, N]
    scale: Float64Array  # volatility of a bar, without the market's part [T, N]
    total: Float64Array  # volatility of a bar, market's part included [T, N]
    activity: Float64Array  # log of quote volume before the effect of the move [T, N]

    @classmethod
    def draw(
        cls,
        settings: SyntheticSettings,
        time: TimeArray,
        timeframe: Timeframe,
        coins: _Coins,
        rng: np.random.Generator,
    ) -> _Shocks:
        rows, n = len(time), len(coins.rank)
        hours = timeframe.seconds / _HOUR
        student = np.sqrt((settings.tail - 2) / settings.tail)

        def tailed(*shape: int) -> Float64Array:
            shock: Float64Array = np.clip(rng.standard_t(settings.tail, shape) * student, -15, 15)
            return shock

        season = _season(time, timeframe)[:, None]
        market, sectors, own = tailed(rows, 1), tailed(rows, settings.sectors), tailed(rows, n)
        common = _volatility(rng, market, hours)
        each = 0.6 * common + 0.6 * _volatility(rng, own, hours)
        root = np.sqrt(hours)
        sigma_market = 0.0042 * root * season * np.exp(common)
        sigma_own = coins.own * root * season * np.exp(each)
        sigma_sector = 0.4 * sigma_own
        trend = _ar1(rng.normal(size=(rows, 1)), 45 * 24 / hours) * 0.8 * hours / (365 * 24)
        scale = np.sqrt(sigma_own**2 + sigma_sector**2)
        total = np.sqrt(scale**2 + (coins.beta * sigma_market) ** 2)
        move = (
            coins.beta * (sigma_market * market + trend)
            + sigma_sector * sectors[:, coins.sector]
            + sigma_own * own
            - total**2 / 2
        )
        activity = (
            np.log(coins.dollars * hours)
            + 0.8 * each
            + 1.2 * np.log(season)
            + 0.5 * _ar1(rng.normal(size=(rows, n)), 24 / hours)
            + 0.3 * rng.normal(size=(rows, n))
        )
        return cls(move, scale, total, activity)


def _bridges(rng: np.random.Generator, rows: int, n: int) -> Float64Array:
    """Brownian bridges of unit variance a bar: the way from open to close ``[rows, N, steps]``."""
    walk = np.cumsum(rng.normal(0, _STEPS**-0.5, (rows, n, _STEPS)), axis=2)
    bridge: Float64Array = walk - np.arange(1, _STEPS + 1) / _STEPS * walk[:, :, -1:]
    return bridge


def _season(time: TimeArray, timeframe: Timeframe) -> Float64Array:
    """Volatility by hour of the day (high when Europe and America are both awake) and day of the week."""
    hour = (time - time.astype("datetime64[D]")).astype(np.int64) / (_HOUR * 1e9)
    weekday = (time.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    # a candle as long as a day averages the hours
    day = 0.3 * np.cos(2 * np.pi * (hour - 15) / 24) * (timeframe.seconds <= 8 * _HOUR)
    season: Float64Array = (1 + day) * np.where(weekday >= 5, 0.85, 1.05)
    return season


def _ar1(noise: Float64Array, half_life: float) -> Float64Array:
    """Unit-variance AR(1) series of the given half-life in rows, started in its stationary state."""
    phi = 0.5 ** (1 / half_life)
    out = np.empty_like(noise)
    out[0] = noise[0]
    drive = np.sqrt(1 - phi * phi) * noise
    for t in range(1, len(noise)):
        out[t] = phi * out[t - 1] + drive[t]
    return out


def _volatility(rng: np.random.Generator, shock: Float64Array, hours: float) -> Float64Array:
    """Log-volatility ``[T, …]``: fast and slow clusters; a fall at ``t - 1`` lifts it at ``t`` (leverage)."""
    before = np.vstack([np.zeros_like(shock[:1]), shock[:-1]])
    leverage = -0.3
    drive = leverage * before + np.sqrt(1 - leverage**2) * rng.normal(size=shock.shape)
    fast, slow = 0.45, 0.4
    x: Float64Array = fast * _ar1(drive, 8 / hours) + slow * _ar1(
        rng.normal(size=shock.shape), 12 * 24 / hours
    )
    return x - (fast**2 + slow**2)  # so that the mean variance is about one


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
    coins: _Coins,
    calendar: _Calendar,
    shocks: _Shocks,
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
    steps = np.arange(1, _STEPS + 1) / _STEPS
    for t in range(rows):
        if t % _BLOCK == 0:
            bridges = _bridges(rng, min(_BLOCK, rows - t), n)
            progress(t, rows, "synthetic market")
        alive, trades = calendar.alive[t], calendar.trades[t]
        move = shocks.move[t] + drift * shocks.scale[t] + calendar.crash[t]
        move[~trades] = 0.0
        spread = np.where(trades, shocks.total[t], 0.0)
        path = price[:, None] * np.exp(move[:, None] * steps + spread[:, None] * bridges[t % _BLOCK])
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
    coins: _Coins,
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

    for name in ("open", "high", "low", "close", "volume"):
        put(name, getattr(bars, name))
    put("quote_volume", quote_volume)
    if settings.market == "futures":
        hours = Timeframe.parse(settings.timeframe).seconds / _HOUR
        premium = _ar1(rng.normal(size=(rows, n)), 36 / hours)
        rate = 1e-4 + 1.5e-4 * premium
        if settings.carry > 0:  # of an own generator: the rest of the market stays as it is without
            lasting = np.random.default_rng([settings.seed, 1]).normal(size=(rows, n))
            a_year = 365 * 24 / _FUNDING_HOURS
            rate += settings.carry / a_year * _ar1(lasting, _CARRY_DAYS * 24 / hours)
        settles = time.astype("datetime64[s]").astype(np.int64) % (_FUNDING_HOURS * _HOUR) == 0
        put("funding_rate", np.where(settles[:, None], rate, np.nan))
        mark = bars.close * np.exp(2e-4 * rng.normal(size=(rows, n)))
        put("mark", mark)
    return pd.DataFrame(columns)
