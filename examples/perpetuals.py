"""Candles and funding rates of perpetuals, from two files, as one that a run reads (`kind: long`).

    python examples/perpetuals.py CANDLES.parquet FUNDING.parquet OUT.parquet

Candles: `date` (open, UTC), `symbol` (BTCUSDT), `open high low close volume`, perhaps `quote_volume`, `mark`.
Funding: `date`, `symbol`, `funding_rate`, perhaps `exchange` (then only Binance's). Kept are symbols whose
funding is known for most of their settlements. Without a mark price the contract's own stands for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

KNOWN = 0.95  # share of settlements with a rate
EIGHT_HOURS = pd.Timedelta(hours=8)


def joined(candles: pd.DataFrame, funding: pd.DataFrame) -> pd.DataFrame:
    """One row a candle, with `funding_rate` (NaN between settlements) and `mark`."""
    candles = candles.assign(symbol=candles["symbol"].astype(str))
    funding = funding.assign(symbol=funding["symbol"].astype(str))
    if "exchange" in funding:
        funding = funding[funding["exchange"] == "binance"]
    settled = funding["date"].dt.floor("h")
    rates = funding.assign(date=settled)[settled == settled.dt.floor(EIGHT_HOURS)]
    rates = rates.drop_duplicates(["symbol", "date"])[["date", "symbol", "funding_rate"]]
    parts = []
    for symbol, own in candles.groupby("symbol", sort=True):
        theirs = rates[rates["symbol"] == symbol]
        if theirs.empty:
            continue
        whole = own[own["date"].between(theirs["date"].min(), theirs["date"].max())]
        due = (whole["date"] == whole["date"].dt.floor(EIGHT_HOURS)).sum()
        if len(whole) > 365 and len(theirs) >= KNOWN * due:
            parts.append(whole.merge(theirs, on=["date", "symbol"], how="left"))
    if not parts:
        raise SystemExit("no symbol has both candles and funding rates")
    found = pd.concat(parts, ignore_index=True)
    return found.assign(mark=found["close"] if "mark" not in found else found["mark"])


def main() -> None:
    """Read, join, write."""
    candles, funding, out = (Path(one) for one in sys.argv[1:4])
    found = joined(pd.read_parquet(candles), pd.read_parquet(funding))
    out.parent.mkdir(parents=True, exist_ok=True)
    found.to_parquet(out)
    print(f"{out}: {len(found):,} candles of {found['symbol'].nunique()} perpetuals")  # noqa: T201


if __name__ == "__main__":
    main()
