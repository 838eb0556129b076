"""What of the synthetic market depends on no price, drawn before the first candle (`synthetic`).

1. `Coins`: what stays constant for each instrument: size, price, beta, sector, own volatility.
2. `Calendar`: listings, delistings and the news before them, missing and quiet candles.
3. `Shocks`: a market and several sector factors and one own shock an instrument, all Student-t, scaled by
   stochastic volatility (a fast and a slow log-volatility component, which rise when the market falls) and by
   the season of day and week (`_volatility`, `_season`).
4. `bridges`: the ways that prices walk within candles.

All take the one generator of the market, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import Instrument, Timeframe
from bascule.core.timeframe import TimeArray
from bascule.data.planted import Float64Array

if TYPE_CHECKING:
    from bascule.data.synthetic import SyntheticSettings

HOUR = 3_600
STEPS = 6  # points of the path within a bar


@dataclass(frozen=True)
class Coins:
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
    def draw(cls, settings: SyntheticSettings, rng: np.random.Generator) -> Coins:
        """The coins of a market."""
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
class Calendar:
    """When each instrument is alive, present in the data, and trades ``[T, N]``."""

    alive: NDArray[np.bool_]
    present: NDArray[np.bool_]  # alive and not missing
    trades: NDArray[np.bool_]  # present and not quiet
    crash: Float64Array  # log return on the news that ends in a delisting, else 0

    @classmethod
    def draw(
        cls, settings: SyntheticSettings, rows: int, rank: Float64Array, rng: np.random.Generator
    ) -> Calendar:
        """The calendar of ``rows`` candles; the smaller a coin (``rank``), the quieter."""
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
class Shocks:
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
        coins: Coins,
        rng: np.random.Generator,
    ) -> Shocks:
        """The shocks of candles that open at ``time``."""
        rows, n = len(time), len(coins.rank)
        hours = timeframe.seconds / HOUR
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
        trend = ar1(rng.normal(size=(rows, 1)), 45 * 24 / hours) * 0.8 * hours / (365 * 24)
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
            + 0.5 * ar1(rng.normal(size=(rows, n)), 24 / hours)
            + 0.3 * rng.normal(size=(rows, n))
        )
        return cls(move, scale, total, activity)


def bridges(rng: np.random.Generator, rows: int, n: int) -> Float64Array:
    """Brownian bridges of unit variance a bar: the way from open to close ``[rows, N, steps]``."""
    walk = np.cumsum(rng.normal(0, STEPS**-0.5, (rows, n, STEPS)), axis=2)
    bridge: Float64Array = walk - np.arange(1, STEPS + 1) / STEPS * walk[:, :, -1:]
    return bridge


def _season(time: TimeArray, timeframe: Timeframe) -> Float64Array:
    """Volatility by hour of the day (high when Europe and America are both awake) and day of the week."""
    hour = (time - time.astype("datetime64[D]")).astype(np.int64) / (HOUR * 1e9)
    weekday = (time.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    # a candle as long as a day averages the hours
    day = 0.3 * np.cos(2 * np.pi * (hour - 15) / 24) * (timeframe.seconds <= 8 * HOUR)
    season: Float64Array = (1 + day) * np.where(weekday >= 5, 0.85, 1.05)
    return season


def ar1(noise: Float64Array, half_life: float) -> Float64Array:
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
    x: Float64Array = fast * ar1(drive, 8 / hours) + slow * ar1(rng.normal(size=shock.shape), 12 * 24 / hours)
    return x - (fast**2 + slow**2)  # so that the mean variance is about one
