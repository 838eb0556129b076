"""The data floor side by side with what else would do the work; prints tables in Markdown.

    python benchmarks/data.py [panel_1h.parquet]

Without a file the panel is looked for as the tests do (``BASCULE_DATA``, or ``../shared/data``).

1. Ingest of the whole panel: our store, our store and its qlib provider, a plain parquet write by polars and
   by pyarrow, and a folder of qlib's ``.bin`` files as ``dump_bin.py`` makes it (an own writer of the same
   steps: each symbol is aligned to the calendar with pandas and each field written).
2. Load of the panel [T, N, F]: our provider, the same bytes by ``np.fromfile`` (the arrays that we read, and
   qlib's bins), the parquet file, and qlib's ``D.features`` on raw fields (a process of its own, one kernel).
   A panel is a mapping: the second figure of each adds up all values, so that every byte is touched.
3. Append of one candle to 500 instruments with half a month stored, end to end: candles, provider with a
   universe, and the newest 200 rows of the panel; and what making the provider as a whole costs instead.
4. Health: seconds, share of injected defects that are found where they are, findings on the clean file.

Each figure is the best of a few runs, of the first two loads the median of runs in turn. CPU seconds are of
the process that does the work.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bascule.core import Panel, Timeframe, moment
from bascule.data.health import check
from bascule.data.prepare import prepare
from bascule.data.readers import read_long
from bascule.data.store import Store
from bascule.data.universe import UniverseSettings

HOUR = Timeframe.parse("1h")
RAW = ["open", "high", "low", "close", "volume"]
PLACES = 6
ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    """Processor, cores, load, versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    libraries = ", ".join(f"{n} {version(n)}" for n in ("numpy", "pandas", "pyarrow", "pyqlib"))
    load = os.getloadavg()[0]
    return f"{name}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {libraries}"


def cpu() -> float:
    """CPU seconds so far."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def timed(work: Callable[[], Any], runs: int = 3) -> tuple[float, float]:
    """Least wall and CPU seconds of a few runs."""
    best = (np.inf, np.inf)
    for _ in range(runs):
        wall, spent = time.perf_counter(), cpu()
        work()
        best = (min(best[0], time.perf_counter() - wall), min(best[1], cpu() - spent))
    return best


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print Markdown."""
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


# -- ingest ----------------------------------------------------------------------------------------------


def dump_bin(frame: pd.DataFrame, folder: Path) -> None:
    """qlib's folder as its dump_bin.py makes it: align each symbol to the calendar, write each field."""
    calendar = pd.DatetimeIndex(sorted(frame["time"].unique()))
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars/60min.txt").write_text("\n".join(calendar.strftime("%Y-%m-%d %H:%M:%S")))
    lines = []
    for name, one in frame.groupby("instrument"):
        own = one.set_index("time")[RAW]
        aligned = own.reindex(calendar[(calendar >= own.index.min()) & (calendar <= own.index.max())])
        start = calendar.get_loc(aligned.index[0])
        place = folder / "features" / str(name).lower()
        place.mkdir(parents=True)
        for field in RAW:
            np.hstack([start, aligned[field]]).astype("<f").tofile(place / f"{field}.60min.bin")
        lines.append(f"{name}\t{aligned.index[0]:%Y-%m-%d %H:%M:%S}\t{aligned.index[-1]:%Y-%m-%d %H:%M:%S}")
    (folder / "instruments").mkdir()
    (folder / "instruments/all.txt").write_text("\n".join(lines))


def ingest(frame: pd.DataFrame, folder: Path) -> Store:
    """Part 1."""
    count = iter(range(1_000))

    def ours(provider: bool) -> Store:
        store = Store.create(folder / f"store{next(count)}")
        store.write(frame, HOUR)
        if provider:
            store.build_provider(HOUR)
        return store

    def by_polars() -> None:
        import polars as pl

        pl.from_pandas(frame).write_parquet(folder / "polars.parquet")

    def by_pyarrow() -> None:
        frame.to_parquet(folder / "pyarrow.parquet", compression="zstd")

    work: list[tuple[str, Callable[[], Any]]] = [
        ("store: checked, monthly parquet, checksums, fsync", lambda: ours(False)),
        ("the same and the qlib provider (6 fields)", lambda: ours(True)),
        ("qlib .bin folder as dump_bin.py (5 fields)", lambda: dump_bin(frame, folder / f"bin{next(count)}")),
        ("plain parquet, pyarrow (zstd)", by_pyarrow),
    ]
    try:
        import polars  # noqa: F401
    except ModuleNotFoundError:
        print("polars is not installed: its row is left out")
    else:
        work.append(("plain parquet, polars (zstd)", by_polars))
    rows = []
    for name, one in work:
        wall, spent = timed(one, 2)
        rows.append([name, f"{len(frame) / wall:,.0f}", f"{wall:.2f}", f"{spent:.2f}"])
    table(["ingest", "rows/s", "wall s", "CPU s"], rows)
    return ours(True)


