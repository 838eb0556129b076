"""The shared library: what it refuses, and that it fits the code beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.core import Panel
from bascule.engine import native, native_run
from bascule.engine.native_program import Program, program
from bascule.expr import parse
from bascule.kernels.native import OPCODES, Library, library
from tests.markets import random_panel

CORE = library()
pytestmark = pytest.mark.skipif(CORE is None, reason="the native core is not built")
TEXTS = (
    "Mean($close,5)/$close", "Corr($close,Log($volume+1),10)", "Quantile($close,7,0.2)", "EMA($close,4)",
    "If($close>$open,Std(Mean($close,3),5),1)", "Rank($volume,6)-IdxMax($high,6)", "Skew($close,9)",
    "Mad($close,4)", "Count($close,3)", "Sum($close>Ref($close,1),5)",
)  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    return random_panel(3, 90, 21, missing=0.02, late=3)


def lowered() -> Program:
    return program([parse(text) for text in TEXTS], "bascule")


def run(code: Program, panel: Panel) -> np.ndarray:
    out = np.zeros((len(code.wide), 2, len(panel.time), 16), np.float32)
    source = native_run.Source(panel)
    job = native_run.Job(code, source, {}, 0, (0, len(panel.time)))
    native_run.run(job, native_run.Target.lanes(out))
    return out


def test_it_was_built_from_this_code() -> None:
    assert CORE is not None
    assert CORE.chosen == CORE.sets[0]
    assert CORE.sets[-1] == "baseline"


def test_an_instruction_set_that_the_machine_lacks_is_an_error() -> None:
    assert CORE is not None
    with pytest.raises(OSError, match="this machine runs"):
        Library(CORE.path, "avx9000")


def test_a_file_that_is_no_library_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "_core.so"
    path.write_text("not a library")
    with pytest.raises(OSError):
        Library(path)


def test_opcodes_are_distinct() -> None:
    assert len(set(OPCODES.values())) == len(OPCODES)


@pytest.mark.parametrize(
    "change",
    [
        lambda code: code[:-1],
        lambda code: np.append(code, [OPCODES["ADD"], 3, 0]).astype(np.int32),
        lambda code: np.append(code, [99, 3, 0]).astype(np.int32),
        lambda code: np.append(code, [OPCODES["ADD"], 0, 0]).astype(np.int32),
        lambda code: np.append(code, [OPCODES["ADD"], 2**31 - 1, 0]).astype(np.int32),
        # a copy of slot 500; of the constant 500; of a row too far back; to output 500
        lambda code: np.append(code, [1, 11, 0, 0, -1, -1, 0, 0, 0, 500, 0]).astype(np.int32),
        lambda code: np.append(code, [1, 11, 0, 0, -1, -1, 0, 0, 0, -500, 0]).astype(np.int32),
        lambda code: np.append(code, [1, 11, 0, 0, -1, -1, 0, 0, 0, 0, 500]).astype(np.int32),
        lambda code: np.append(code, [1, 11, 0, 0, -501, -1, 0, 0, 0, 0, 0]).astype(np.int32),
    ],
)
def test_malformed_programs_are_refused(panel: Panel, change) -> None:  # type: ignore[no-untyped-def]
    code = lowered()
    broken = Program(change(code.code), code.constants, code.shapes, code.inputs, code.wide, code.history)
    with pytest.raises(AssertionError, match="refused"):
        run(broken, panel)


def test_no_mutated_program_escapes(panel: Panel) -> None:
    """Any change of any number is refused or computes something: nothing is read or written outside."""
    random = np.random.default_rng(11)
    code = lowered()
    refused = 0
    for _ in range(1_500):
        numbers = code.code.copy()
        for _ in range(random.integers(1, 4)):
            numbers[random.integers(len(numbers))] = random.choice(
                [-(2**31), -600, -2, -1, 0, 1, 2, 5, 7, 64, 1_000, 2**20, 2**31 - 1]
            )
        try:
            run(Program(numbers, code.constants, code.shapes, code.inputs, code.wide, code.history), panel)
        except AssertionError:
            refused += 1
    assert refused > 700
    # and it still works
    np.testing.assert_array_equal(run(code, panel), run(code, panel))


def test_slots_that_lie_about_themselves_are_refused(panel: Panel) -> None:
    code = lowered()
    for column, value in ((1, -1), (2, 10**6), (0, 7)):
        shapes = code.shapes.copy()
        shapes[0, column] = value
        with pytest.raises(AssertionError, match="refused"):
            run(Program(code.code, code.constants, shapes, code.inputs, code.wide, code.history), panel)


def test_plans_with_endless_history_are_left_to_numpy() -> None:
    from bascule import engine

    deep = "$close"
    for _ in range(12):
        deep = f"Ref({deep},100000)"
    assert not native.usable(engine.compile([deep]))
