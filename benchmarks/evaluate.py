"""Full evaluation of many factors, beside alphalens-reloaded's functions for the same tables.

    python benchmarks/evaluate.py [--factors 158] [--rows 39000] [--instruments 64] [--theirs 12]

1. Random factors on a random panel with gaps; 5 horizons, 5 quantiles.
2. Ours: `evaluate.table` (IC, rank IC, their IRs, Newey-West t, turnover), quantile returns of each horizon
   and the decay curve, for all factors, 20 at a time.
3. Theirs, for ``--theirs`` factors spread among them: ``get_clean_factor_and_forward_returns``,
   ``mean_return_by_quantile``, ``factor_information_coefficient``, ``quantile_turnover``,
   ``factor_rank_autocorrelation``. alphalens-reloaded is no dependency: put it into a folder (``pip install
   --no-deps --target FOLDER alphalens-reloaded``) and that folder on PYTHONPATH; without it only ours is timed.
4. Where definitions agree (rank IC, quantile means, rank autocorrelation of a panel without gaps: alphalens
   fills prices over gaps) the largest difference is printed.

Both take turns in one process. Times are CPU seconds a factor (all threads), medians; the range stands beside
them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import resource
import warnings
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from bascule import evaluate
from bascule.core import Panel, Timeframe
from engine import cpu_seconds, machine

HORIZONS = (1, 4, 12, 24, 72)
QUANTILES = 5
CHUNK = 20  # factors at a time


def market(rows: int, width: int, seed: int = 0, gaps: float = 0.001) -> Panel:
    """Random walks; a share of the candles has no trade."""
    random = np.random.default_rng(seed)
    step = Timeframe.parse("1h")
    first = np.datetime64("2020-01-01", "ns")
    time_ = step.axis(first, first + (rows - 1) * step.delta)
    move = random.standard_normal((rows, width)) * 0.01
    close = 100 * np.exp(np.cumsum(move, axis=0))
    opens = np.vstack([np.full((1, width), 100.0), close[:-1]])
    absent = random.random((rows, width)) < gaps
    fields = {
        name: np.where(absent, np.nan, values).astype(np.float32)
        for name, values in (("open", opens), ("close", close))
    }
    names = tuple(f"C{n:03d}_USDT" for n in range(width))
    return Panel(step, time_, names, fields, np.repeat(time_[:1], width))


def factor(panel: Panel, seed: int) -> np.ndarray:
    """One random factor that lasts for some bars."""
    values = np.random.default_rng(seed).standard_normal(panel.shape).astype(np.float32)
    for _ in range(2):
        values[1:] += 0.8 * values[:-1]
    return np.where(panel.members, values, np.nan).astype(np.float32)


def ours(values: np.ndarray, names: list[str], panel: Panel) -> dict[str, Any]:
    """Everything, for all factors ``[F, T, N]``."""
    labels = evaluate.Labels(panel)
    table = evaluate.table(values, names, panel, HORIZONS, labels=labels)
    members = panel.members
    quantiles = [
        {
            h: evaluate.quantile_returns(v, labels.returns(h), members, horizon=h, quantiles=QUANTILES)
            for h in HORIZONS
        }
        for v in values
    ]
    decays = [evaluate.decay(v, panel, HORIZONS, labels=labels) for v in values]
    return {"table": table, "quantiles": quantiles, "decay": decays}


def theirs(values: np.ndarray, panel: Panel) -> dict[str, Any]:
    """The same tables by alphalens; prices are those at which a signal of the row can be acted on."""
    from alphalens import performance, utils

    index = pd.DatetimeIndex(panel.time, tz="UTC", freq="h")
    prices = pd.DataFrame(panel["open"].astype(float), index, list(panel.instruments)).shift(-1)
    series = pd.DataFrame(values.astype(float), index, list(panel.instruments)).stack()
    series.index = series.index.set_names(["date", "asset"])
    data = utils.get_clean_factor_and_forward_returns(
        series, prices, quantiles=QUANTILES, periods=HORIZONS, max_loss=1.0, filter_zscore=None
    )
    return {
        "ic": performance.factor_information_coefficient(data),
        "quantiles": performance.mean_return_by_quantile(data, demeaned=False)[0],
        "turnover": [performance.quantile_turnover(data["factor_quantile"], QUANTILES, h) for h in HORIZONS],
        "autocorrelation": performance.factor_rank_autocorrelation(data, 1),
    }


def timed(call: Any, *arguments: Any) -> float:
    """CPU seconds."""
    began = cpu_seconds()
    call(*arguments)
    return cpu_seconds() - began


def told(seconds: Sequence[float]) -> str:
    return f"{median(seconds):9.3f} ({min(seconds):.3f} - {max(seconds):.3f}), {len(seconds)} turns"


def have_alphalens() -> bool:
    try:
        import alphalens  # noqa: F401
    except ImportError as error:
        print(f"alphalens: not at hand ({error})")
        return False
    return True


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--factors", type=int, default=158)
    given.add_argument("--rows", type=int, default=39_000)
    given.add_argument("--instruments", type=int, default=64)
    given.add_argument("--theirs", type=int, default=12, help="how many factors alphalens evaluates")
    options = given.parse_args()
    print(machine())
    names = ("numpy", "pandas", "scipy", "alphalens-reloaded")
    there = have_alphalens()
    print(", ".join(f"{n} {importlib.metadata.version(n)}" for n in names if there or n != names[-1]))
    panel = market(options.rows, options.instruments)
    parts = range(0, options.factors, CHUNK)
    mine: list[float] = []
    others: list[float] = []
    total = 0.0
    for turn, start in enumerate(parts):
        numbers = range(start, min(start + CHUNK, options.factors))
        values = np.stack([factor(panel, n) for n in numbers])
        spent = timed(ours, values, [f"F{n}" for n in numbers], panel)
        total += spent
        mine.append(spent / len(values))
        due = options.theirs * (turn + 1) // len(parts) if there else 0
        while len(others) < due:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                others.append(timed(theirs, values[len(others) % len(values)], panel))
            print(f"  alphalens, factor {len(others)}: {others[-1]:.1f} s", flush=True)
    print(f"{options.factors} factors, {options.rows} x {options.instruments}, horizons {HORIZONS}")
    print(f"bascule:   CPU s a factor {told(mine)} of {CHUNK}; {total:.1f} in all")
    if others:
        print(f"alphalens: CPU s a factor {told(others)} of one")
        print(f"ratio of the medians: {median(others) / median(mine):.0f}")
        agreement()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process, all of the above: {peak:.1f} GiB")


def agreement(rows: int = 1_500, width: int = 60) -> None:
    """Largest differences where definitions agree."""
    panel = market(rows, width, gaps=0.0)
    values = factor(panel, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = theirs(values, panel)
    # alphalens leaves rows out that lack the longest return, but fills the very last price
    there = len(other["ic"]) - 1
    for name, h in zip(other["ic"].columns, HORIZONS, strict=True):
        label = evaluate.forward_return(panel, h)
        mine = evaluate.ic_series(values, label, panel.members, rank=True)[:there]
        gap = np.abs(mine - other["ic"][name].to_numpy()[:there]).max()
        rows_ = slice(0, there + 1 if np.isfinite(label[there]).all() else there)
        found = evaluate.quantile_returns(values[rows_], label[rows_], horizon=h, quantiles=QUANTILES)
        means = np.abs(found.mean - other["quantiles"][name].to_numpy()).max()
        print(f"{name:>4}: rank IC of every row within {gap:.0e}, quantile means within {means:.0e}")
    mine = 1.0 - evaluate.turnover(values[:there])
    gap = abs(mine - other["autocorrelation"].mean())
    print(f"rank autocorrelation within {gap:.0e}")


if __name__ == "__main__":
    main()
