"""What an operator of one's own costs beside the compiled one: ``python benchmarks/own_operator.py``.

One million cells (20,000 candles of 50 instruments), means of 24 and 240 bars, median CPU seconds of five turns.
"""

from __future__ import annotations

import platform
import resource
import statistics
import sys
from pathlib import Path

import numpy as np

from bascule import engine
from bascule.core import Extension, extensions
from bascule.expr import RollingOperator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.markets import random_panel


class OwnMean(RollingOperator):
    """Mean of the last n bars."""

    def values(self, x):
        return x.mean(axis=1)


def cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    extensions.load(Extension("bench", "1", operators=[OwnMean]))
    panel = random_panel(1, 20_000, 50)
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print("| bars | built in, CPU s | own, CPU s | ratio |\n|---|---|---|---|")
    for n in (24, 240):
        spent = {}
        for text in (f"Mean($close,{n})", f"OwnMean($close,{n})"):
            turns = []
            for _ in range(5):
                begin = cpu()
                engine.evaluate([text], panel)
                turns.append(cpu() - begin)
            spent[text] = statistics.median(turns)
        built, own = spent.values()
        print(f"| {n} | {built:.3f} | {own:.3f} | {own / built:.0f} |")


if __name__ == "__main__":
    main()
