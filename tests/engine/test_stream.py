"""Pieces of a long panel: the bits of one run, bounded memory, a whole file or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule import engine, factors
from bascule.core import DataError, ExpressionError
from tests.markets import random_panel

TEXTS = [factor.text for factor in factors.library("alpha158") if "$vwap" not in factor.text]


def test_pieces_are_the_rows_of_one_run() -> None:
    panel = random_panel(4, 400, 9, missing=0.02, late=2)
    plan = engine.compile([*TEXTS, "CSRank(Mean($close,5))"])
    whole = engine.evaluate(plan, panel)
    reads: list[int] = []
    seen: list[int] = []

    def read(start: int, stop: int) -> object:
        reads.append(stop - start)
        return panel.rows(start, stop)

    for start, values in engine.pieces(
        plan, read, 400, at_once=90, progress=lambda done, total, note="": seen.append(done)
    ):  # type: ignore[arg-type]
        np.testing.assert_array_equal(values, whole[:, start : start + values.shape[1]])
    assert seen == [90, 180, 270, 360, 400]
    assert max(reads) <= 90 + 60


def test_a_file_of_all_values(tmp_path: Path) -> None:
    panel = random_panel(4, 300, 5)
    plan = engine.compile(["Mean($close,5)", "Std($close,20)/$close"])
    path = tmp_path / "factors.npy"
    engine.write_npy(path, plan, panel.rows, 300, at_once=64)
    stored = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(stored, engine.evaluate(plan, panel).transpose(1, 0, 2))


def test_a_broken_reader_leaves_no_file(tmp_path: Path) -> None:
    panel = random_panel(4, 300, 5)

    def read(start: int, stop: int) -> object:
        if stop > 200:
            raise OSError("the disk is gone")
        return panel.rows(start, stop)

    with pytest.raises(OSError, match="gone"):
        engine.write_npy(tmp_path / "f.npy", engine.compile("$close"), read, 300, at_once=64)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["Mean($close,0)", "Ref($close,-1)"])
def test_endless_history_and_the_future_are_refused(text: str) -> None:
    panel = random_panel(4, 30, 5)
    with pytest.raises(ExpressionError, match="needs") as caught:
        list(engine.pieces(engine.compile(text), panel.rows, 30))
    assert caught.value.remedy


def test_pieces_of_no_rows_are_refused() -> None:
    panel = random_panel(4, 30, 5)
    with pytest.raises(DataError, match="at_once is 0") as caught:
        list(engine.pieces(engine.compile("$close"), panel.rows, 30, at_once=0))
    assert caught.value.remedy
