"""CPU seconds of qlib's kinds of model inside FreqAI: one training for all pairs, and one for one pair.

    python benchmarks/freqai_kinds.py [--pairs 12] [--days 60] [--only LGBModel GRU_ts]

The market is the embedded one, hourly. Trees, linear models and the MLP learn from Alpha158, sequence models from
`FEW` factors at 12 times each. *Features* is the time of all factors of all pairs; *pooled* a training on all
pairs, with the checks, files and sampling around it (`pooled.train`); *a pair* one on the first pair
(`single.fit`), as FreqAI calls it. One thread; medians, after a turn that is not counted, for the libraries'
imports.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.freqai import FreqaiRecipe, Plan, pooled, single
from bascule.bridge.freqtrade.freqai.runs import Schedule, configure
from bascule.bridge.freqtrade.freqai.view import View, view
from bascule.core import Instrument, Panel
from bascule.data.rows import OHLCV
from bascule.data.synthetic import SyntheticSettings, generate
from bascule.evaluate import forward_return

NET = {"batch_size": 1024, "lr": 0.001}
TABLE: dict[str, dict[str, Any]] = {
    "LinearModel": {"params": {"estimator": "ridge"}},
    "LGBModel": {"params": {"num_boost_round": 200}},
    "XGBModel": {"params": {"num_boost_round": 200}},
    "CatBoostModel": {"params": {"num_boost_round": 200}},
    "DEnsembleModel": {"params": {"epochs": 30}},
    "DNNModelPytorch": {"params": {**NET, "max_steps": 300}},
    "GRU_ts": {"params": {**NET, "n_epochs": 5, "hidden_size": 32}, "steps": 12},
    "TransformerModel_ts": {"params": {**NET, "n_epochs": 5, "d_model": 32}, "steps": 12},
}
FEW = [
    {"name": "momentum", "text": "$close/Ref($close,12)-1"},
    {"name": "reversal", "text": "$close/Ref($close,5)-1"},
    {"name": "shock", "text": "Log($volume/Mean($volume,48))"},
    {"name": "range", "text": "($high-$low)/$close"},
    {"name": "gap", "text": "$vwap/$close-1"},
    {"name": "spread", "text": "Std($close/Ref($close,1)-1,24)"},
]


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process in ``work``, and its result."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def median(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Median of ``times`` turns after one that is not counted."""
    work()
    turns = [cpu(work) for _ in range(times)]
    return statistics.median(seconds for seconds, _ in turns), turns[-1][1]


def plan_of(pairs: list[str], kind: str, days: int) -> Plan:
    """A pooled recipe of one kind."""
    model = {"kind": kind, "threads": 1, "device": "cpu", "min_samples": 500, **TABLE[kind]}
    factors = FEW if "steps" in TABLE[kind] else ["alpha158"]
    recipe = FreqaiRecipe.read({"pairs": pairs, "factors": factors, "horizon": 12, "model": model})
    schedule = Schedule(train_days=days, retrain_days=10)
    values = configure(recipe, schedule, TradeSettings(), exchange={"name": "binance"})
    return Plan.of(values)


def candles(panel: Panel) -> dict[str, pd.DataFrame]:
    """Each pair's candles as freqtrade serves them."""
    found = {}
    for column, name in enumerate(panel.instruments):
        fields = {field: panel[field][:, column].astype(float) for field in OHLCV}
        found[Instrument.parse(name).pair] = pd.DataFrame(
            {"date": pd.DatetimeIndex(panel.time).tz_localize("UTC"), **fields}
        )
    return found


def one_pair(now: View, plan: Plan, first: int, stop: int) -> dict[str, Any]:
    """FreqAI's data dictionary of the first pair, scaled as FreqAI scales."""
    label = forward_return(now.panel, plan.spec.horizon)[first:stop, 0]
    features = pd.DataFrame(now.values[:, first:stop, 0].T, columns=list(plan.spec.names))
    known = features.notna().all(axis=1).to_numpy() & np.isfinite(label)
    features, target = features[known], pd.DataFrame({"&-alpha": label[known]})
    features = 2 * (features - features.min()) / (features.max() - features.min()).replace(0, 1) - 1
    cut = len(features) * 4 // 5
    parts: dict[str, Any] = {}
    for name, span in (("train", slice(0, cut)), ("test", slice(cut, None))):
        parts |= {f"{name}_features": features.iloc[span], f"{name}_labels": target.iloc[span]}
        parts[f"{name}_weights"] = np.ones(len(features.iloc[span]))
    return parts


def measure(kind: str, panel: Panel, days: int, times: int) -> list[str]:
    """A row of the table."""
    frames = candles(panel)
    plan = plan_of(list(frames), kind, days)
    seconds, now = median(lambda: view(frames, plan, 0), times)
    instant = plan.instants(now.panel.time[-1:])[0]
    parameters: dict[str, Any] = {}

    def shared() -> pooled.Fit:
        with tempfile.TemporaryDirectory() as folder:
            return pooled.train(now, plan, instant, Path(folder), parameters, reuse=False)

    together, fit = median(shared, times)
    first, stop = np.searchsorted(now.panel.time, [instant - plan.train_length, instant])
    data = one_pair(now, plan, int(first), int(stop))
    alone, _ = median(lambda: single.fit(data, plan.model, plan.spec.bar, 0), times)
    samples = fit.predictor.meta["train_samples"]
    width = len(plan.spec.names)
    own = len(data["train_features"])
    return [
        f"`{kind}`", str(width), f"{seconds:.2f}", f"{samples:,}", f"{together:.2f}", f"{own:,}", f"{alone:.2f}"
    ]  # fmt: skip


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(TABLE), choices=list(TABLE))
    options = parser.parse_args()
    names = ("pyqlib", "freqtrade", "lightgbm", "xgboost", "catboost", "torch", "scikit-learn")
    print(", ".join(f"{name} {version(name)}" for name in names))
    settings = SyntheticSettings(instruments=options.pairs, days=options.days + 60, late=0, delisted=0)
    market = generate(settings)
    panel = Panel.from_long(market.frame, market.timeframe)
    print(f"{options.pairs} pairs, {len(panel.time):,} hourly candles, {options.days} days learned from\n")
    print("| kind | features | CPU s, all pairs | samples, pooled | CPU s | samples, a pair | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for kind in options.only:
        print("| " + " | ".join(measure(kind, panel, options.days, options.times)) + " |", flush=True)


if __name__ == "__main__":
    main()
