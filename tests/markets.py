"""A small random market for tests that need prices and nothing more."""

from __future__ import annotations

import numpy as np

from bascule.core import Panel, Timeframe


def random_panel(
    seed: int,
    rows: int,
    width: int,
    *,
    timeframe: str = "1h",
    start: str = "2021-01-01",
    missing: float = 0.0,
    late: int = 0,
    volatility: float = 0.01,
    common: float = 0.5,
    drive: np.ndarray | None = None,
) -> Panel:
    """Geometric random walks with one common factor.

    Args:
        missing: share of candles without a trade.
        late: the last ``late`` instruments are listed in the middle of the panel.
        volatility: deviation of one bar's own return.
        common: deviation of the common return, relative to ``volatility``.
        drive: expected return of the bar that opens at row t + 1, placed in row t ``[T, N]``.
    """
    random = np.random.default_rng(seed)
    step = Timeframe.parse(timeframe)
    time = step.axis(np.datetime64(start, "ns"), np.datetime64(start, "ns") + (rows - 1) * step.delta)
    own = random.standard_normal((rows, width)) * volatility
    market = random.standard_normal((rows, 1)) * volatility * common * 1.0
    beta = random.uniform(0.5, 1.5, (1, width))
    move = own + market * beta
    if drive is not None:
        move[1:] += drive[:-1]
    close = 100.0 * np.exp(np.cumsum(move, axis=0))
    opens = np.vstack([np.full((1, width), 100.0), close[:-1]])
    wick = np.abs(random.standard_normal((2, rows, width))) * volatility * 0.3
    high = np.maximum(opens, close) * (1.0 + wick[0])
    low = np.minimum(opens, close) * (1.0 - wick[1])
    volume = np.exp(random.standard_normal((rows, width)) * 0.5 + np.linspace(3.0, 6.0, width))
    absent = random.random((rows, width)) < missing
    if late:
        absent[: rows // 2, -late:] = True
    fields = {}
    for name, values in (("open", opens), ("high", high), ("low", low), ("close", close), ("volume", volume)):
        fields[name] = np.where(absent, np.nan, values).astype(np.float32)
    first = np.argmax(~absent, axis=0)
    names = tuple(f"C{n:03d}_USDT" for n in range(width))
    return Panel(step, time, names, fields, time[first])


def real_panel(start: str, end: str) -> Panel:
    """Prepared hourly spot candles of ``[start, end)``, or skip the test where the data is not at hand."""
    import pandas as pd

    from bascule.core import Instrument
    from bascule.data.prepare import prepare
    from tests.realdata import panel_path

    window = [("date", ">=", pd.Timestamp(start, tz="UTC")), ("date", "<", pd.Timestamp(end, tz="UTC"))]
    frame = pd.read_parquet(panel_path("panel_1h"), filters=window).rename(columns={"date": "time"})
    symbols = frame.pop("symbol").astype(str)
    frame["instrument"] = symbols.map({s: Instrument.parse(s).id for s in symbols.unique()})
    return prepare(Panel.from_long(frame, Timeframe.parse("1h")))
