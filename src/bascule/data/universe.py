"""The universe: which instruments may be held at each moment, from what was known before that moment.

1. Rebalance instants are whole UTC days whose number since 1970 is divisible by ``rebalance_days``: absolute,
   so that every window of history has the same ones.
2. At an instant only whole days before it count. The dollar volume of a day is the sum of close × volume over
   its candles; the score is the sum of the last ``volume_days`` days.
3. Eligible is what is not excluded, is at least ``min_age_days`` old by its first candle ever, has the least
   dollar volume a day, and was traded on the last whole day (a delisted coin leaves; its past membership
   stays).
4. The ``top`` highest scores are members until the next instant; of equal scores the earlier name counts.
5. In each row only members that were traded in that row remain.
6. Tiers (`tiers`) divide the members of an instant by the same score: models may be fitted by liquidity.

All sums are float64, added in one fixed order, one candle and one day after the other: the same bits on any
window that covers `lookback`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from bascule.core import ConfigError, Instrument, Panel, Settings, Timeframe, UniverseError
from bascule.data.rows import BoolArray, Int64Array

Float64Array = NDArray[np.float64]
TierArray = NDArray[np.int8]
_DAY = 86_400
_TIERS = 100

# fmt: off
STABLE = frozenset({
    "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USDP", "USDD", "DAI", "PAX", "GUSD", "UST", "USTC", "SUSD",
    "USDS", "USDE", "PYUSD", "FRAX", "LUSD", "USD", "USD1", "XUSD", "BFUSD", "EUR", "EURI", "AEUR", "EURT",
    "GBP", "AUD", "TRY", "BRL",
})
# fmt: on
"""Base assets whose price is that of a national currency."""

# fmt: off
WRAPPED = frozenset({
    "WBTC", "BTCB", "TBTC", "RENBTC", "HBTC", "CBBTC", "SOLVBTC", "FBTC", "LBTC",
    "WETH", "BETH", "WBETH", "STETH", "WSTETH", "RETH", "CBETH", "SFRXETH", "FRXETH", "WEETH", "EZETH",
    "METH",
    "WBNB", "SLISBNB", "WMATIC", "WAVAX", "WFTM", "WTRX", "STTRX", "WSOL", "BNSOL", "JITOSOL", "MSOL", "BSOL",
    "PAXG", "XAUT",
})
# fmt: on
"""Base assets that stand for another asset: their return is that one's, counted twice."""

_LEVERAGED = re.compile(
    r"(BTC|ETH|BNB|ADA|XRP|DOT|LINK|TRX|UNI|EOS|LTC|XTZ|XLM|SUSHI|AAVE|YFI|FIL|SXP|1INCH|BCH|SOL|DOGE|AVAX"
    r"|MATIC|ATOM|ALGO|THETA|VET)(UP|DOWN|BULL|BEAR|[235][LS])|BULL|BEAR"
)


class UniverseSettings(Settings):
    """Which instruments are tradable, and when."""

    top: int | None = Field(default=None, ge=1, description="number of members; None = all that are eligible")
    volume_days: int = Field(default=30, ge=1, le=365, description="whole days of dollar volume that rank")
    min_age_days: int = Field(default=30, ge=0, le=3_650, description="days since the first candle")
    rebalance_days: int = Field(default=1, ge=1, le=90, description="days between two choices of members")
    min_dollar_volume: float = Field(
        default=0, ge=0, description="least dollar volume a day, mean over volume_days"
    )
    exclude: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]+$")], ...] = Field(
        default=(), description="base assets or store ids that are never members"
    )
    exclude_stable: bool = Field(default=True, description="leave out stablecoins and currencies")
    exclude_wrapped: bool = Field(
        default=True, description="leave out coins that stand for another asset (WBTC, STETH, PAXG)"
    )
    exclude_leveraged: bool = Field(default=True, description="leave out leveraged tokens (BTCUP, …)")


def lookback(settings: UniverseSettings, timeframe: Timeframe) -> int:
    """Candles before a row that its membership needs.

    Raises:
        ConfigError: candles longer than a day.
    """
    _must_fit(timeframe)
    return (settings.volume_days + settings.rebalance_days) * timeframe.bars_a_day - 1


def excluded(instrument: str, settings: UniverseSettings) -> bool:
    """True for an instrument that is never a member."""
    base = Instrument.parse(instrument).base
    return (
        base in settings.exclude
        or instrument in settings.exclude
        or (settings.exclude_stable and base in STABLE)
        or (settings.exclude_wrapped and base in WRAPPED)
        or (settings.exclude_leveraged and _LEVERAGED.fullmatch(base) is not None)
    )


