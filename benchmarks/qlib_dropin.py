"""Times ``D.features``: plain qlib, qlib's disk caches, and the drop-in.

    python benchmarks/qlib_dropin.py              # 14 fields in Alpha158's style, 800 x 3,300 rows
    python benchmarks/qlib_dropin.py --work tail  # Alpha158, 100 x 17,520, only the last 8 rows
    python benchmarks/qlib_dropin.py --small      # the same on 40 x 500, for continuous integration

1. Random walks are written as a qlib provider folder.
2. Each contender runs in a process of its own, with one kernel, several times; the first run of the drop-in,
   which also parses and plans, is told apart. Everything is timed from the call to the finished data frame.
3. The disk caches are written by a first run. They need Redis for their locks; here nothing else writes, so
   that the locks are switched off, which can only make them look faster. The cache of whole frames needs
   PyTables; where it is not installed, that contender is left out.
4. The frames are compared, and a table is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

FIELDS = (
    "($close-$open)/$open", "($high-$low)/$open", "(2*$close-$high-$low)/($high-$low+1e-12)",
    "Ref($close,5)/$close", "Mean($close,20)/$close", "Std($close,20)/$close", "Slope($close,20)/$close",
    "Max($high,20)/$close", "Min($low,20)/$close", "Quantile($close,20,0.8)/$close", "Rank($close,20)",
    "Corr($close,Log($volume+1),20)", "Mean($close>Ref($close,1),20)", "Std($volume,20)/($volume+1e-12)",
)  # fmt: skip
CONTENDERS = ("qlib", "qlib, warm expressions", "qlib, warm frames", "drop-in")


@dataclass(frozen=True)
class Work:
    """What is asked for.

    Attributes:
        instruments: how many.
        days: rows of the calendar.
        last: how many of them are asked for; None = all.
    """

    instruments: int
    days: int
    last: int | None = None


WORKS = {"serve": Work(800, 3300), "tail": Work(100, 17_520, last=8)}


def texts(work: str) -> list[str]:
    """The fields of a work."""
    if work == "serve":
        return list(FIELDS)
    from qlib.contrib.data.loader import Alpha158DL

    return list(Alpha158DL.get_feature_config()[0])


def write_provider(folder: Path, instruments: int, days: int, seed: int = 0) -> None:
    """Random walks that trade on every day, as a qlib provider folder."""
    rng = np.random.default_rng(seed)
    time_ = np.datetime64("2010-01-01") + np.arange(days)
    for name in ("calendars", "instruments"):
        (folder / name).mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("\n".join(map(str, time_)) + "\n")
    names = [f"C{n:04d}" for n in range(instruments)]
    (folder / "instruments" / "all.txt").write_text(
        "".join(f"{name}\t{time_[0]}\t{time_[-1]}\n" for name in names)
    )
    for name in names:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, days)))
        open_ = close * np.exp(rng.normal(0, 0.005, days))
        fields = {
            "open": open_,
            "close": close,
            "high": np.maximum(open_, close) * (1 + rng.random(days) / 100),
            "low": np.minimum(open_, close) * (1 - rng.random(days) / 100),
            "vwap": (open_ + close) / 2,
            "volume": rng.lognormal(6, 1, days),
        }
        home = folder / "features" / name.lower()
        home.mkdir(parents=True)
        for field, values in fields.items():
            np.concatenate([[0.0], values]).astype("<f4").tofile(home / f"{field}.day.bin")


def initialise(contender: str, folder: Path) -> None:
    """qlib for one contender."""
    import qlib

    common: dict[str, Any] = {"region": "us", "kernels": 1, "logging_level": 50}
    if contender == "drop-in":
        import bascule

        qlib.init(**bascule.qlib(folder, **common))
        return
    qlib.init(provider_uri=str(folder), expression_cache=None, dataset_cache=None, **common)
    if contender.startswith("qlib, warm"):
        _use_disk_cache(frames=contender.endswith("frames"))


def _use_disk_cache(frames: bool) -> None:
    """qlib's disk cache of expressions, or of whole frames, without Redis: the locks do nothing."""
    from contextlib import contextmanager

    from qlib.data import cache, data

    @contextmanager
    def unlocked(*_: Any, **__: Any) -> Any:
        yield

    cache.get_redis_connection = lambda: None
    cache.CacheUtils.reader_lock = cache.CacheUtils.writer_lock = staticmethod(unlocked)
    if frames:
        data.DatasetD.register(cache.DiskDatasetCache(data.DatasetD._provider))
    else:
        data.ExpressionD.register(cache.DiskExpressionCache(data.ExpressionD._provider))


