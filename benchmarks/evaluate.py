"""Full evaluation of many factors, beside alphalens-reloaded's functions for the same tables.

    python benchmarks/evaluate.py [--factors 158] [--rows 39000] [--instruments 64] [--theirs 1]

1. Random factors on a random panel with gaps; 5 horizons, 5 quantiles.
2. Ours: `evaluate.table` (IC, rank IC, their IRs, Newey-West t, turnover), quantile returns of each horizon
   and the decay curve, for all factors.
3. Theirs, for ``--theirs`` factors: ``get_clean_factor_and_forward_returns``, ``mean_return_by_quantile``,
   ``factor_information_coefficient``, ``quantile_turnover``, ``factor_rank_autocorrelation``. Put
   alphalens-reloaded on PYTHONPATH; without it only ours is timed.
4. Where definitions agree (rank IC, quantile means, rank autocorrelation of a panel without gaps: alphalens
   fills prices over gaps) the largest difference is printed.

Times are CPU seconds a factor; neither side uses more than one process.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

from bascule import evaluate
from bascule.core import Panel, Timeframe

HORIZONS = (1, 4, 12, 24, 72)
QUANTILES = 5


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
    table = evaluate.table(values, names, panel, HORIZONS)
    labels = {h: evaluate.forward_return(panel, h) for h in HORIZONS}
    members = panel.members
    quantiles = [
        {
            h: evaluate.quantile_returns(v, labels[h], members, horizon=h, quantiles=QUANTILES)
            for h in HORIZONS
        }
        for v in values
    ]
    decays = [evaluate.decay(v, panel, HORIZONS) for v in values]
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


def timed(call: Any, *arguments: Any) -> tuple[Any, float]:
    """Result and CPU seconds."""
    began = time.process_time()
    found = call(*arguments)
    return found, time.process_time() - began


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--factors", type=int, default=158)
    given.add_argument("--rows", type=int, default=39_000)
    given.add_argument("--instruments", type=int, default=64)
    given.add_argument("--theirs", type=int, default=1, help="how many factors alphalens evaluates")
    options = given.parse_args()
    panel = market(options.rows, options.instruments)
    spent = 0.0
    for start in range(0, options.factors, 20):
        numbers = range(start, min(start + 20, options.factors))
        values = np.stack([factor(panel, n) for n in numbers])
        _, seconds = timed(ours, values, [f"F{n}" for n in numbers], panel)
        spent += seconds
    each = spent / options.factors
    print(f"{options.factors} factors, {options.rows} x {options.instruments}, horizons {HORIZONS}")
    print(f"bascule:   {spent:8.1f} CPU s, {each:.3f} a factor")
    try:
        import alphalens  # noqa: F401
    except ImportError as error:
        print(f"alphalens: not at hand ({error})")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [timed(theirs, factor(panel, n), panel) for n in range(options.theirs)]
    alone = float(np.mean([seconds for _, seconds in results]))
    print(f"alphalens: {alone:8.1f} CPU s a factor ({options.theirs} measured); ratio {alone / each:.0f}")
    agreement()


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
