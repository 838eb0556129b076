"""Columns that several sources deliver, with their units."""

from __future__ import annotations

from bascule.data.rows import OHLC
from bascule.data.sources.spec import FieldSpec

PRICES = tuple(FieldSpec(name, "quote", f"{name} price of the candle") for name in OHLC)
MARK = tuple(FieldSpec(f"mark_{name}", "quote", f"{name} mark price of the candle") for name in OHLC)
VOLUMES = (
    FieldSpec("volume", "base", "coins traded (contracts are converted to coins)"),
    FieldSpec("quote_volume", "quote", "value traded"),
)
TAKER = (
    FieldSpec("trades", "1", "number of trades"),
    FieldSpec("taker_buy_volume", "base", "coins bought by takers; the rest was sold by takers"),
)
FUNDING = (FieldSpec("funding_rate", "1/interval", "rate paid by longs"),)
LONG_SHORT = (FieldSpec("long_short_ratio", "1", "accounts long/short"),)
OPEN_INTEREST = (FieldSpec("open_interest", "base", "coins in open positions"),)
OPEN_VALUE = (FieldSpec("open_interest_value", "USD", "value of open positions"),)
CARRIED = (
    FieldSpec("funding_rate", "1/interval", "rate settled at the open of the candle or within it"),
    FieldSpec("mark", "quote", "close of the mark price"),
)
"""What candles of perpetuals carry along, as `freqtrade_files` reads them."""
