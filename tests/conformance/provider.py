"""Plain qlib providers for tests: a folder of calendars, instruments and float32 .bin files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bascule.core import Panel, Timeframe

HOUR = Timeframe.parse("1h")


def write_provider(folder: Path, panel: Panel) -> None:
    """Write a panel as qlib reads it; an instrument's files span its first to its last close."""
    freq = panel.timeframe.qlib
    times = [str(pd.Timestamp(t)) for t in panel.time]
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / f"{freq}.txt").write_text("\n".join(times) + "\n")
    lines = []
    for column, name in enumerate(panel.instruments):
        there = np.flatnonzero(np.isfinite(panel["close"][:, column]))
        first, last = int(there[0]), int(there[-1])
        lines.append(f"{name}\t{times[first]}\t{times[last]}")
        home = folder / "features" / name.lower()
        home.mkdir(parents=True)
        for field, values in panel.fields.items():
            content = np.concatenate([[first], values[first : last + 1, column]]).astype("<f4")
            content.tofile(home / f"{field}.{freq}.bin")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text("\n".join(lines) + "\n")


def qlib_features(folder: Path, panel: Panel, texts: Sequence[str]) -> np.ndarray:
    """What ``D.features`` of qlib gives for all rows: float32 ``[F, T, N]``, NaN for absent rows."""
    import qlib
    from qlib.data import D
    from qlib.data.cache import H

    freq = panel.timeframe.qlib
    qlib.init(
        provider_uri=str(folder), region="us", kernels=1, expression_cache=None, dataset_cache=None,
        logging_level=50, joblib_backend="threading",
    )  # fmt: skip
    H.clear()
    frame = D.features(list(panel.instruments), list(texts), freq=freq, disk_cache=0)
    found = np.full((len(texts), *panel.shape), np.nan, np.float32)
    columns = pd.Index(panel.instruments).get_indexer(frame.index.get_level_values("instrument"))
    rows = pd.DatetimeIndex(panel.time).get_indexer(frame.index.get_level_values("datetime"))
    found[:, rows, columns] = frame.to_numpy(np.float32).T
    return found


def candles(rows: int, seed: int, level: float = 100.0) -> dict[str, np.ndarray]:
    """One instrument's random walk as candles: open, high, low, close, volume, vwap, each float32 [rows]."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, 0.02, rows)))
    open_ = np.concatenate([[level], close[:-1]]) * np.exp(rng.normal(0, 0.002, rows))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, rows)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, rows)))
    volume = rng.lognormal(6, 1, rows)
    found = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    found["vwap"] = (high + low + close) / 3
    return {name: values.astype(np.float32) for name, values in found.items()}


def panel_of(columns: dict[str, dict[str, np.ndarray]], start: str = "2024-01-01") -> Panel:
    """A panel of instruments given as arrays that all have the same rows."""
    names = sorted(columns)
    fields = {f: np.stack([columns[n][f] for n in names], axis=1) for f in columns[names[0]]}
    rows = len(next(iter(fields.values())))
    time = np.datetime64(start, "ns") + np.arange(rows) * HOUR.delta
    traded = np.isfinite(fields["close"])
    listed = time[traded.argmax(axis=0)]
    return Panel(HOUR, time, tuple(names), fields, listed)


def clean_panel(rows: int = 200) -> Panel:
    """Three instruments that trade in every bar."""
    return panel_of({f"C{i}_USDT": candles(rows, seed=i) for i in range(3)})


def dirty_panel(rows: int = 220) -> Panel:
    """Missing candles, long halts, late and short listings, constant and flat stretches, big jumps."""
    columns = {f"D{i}_USDT": candles(rows, seed=10 + i) for i in range(7)}
    names = sorted(columns)
    rng = np.random.default_rng(1)

    def wipe(name: str, where: np.ndarray | slice) -> None:
        for values in columns[name].values():
            values[where] = np.nan

    wipe(names[0], rng.random(rows) < 0.1)
    wipe(names[1], slice(60, 130))
    wipe(names[2], slice(0, 150))  # listed late
    wipe(names[3], slice(0, 40))
    wipe(names[3], slice(47, None))  # seven bars in all
    for values in columns[names[4]].values():
        values[80:160] = values[80]  # nothing moves
    for field in ("open", "high", "low", "close", "vwap"):
        columns[names[5]][field][100] *= 4
        columns[names[6]][field][:] = np.round(columns[names[6]][field], 0)  # ties
    columns[names[5]]["volume"][50:55] = 0.0
    wipe(names[6], slice(33, 34))
    return panel_of(columns)
