"""Leverage brackets: how much leverage a position's value allows, and the margin that it must keep.

Where freqtrade's packaged table of Binance's brackets knows the pair it is used, so that dry runs, backtests
and this exchange liquidate alike; other pairs get the ladder `USUAL`, which is made up, and stricter than
those of the large coins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_TABLE = "exchange/binance_leverage_tiers.json"


@dataclass(frozen=True)
class Bracket:
    """One step of the ladder.

    Attributes:
        floor, cap: values (quote units) between which it holds.
        leverage: the most that is allowed.
        ratio: maintenance margin as a share of the value.
        deduction: subtracted from value times ratio, so that the margin grows without jumps.
    """

    floor: Decimal
    cap: Decimal
    leverage: int
    ratio: Decimal
    deduction: Decimal


def ladder(steps: list[tuple[str, int, str]]) -> tuple[Bracket, ...]:
    """Brackets from (cap, leverage, ratio) steps, deductions worked out."""
    found: list[Bracket] = []
    floor = deduction = ratio_before = Decimal(0)
    for cap, leverage, ratio in steps:
        deduction += floor * (Decimal(ratio) - ratio_before)
        found.append(Bracket(floor, Decimal(cap), leverage, Decimal(ratio), deduction))
        floor, ratio_before = Decimal(cap), Decimal(ratio)
    return tuple(found)


USUAL = ladder(
    [
        ("5000", 50, "0.015"),
        ("25000", 25, "0.02"),
        ("100000", 20, "0.025"),
        ("250000", 10, "0.05"),
        ("1000000", 5, "0.1"),
        ("5000000", 2, "0.25"),
        ("100000000", 1, "0.5"),
    ]
)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    found = find_spec("freqtrade")
    if found is None or found.origin is None:
        return {}
    path = Path(found.origin).parent / _TABLE
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return loaded


@lru_cache(maxsize=1_024)
def brackets(pair: str) -> tuple[Bracket, ...]:
    """Brackets of a pair in freqtrade's spelling (``BTC/USDT:USDT``)."""
    steps = _table().get(pair)
    if not steps:
        return USUAL
    return ladder(
        [
            (
                str(Decimal(str(s["maxNotional"]))),
                int(s["maxLeverage"]),
                str(Decimal(str(s["maintenanceMarginRate"]))),
            )
            for s in steps
        ]
    )


def bracket_of(pair: str, value: Decimal) -> Bracket:
    """The bracket of a position's value; the last one beyond the ladder."""
    steps = brackets(pair)
    return next((step for step in steps if value <= step.cap), steps[-1])


def maintenance(pair: str, value: Decimal) -> Decimal:
    """Margin that a position of this value must keep, in quote units."""
    step = bracket_of(pair, value)
    return value * step.ratio - step.deduction
