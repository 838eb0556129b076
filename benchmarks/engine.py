"""Times Alpha158 on synthetic candles: the engine, its memory floor, and other engines, side by side.

    python benchmarks/engine.py                      # panels A (100 x 17,520 hours), B (800 x 3,300 days)
    python benchmarks/engine.py --panel A --only bascule,floor --repeats 9
    python benchmarks/engine.py --quick              # tiny panels, for a look at the script itself

1. One panel for all: random walks with ties, float32. Contenders take their fields in the layout they like;
   making it is not timed, nor is compiling expressions, which is told apart.
2. Contenders take turns, so that a busy moment of the machine hits all of them. Reported are the least CPU
   seconds and the median of the wall seconds of all turns, with ratios to the engine and to the floor.
3. The floor reads six fields and writes 158 outputs with stores that pass the caches, tile by tile in the
   engine's own order, and does nothing else.

Further sections: one new candle; random formulae with their IC (`formulae.py`); the first call of a new process.

Contenders that are not installed are left out: AlphaGen (``--alphagen FOLDER`` of its repository), KunQuant (``--kunquant FOLDER`` where pip put it with
``--target``), polars, and the prototype that this engine grew out of (``--prototype FOLDER``).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import contenders
import formulae

from bascule import engine, factors
from bascule.core import Panel
from bascule.engine import native_run
from bascule.kernels.native import library

PANELS = {"A": (100, 17_520), "B": (800, 3_300)}
QUICK = {"A": (20, 600), "B": (40, 400)}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Clock:
    """CPU and wall seconds of every turn of every contender."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}
        self.wall: dict[str, list[float]] = {}

    def turn(self, name: str, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), cpu_seconds()
        work()
        self.cpu.setdefault(name, []).append(cpu_seconds() - cpu)
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)


