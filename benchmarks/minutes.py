"""Minutes of years, from the store to the store: Alpha158 over more rows than memory holds.

    python benchmarks/minutes.py                        # 50 instruments x 131,400, 262,800 and 525,600 minutes
    python benchmarks/minutes.py --rows 1051200         # two years; the factors take 33 GB of disk

1. Synthetic minutes are written to a store month by month, and its provider is built: not timed.
2. A process of its own reads the store piece by piece (`engine.write_npy`), computes Alpha158 and writes the
   factors to one file. Told: rows a second, CPU seconds a million cells, and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bascule.data.store import Store

MONTH = 43_200
_WORK = """
import resource, sys, time
from pathlib import Path
from bascule import engine, factors
from bascule.data.store import Store
store, out = Store.open(sys.argv[1]), Path(sys.argv[2])
times = store.panel("1m", fields=["close"]).time
step = times[1] - times[0]
plan = engine.compile([factor.text for factor in factors.library("alpha158")])
def read(start, stop):
    return store.panel("1m", start=times[start], end=times[0] + step * stop, fields=plan.fields)
def used():
    one = resource.getrusage(resource.RUSAGE_SELF)
    return one.ru_utime + one.ru_stime
def largest():
    # of this program; ru_maxrss remembers that of the parent which started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before, wall, cpu = largest(), time.perf_counter(), used()
engine.write_npy(out, plan, read, len(times), threads=int(sys.argv[3]))
print(len(times), time.perf_counter() - wall, used() - cpu, before / 1024, largest() / 1024, out.stat().st_size)
"""


def fill(store: Store, instruments: int, rows: int) -> None:
    """Random walks, month by month."""
    rng = np.random.default_rng(0)
    last = rng.uniform(1, 1000, instruments)
    start = pd.Timestamp("2022-01-01", tz="UTC")
    names = [f"C{n:02d}_USDT" for n in range(instruments)]
    for first in range(0, rows, MONTH):
        count = min(MONTH, rows - first)
        close = last * np.exp(np.cumsum(rng.standard_normal((count, instruments)) * 5e-4, axis=0))
        open_ = np.vstack([last, close[:-1]])
        last = close[-1]
        high = np.maximum(open_, close) * (1 + 3e-4 * rng.random(close.shape))
        low = np.minimum(open_, close) * (1 - 3e-4 * rng.random(close.shape))
        volume = np.exp(rng.standard_normal(close.shape) + 5)
        time = start + pd.to_timedelta(np.arange(first, first + count), "min")
        columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
        frame = pd.DataFrame(
            {
                "time": np.tile(time.to_numpy(), instruments),
                "instrument": np.repeat(names, count),
                **{name: values.T.ravel().astype(np.float32) for name, values in columns.items()},
            }
        )
        frame["time"] = frame["time"].dt.tz_localize("UTC") if frame["time"].dt.tz is None else frame["time"]
        store.write(frame, "1m")
    store.build_provider("1m")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[131_400, 262_800, 525_600])
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to put store and factors (default: temporary)")
    arguments = parser.parse_args()
    print(platform.platform(), "Python", platform.python_version())
    print(
        f"{'rows':>9} {'wall s':>8} {'CPU s':>8} {'rows/s':>8} {'CPU s a Mcell':>14} {'MiB before':>11} {'largest':>8} {'GB out':>7}"
    )
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            store = Store.create(Path(place) / "store")
            fill(store, arguments.instruments, rows)
            command = [sys.executable, "-c", _WORK, str(store.path), str(Path(place) / "factors.npy")]
            done = subprocess.run(
                [*command, str(arguments.threads)], check=True, stdout=subprocess.PIPE, text=True
            )
            count, wall, cpu, before, largest, size = (float(word) for word in done.stdout.split())
            cells = count * arguments.instruments / 1e6
            print(
                f"{count:9.0f} {wall:8.1f} {cpu:8.1f} {count / wall:8.0f} {cpu / cells:14.2f} "
                f"{before:11.0f} {largest:8.0f} {size / 1e9:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
