"""Returns of the market: bitcoin, or the members weighted by capitalisation, by value traded, or equally."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bascule.core import Panel, UniverseError
from bascule.evaluate.rows import Float64Array
from bascule.risk.model import close_returns
from bascule.risk.style import leader as leader_of
from bascule.risk.windows import value_traded

Market = Literal["leader", "cap", "volume", "equal"]


def market_returns(
    panel: Panel, by: Market = "volume", *, leader: str | None = None, days: float = 30.0
) -> Float64Array:
    """Close-to-close returns of the market, for time-series regressions ``[T]``; NaN where there is none.

    Weights and membership are those of the row before: a candle's own volume and price rise with its move.

    Args:
        panel: needs ``close``, and ``volume`` or ``market_cap`` for those weights.
        by: ``leader`` = one instrument; ``cap`` = market capitalisation; ``volume`` = value traded.
        leader: the instrument; None = bitcoin.
        days: window of the value traded.

    Raises:
        UniverseError: the leader is not in the panel.
        DataError: a field is missing.
    """
    returns = close_returns(panel)
    if by == "leader":
        name = leader or leader_of(panel.instruments)
        if name is None or name not in panel.instruments:
            raise UniverseError(
                f"the leader {name or 'bitcoin'} is not in the panel",
                where="risk.market_returns",
                remedy=f"choose one of {', '.join(panel.instruments[:8])}, …",
            )
        return returns[:, panel.instruments.index(name)].copy()
    weights = np.ones(panel.shape)
    if by == "cap":
        weights = np.nan_to_num(panel["market_cap"].astype(np.float64))
    elif by == "volume":
        weights = value_traded(panel, panel.timeframe.bars(days))
    before = np.zeros(panel.shape)
    before[1:] = np.where(panel.members[:-1], weights[:-1], 0.0)
    used = np.where(np.isfinite(returns), before, 0.0)
    total = used.sum(axis=1)
    some = total > 0.0
    mean = (np.nan_to_num(returns) * used).sum(axis=1) / np.where(some, total, 1.0)
    return np.where(some, mean, np.nan)
