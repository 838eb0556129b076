"""Limits of the whole book before an order goes out: `risk.check_orders` on what is held plus the order.

The risk model is the one-factor one that candles give row by row: variance = β² · market variance + own
variance (Sharpe 1963). It needs no database and is the same live and in a backtest. What is not known about
an instrument is taken from the riskiest one that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import Instrument
from bascule.evaluate.rows import Float64Array

if TYPE_CHECKING:
    from bascule.risk import PreTradeSettings, RiskModel

# without any known volatility: 200 % a year, more than all but a few coins
_UNKNOWN_VOLATILITY = 2.0
_LEAST_OWN_SHARE = 0.05


@dataclass(frozen=True)
class Known:
    """What candles say about an instrument now.

    Attributes:
        volatility: annualised; NaN = unknown.
        beta: to the market; NaN = unknown.
        market: annualised volatility of the market; NaN = unknown.
    """

    volatility: float
    beta: float
    market: float


def risk_model(known: Mapping[str, Known], bars_a_year: float) -> RiskModel:
    """The one-factor model of some instruments (store ids)."""
    from bascule.risk import RiskModel

    names = tuple(known)
    volatility = _worst([known[name].volatility for name in names], _UNKNOWN_VOLATILITY)
    beta = _worst([known[name].beta for name in names], 1.0)
    markets = [one.market for one in known.values() if one.market == one.market]
    market = max(markets) if markets else float(volatility.max(initial=_UNKNOWN_VOLATILITY))
    own = np.maximum(volatility**2 - (beta * market) ** 2, _LEAST_OWN_SHARE * volatility**2)
    return RiskModel(
        ("market",),
        names,
        beta[:, None],
        np.array([[market**2 / bars_a_year]]),
        own / bars_a_year,
        bars_a_year,
        np.datetime64("NaT", "ns"),
    )


def allowed(
    instrument: str,
    change: float,
    held: Mapping[str, float],
    model: RiskModel,
    settings: PreTradeSettings,
    *,
    equity: float,
    volume: Mapping[str, float],
) -> tuple[float, str]:
    """How much of a change of weight may be traded, and why not all of it.

    Args:
        instrument: store id; must be in the model.
        change: of its signed weight, share of equity.
        held: signed weights of all positions, store id → share of equity.
        model: of at least these instruments.
        settings: limits.
        equity: in the stake currency, for ``trade_share``.
        volume: value traded a day, store id → stake currency; for ``trade_share``.

    Returns:
        The allowed change, between 0 and ``change``, and the limits that cut it (empty: none).
    """
    from bascule.risk import check_orders

    current = np.array([held.get(name, 0.0) for name in model.instruments])
    place = model.instruments.index(instrument)
    target = current.copy()
    target[place] += change
    leader = next((name for name in model.instruments if Instrument.parse(name).base == "BTC"), None)
    verdict = check_orders(
        model,
        current,
        target,
        settings.model_copy(update={"capital": equity}),
        volume=np.array([volume.get(name, 0.0) for name in model.instruments]),
        leader=leader,
    )
    granted = float(verdict.weights[place] - current[place])
    return granted, "; ".join(action.limit for action in verdict.actions)


def _worst(values: list[float], otherwise: float) -> Float64Array:
    """The values, unknown ones as large as the largest known."""
    array = np.array(values, np.float64)
    known = np.isfinite(array)
    return np.where(known, array, array[known].max() if known.any() else otherwise)
