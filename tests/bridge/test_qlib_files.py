"""Plain ``.bin`` files: which rows they have, and panels of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.bridge.qlib.files import Files, Place
from bascule.core import StoreError
from bascule.data import bins


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    np.array([3, 10, 11, 12], "<f4").tofile(tmp_path / "a.bin")
    np.array([0, 20, 21], "<f4").tofile(tmp_path / "b.bin")
    np.array([7], "<f4").tofile(tmp_path / "no_rows.bin")
    return [tmp_path / name for name in ("a.bin", "b.bin", "no_rows.bin", "missing.bin")]


def test_rows_of_files(paths: list[Path]) -> None:
    assert bins.extents(paths).tolist() == [[3, 6], [0, 2], [0, 0], [0, 0]]


@pytest.mark.parametrize(("low", "high"), [(0, 8), (4, 5), (6, 9), (1, 1), (1, 4)])
def test_values_of_rows(paths: list[Path], low: int, high: int) -> None:
    whole = np.full((9, 4), np.nan, np.float32)
    whole[3:6, 0], whole[0:2, 1] = [10, 11, 12], [20, 21]
    found = bins.read(paths, bins.extents(paths), low, high)
    assert found.flags.c_contiguous and found.dtype == np.float32
    np.testing.assert_array_equal(found, whole[low:high])


@pytest.mark.parametrize("numbers", [[], [np.nan, 1], [-1, 1], [0.5]], ids=str)
def test_damaged_files(tmp_path: Path, numbers: list[float]) -> None:
    (tmp_path / "x.bin").write_bytes(np.array(numbers, "<f4").tobytes() + b"\0\0")
    with pytest.raises(StoreError, match=r"x\.bin"):
        bins.extents([tmp_path / "x.bin"])


def test_a_file_that_shrinks(paths: list[Path]) -> None:
    rows = bins.extents(paths)
    paths[0].write_bytes(paths[0].read_bytes()[:8])
    with pytest.raises(StoreError, match="shorter"):
        bins.read(paths, rows, 0, 8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_panel_begins_where_the_load_does(tmp_path: Path) -> None:
    for name, content in {"x": [2, 1, 2, 3, 4], "y": [0, 5, 6, 7]}.items():
        (tmp_path / name).mkdir()
        np.array(content, "<f4").tofile(tmp_path / name / "close.day.bin")
    files = Files(Place(tmp_path, ".day.bin"), ["X"], {(None, "close"), ("Y", "close"), ("Z", "close")})
    assert (files.names, files.asked.tolist(), files.last()) == (("X", "Y", "Z"), [0], 6)
    files.load(1, 7)
    rows = files.rows((None, "close"), 1, 7)
    assert rows.tolist() == [[2, 6], [1, 3], [1, 1]]
    assert files.rows(("Y", "close"), 1, 7).tolist() == [[1, 3]] * 3
    panel = files.panel(1, 7, rows, None)
    assert panel.started.sum(axis=0).tolist() == [5, 6, 0]
    np.testing.assert_array_equal(panel["close"][:, 0], [np.nan, 1, 2, 3, 4, np.nan])
