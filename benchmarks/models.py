"""Times a LightGBM walk-forward on Alpha158: Bascule, and qlib's own handler and rolling code.

    python benchmarks/models.py                       # 64 instruments x 4 years of hours, first 6 months tested
    python benchmarks/models.py --folds 36            # all months
    python benchmarks/models.py --small               # 8 instruments x 520 days, for a look at the script itself
    python benchmarks/models.py --only networks       # Transformer: training throughput, CPU and CUDA if there is one
    python benchmarks/models.py --only combination    # the market that turns: dynamic against static weights

1. One synthetic market is written as a store, from it the qlib provider that both read.
2. Each contender runs in a process of its own, from provider to out-of-sample predictions: features and label,
   then for each month a model of the year before, stopped on its last fifth, that predicts the month.
   Imports are not charged to any part.
   ``qlib``: its `Alpha158` handler, `DatasetH`, `RollingGen` and `LGBModel`, the handler kept in memory between
   tasks. ``bascule, same samples``: every hour of every coin, raw features, the same parameters, trained by the
   same `LGBModel`. ``bascule, as it comes``: at most 120,000 samples a fold on a time grid, ranked features.
3. Reported are wall and CPU seconds (children included) of features and of folds, the peak of resident memory,
   of the process that trains (qlib's workers, which compute features for it, are left out), and the rank IC of
   the predictions. Ratios compare CPU seconds, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HORIZON = 24
TRAIN_DAYS = 365
PARAMS = {
    "num_boost_round": 60, "early_stopping_rounds": 20, "learning_rate": 0.05, "num_leaves": 31, "max_bin": 63,
    "min_data_in_leaf": 500, "feature_fraction": 0.5, "lambda_l2": 10.0,
}  # fmt: skip
CONTENDERS = ("qlib", "bascule, same samples", "bascule, as it comes")


def cpu_seconds() -> float:
    """Of this process, its finished children, and those that still run (qlib's workers stay)."""
    import psutil

    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    total = sum(one.ru_utime + one.ru_stime for one in both)
    for child in psutil.Process().children(recursive=True):
        used = child.cpu_times()
        total += used.user + used.system
    return total


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Timer:
    """Wall and CPU seconds of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[float, float]] = {}
        self.at = (time.perf_counter(), cpu_seconds())

    def done(self, name: str) -> None:
        now = (time.perf_counter(), cpu_seconds())
        self.parts[name] = (round(now[0] - self.at[0], 2), round(now[1] - self.at[1], 2))
        self.at = now


def write_market(folder: Path, instruments: int, days: int) -> None:
    """A synthetic market as store and qlib provider; a calendar of days for qlib's rolling code."""
    from bascule.data.store import Store
    from bascule.data.synthetic import SyntheticSettings, generate

    market = generate(SyntheticSettings(instruments=instruments, days=days, late=0.1, delisted=0.05))
    store = Store.create(folder / "store")
    store.write(market.frame, market.timeframe)
    store.build_provider(market.timeframe)
    calendars = Path(store.provider(market.timeframe)) / "calendars"
    hours = next(calendars.glob("*min.txt")).read_text().split("\n")
    found = sorted({line[:10] for line in hours if line})
    (calendars / "day.txt").write_text("\n".join(found) + "\n")


def months(panel: Any, folds: int) -> tuple[Any, Any]:
    """Walk-forward settings and the folds that both contenders train."""
    from bascule import models

    first = (panel.time[0] + np.timedelta64(TRAIN_DAYS + 31, "D")).astype("datetime64[M]")
    walk = models.WalkForwardSettings(
        first_test=first.astype("datetime64[D]").item(),
        train_days=TRAIN_DAYS,
        embargo_bars=0,
        min_train_days=20,
    )
    return walk, models.folds(panel.time, walk, HORIZON)[:folds]


def load_libraries() -> None:
    """Import what a contender needs, so that no part is charged with it."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        import lightgbm  # noqa: F401
        import qlib.contrib.model.gbdt
        import qlib.workflow  # noqa: F401


# -- contenders ------------------------------------------------------------------------------------------


def bascule_run(folder: Path, folds: int, same: bool) -> tuple[Timer, Any, Any]:
    from bascule import engine, evaluate, factors, models
    from bascule.data.store import Store

    load_libraries()
    timer = Timer()
    store = Store.open(folder / "store")
    panel = store.panel("1h")
    library = factors.library("alpha158")
    values = engine.evaluate([factor.text for factor in library], panel)
    label = evaluate.forward_return(panel, HORIZON)
    timer.done("features")
    _, found = months(panel, folds)
    # LightGBM's own default, which qlib's model has; ours takes fewer
    params = {**PARAMS, "bin_construct_sample_cnt": 200_000} if same else PARAMS
    settings = models.ModelSettings(
        params=params, threads=2, features="raw" if same else "rank", row_stride=1 if same else None
    )
    names = [factor.name for factor in library]
    with tempfile.TemporaryDirectory() as home:
        got = models.train_walk_forward(
            values, names, label, panel, found, settings, Path(home) / "models", seed=1
        )
    timer.done("folds")
    return timer, got.values, panel


def qlib_run(folder: Path, folds: int) -> tuple[Timer, Any, Any]:
    import pandas as pd
    import qlib
    from qlib.contrib.data.handler import Alpha158
    from qlib.contrib.model.gbdt import LGBModel
    from qlib.data.dataset import DatasetH
    from qlib.utils import init_instance_by_config
    from qlib.workflow.task.gen import RollingGen

    from bascule.data.store import Store
    from bascule.models.recording import recording

    load_libraries()
    store = Store.open(folder / "store")
    panel = store.panel("1h")  # for folds and for judging, not timed
    _, found = months(panel, folds)
    timer = Timer()
    qlib.init(
        provider_uri=str(store.provider("1h")), region="us", kernels=2, logging_level=50,
        expression_cache=None, dataset_cache=None,
    )  # fmt: skip
    handler = Alpha158(
        instruments="all",
        start_time=None,
        end_time=None,
        freq="60min",
        infer_processors=[],
        learn_processors=[
            {"class": "DropnaLabel"},
            {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}},
        ],
        label=([f"Ref($open, -{HORIZON + 1}) / Ref($open, -1) - 1"], ["LABEL0"]),
    )
    timer.done("features")
    bar = pd.Timedelta(hours=1)
    fold = found[0]
    windows = {"train": fold.train, "valid": fold.valid, "test": (fold.test[0], found[-1].test[1])}
    spans = {name: tuple(map(pd.Timestamp, window)) for name, window in windows.items()}
    base = {
        "model": {
            "class": "LGBModel",
            "module_path": "qlib.contrib.model.gbdt",
            "kwargs": {**PARAMS, "num_threads": 2, "seed": 1},
        },
        "dataset": {
            "class": "DatasetH",
            "module_path": "qlib.data.dataset",
            "kwargs": {
                "handler": "in memory",
                "segments": {name: (str(a.date()), str((b - bar).date())) for name, (a, b) in spans.items()},
            },
        },
    }
    tasks = RollingGen(step=30, rtype=RollingGen.ROLL_SD, trunc_days=2)(base)[:folds]
    frames = []
    with recording():
        for task in tasks:
            task["dataset"]["kwargs"]["handler"] = handler
            dataset = init_instance_by_config(task["dataset"], accept_types=DatasetH)
            model = init_instance_by_config(task["model"], accept_types=LGBModel)
            model.fit(dataset, verbose_eval=0)
            frames.append(model.predict(dataset))
    timer.done("folds")
    series = pd.concat(frames)
    wide = series[~series.index.duplicated()].unstack("instrument")
    rows = np.searchsorted(panel.time, wide.index.to_numpy())
    values = np.full(panel.shape, np.nan, np.float32)
    lower = {name.lower(): n for n, name in enumerate(panel.instruments)}
    for name in wide.columns:
        values[rows, lower[str(name).lower()]] = wide[name].to_numpy(np.float32)
    return timer, values, panel


def contend(name: str, folder: Path, folds: int) -> None:
    """One contender in this process; prints its record as JSON."""
    from bascule.evaluate import forward_return, ic_series, summarise

    begin = (time.perf_counter(), cpu_seconds())
    if name == "qlib":
        timer, values, panel = qlib_run(folder, folds)
    else:
        timer, values, panel = bascule_run(folder, folds, name.endswith("same samples"))
    total = (time.perf_counter() - begin[0], cpu_seconds() - begin[1])
    memory = peak_gib()
    label = forward_return(panel, HORIZON)
    score = summarise(ic_series(values, label, panel.members, rank=True), HORIZON)
    print(
        json.dumps(
            {
                "name": name,
                **timer.parts,
                "total": [round(t, 2) for t in total],
                "memory": round(memory, 2),
                "rank_ic": round(score.mean, 4),
                "rows": score.n,
            }
        )
    )


def walk_forward(instruments: int, days: int, folds: int, contenders: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        begin = time.perf_counter()
        write_market(folder, instruments, days)
        print(f"market: {instruments} x {days * 24:,} hours, written in {time.perf_counter() - begin:.0f} s")
        records = []
        for name in contenders:
            done = subprocess.run(
                [sys.executable, __file__, "--contend", name, "--folder", str(folder), "--folds", str(folds)],
                capture_output=True, text=True, check=False, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            )  # fmt: skip
            if done.returncode:
                print(f"{name}: failed\n{done.stderr[-2000:]}")
                continue
            records.append(json.loads(done.stdout.strip().split("\n")[-1]))
            print(json.dumps(records[-1]), flush=True)
        report(records, folds)


def report(records: list[dict[str, Any]], folds: int) -> None:
    print(
        f"\n| {folds} months | features wall / CPU s | folds wall / CPU s | all wall / CPU s | peak GiB | rank IC |"
    )
    print("|---|---|---|---|---|---|")
    for one in records:
        cells = [f"{one[part][0]:,.1f} / {one[part][1]:,.1f}" for part in ("features", "folds", "total")]
        print(f"| {one['name']} | {' | '.join(cells)} | {one['memory']:.2f} | {one['rank_ic']:.4f} |")
    base = next((one for one in records if one["name"] == "qlib"), None)
    for one in records:
        if base is None or one is base:
            continue
        ratios = {part: base[part][1] / max(one[part][1], 1e-9) for part in ("features", "folds", "total")}
        print(
            f"{one['name']}: CPU ratios "
            + ", ".join(f"{part} {ratio:.1f}x" for part, ratio in ratios.items())
            + f"; memory {one['memory'] / base['memory']:.2f} of qlib's"
        )


# -- other sections --------------------------------------------------------------------------------------


def networks(samples: int) -> None:
    """Samples a second through one epoch of qlib's Transformer (60 times of 6 features), by device."""
    import torch
    from qlib.contrib.model.pytorch_transformer import TransformerModel

    from bascule.models.quiet import quiet

    random = np.random.default_rng(0)
    frame_x = __import__("pandas").DataFrame(random.standard_normal((samples, 360)).astype(np.float32))
    frame_y = __import__("pandas").DataFrame(random.standard_normal((samples, 1)).astype(np.float32))
    devices = [("CPU, 1 thread", -1, 1), ("CPU, 2 threads", -1, 2)]
    if torch.cuda.is_available():
        devices.append((torch.cuda.get_device_name(0), 0, 1))
    for name, gpu, threads in devices:
        torch.set_num_threads(threads)
        with quiet(0, threads):
            model = TransformerModel(d_feat=6, d_model=64, nhead=2, num_layers=2, batch_size=1024, GPU=gpu)
            model.train_epoch(frame_x[:1024], frame_y[:1024])
            begin = time.perf_counter(), cpu_seconds()
            model.train_epoch(frame_x, frame_y)
            if gpu >= 0:
                torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - begin[0], cpu_seconds() - begin[1]
        print(
            f"Transformer, {name}: {samples / wall:,.0f} samples a second ({samples / cpu:,.0f} a CPU second)"
        )


def combination(seeds: int) -> None:
    """Bars until a signal is half as good as before a break at which the main alpha turns its sign."""
    from bascule import models
    from bascule.evaluate import forward_return, ic_series

    horizon, rows, width = 3, 2400, 16
    names = [f"f{i}" for i in range(6)]
    walk = models.WalkForwardSettings(
        first_test=__import__("datetime").date(2021, 4, 1), train_days=80, min_train_days=30
    )
    light = models.ModelSettings(
        params={"num_boost_round": 60, "learning_rate": 0.1, "min_data_in_leaf": 50}, features="raw",
        min_samples=100, threads=2,
    )  # fmt: skip
    found: dict[str, list[tuple[float, float, int | None]]] = {}
    for seed in range(seeds):
        panel, values, flip = turning_market(seed, rows, width)
        label = forward_return(panel, horizon)
        signals = {
            name: models.combine(values, names, label, panel, horizon=horizon, settings=settings).values
            for name, settings in {
                "dynamic, 10 days": models.CombineSettings(window_days=10, every_bars=6),
                "dynamic, 30 days": models.CombineSettings(window_days=30, every_bars=6),
                "expanding window": models.CombineSettings(window_days=None, every_bars=6),
                "static": models.CombineSettings(window_days=100, every_bars=6, refit=False),
            }.items()
        }
        with tempfile.TemporaryDirectory() as home:
            folds = models.folds(panel.time, walk, horizon)
            signals["LightGBM, monthly"] = models.train_walk_forward(
                values, names, label, panel, folds, light, Path(home) / "m", seed=1
            ).values
        for name, signal in signals.items():
            ic = ic_series(signal, label, panel.members, rank=True)
            bars = models.recovery(signal, label, panel, flip, bars=90)
            found.setdefault(name, []).append(
                (float(np.nanmean(ic[700:flip])), float(np.nanmean(ic[flip:])), bars)
            )
    print("\n| signal | rank IC before | after | bars to recover (each market) |\n|---|---|---|---|")
    for name, outcomes in found.items():
        before, after = (np.mean([one[k] for one in outcomes]) for k in (0, 1))
        bars = ", ".join("never" if one[2] is None else str(one[2]) for one in outcomes)
        print(f"| {name} | {before:.3f} | {after:.3f} | {bars} |")


def turning_market(seed: int, rows: int, width: int) -> tuple[Any, Any, int]:
    """Four-hour candles driven by a factor that turns its sign in the middle; six factors, four of them noise."""
    from bascule.core import Panel, Timeframe

    random = np.random.default_rng(seed)
    factors = random.standard_normal((6, rows, width))
    sign = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)[:, None]
    move = random.standard_normal((rows, width)) * 0.01 + random.standard_normal((rows, 1)) * 0.005
    move[1:] += (0.002 * (factors[0] * sign + 0.3 * factors[1]))[:-1]
    close = (100 * np.exp(np.cumsum(move, axis=0))).astype(np.float32)
    opens = np.vstack([np.full((1, width), 100, np.float32), close[:-1]])
    frame = Timeframe.parse("4h")
    start = np.datetime64("2021-01-01", "ns")
    time_ = frame.axis(start, start + (rows - 1) * frame.delta)
    fields = {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close,
              "volume": np.ones((rows, width), np.float32)}  # fmt: skip
    names = tuple(f"C{n:02d}_USDT" for n in range(width))
    return Panel(frame, time_, names, fields, np.full(width, time_[0])), factors.astype(np.float32), rows // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--instruments", type=int, default=64)
    parser.add_argument("--days", type=int, default=1461)
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=("walk", "networks", "combination"))
    parser.add_argument("--contenders", default=",".join(CONTENDERS).replace(", ", "; "))
    parser.add_argument("--contend")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.contend:
        contend(given.contend, given.folder, given.folds)
        return
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    print(", ".join(f"{name} {version(name)}" for name in ("pyqlib", "lightgbm", "numpy", "pandas", "torch")))
    chosen = tuple(name.replace("; ", ", ") for name in given.contenders.split(","))
    if given.only in (None, "walk"):
        sizes = (8, 520, 2) if given.small else (given.instruments, given.days, given.folds)
        walk_forward(*sizes, chosen)
    if given.only in (None, "networks"):
        networks(1_024 if given.small else 8_192)
    if given.only in (None, "combination"):
        combination(1 if given.small else 4)


if __name__ == "__main__":
    main()
