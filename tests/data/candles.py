"""Small candle frames for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bascule.core import Timeframe


def make(
    instruments: Sequence[str] = ("AAA_USDT", "BBB_USDT"),
    bars: int = 100,
    *,
    start: str = "2024-01-30",
    timeframe: str = "1h",
    seed: int = 0,
) -> pd.DataFrame:
    """Random-walk candles without any trouble, in canonical form; an instrument's prices depend on its name
    and the seed only, so that longer frames begin like shorter ones."""
    parts = []
    time = pd.date_range(start, periods=bars, freq=pd.Timedelta(seconds=Timeframe.parse(timeframe).seconds))
    for name in sorted(instruments):
        rng = np.random.default_rng([seed, *name.encode()])
        noise = rng.normal(0, 0.01, (bars, 4))
        close = 100 * np.exp(np.cumsum(noise[:, 0]))
        opened = np.r_[100.0, close[:-1]]
        parts.append(
            pd.DataFrame(
                {
                    "time": time.tz_localize("UTC").as_unit("ns"),
                    "instrument": name,
                    "open": opened,
                    "high": np.maximum(opened, close) * np.exp(np.abs(noise[:, 1])),
                    "low": np.minimum(opened, close) * np.exp(-np.abs(noise[:, 2])),
                    "close": close,
                    "volume": 1_000 * np.exp(10 * noise[:, 3]),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    numbers = ["open", "high", "low", "close", "volume"]
    return frame.astype(dict.fromkeys(numbers, np.float32))


def at(frame: pd.DataFrame, instrument: str, bar: int) -> int:
    """The row of the ``bar``-th candle of an instrument."""
    return int(np.flatnonzero(frame["instrument"] == instrument)[bar])
