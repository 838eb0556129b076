"""The rotation of slow tests: each has its turn, once, and what belongs together stays together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.rotate import SHARE, deal

TESTS = [
    *(("", f"tests/a.py::test_one[{number}]") for number in range(100)),
    *(("tutorial", f"tests/b.py::test_a_step[{number}]") for number in range(5)),
    *(("site", f"tests/c.py::test_site_{number}") for number in range(4)),
    *(("ray", f"tests/{file}.py::test_ray") for file in ("z", "d")),
]


def test_each_test_is_in_one_eighth() -> None:
    times = Counter(name for eighth in deal(TESTS) for name in eighth)
    assert len(deal(TESTS)) == SHARE
    assert times == Counter(name for _, name in TESTS)


def test_a_group_is_in_one_eighth_and_no_two_meet() -> None:
    where = {name: turn for turn, eighth in enumerate(deal(TESTS)) for name in eighth}
    turns = {group: {where[name] for other, name in TESTS if other == group} for group, _ in TESTS if group}
    assert all(len(found) == 1 for found in turns.values())
    assert len(set.union(*turns.values())) == 3


def test_eighths_are_alike_and_do_not_depend_on_the_order_of_collection() -> None:
    sizes = [len(eighth) for eighth in deal(TESTS)]
    assert max(sizes) - min(sizes) <= 5
    assert deal(reversed(TESTS)) == deal(TESTS)
    assert deal([]) == [[] for _ in range(SHARE)]


def test_marks_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.xdist_group('file')\n"
        "def test_of_the_file(): ...\n"
        "@pytest.mark.xdist_group(name='own')\n"
        "def test_of_its_own(): ...\n"
    )
    (tmp_path / "test_other.py").write_text("def test_alone(): ...\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.rotate", "--collect-only", "-q"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("slow test: ")] == [
        "slow test: \ttest_other.py::test_alone",
        "slow test: file\ttest_sample.py::test_of_the_file",
        "slow test: own\ttest_sample.py::test_of_its_own",
    ]
