"""Plain qlib and the drop-in, one after the other, over the same untidy provider folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

import bascule
from tests.conformance.provider import dirty_panel, write_provider

Answer = TypeVar("Answer")
COMMON: dict[str, Any] = {"region": "us", "kernels": 1, "logging_level": 50}


def untidy_provider(folder: Path) -> None:
    """The dirty market and what others' folders hold: markets with several spans, files of unequal rows."""
    panel = dirty_panel()
    write_provider(folder, panel)
    times = (folder / "calendars" / "60min.txt").read_text().split("\n")
    some = [
        ("D0_USDT", 10, 60), ("D0_USDT", 90, 150), ("D1_USDT", 0, 219), ("D2_USDT", 0, 120),
        ("D3_USDT", 30, 200), ("D6_USDT", 100, 219), ("GONE_USDT", 0, 219),
    ]  # fmt: skip
    lines = [f"{name}\t{times[first]}\t{times[last]}" for name, first, last in some]
    (folder / "instruments" / "some.txt").write_text("\n".join(lines) + "\n")
    features = folder / "features"
    for name, first, last in (("d0_usdt", 0, 219), ("d1_usdt", 40, 219), ("d5_usdt", 0, 130)):
        values = np.concatenate([[first], np.arange(first, last + 1) / 7]).astype("<f4")
        values.tofile(features / name / "funding.60min.bin")
    (features / "d6_usdt" / "vwap.60min.bin").unlink()


def weekday_provider(folder: Path, rows: int = 160) -> None:
    """Daily candles with holes in the calendar, as a stock market has them."""
    rng = np.random.default_rng(5)
    days = pd.bdate_range("2020-01-01", periods=rows)
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("\n".join(days.strftime("%Y-%m-%d")) + "\n")
    (folder / "instruments").mkdir()
    lines = []
    for number, (first, last) in enumerate([(0, rows - 1), (50, rows - 1), (0, 99), (20, 140)]):
        name = f"SH60000{number}"
        lines.append(f"{name}\t{days[first].date()}\t{days[last].date()}\n")
        close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, last + 1 - first)))
        home = folder / "features" / name.lower()
        home.mkdir(parents=True)
        for field, values in {
            "close": close,
            "open": close * np.exp(rng.normal(0, 0.01, len(close))),
            "high": close * 1.02,
            "low": close * 0.97,
            "vwap": close * 1.001,
            "volume": rng.lognormal(5, 1, len(close)),
        }.items():
            np.concatenate([[first], values]).astype("<f4").tofile(home / f"{field}.day.bin")
    (folder / "instruments" / "all.txt").write_text("".join(lines))


def plain(folder: Path | dict[str, str], **others: Any) -> None:
    """qlib as it comes."""
    import qlib

    uri = folder if isinstance(folder, dict) else str(folder)
    qlib.init(provider_uri=uri, expression_cache=None, dataset_cache=None, **COMMON | others)


def dropin(folder: Path | dict[str, str], **others: Any) -> None:
    """qlib on the engine."""
    import qlib

    qlib.init(**bascule.qlib(folder, **COMMON | others))


def both(folder: Path, ask: Callable[[], Answer], **others: Any) -> tuple[Answer, Answer]:
    """What plain qlib and the drop-in answer."""
    plain(folder, **others)
    theirs = ask()
    dropin(folder, **others)
    return theirs, ask()


def same(theirs: pd.DataFrame, ours: pd.DataFrame, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Fail unless the frames are equal: index, its levels, columns, types, and values to the tolerance."""
    assert list(theirs.columns) == list(ours.columns)
    assert list(theirs.dtypes) == list(ours.dtypes)
    pd.testing.assert_index_equal(theirs.index, ours.index)
    if isinstance(theirs.index, pd.MultiIndex):
        for left, right in zip(theirs.index.levels, ours.index.levels, strict=True):
            assert list(left) == list(right)
    left, right = theirs.to_numpy(np.float64), ours.to_numpy(np.float64)
    close = np.isclose(left, right, rtol=rtol, atol=atol, equal_nan=True)
    if not close.all():
        row, column = np.argwhere(~close)[0]
        where = f"{theirs.columns[column]!r} at {theirs.index[row]}"
        values = f"{left[row, column]} != {right[row, column]}"
        bad = list(theirs.columns[(~close).any(axis=0)])
        raise AssertionError(f"{(~close).sum()} cells in {bad}, first {where}: {values}")