# -- load ------------------------------------------------------------------------------------------------

QLIB = """
import sys, time, warnings
warnings.filterwarnings("ignore")
import qlib
from qlib.data import D
qlib.init(provider_uri=sys.argv[1], region="us", logging_level=50, kernels=1)
fields = ["$open", "$high", "$low", "$close", "$volume"]
wall = spent = 1e9
for _ in range(2):
    from qlib.data.cache import H
    H.clear()
    begin, used = time.perf_counter(), time.process_time()
    frame = D.features(D.instruments("all"), fields, freq="60min")
    wall = min(wall, time.perf_counter() - begin)
    spent = min(spent, time.process_time() - used)
print(len(frame), wall, spent)
"""


def load(store: Store, frame: pd.DataFrame, folder: Path) -> None:
    """Part 2."""
    provider = store.provider(HOUR)
    bins = sorted(path for field in RAW for path in provider.glob(f"features/*/{field}.60min.bin"))
    arrays = [provider / "arrays" / f"{field}.f32" for field in RAW]
    size, dense = (sum(path.stat().st_size for path in paths) / 1e6 for paths in (bins, arrays))

    def ours() -> list[Any]:
        return list(store.panel(HOUR, fields=RAW).fields.values())

    def plain(paths: list[Path]) -> Callable[[], list[Any]]:
        return lambda: [np.fromfile(path, "<f4") for path in paths]

    def summed(get: Callable[[], list[Any]]) -> Callable[[], float]:
        return lambda: sum(float(one.sum()) for one in get())

    work: dict[str, Callable[[], Any]] = {
        "`Store.panel`, [T, N] arrays of 5 fields": ours,
        f"`np.fromfile` of these 5 arrays ({dense:.0f} MB)": plain(arrays),
        f"`np.fromfile` of the {len(bins)} bins ({size:.0f} MB), no panel": plain(bins),
    }
    work |= {f"{name}, and the sum of all values": summed(get) for name, get in work.items()}
    work["`Store.panel` of 40 of the 64 instruments"] = lambda: store.panel(
        HOUR, fields=RAW, instruments=store.instruments(HOUR)[:40]
    )
    work["`Store.panel` of the last 1,000 rows"] = lambda: store.panel(
        HOUR, fields=RAW, start=store.span(HOUR)[1] - 999 * HOUR.delta
    )
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(15):  # in turn, so that all meet the same load of the machine
        for name, one in work.items():
            told[name].append(timed(one, 1))
    found = {name: tuple(np.median(spent, axis=0)) for name, spent in told.items()}
    found["parquet → panel"] = timed(
        lambda: prepare(Panel.from_long(pd.read_parquet(folder / "pyarrow.parquet"), HOUR)), 2
    )
    done = subprocess.run(
        [sys.executable, "-c", QLIB, str(provider)], capture_output=True, text=True, check=True
    )
    wall, spent = (float(text) for text in done.stdout.split()[-2:])
    found["qlib `D.features`, 5 raw fields, 1 kernel"] = (wall, spent)
    first = next(iter(found.values()))
    rows = [
        [name, f"{1e3 * wall:.1f}", f"{1e3 * spent:.1f}", f"{wall / first[0]:.2f}", f"{spent / first[1]:.2f}"]
        for name, (wall, spent) in found.items()
    ]
    table(["load", "wall ms", "CPU ms", "wall × `Store.panel`", "CPU × `Store.panel`"], rows)


# -- append ----------------------------------------------------------------------------------------------


