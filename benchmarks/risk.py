"""Risk and portfolio, beside loops over the libraries that others use.

    python benchmarks/risk.py [--rows 39000] [--sample 400] [--full]

1. Cross-sectional factor model: weighted regressions of every row, 64 and 500 instruments × 12 factors, against a loop
   of statsmodels WLS (coefficients, standard errors, R², residuals on both sides). The loop is timed on ``--sample``
   rows spread over the panel, all of which are compared, and multiplied up.
2. Rolling betas on 8 factors, window 720, against statsmodels RollingOLS on a few instruments.
3. One rebalance of 500 instruments through the factor structure: with and without turnover, costs, short sides.
4. Simulation of three years of hourly rebalancing of 500 instruments.
5. The whole model (exposures, regressions, covariance, specific risk) on a random panel.

Times are CPU seconds of this process (``resource.getrusage``), medians of several runs; wall time beside them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bascule import risk
from bascule.core import Panel, Timeframe
from bascule.portfolio import ConstructionSettings, Frictions, construct, simulate
from bascule.risk import FactorModelSettings, RiskModel

FACTORS = 12


def cpu() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[Any, float, float]:
    """Result, median CPU seconds, median wall seconds."""
    spent, wall, found = [], [], None
    for _ in range(repeats):
        before, began = cpu(), time.perf_counter()
        found = call()
        spent.append(cpu() - before)
        wall.append(time.perf_counter() - began)
    return found, statistics.median(spent), statistics.median(wall)


def market(rows: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exposures ``[K, T, N]``, returns with gaps, weights."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((FACTORS, rows, width), dtype=np.float32)
    x[0] = 1
    y = (random.standard_normal((rows, width), dtype=np.float32) * 0.01).astype(np.float32)
    y[random.random((rows, width), dtype=np.float32) < 0.01] = np.nan
    return x, y, random.random((rows, width)) + 0.1


def cross_section(rows: int, width: int, sample: int) -> None:
    """Weighted regressions of all rows."""
    import statsmodels.api as sm

    x, y, w = market(rows, width)
    found, spent, wall = timed(lambda: risk.regress(x, y, w))
    chosen = np.unique(np.linspace(0, rows - 1, sample).round().astype(int))
    worst = 0.0

    def loop() -> list[tuple[Any, ...]]:
        out = []
        for t in chosen:
            good = np.isfinite(y[t])
            design = x[:, t, good].T.astype(np.float64)
            fit = sm.WLS(y[t, good].astype(np.float64), design, weights=w[t, good]).fit()
            out.append((fit.params, fit.bse, fit.rsquared, fit.resid, good))
        return out

    theirs, their_cpu, _ = timed(loop, 1)
    for t, (params, bse, r2, resid, good) in zip(chosen, theirs, strict=True):
        worst = max(
            worst,
            np.abs(found.returns[t] - params).max(),
            np.abs(found.errors[t] - bse).max(),
            abs(found.r2[t] - r2),
            np.abs(found.residuals[t, good] - resid).max(),
        )
    whole = their_cpu / len(chosen) * rows
    print(
        f"cross-section {width:>4} × {rows:,} × {FACTORS}: {spent:7.3f} CPU s ({wall:.3f} wall); "
        f"statsmodels {whole:7.1f} CPU s ({their_cpu / len(chosen) * 1e6:.0f} µs a row); ratio {whole / spent:.0f}; "
        f"largest difference {worst:.0e}"
    )


def rolling(rows: int, width: int, every: int, theirs: int = 2) -> None:
    """Rolling betas on 8 factors."""
    import statsmodels.api as sm
    from statsmodels.regression.rolling import RollingOLS

    random = np.random.default_rng(1)
    f = random.standard_normal((rows, 8)) * 0.01
    y = f @ random.standard_normal((8, width)) + random.standard_normal((rows, width)) * 0.02
    found, spent, wall = timed(lambda: risk.rolling_betas(y, f, 720, every=every), 1)
    fits, their_cpu, _ = timed(
        lambda: [RollingOLS(y[:, n], sm.add_constant(f), window=720).fit() for n in range(theirs)], 1
    )
    worst = max(
        np.abs(found.betas[:, :, n].T - np.asarray(fit.params)[found.rows, 1:]).max()
        for n, fit in enumerate(fits)
    )
    whole = their_cpu / theirs * width
    print(
        f"rolling betas {width:>4} × {rows:,} × 8, every {every:>2}: {spent:7.2f} CPU s ({wall:.2f} wall); "
        f"RollingOLS {whole:7.0f} CPU s; ratio {whole / spent:.0f}; largest difference {worst:.0e}"
    )


def factor_model(width: int, seed: int = 0) -> RiskModel:
    """A risk model of hourly size."""
    random = np.random.default_rng(seed)
    half = random.standard_normal((FACTORS, FACTORS)) * 0.002
    factor = half @ half.T
    factor[0, 0] += 1e-4
    b = random.standard_normal((width, FACTORS))
    b[:, 0] = 1
    names = tuple(f"C{n:04d}_USDT" for n in range(width))
    noise = random.uniform(1e-5, 4e-4, width)
    factors = tuple(f"f{k}" for k in range(FACTORS))
    return RiskModel(factors, names, b, factor, noise, 8760, np.datetime64("2024-01-01", "ns"))


def rebalance(width: int = 500) -> None:
    """One portfolio, several kinds of limits."""
    now = factor_model(width)
    random = np.random.default_rng(2)
    alpha = random.standard_normal(width) * 1e-4
    held = random.dirichlet(np.ones(width))
    neutral = {
        "side": "long_short", "dollar_neutral": True, "beta_neutral": True, "gross": 2.0, "max_weight": 0.05,
        "turnover": 2.5, "exposures": {"f1": (-0.1, 0.1)},
    }  # fmt: skip
    cases = {
        "long, no costs": ({"limits": {"max_weight": 0.1}}, held),
        "long, costs, turnover 0.3": ({"cost": 0.001, "limits": {"max_weight": 0.1, "turnover": 0.3}}, held),
        "neutral, costs, turnover 2.5": ({"cost": 0.001, "limits": neutral}, np.zeros(width)),
    }
    for name, (values, current) in cases.items():
        settings = ConstructionSettings.read(values)
        _, spent, wall = timed(lambda s=settings, c=current: construct(now, s, alpha=alpha, current=c), 9)
        print(f"rebalance of {width}, {name}: {spent * 1e3:.0f} ms CPU, {wall * 1e3:.0f} ms wall")
    dense = ConstructionSettings.read({"solver": "skfolio", "limits": {"max_weight": 0.1}})
    ours = construct(now, ConstructionSettings.read(cases["long, no costs"][0]), alpha=alpha, current=held)
    theirs, spent, _ = timed(lambda: construct(now, dense, alpha=alpha, current=held), 3)
    gap = np.abs(ours.weights - theirs.weights).max()
    print(
        f"  the first by skfolio on the dense covariance: {spent * 1e3:.0f} ms CPU; weights within {gap:.0e}"
    )


def panel(rows: int, width: int) -> Panel:
    """Random walks with volume."""
    random = np.random.default_rng(3)
    step = Timeframe.parse("1h")
    first = np.datetime64("2020-01-01", "ns")
    when = step.axis(first, first + (rows - 1) * step.delta)
    beta = random.uniform(0.5, 1.5, width)
    move = random.standard_normal((rows, width)) * 0.01 + random.standard_normal((rows, 1)) * 0.006 * beta
    close = (100 * np.exp(np.cumsum(move, axis=0))).astype(np.float32)
    opens = np.vstack([close[:1], close[:-1]])
    volume = np.exp(random.standard_normal((rows, width)) + 5).astype(np.float32)
    names = ("BTC_USDT", *(f"C{n:04d}_USDT" for n in range(1, width)))
    fields = {
        "open": opens,
        "high": np.maximum(opens, close),
        "low": np.minimum(opens, close),
        "close": close,
    }
    return Panel(step, when, names, {**fields, "volume": volume}, np.repeat(when[:1], width))


def simulation(width: int = 500, years: int = 3) -> None:
    """Hourly rebalancing."""
    prices = panel(years * 8760, width)
    weights = np.random.default_rng(4).dirichlet(np.ones(width), size=years * 8760).astype(np.float32)
    _, spent, wall = timed(lambda: simulate(weights, prices))
    print(f"simulation, {years} years hourly × {width}: {spent:.2f} CPU s ({wall:.2f} wall)")
    hours = prices.time.astype("datetime64[h]").astype(int)
    rate = np.where(hours[:, None] % 8 == 0, 0.0001, np.nan) * np.ones((1, width))
    full = Frictions(funding=True, borrow=0.1, maintenance=0.05)
    held = prices.with_fields(funding_rate=rate.astype(np.float32))
    _, spent, wall = timed(lambda: simulate(weights, held, frictions=full))
    print(f"  with funding, interest and liquidation: {spent:.2f} CPU s ({wall:.2f} wall)")


def whole_model(rows: int, width: int) -> None:
    """Candles to risk model of every row."""
    candles = panel(rows, width)
    settings = FactorModelSettings()
    found, spent, wall = timed(lambda: risk.fit(candles, settings), 1)
    shape = f"{width} × {rows:,} × {len(found.names)}"
    print(f"whole model {shape}: {spent:.1f} CPU s ({wall:.1f} wall)")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--rows", type=int, default=39_000)
    given.add_argument("--sample", type=int, default=400, help="rows that statsmodels' loop is timed on")
    given.add_argument(
        "--full", action="store_true", help="rolling betas at every row of 500 instruments too"
    )
    options = given.parse_args()
    import scipy
    import statsmodels

    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"statsmodels {statsmodels.__version__}"
    )
    for width in (64, 500):
        cross_section(options.rows, width, options.sample)
    rolling(options.rows, 64, 1)
    rolling(options.rows, 500, 24)
    if options.full:
        rolling(options.rows, 500, 1)
    rebalance()
    simulation()
    whole_model(options.rows, 64)


if __name__ == "__main__":
    main()