def ours(panel: Panel, threads: int, layout: str) -> Callable[[], object]:
    plan = engine.compile([factor.text for factor in factors.library("alpha158")])
    width = native_run.padded(panel.shape[1])
    if layout == "lanes":
        out = engine.buffer((len(plan.texts), width // 16, panel.shape[0], 16))
        return lambda: engine.evaluate_lanes(plan, panel, out=out, threads=threads)
    whole = engine.buffer((len(plan.texts), panel.shape[0], width))
    if panel.shape[1] == width:
        return lambda: engine.evaluate(plan, panel, out=whole, threads=threads)
    padded = contenders.widened(panel, width)
    return lambda: engine.evaluate(plan, padded, out=whole, threads=threads)


def live(panel: Panel) -> Callable[[], object]:
    plan = engine.compile([factor.text for factor in factors.library("alpha158")])
    window = panel.rows(panel.shape[0] - 200, panel.shape[0])
    return lambda: engine.evaluate(plan, window, rows=1, threads=1)


def works(panel: Panel, arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What each contender does in a turn."""
    texts = [factor.text for factor in factors.library("alpha158")]
    found: dict[str, Callable[[], object]] = {
        "floor": contenders.floor(panel, len(texts), native_run.TILE_ROWS),
        "bascule 1 thread": ours(panel, 1, "lanes"),
        "bascule 2 threads": ours(panel, 2, "lanes"),
        "bascule [F,T,N]": ours(panel, 1, "table"),
        "prototype 1 thread": contenders.prototype(panel, arguments.prototype, 1),
        "KunQuant f32": contenders.kunquant(panel, arguments.kunquant, "float"),
        "KunQuant f64": contenders.kunquant(panel, arguments.kunquant, "double"),
        "polars": contenders.polars(panel, texts),
        "qlib": contenders.qlib(panel, texts, arguments.qlib_instruments),
    }
    wanted = arguments.only.split(",") if arguments.only else list(found)
    return {
        name: work
        for name, work in found.items()
        if work is not None and any(name.startswith(prefix.strip()) for prefix in wanted)
    }


def measure(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    width, rows = (QUICK if arguments.quick else PANELS)[name]
    panel = contenders.panel(width, rows)
    clock = Clock()
    tasks = works(panel, arguments)
    for turn in range(arguments.repeats):
        for task, work in tasks.items():
            # the slow ones have no need of many turns
            if (turn and min(clock.wall[task]) > 20) or (turn > 2 and min(clock.wall[task]) > 3):
                continue
            clock.turn(task, work)
    scale = {"qlib": width / min(width, arguments.qlib_instruments)}
    base, floor = "bascule 1 thread", "floor"
    table = {}
    for task in tasks:
        cpu = min(clock.cpu[task]) * scale.get(task, 1.0)
        table[task] = {
            "cpu": round(cpu, 4),
            "wall": round(median(clock.wall[task]) * scale.get(task, 1.0), 4),
            "x bascule": round(cpu / min(clock.cpu[base]), 2) if base in clock.cpu else None,
            "x floor": round(cpu / min(clock.cpu[floor]), 2) if floor in clock.cpu else None,
        }
    return {"panel": name, "instruments": width, "rows": rows, "results": table}


def tell(report: dict[str, object]) -> None:
    print(f"\n{report['instruments']} instruments x {report['rows']} rows, Alpha158")
    print(f"{'':20} {'CPU s':>9} {'wall s':>9} {'x bascule':>10} {'x floor':>8}")
    for name, row in report["results"].items():  # type: ignore[attr-defined]
        ratios = [f"{row[key]:.1f}" if row[key] else "" for key in ("x bascule", "x floor")]
        print(f"{name:20} {row['cpu']:9.3f} {row['wall']:9.3f} {ratios[0]:>10} {ratios[1]:>8}")


def candle(arguments: argparse.Namespace) -> dict[str, object]:
    """One new candle: 158 factors, wall milliseconds."""
    table = {}
    for width in (50, 100) if arguments.quick else (50, 100, 800):
        work = live(contenders.panel(width, 300))
        took = []
        for _ in range(200):
            start = time.perf_counter()
            work()
            took.append((time.perf_counter() - start) * 1e3)
        table[width] = {"min": round(min(took), 3), "median": round(median(took), 3)}
    return table


_FIRST = """
import time
begin = time.perf_counter()
import numpy as np
from bascule import engine, factors
from bascule.core import Panel, Timeframe
imported = time.perf_counter()
hour = Timeframe.parse("1h")
times = np.datetime64("2024-01-01", "ns") + np.arange(2000) * hour.delta
rng = np.random.default_rng(0)
close = np.exp(np.cumsum(rng.normal(0, 0.01, (2000, 100)), axis=0)).astype(np.float32)
fields = {name: close for name in ("open", "high", "low", "close", "vwap", "volume")}
panel = Panel(hour, times, tuple(f"C{n:03d}_USDT" for n in range(100)), fields, np.full(100, times[0]))
called = time.perf_counter()
engine.evaluate([factor.text for factor in factors.library("alpha158")], panel)
print(imported - begin, time.perf_counter() - called)
"""


def first_call() -> None:
    """Import, and the first evaluation of Alpha158 in a new process, planning included: wall seconds."""
    runs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", _FIRST], check=True, capture_output=True, text=True)
        runs.append([float(number) for number in done.stdout.split()])
    imported, called = (median(column) for column in zip(*runs, strict=True))
    print(f"\nnew process: import {imported:.2f} s, first call {called:.2f} s (medians, wall)")


def machine() -> str:
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(lines)} x {lines[0].split(':')[1].strip()}" if lines else model
    core = library()
    sets = f"{core.chosen} of {', '.join(core.sets)}" if core else "no native core"
    return f"{model}; {platform.platform()}; Python {platform.python_version()}; {sets}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--panel", choices=["A", "B", "both"], default="both")
    parser.add_argument("--only", help="names of contenders, by their beginnings, comma-separated")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="tiny panels")
    parser.add_argument("--kunquant", type=Path, help="folder that KunQuant was installed into")
    parser.add_argument(
        "--prototype",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "shared" / "bench" / "engine_prototype",
    )
    shared = Path(__file__).resolve().parents[2] / "shared" / "bench"
    parser.add_argument("--formulae", type=Path, default=shared / "alphagen_expressions.txt")
    parser.add_argument("--alphagen", type=Path, help="folder of AlphaGen's repository")
    parser.add_argument("--sections", default="alpha158,candle,formulae,first", help="comma-separated")
    parser.add_argument("--qlib-instruments", type=int, default=4, help="qlib runs these and is scaled up")
    arguments = parser.parse_args()
    print(machine())
    names = ("numpy", "polars", "pyqlib")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names if contenders.have(name)))
    sections = set(arguments.sections.split(","))
    if "alpha158" in sections:
        for name in ["A", "B"] if arguments.panel == "both" else [arguments.panel]:
            tell(measure(name, arguments))
    if "candle" in sections:
        print("\none new candle, 158 factors, ms:", json.dumps(candle(arguments)))
    if "formulae" in sections and arguments.formulae.is_file():
        width, rows = (QUICK if arguments.quick else PANELS)["A"]
        formulae.report(
            contenders.panel(width, rows), arguments.formulae, arguments.alphagen, arguments.repeats
        )
    if "first" in sections:
        first_call()
    for name, seconds in contenders.COMPILED.items():
        print(f"compile time of {name}: {seconds:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
