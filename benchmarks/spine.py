"""Where the time of a whole run goes: the demo, or any run's file, stage by stage.

    python benchmarks/spine.py [config.yaml]

Runs in a temporary folder from nothing and prints the machine, the versions and the seconds of each stage.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from bascule.app.config import load
from bascule.app.spine import run_spine


def machine() -> str:
    """Processor, cores, load."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return (
        f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )


def main() -> None:
    """Run and print the table."""
    with as_file(files("bascule.app").joinpath("demo.yaml")) as demo:
        config = load(Path(sys.argv[1]) if len(sys.argv) > 1 else demo)
    print(machine())
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "pyqlib", "lightgbm", "freqtrade")))
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        run_spine(config.model_copy(update={"folder": Path(folder) / "run"}), Console(quiet=True))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for name in ("data", "factors", "train", "signals", "backtest", "report"):
            record = json.loads((Path(folder) / "run" / "stages" / f"{name}.json").read_text())
            print(f"{name:10s} {record['seconds']:8.1f} s")
    print(f"{'all':10s} {wall:8.1f} s wall, {cpu:.1f} s of this process's CPU (freqtrade is another)")


if __name__ == "__main__":
    main()
