"""A chain of stages: done once, cut off anywhere, one process at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from bascule.app.stage import Runner, Stage
from bascule.core import BasculeError, ConfigError

Context = dict[str, Any]


def chain(log: list[str]) -> tuple[Stage[Context], ...]:
    """Three stages, ``c`` on ``b`` on ``a``, that write one file each and note that they ran."""

    def work(name: str) -> Any:
        def do(context: Context, folder: Path) -> dict[str, Any]:
            log.append(name)
            if context.get("fail") == name:
                (folder / "half").write_text("half")
                raise RuntimeError(name)
            (folder / "out").write_text(str(context[name]))
            return {"value": context[name]}

        return do

    return tuple(
        Stage(name, name, needs, lambda context, name=name: context[name], work(name))
        for name, needs in (("a", ()), ("b", ("a",)), ("c", ("b",)))
    )


def test_a_finished_run_is_not_done_again(tmp_path: Path) -> None:
    log: list[str] = []
    context = {"a": 1, "b": 1, "c": 1}
    Runner(tmp_path, chain(log)).run(context)
    outcomes = Runner(tmp_path, chain(log)).run(context)
    assert log == ["a", "b", "c"]
    assert not any(outcome.fresh for outcome in outcomes.values())
    assert outcomes["c"].facts == {"value": 1}


def test_a_changed_setting_runs_its_stage_and_what_builds_on_it(tmp_path: Path) -> None:
    log: list[str] = []
    Runner(tmp_path, chain(log)).run({"a": 1, "b": 1, "c": 1})
    outcomes = Runner(tmp_path, chain(log)).run({"a": 1, "b": 2, "c": 1})
    assert log == ["a", "b", "c", "b", "c"]
    assert (outcomes["b"].folder / "out").read_text() == "2"
    assert len(list((tmp_path / "work").glob("b-*"))) == 1  # the old one is gone


def test_a_stage_that_fails_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError):
        Runner(tmp_path, chain(log)).run({"a": 1, "b": 1, "c": 1, "fail": "b"})
    assert [p.name for p in (tmp_path / "stages").iterdir()] == ["a.json"]
    outcomes = Runner(tmp_path, chain(log)).run({"a": 1, "b": 1, "c": 1})
    assert log == ["a", "b", "b", "c"]
    assert not (outcomes["b"].folder / "half").exists()


def test_again_from(tmp_path: Path) -> None:
    log: list[str] = []
    context = {"a": 1, "b": 1, "c": 1}
    Runner(tmp_path, chain(log)).run(context)
    Runner(tmp_path, chain(log)).run(context, again_from="b")
    assert log == ["a", "b", "c", "b", "c"]
    with pytest.raises(ConfigError, match="stages: a, b, c"):
        Runner(tmp_path, chain(log)).run(context, again_from="z")


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    log: list[str] = []
    stages = chain(log)

    def nested(context: Context, folder: Path) -> dict[str, Any]:
        Runner(tmp_path, stages).run(context)
        return {}

    outer = Stage[Context]("outer", "outer", (), lambda context: 0, nested)
    with pytest.raises(BasculeError, match="another run is at work"):
        Runner(tmp_path, [outer]).run({"a": 1, "b": 1, "c": 1})


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_marker_changed_by_hand_is_named(tmp_path: Path, text: str) -> None:
    log: list[str] = []
    context = {"a": 1, "b": 1, "c": 1}
    Runner(tmp_path, chain(log)).run(context)
    (tmp_path / "stages" / "b.json").write_text(text)
    with pytest.raises(BasculeError, match=r"b\.json"):
        Runner(tmp_path, chain(log)).run(context)


def test_kill_at_any_moment_and_go_on(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from bascule.app.stage import Runner, Stage

        def work(name):
            def do(context, folder):
                out = folder / "out"
                for i in range(20):
                    with out.open("a") as stream:
                        stream.write(f"{i}\\n")
                    time.sleep(0.004)
                return {"lines": 20}
            return do

        order = (("a", ()), ("b", ("a",)), ("c", ("b",)))
        stages = [Stage(n, n, needs, lambda c: 0, work(n)) for n, needs in order]
        Runner(Path(sys.argv[1]), stages).run(None)
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    for delay in (0.0, 0.05, 0.09, 0.14):
        process = subprocess.Popen(command)
        while process.poll() is None and not (tmp_path / ".lock").exists():
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for marker in (tmp_path / "stages").glob("[abc].json"):
            facts = json.loads(marker.read_text())
            folder = tmp_path / "work" / f"{marker.stem}-{facts['fingerprint'][:8]}"
            assert (folder / "out").read_text().split() == [str(i) for i in range(20)]
    assert subprocess.run(command, check=False).returncode == 0
    assert len(list((tmp_path / "stages").glob("[abc].json"))) == 3
