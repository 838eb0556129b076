import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bascule.core import files


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"v": 1})
    with pytest.raises(RuntimeError), files.atomic_file(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == '{\n  "v": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_finished_folder_is_never_changed(tmp_path: Path) -> None:
    with files.atomic_folder(tmp_path / "v1") as aside:
        (aside / "x").write_text("1")
    with pytest.raises(FileExistsError), files.atomic_folder(tmp_path / "v1"):
        pass
    assert (tmp_path / "v1" / "x").read_text() == "1"


def test_pointer_swaps_in_one_step(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        with files.atomic_folder(tmp_path / name) as aside:
            (aside / "x").write_text(name)
        files.point(tmp_path / "current", tmp_path / name)
        assert (tmp_path / "current" / "x").read_text() == name
    assert not (tmp_path / "current").readlink().is_absolute()  # the tree can be moved


def test_kill_at_any_moment_leaves_old_or_new(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    script = textwrap.dedent(
        """
        import sys; from pathlib import Path; from bascule.core import files
        n = 0
        while True:
            n += 1
            files.write_json(Path(sys.argv[1]), {"n": n, "pad": [n] * 20000})
        """
    )
    for delay in (0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", script, str(target)])
        while not target.exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        state = json.loads(target.read_text())
        assert set(state["pad"]) == {state["n"]}
    files.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_fingerprint_ignores_order_of_keys() -> None:
    assert files.fingerprint({"a": 1, "b": [2]}) == files.fingerprint({"b": [2], "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})