def worker(contender: str, folder: Path, runs: int, sample: Path, work: str) -> None:
    """Time one contender and print seconds of wall and CPU."""
    from qlib.data import D
    from qlib.data.cache import H

    initialise(contender, folder)
    instruments = D.instruments("all")
    last = WORKS[work].last
    start = None if last is None else D.calendar(freq="day")[-last]
    fields = texts(work)
    timings = []
    for _ in range(runs):
        H.clear()
        D.calendar(freq="day")
        wall, cpu = time.perf_counter(), time.process_time()
        frame = D.features(instruments, fields, start, freq="day")
        timings.append((time.perf_counter() - wall, time.process_time() - cpu))
    np.save(sample, frame.to_numpy()[:: max(1, len(frame) // 50_000)])
    print(json.dumps({"timings": timings, "shape": frame.shape}))


def run(contender: str, folder: Path, runs: int, work: str) -> tuple[dict[str, Any], np.ndarray]:
    """Run one contender in a process of its own."""
    sample = folder / "sample.npy"
    command = [sys.executable, __file__, "--worker", contender, "--folder", folder, "--runs", runs]
    command += ["--sample", sample, "--work", work]
    done = subprocess.run([str(item) for item in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]), np.load(sample)


def machine() -> str:
    """The machine in words."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def _cpuinfo() -> list[str]:
    place = Path("/proc/cpuinfo")
    return place.read_text().splitlines() if place.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", choices=WORKS, default="serve")
    parser.add_argument("--instruments", type=int)
    parser.add_argument("--days", type=int)
    parser.add_argument("--small", action="store_true", help="40 instruments x 500 days")
    parser.add_argument("--runs", type=int, default=5, help="of the drop-in; the others run as --slow-runs")
    parser.add_argument("--slow-runs", type=int, default=1)
    parser.add_argument("--only", choices=CONTENDERS)
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.folder, args.runs, args.sample, args.work)
        return
    size = Work(40, 500) if args.small else WORKS[args.work]
    args.instruments, args.days = args.instruments or size.instruments, args.days or size.days
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "provider"
        write_provider(folder, args.instruments, args.days)
        report(args, folder)


def report(args: argparse.Namespace, folder: Path) -> None:
    """Run all contenders and print the table."""
    asked = WORKS[args.work].last
    print(
        f"{args.work}: {len(texts(args.work))} fields, {args.instruments} instruments x {args.days} rows"
        + (f", only the last {asked} of them" if asked else "")
    )
    print(machine())
    packages = ("pyqlib", "numpy", "pandas", "bascule")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages))
    cpu: dict[str, float] = {}
    samples = {}
    print(f"{'':24}{'wall s':>10}{'CPU s':>10}{'first CPU s':>14}{'runs':>6}")
    for contender in [args.only] if args.only else CONTENDERS:
        if contender == "qlib, warm frames" and find_spec("tables") is None:
            print(f"{contender:24}  left out: PyTables is not installed")
            continue
        runs = args.runs if contender == "drop-in" else args.slow_runs
        # the first run of the disk cache writes it
        extra = 0 if contender == "qlib" else 1
        found, samples[contender] = run(contender, folder, runs + extra, args.work)
        walls, cpus = zip(*found["timings"], strict=True)
        cpu[contender] = median(cpus[extra:])
        print(f"{contender:24}{median(walls[extra:]):10.2f}{cpu[contender]:10.2f}{cpus[0]:14.2f}{runs:6}")
    for contender in CONTENDERS[:-1]:
        if {contender, "drop-in"} <= set(cpu):
            same = np.allclose(samples[contender], samples["drop-in"], 1e-3, 1e-5, equal_nan=True)
            ratio = cpu[contender] / cpu["drop-in"]
            verdict = "equal" if same else "DIFFER"
            print(f"drop-in against {contender}: {ratio:.1f} x in CPU time, values {verdict}")


if __name__ == "__main__":
    main()
