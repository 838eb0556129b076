"""Units of factor texts: what may be added to what, and what means the same for every coin.

A dimension counts powers of price and of volume; $close is (1, 0), $volume (0, 1), their product money (1,
1), a return (0, 0). The logarithm of something with a unit is a *level*: known but for a constant that
depends on the unit, so its differences, ranks, deviations and correlations have meaning, it itself has none.

Raw-price and raw-volume formulae lose their meaning on crypto's levels (coins from 1e-5 to 5e4), so a miner
asks for factors without unit (`RATIO`), and the rules below are its type checker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bascule.expr import Constant, Field, Node, pair, rolling, shift, trend, weighted
from bascule.expr import crosssection as cross
from bascule.expr import elementwise as cell


@dataclass(frozen=True, order=True)
class Dimension:
    """Powers of price and volume.

    Attributes:
        price: power of a price.
        volume: power of a number of coins.
        level: known up to an additive constant (a logarithm of something with a unit).
    """

    price: int = 0
    volume: int = 0
    level: bool = False

    def __str__(self) -> str:
        return f"price^{self.price} volume^{self.volume}" + (" (log)" if self.level else "")


RATIO = Dimension()
PRICE = Dimension(1, 0)
VOLUME = Dimension(0, 1)
MONEY = Dimension(1, 1)
LEVEL = Dimension(level=True)

FIELDS: Mapping[str, Dimension] = {
    **dict.fromkeys(("open", "high", "low", "close", "vwap", "mark", "index_price"), PRICE),
    **dict.fromkeys(("mark_open", "mark_high", "mark_low", "mark_close"), PRICE),
    **dict.fromkeys(("volume", "taker_buy_volume", "open_interest"), VOLUME),
    **dict.fromkeys(("quote_volume", "open_interest_value", "liquidated_long", "liquidated_short"), MONEY),
    **dict.fromkeys(("market_cap", "realised_cap", "transfer_value", "fees"), MONEY),
    **dict.fromkeys(("total_market_cap", "total_volume", "insurance_fund"), MONEY),
}

Rule = Callable[[tuple[Dimension, ...]], Dimension | None]


def _same(d: tuple[Dimension, ...]) -> Dimension | None:
    return d[0] if all(other == d[0] for other in d) else None


def _difference(d: tuple[Dimension, ...]) -> Dimension | None:
    """Levels differ by a ratio."""
    both = _same(d)
    return RATIO if both is not None and both.level else both


def _times(d: tuple[Dimension, ...]) -> Dimension | None:
    a, b = d
    return None if a.level or b.level else Dimension(a.price + b.price, a.volume + b.volume)


def _over(d: tuple[Dimension, ...]) -> Dimension | None:
    a, b = d
    return None if a.level or b.level else Dimension(a.price - b.price, a.volume - b.volume)


def _signed(d: tuple[Dimension, ...]) -> Dimension | None:
    """What asks for a zero; a level has none."""
    return None if d[0].level else d[0]


def _sign(d: tuple[Dimension, ...]) -> Dimension | None:
    return None if d[0].level else RATIO


def _logarithm(d: tuple[Dimension, ...]) -> Dimension | None:
    if d[0].level:
        return None
    return RATIO if d[0] == RATIO else LEVEL


def _spread(d: tuple[Dimension, ...]) -> Dimension:
    """Deviations and slopes: the constant of a level goes."""
    return RATIO if d[0].level else d[0]


def _pure(d: tuple[Dimension, ...]) -> Dimension:
    return RATIO


def _sum(d: tuple[Dimension, ...]) -> Dimension | None:
    return _same(d) if not d[0].level else None


def _compared(d: tuple[Dimension, ...]) -> Dimension | None:
    return RATIO if _same(d) is not None else None


RULES: Mapping[type[Node], Rule] = {
    cell.Abs: _signed, cell.Sign: _sign, cell.Log: _logarithm, cell.SignedLog: lambda d: _same((d[0], RATIO)),
    cell.Add: _sum, cell.Sub: _difference, cell.Mul: _times, cell.Div: _over,
    cell.Greater: _same, cell.Less: _same, cell.Gt: _compared, cell.Ge: _compared,
    cell.Lt: _compared, cell.Le: _compared,
    shift.Ref: lambda d: d[0], shift.Delta: _spread,
    rolling.Mean: lambda d: d[0], rolling.Med: lambda d: d[0], rolling.Max: lambda d: d[0],
    rolling.Min: lambda d: d[0], rolling.Quantile: lambda d: d[0], rolling.Sum: _signed,
    rolling.TrimMean: lambda d: d[0], rolling.Winsorize: lambda d: d[0],
    rolling.Std: _spread, rolling.Mad: _spread, rolling.Skew: _pure, rolling.Kurt: _pure,
    rolling.Rank: _pure, rolling.IdxMax: _pure, rolling.IdxMin: _pure, rolling.TSZScore: _pure,
    rolling.TSMinMaxScale: _pure, rolling.Count: _pure,
    trend.Slope: _spread, trend.Resi: _spread, trend.Rsquare: _pure,
    weighted.EMA: lambda d: d[0], weighted.WMA: _signed, weighted.Decay: lambda d: d[0],
    pair.Corr: _pure,
    rolling.TSMadZ: _pure, cross.CSRank: _pure, cross.CSZScore: _pure, cross.CSMadZ: _pure,
    cross.CSRankGauss: _pure, cross.CSDemean: _spread, cross.CSTrimDemean: _spread,
    cross.CSWinsorize: lambda d: d[0],
}  # fmt: skip


def dimension(node: Node, fields: Mapping[str, Dimension] = FIELDS) -> Dimension | None:
    """The dimension of an expression, or None where it adds price to volume or the like.

    Fields that are not named are ratios or counts (funding rates, sentiment, shares, trades). A number has no
    unit.
    """
    if isinstance(node, Field):
        return fields.get(node.name, RATIO)
    if isinstance(node, Constant):
        return RATIO
    rule = RULES.get(type(node))
    below = [dimension(child, fields) for child in node.children]
    if rule is None or any(one is None for one in below):
        return None
    return rule(tuple(one for one in below if one is not None))
