"""The prepared panel: what factors read, equal in research, in the backtest and live.

NaN means "no trade". A candle with volume 0 carries no trade: exchanges and freqtrade write such flat candles
where nothing happened, and freqtrade fills missing candles with them, live and in backtests. Masking them
makes a stored history with holes and a live window with fillers the same panel.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bascule.core import DataError, Panel
from bascule.data.rows import OHLC, OHLCV

Vwap = Literal["typical", "quote"]
TRADED_FIELDS = (*OHLCV, "quote_volume", "vwap")
"""Fields that exist only where something was traded; others (funding, mark) are kept as they are."""


def prepare(panel: Panel, *, vwap: Vwap = "typical") -> Panel:
    """Mask candles without trade and add the field `vwap`. Element-wise, float32, deterministic.

    Args:
        panel: raw candles with the fields `open high low close volume`.
        vwap: ``"typical"`` is (high + low + close) / 3, which a bot can compute live from candles;
            ``"quote"`` is quote_volume / volume, the true average price, where a source has it.

    Raises:
        DataError: a needed field is not in the panel.
    """
    traded = panel["volume"] > 0
    for name in OHLC:
        traded = traded & np.isfinite(panel[name])
    nothing = np.float32(np.nan)
    fields = {
        name: np.where(traded, values, nothing) if name in TRADED_FIELDS else values
        for name, values in panel.fields.items()
    }
    if vwap == "typical":
        fields["vwap"] = (fields["high"] + fields["low"] + fields["close"]) / np.float32(3)
    else:
        if "quote_volume" not in fields:
            raise DataError(
                "vwap='quote' needs the field $quote_volume",
                where="prepare",
                remedy="ingest a source with quote volume, or use vwap='typical'",
            )
        # without a trade both are NaN, so nothing is divided by zero
        fields["vwap"] = fields["quote_volume"] / fields["volume"]
    return panel.with_fields(**fields)
