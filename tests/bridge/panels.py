"""A small market drawn from a seed, for tests of the bridge."""

from __future__ import annotations

import numpy as np

from bascule.core import Panel, Timeframe

START = np.datetime64("2023-01-01T00:00", "ns")
LEVELS = {
    "ADA_USDT": 0.37,
    "BTC_USDT": 28_000.0,
    "DOGE_USDT": 0.0821,
    "ETH_USDT": 1_850.0,
    "SHIB_USDT": 8.4e-6,
    "XRP_USDT": 0.51,
}


def market(
    rows: int = 24 * 20, *, seed: int = 5, names: tuple[str, ...] = tuple(LEVELS), settle: bool = False
) -> Panel:
    """Random walks of float32 prices with volume, hourly from `START`; no gaps."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(names))
    levels = np.array([LEVELS[name] for name in names])
    close = levels * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    start = np.vstack([levels[None, :], close[:-1]])
    high = np.maximum(start, close) * (1 + rng.uniform(0, 0.004, shape))
    low = np.minimum(start, close) * (1 - rng.uniform(0, 0.004, shape))
    volume = rng.lognormal(0, 0.5, shape) * 1e6 / levels
    raw = {"open": start, "high": high, "low": low, "close": close, "volume": volume}
    fields = {name: values.astype(np.float32) for name, values in raw.items()}
    fields["high"] = np.maximum.reduce([fields[f] for f in ("open", "high", "close")])
    fields["low"] = np.minimum.reduce([fields[f] for f in ("open", "low", "close")])
    time = Timeframe(3_600).axis(START, START + np.timedelta64(rows - 1, "h"))
    ids = tuple(f"{name}_USDT" if settle else name for name in names)
    return Panel(Timeframe(3_600), time, ids, fields, np.full(len(names), START))