def append(folder: Path, instruments: int = 500, bars: int = 360, appends: int = 100) -> None:
    """Part 3."""
    rng = np.random.default_rng(0)
    ids = np.array([f"C{n:03d}_USDT" for n in range(instruments)], object)
    time_ = pd.date_range("2024-03-01", periods=bars + appends, freq="h", tz="UTC").as_unit("ns")

    def candles(start: int, stop: int) -> pd.DataFrame:
        count = (stop - start) * instruments
        price = rng.lognormal(0, 0.01, count).astype(np.float32)
        return pd.DataFrame(
            {
                "time": np.repeat(time_[start:stop], instruments),
                "instrument": np.tile(ids, stop - start),
                "open": price,
                "high": price * np.float32(1.01),
                "low": price * np.float32(0.99),
                "close": price,
                "volume": price,
            }
        )

    store = Store.create(folder / "append")
    store.write(candles(0, bars), HOUR)
    begin = time.perf_counter()
    store.build_provider(HOUR)
    making = time.perf_counter() - begin
    store.save_universe("top100", HOUR, UniverseSettings(top=100, volume_days=7, min_age_days=3))
    spent = []
    for n in range(bars, bars + appends):
        one, steps = candles(n, n + 1), [(time.perf_counter(), cpu())]
        store.write(one, HOUR)
        steps.append((time.perf_counter(), cpu()))
        store.build_provider(HOUR)
        steps.append((time.perf_counter(), cpu()))
        panel = store.panel(HOUR, start=time_[n - 199].to_pydatetime(), universe="top100")
        assert panel.shape == (200, instruments)
        assert all(np.isfinite(values.sum()) for values in panel.fields.values())
        steps.append((time.perf_counter(), cpu()))
        spent.append(np.diff(steps, axis=0))
    begin = time.perf_counter()
    store.compact()
    compacting = time.perf_counter() - begin
    again = candles(bars - 1, bars)
    begin = time.perf_counter()
    store.write(again, HOUR, conflicts="replace")
    rewriting = time.perf_counter() - begin
    parts = 1e3 * np.array(spent)  # [append, part, wall or CPU]
    rows = [
        [
            name,
            *(f"{of(one[:, 0]):.1f}" for of in (np.median, np.mean, np.max)),
            f"{np.median(one[:, 1]):.1f}",
        ]
        for name, one in (
            ("candles into the store", parts[:, 0]),
            ("provider (6 fields, 3,000 bins) and universe", parts[:, 1]),
            ("newest 200 rows of the panel, all values read", parts[:, 2]),
            ("end to end", parts.sum(axis=1)),
        )
    ]
    table(["append of one candle to 500 instruments, ms", "median", "mean", "worst", "median CPU"], rows)
    rows = [
        ["making the provider as a whole, before the first append", f"{1e3 * making:.0f}"],
        ["a candle that is merged into its month", f"{1e3 * rewriting:.0f}"],
        ["`Store.compact` afterwards", f"{1e3 * compacting:.0f}"],
    ]
    table(["for comparison", "ms"], rows)


# -- health ----------------------------------------------------------------------------------------------


def health(frame: pd.DataFrame) -> None:
    """Part 4."""
    sys.path.insert(0, str(ROOT))
    from tests.data.defects import DEFECTS, Market
    from tests.data.test_health_rates import found

    wall, spent = timed(lambda: check(frame, HOUR), 2)
    report = check(frame, HOUR)
    print(f"\nhealth of {len(frame):,} candles: {wall:.2f} s wall, {spent:.2f} s CPU")
    told = [
        [one["severity"], one["name"], str(one["instruments"]), f"{one['count']:,}"]
        for one in report.summary()
    ]
    table(["findings on the clean file", "", "instruments", "count"], told)
    span = (frame["time"] >= "2022-12-01") & (frame["time"] < "2023-03-20")
    names = ["BTC_USDT", "ETH_USDT", "LINK_USDT", "DOGE_USDT"]
    part = frame[span & frame["instrument"].isin(names)].reset_index(drop=True)
    rng = np.random.default_rng(1)
    rows = []
    for defect in DEFECTS:
        hits = 0
        for name in names:
            own = np.flatnonzero((part["instrument"] == name).to_numpy())
            for i in rng.integers(600, len(own) - 600, PLACES):
                market = defect(Market(part), own, int(i))
                seen = check(market.frame, HOUR, **market.extra)
                when = moment(part["time"].iloc[own[i]].to_pydatetime())
                hits += found(seen, defect.__name__, name, when)
        total = PLACES * len(names)
        rows.append([defect.__name__, f"{hits} of {total}"])
    table(["injected defect", "found and named"], rows)


def main() -> None:
    """Run and print the tables."""
    beside = ROOT.parent / "shared" / "data"
    home = Path(os.environ.get("BASCULE_DATA", beside)) / "market/panel_1h.parquet"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else home
    print(machine())
    frame = read_long(path)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = ingest(frame, folder)
        load(store, frame, folder)
        append(folder)
    health(frame)


if __name__ == "__main__":
    main()
