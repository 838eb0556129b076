"""A small market drawn from a seed, for tests of the bridge."""

from __future__ import annotations

import numpy as np

from bascule.core import Panel, Timeframe

START = np.datetime64("2023-01-01T00:00", "ns")
LEVELS = {
    "ADA_USDT": 0.37,
    "BTC_USDT": 28_000.0,
    "DOGE_USDT": 0.0821,
    "EOS_USDT": 0.9,
    "ETH_USDT": 1_850.0,
    "SHIB_USDT": 8.4e-6,
    "XRP_USDT": 0.51,
}
SPOT = tuple(name for name in LEVELS if name != "EOS_USDT")
# of these freqtrade knows no leverage tiers for EOS
FUTURES = tuple(name for name in LEVELS if name != "SHIB_USDT")


def market(
    rows: int = 24 * 20, *, seed: int = 5, futures: bool = False, start: np.datetime64 = START
) -> Panel:
    """Random walks of float32 prices with volume, hourly from `START`; no gaps."""
    names = FUTURES if futures else SPOT
    rng = np.random.default_rng(seed)
    shape = (rows, len(names))
    levels = np.array([LEVELS[name] for name in names])
    close = levels * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    opens = np.vstack([levels[None, :], close[:-1]])
    high = np.maximum(opens, close) * (1 + rng.uniform(0, 0.004, shape))
    low = np.minimum(opens, close) * (1 - rng.uniform(0, 0.004, shape))
    volume = rng.lognormal(0, 0.5, shape) * 1e6 / levels
    raw = {"open": opens, "high": high, "low": low, "close": close, "volume": volume}
    fields = {name: values.astype(np.float32) for name, values in raw.items()}
    fields["high"] = np.maximum.reduce([fields[f] for f in ("open", "high", "close")])
    fields["low"] = np.minimum.reduce([fields[f] for f in ("open", "low", "close")])
    time = Timeframe(3_600).axis(start, start + np.timedelta64(rows - 1, "h"))
    ids = tuple(f"{name}_USDT" if futures else name for name in names)
    return Panel(Timeframe(3_600), time, ids, fields, np.full(len(names), start))