def membership(panel: Panel, settings: UniverseSettings) -> BoolArray:
    """Point-in-time membership ``[T, N]`` of a prepared panel.

    Candles before the panel's first row count as not traded: rows that have less than `lookback` candles
    before them are right only where the panel starts with the history itself.

    Raises:
        UniverseError: no row has a member.
        ConfigError: candles longer than a day.
    """
    members: BoolArray = chosen(panel, settings) & panel.traded
    if not members.any():
        allowed = sum(not excluded(name, settings) for name in panel.instruments)
        days = len(np.unique(panel.time.astype("datetime64[D]")))
        raise UniverseError(
            f"no instrument is ever a member ({allowed} of {panel.shape[1]} are not excluded, {days} days of "
            "data)",
            where="universe",
            remedy="take more history, fewer min_age_days or fewer exclusions",
        )
    return members


def chosen(panel: Panel, settings: UniverseSettings) -> BoolArray:
    """The choice that holds in each row, whether or not there was a trade in it ``[T, N]``."""
    at, scores = _scores(panel, settings)
    picked = np.array([_top(score, score > 0, settings.top) for score in scores])
    found: BoolArray = picked[at]
    return found


def tiers(panel: Panel, settings: UniverseSettings, sizes: Sequence[int]) -> TierArray:
    """Liquidity tier of each member ``[T, N]``: 1 = the ``sizes[0]`` largest by dollar volume, 2 = the next
    ``sizes[1]``, …, ``len(sizes) + 1`` = the others; 0 = no member.

    Point-in-time and deterministic as `membership`, with the same look-back.

    Raises:
        ConfigError: no sizes, sizes below 1, or candles longer than a day.
    """
    if not sizes or min(sizes) < 1 or len(sizes) > _TIERS:
        raise ConfigError(
            f"received {list(sizes)}", where="tiers", remedy=f"give 1 to {_TIERS} sizes, each at least 1"
        )
    at, scores = _scores(panel, settings)
    found = np.zeros((len(scores), panel.shape[1]), np.int8)
    for i, score in enumerate(scores):
        members = _top(score, score > 0, settings.top)
        order = np.argsort(np.where(members, -score, np.inf), kind="stable")[: int(members.sum())]
        found[i, order] = 1 + np.searchsorted(np.cumsum(sizes), np.arange(len(order)), side="right")
    result: TierArray = np.where(panel.traded, found[at], 0).astype(np.int8)
    return result


def _scores(panel: Panel, settings: UniverseSettings) -> tuple[Int64Array, list[Float64Array]]:
    """Which rebalance instant holds in each row ``[T]``, and by instant the dollar volume of who is eligible,
    0 for others ``[N]``."""
    _must_fit(panel.timeframe)
    days = panel.time.astype("datetime64[D]").astype(np.int64)
    volume = _daily_dollars(panel, days)
    first = int(days[0])
    instants = days - days % settings.rebalance_days
    allowed = np.array([not excluded(name, settings) for name in panel.instruments])
    choices = np.unique(instants)
    least = settings.min_dollar_volume * settings.volume_days
    scores = []
    for instant in choices:
        score = np.zeros(len(panel.instruments))
        # whole days before the instant, oldest first; those before the panel have no volume
        for day in range(max(first, instant - settings.volume_days), instant):
            score += volume[day - first]
        last = volume[instant - 1 - first] if instant > first else np.zeros_like(score)
        eligible = allowed & (last > 0) & (score >= least) & _old_enough(panel, instant, settings)
        scores.append(np.where(eligible, score, 0.0))
    return np.searchsorted(choices, instants).astype(np.int64), scores


def _must_fit(timeframe: Timeframe) -> None:
    if timeframe.seconds > _DAY:
        raise ConfigError(
            f"the universe is chosen by the day; {timeframe} candles are longer",
            where="universe",
            remedy="use a timeframe of at most 1d",
        )


def _daily_dollars(panel: Panel, days: Int64Array) -> Float64Array:
    """Dollar volume of each calendar day that the panel touches ``[D, N]``."""
    dollars = panel["close"].astype(np.float64) * panel["volume"]
    dollars = np.where(np.isfinite(dollars), dollars, 0.0)
    # one row of all instruments after the other: np.add.reduce may sum pairwise, in an order that depends
    # on the shape of the array
    out = np.zeros((int(days[-1] - days[0]) + 1, dollars.shape[1]))
    for t, day in enumerate(days - days[0]):
        out[day] += dollars[t]
    return out


def _old_enough(panel: Panel, instant: int, settings: UniverseSettings) -> BoolArray:
    age = np.datetime64(int(instant), "D") - panel.listed  # NaT where never traded: compares false
    old: BoolArray = age >= np.timedelta64(settings.min_age_days, "D")
    return old


def _top(score: Float64Array, eligible: BoolArray, count: int | None) -> BoolArray:
    """The ``count`` highest eligible scores ``[N]``."""
    if count is None or eligible.sum() <= count:
        return eligible
    order = np.argsort(np.where(eligible, -score, np.inf), kind="stable")
    chosen = np.zeros(len(score), bool)
    chosen[order[:count]] = True
    return chosen & eligible
