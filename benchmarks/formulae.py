"""Random formulae with their information coefficients: the engine against AlphaGen's torch evaluator.

1. The formulae are 200 valid draws from AlphaGen's own grammar (a file of two columns: the engine's text, a tab,
   AlphaGen's text), on panel A with a random forward return.
2. The engine takes them in batches of 32, as a miner would, planning included: values and IC, then with rank IC.
3. AlphaGen evaluates them one by one: values, IC, and the rank IC of every ``RANKED``-th, scaled up, because one takes
   seconds. Where both give an IC the two are compared.
"""

from __future__ import annotations

import importlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contenders import FIELDS

from bascule import engine
from bascule.core import Panel

BATCH = 32
RANKED = 20
# AlphaGen wants rows before the first that it evaluates
LEAD = 100


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read(path: Path) -> tuple[list[str], list[str]]:
    """The formulae: texts of the engine, texts of AlphaGen."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line]
    return [row[0] for row in rows], [row[1] for row in rows]


def labels(panel: Panel) -> np.ndarray:
    """Noise with a bit of the last candle in it, so that coefficients are not all nought."""
    rng = np.random.default_rng(1)
    close = panel["close"].astype(np.float64)
    change = np.zeros_like(close)
    change[1:] = close[1:] / close[:-1] - 1
    return (0.01 * rng.standard_normal(panel.shape) - 0.1 * change).astype(np.float32)[None]


def ours(panel: Panel, texts: list[str], label: np.ndarray, *, rank: bool) -> tuple[float, np.ndarray]:
    """CPU seconds, and the mean IC of each formula."""
    begin, means = cpu_seconds(), []
    for start in range(0, len(texts), BATCH):
        found = engine.ic(texts[start : start + BATCH], panel, label, plain=True, rank=rank, threads=1)
        assert found.plain is not None
        with np.errstate(all="ignore"):
            rows = found.plain[:, 0, LEAD:]
            seen = np.isfinite(rows)
            means.append(np.where(seen, rows, 0).sum(1) / seen.sum(1))
    return cpu_seconds() - begin, np.concatenate(means)


class AlphaGen:
    """AlphaGen's expressions over the same panel."""

    def __init__(self, folder: Path, panel: Panel, label: np.ndarray) -> None:
        sys.path.insert(0, str(folder))
        try:
            import torch

            parser = importlib.import_module("alphagen.data.parser")
            stock = importlib.import_module("alphagen_qlib.stock_data")
            self._correlation: Any = importlib.import_module("alphagen.utils.correlation")
        finally:
            sys.path.pop(0)
        torch.set_num_threads(1)
        stock._QLIB_INITIALIZED = True
        values = np.stack(
            [panel[name] for name in ("open", "close", "high", "low", "volume", "vwap")], axis=1
        )
        assert len(FIELDS) == values.shape[1]
        times = np.arange(len(values))
        import pandas as pd

        self._data: Any = stock.StockData(
            "all", "", "", LEAD, 0, device=torch.device("cpu"),
            preloaded_data=(torch.from_numpy(values), pd.Index(times), pd.Index(panel.instruments)),
        )  # fmt: skip
        self._label: Any = torch.from_numpy(label[0, LEAD:].copy())
        self._parse: Callable[[str], Any] = parser.parse_expression

    def values(self, text: str) -> Any:
        found = self._parse(text).evaluate(self._data)
        return found if found.shape == self._label.shape else found.expand_as(self._label)

    def ic(self, values: Any) -> float:
        return float(self._correlation.batch_pearsonr(values, self._label).mean())

    def mutual_ic(self, values: Any, others: Any) -> float:
        return float(self._correlation.batch_pearsonr(values, others).mean())

    def rank_ic(self, values: Any) -> float:
        return float(self._correlation.batch_spearmanr(values, self._label).mean())


def theirs(peer: AlphaGen, texts: list[str]) -> tuple[dict[str, float], np.ndarray]:
    """CPU seconds by kind of work, rank IC scaled up; mean IC of each formula."""
    took = {"values": 0.0, "IC": 0.0, "rank IC": 0.0}
    means = np.full(len(texts), np.nan)
    for number, text in enumerate(texts):
        begin = cpu_seconds()
        values = peer.values(text)
        took["values"] += cpu_seconds() - begin
        begin = cpu_seconds()
        means[number] = peer.ic(values)
        took["IC"] += cpu_seconds() - begin
        if number % RANKED == 0:
            begin = cpu_seconds()
            peer.rank_ic(values)
            took["rank IC"] += (cpu_seconds() - begin) * RANKED
    return took, means


def report(panel: Panel, formulae: Path, alphagen: Path | None, repeats: int) -> None:
    """Print the table."""
    texts, theirs_texts = read(formulae)
    label = labels(panel)
    runs = {rank: [ours(panel, texts, label, rank=rank) for _ in range(repeats)] for rank in (False, True)}
    mine = {rank: min(run[0] for run in found) for rank, found in runs.items()}
    print(
        f"\n{len(texts)} random formulae, {panel.shape[1]} instruments x {panel.shape[0]} rows, 1 thread, CPU s"
    )
    print(
        f"bascule values + IC            {mine[False]:8.2f}   {60 * len(texts) / mine[False]:8.0f} a core-minute"
    )
    print(
        f"bascule values + IC + rank IC  {mine[True]:8.2f}   {60 * len(texts) / mine[True]:8.0f} a core-minute"
    )
    if alphagen is None:
        return
    took, means = theirs(AlphaGen(alphagen, panel, label), theirs_texts)
    plain = took["values"] + took["IC"]
    whole = plain + took["rank IC"]
    print("AlphaGen  " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items()))
    print(
        f"AlphaGen  values + IC: {plain / mine[False]:.1f} x ours; with rank IC: {whole / mine[True]:.1f} x ours"
    )
    found = runs[False][0][1]
    both = np.isfinite(means) & np.isfinite(found)
    near = np.isclose(found[both], means[both], atol=1e-3)
    print(f"mean IC within 0.001 of AlphaGen's: {near.sum()} of {both.sum()} that both give")
