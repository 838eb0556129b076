"""Optimise on a window, test on the next, move on.

1. `folds` cuts the signals' time into windows to optimise on and, some candles after each, windows to test on
   that follow each other without gap.
2. In each fold ``freqtrade hyperopt`` looks for the best parameters of the first window. Every set that it
   tried is one trial on these candles, and is written to the ledger before anything is made of it.
3. ``freqtrade backtesting`` trades the second window twice: with the parameters found, and with the
   strategy's own. Only this counts.
4. A fold that is finished is a file (`outcomes`); the same call goes on after it. Another bundle, other
   settings or other windows under the same folder are an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.freqtrade import run
from bascule.bridge.freqtrade.hyperopt.outcomes import (
    FOLDS,
    WALK,
    Epoch,
    Fold,
    HyperoptSettings,
    Outcome,
    WalkForward,
    keep,
    read,
)
from bascule.core import BridgeError, ConfigError, Moment, Progress, Timeframe, moment, silent
from bascule.core.files import atomic_file, fingerprint, write_json
from bascule.evaluate import Ledger, Trial

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.results import BacktestResult

PURPOSE = "hyperopt"
MAX_LOSS = 100_000  # freqtrade's mark of an epoch with too few trades
_FIGURES = ("total_trades", "profit_total", "sharpe", "calmar", "max_drawdown", "cagr", "volatility")
_DAY = np.timedelta64(86_400_000_000_000, "ns")


def folds(
    first: np.datetime64, past: np.datetime64, settings: HyperoptSettings, bar: Timeframe
) -> tuple[Fold, ...]:
    """Cut ``[first, past)`` into folds whose test windows are whole.

    Raises:
        ConfigError: there is no room for one.
    """
    train, test = settings.train_days * _DAY, settings.test_days * _DAY
    gap = settings.embargo_bars * bar.delta
    found: list[Fold] = []
    while True:
        number = len(found)
        begin = first + number * test
        stop = begin + train
        window = (stop + gap, stop + gap + test)
        if window[1] > past:
            break
        found.append(Fold(number, (first if settings.anchored else begin, stop), window))
    if not found:
        raise ConfigError(
            f"{settings.train_days} + {settings.test_days} days do not fit between {first} and {past}",
            where="hyperopt.train_days, hyperopt.test_days",
            remedy="shorten the windows, or use a bundle with more signals",
        )
    return tuple(found)


def walk_forward(
    job: run.Job,
    settings: HyperoptSettings,
    *,
    ledger: Ledger,
    market: str,
    at: Moment,
    progress: Progress = silent,
) -> WalkForward:
    """Optimise and test, fold by fold.

    Args:
        job: the bundle, candles, costs and the folder of everything that is written; its start and end bound
            the signals.
        settings: how.
        ledger: counts the trials.
        market: what the candles are called there.
        at: now, UTC, for the ledger.
        progress: told after every fold.

    Raises:
        BridgeError: freqtrade failed, in its own words.
        ConfigError: no fold fits, or the folder holds another walk.
    """
    first, past = job.span
    first = first if settings.start is None else max(first, moment(str(settings.start)))
    past = past if settings.end is None else min(past, moment(str(settings.end)))
    chosen = folds(first, past, settings, job.bundle.spec.bar)
    parts = [one.model_dump(mode="json") for one in (job.settings, settings)]
    recipe = fingerprint([job.bundle.id, job.strategy, job.source, *parts, str(chosen[0])])
    outcomes = []
    for fold in chosen:
        progress(fold.number, len(chosen), f"{str(fold.test[0])[:10]}")
        path = job.folder / FOLDS / f"{fold.number:03d}.json"
        found = read(path, recipe) if path.exists() else None
        if found is None:
            found = _fold(job, settings, fold, ledger, market, at)
            keep(path, found, recipe)
        outcomes.append(found)
    progress(len(chosen), len(chosen), "")
    trials = ledger.count(market, chosen[0].train[0], chosen[-1].test[1]).trials
    write_json(job.folder / WALK, {"settings": settings.model_dump(mode="json"), "trials": trials})
    return WalkForward(settings, tuple(outcomes), trials)


def _fold(
    job: run.Job, settings: HyperoptSettings, fold: Fold, ledger: Ledger, market: str, at: Moment
) -> Outcome:
    prior = ledger.count(market, *fold.train).trials
    here = replace(job, folder=job.folder / f"fold-{fold.number:03d}", start=fold.train[0], end=fold.train[1])
    epochs, details = _optimise(here, settings, fold, prior + settings.epochs)
    what = [fingerprint([job.bundle.id, job.strategy, one.params]) for one in epochs]
    ledger.record([Trial(one, market, *fold.train, job.bundle.spec.horizon, PURPOSE) for one in what], at)
    able = [n for n, one in enumerate(epochs) if one.loss < MAX_LOSS]
    best = min(able, key=lambda n: epochs[n].loss) if able else -1
    there = replace(here, start=fold.test[0], end=fold.test[1])
    untouched = _test(there, None)
    tested = untouched if best < 0 else _test(there, details[best])
    returns, own = _daily(tested), _daily(untouched)
    both = returns.index.union(own.index)
    return Outcome(
        fold,
        prior,
        tuple(epochs),
        best,
        _figures(tested),
        _figures(untouched),
        tuple(str(day.date()) for day in both),
        tuple(float(value) for value in returns.reindex(both).fillna(0.0)),
        tuple(float(value) for value in own.reindex(both).fillna(0.0)),
    )


def _optimise(
    job: run.Job, settings: HyperoptSettings, fold: Fold, trials: int
) -> tuple[list[Epoch], list[dict[str, Any]]]:
    """Run ``freqtrade hyperopt``; what it tried, and the same in its own form."""
    from bascule.bridge.freqtrade.hyperopt import SHIMS

    parameters = _parameter_file(job)
    parameters.unlink(missing_ok=True)  # of a run that was cut off
    extra = job.folder.with_name(f"{job.folder.name}.json")
    facts = {"trials": trials, "turnover_cost": settings.turnover_cost, "regime_days": settings.regime_days}
    write_json(extra, {"bascule": {"hyperopt": facts}})
    results = job.folder / "hyperopt_results"
    before = set(results.glob("*.fthypt"))
    arguments = [
        *("--config", str(extra)),
        *("--epochs", str(settings.epochs)),
        *("--spaces", *settings.spaces),
        *("--hyperopt-loss", settings.loss, "--hyperopt-path", str(SHIMS)),
        *("-j", str(settings.jobs), "--random-state", str(settings.seed + fold.number + 1)),
        *("--min-trades", str(settings.min_trades), "--disable-param-export"),
    ]
    finished = run.command(job, "hyperopt", arguments)
    written = sorted(set(results.glob("*.fthypt")) - before)
    if len(written) != 1:
        raise BridgeError("freqtrade hyperopt wrote no epochs", where=str(finished.log), remedy="see its log")
    lines = [json.loads(line) for line in written[0].read_text("utf-8").splitlines() if line.strip()]
    return [_epoch(line) for line in lines], lines


def _epoch(line: Mapping[str, Any]) -> Epoch:
    metrics = line["results_metrics"]
    return Epoch(
        float(line["loss"]),
        dict(line["params_dict"]),
        int(metrics["total_trades"]),
        float(metrics["profit_total"]),
    )


def _parameter_file(job: run.Job) -> Path:
    return job.folder / "strategies" / f"{job.strategy}.json"


def _test(job: run.Job, line: Mapping[str, Any] | None) -> BacktestResult:
    """Backtest with an epoch's parameters, or with the strategy's own."""
    path = _parameter_file(job)
    path.unlink(missing_ok=True)
    if line is not None:
        content = {
            "strategy_name": job.strategy,
            "params": {**line["params_not_optimized"], **_merged(line)},
            "ft_stratparam_v": 1,
        }
        with atomic_file(path) as aside:
            aside.write_text(json.dumps(content, indent=2), "utf-8")
    try:
        return run.backtest(job)
    finally:
        path.unlink(missing_ok=True)


def _merged(line: Mapping[str, Any]) -> dict[str, Any]:
    """The optimised spaces, each with what was not optimised of it."""
    fixed = line["params_not_optimized"]
    return {space: {**fixed.get(space, {}), **values} for space, values in line["params_details"].items()}


def _daily(found: BacktestResult) -> pd.Series:
    from bascule.bridge.freqtrade.hyperopt.losses import daily

    return daily(found.equity)


def _figures(found: BacktestResult) -> dict[str, float | None]:
    return {name: _plain_number(found.metrics[name]) for name in _FIGURES}


def _plain_number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
