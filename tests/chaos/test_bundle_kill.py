"""kill -9 while a bundle is written: the old one or the new one, never half of one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bascule.core.files import TEMPORARY
from bascule.signals import Bundle
from tests.bridge.research import Research
from tests.chaos import TIMES
from tests.chaos.conftest import Tried

# writes one bundle after the other, each an hour younger, and says when it begins one
WRITER = """
import sys
from pathlib import Path
import numpy as np
from bascule.core.panel import Panel
from bascule.signals import Bundle, write_bundle

source, target, start = Bundle.open(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
signals = source.signals
panel = Panel(
    signals.timeframe, signals.time, signals.instruments, {}, source.manifest.listed_times.copy()
)
models = [source.path / model.path for model in source.manifest.models]
for hour in range(start, start + 10_000):
    print(hour, flush=True)
    write_bundle(
        target, spec=source.spec, panel=panel, signals=signals, models=models, data_fingerprint="x",
        created=np.datetime64("2024-01-01") + np.timedelta64(hour, "h"),
    )
"""


def kill_after(milliseconds: float, source: Path, target: Path, start: int) -> int:
    """Kill a writer this long after it began its second bundle; the hour of the last one begun."""
    command = [sys.executable, "-c", WRITER, str(source), str(target), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(milliseconds / 1_000)
        process.kill()
        begun = process.stdout.read().split()
    assert process.returncode == -9
    return int(begun[-1]) if begun else start + 1


def test_a_killed_writer_leaves_whole_bundles_only(spot: Research, tmp_path: Path, tried: Tried) -> None:
    target = tmp_path / "bundles"
    left_behind = 0
    start = 0
    for milliseconds in (0, 3, 8, 15, 25, 40, 60, 90) * TIMES:
        last = kill_after(milliseconds, spot.bundle.path, target, start)
        temporary = [item for item in target.iterdir() if item.name.startswith(TEMPORARY)]
        folders = [item for item in target.iterdir() if item.is_dir() and not item.is_symlink()]
        whole = [item for item in folders if item not in temporary]
        for folder in whole:
            assert Bundle.open(folder).signals.time[0] == spot.bundle.signals.time[0]
        # current leads to the newest whole bundle, or to the one before it if the kill fell between
        newest = sorted(whole)[-2:]
        assert Bundle.open(target).path in [folder.resolve() for folder in newest]
        # what the writer had gone on from is there
        for hour in range(start, last):
            day, clock = 1 + hour // 24, hour % 24
            assert any(folder.name.startswith(f"202401{day:02}T{clock:02}0000Z-") for folder in whole)
        left_behind += sum(item.is_dir() for item in temporary)
        tried("bundle: writer killed at a random moment")
        start = last + 1  # the next writer sweeps up what this one left
    assert left_behind > 0, "no writer was killed in the midst of a bundle: the delays do not test anything"
