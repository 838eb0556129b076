"""A tethered process ends with its parent, whatever ends that one; and otherwise runs as any other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bascule.core.tether import Tethered

# a module that starts a process of its own and tells both numbers
CHILD = """
import os, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""
PARENT = """
import time
from bascule.core.tether import Tethered
process = Tethered("child", [])
time.sleep(600)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "child.py"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def vanish(pids: list[int], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(map(gone, pids)):
        time.sleep(0.01)
    return all(map(gone, pids))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_takes_the_whole_group_along(module: Path, how: signal.Signals) -> None:
    module.write_text(CHILD, "utf-8")
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2 and not any(map(gone, pids))
        parent.send_signal(how)
    assert vanish(pids)


def test_the_module_sees_its_own_name_and_arguments_and_gives_its_own_status(module: Path) -> None:
    module.write_text("import sys\nprint(__name__, *sys.argv[1:])\nsys.exit(7)\n", "utf-8")
    with Tethered("child", ["a", "b c"], stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("__main__ a b c\n", 7)


def test_end_kills_what_runs_and_leaves_what_has_ended(module: Path) -> None:
    module.write_text(CHILD, "utf-8")
    with Tethered("child", [], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        process.end()
        assert process.returncode == -signal.SIGKILL and vanish(pids)
        process.end()


def test_many_leave_no_descriptor_open(module: Path) -> None:
    module.write_text("", "utf-8")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        process = Tethered("child", [])
        assert process.wait(60) == 0
        del process
    assert len(list(Path("/dev/fd").iterdir())) == before
