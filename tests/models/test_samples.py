"""From panels to samples: each row by itself, on an absolute grid, in order."""

from math import gcd

import numpy as np
import pytest

from bascule.core import DataError
from bascule.models.samples import choose_rows, gather, rows_of, standardise, target
from tests.markets import random_panel


def _label() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    label = random.standard_normal((60, 9)).astype(np.float32)
    label[random.random(label.shape) < 0.1] = np.nan
    members = random.random(label.shape) < 0.9
    members[3, 4:] = False
    return label, members


def test_rank_target_is_centred_with_unit_variance_over_members() -> None:
    label, members = _label()
    aim = target(label, members, "rank")
    assert np.isnan(aim[~members]).all()
    assert np.isnan(aim[3]).all(), "a row of four members has no cross-section"
    assert np.nanmean(aim[4:], axis=1) == pytest.approx(np.zeros(56), abs=1e-6)
    assert np.nanstd(aim) == pytest.approx(1.0, abs=0.05)
    row = members[10] & np.isfinite(label[10])
    assert np.array_equal(np.argsort(aim[10][row]), np.argsort(label[10][row]))


def test_zscore_target_is_cut_at_three() -> None:
    label, members = _label()
    label[20, 0], members[20] = 1e6, True
    aim = target(label, members, "zscore")
    assert np.nanmax(np.abs(aim)) <= 3.0
    assert np.nanmean(aim[30]) == pytest.approx(0.0, abs=1e-6)
    assert np.nanstd(aim[30]) == pytest.approx(1.0, abs=1e-5)
    flat = np.ones((1, 9), np.float32)
    assert np.isnan(target(flat, flat > 0, "zscore")).all()


def test_raw_target_is_the_label_of_members() -> None:
    label, members = _label()
    aim = target(label, members, "raw")
    good = np.isfinite(aim)
    assert np.array_equal(aim[good], label[good])


def test_a_targets_row_depends_on_that_row_alone() -> None:
    label, members = _label()
    for kind in ("rank", "zscore", "raw"):
        whole = target(label, members, kind)  # type: ignore[arg-type]
        part = target(label[10:20], members[10:20], kind)  # type: ignore[arg-type]
        assert np.array_equal(whole[10:20], part, equal_nan=True)


def test_the_automatic_stride_bounds_the_samples_and_keeps_every_hour() -> None:
    panel = random_panel(0, 2000, 10)
    window = (panel.time[100], panel.time[1900])
    rows, stride = choose_rows(panel, panel.members, rows_of(panel, window), None, 5000)
    assert gcd(stride, 24) == 1
    assert stride == 5
    assert len(rows) * 10 <= 5000
    assert 100 <= rows[0] < 105
    assert rows[-1] < 1900
    assert set(panel.time[rows].astype("datetime64[h]").astype(int) % 24) == set(range(24))


def test_strides_lie_on_an_absolute_grid() -> None:
    panel = random_panel(0, 300, 4)
    rows, _ = choose_rows(panel, panel.members, np.arange(299), 7, 1)
    later = panel.rows(50, None)
    shifted, _ = choose_rows(later, later.members, np.arange(249), 7, 1)
    assert np.array_equal(rows[rows >= 50], shifted + 50)


def test_gather_takes_chosen_cells_in_order_and_leaves_out_empty_ones() -> None:
    values = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)
    values[:, 4, 1] = np.nan
    values[0, 2, 0] = np.nan
    used = np.ones((5, 3), bool)
    used[2, 2] = False
    samples = gather(values, np.array([2, 4]), used, values[1])
    assert samples.row.tolist() == [2, 2, 4, 4]
    assert samples.column.tolist() == [0, 1, 0, 2]
    assert samples.features[1:].tolist() == [[7, 22], [12, 27], [14, 29]]
    assert np.isnan(samples.features[0, 0])
    assert samples.target.tolist() == [21, 22, 27, 29]


def test_standardise_compares_within_each_time_only() -> None:
    features = np.array([[5.0], [7], [6], [100], [np.nan], [50]], np.float32)
    got = standardise(features, np.array([1, 1, 1, 2, 2, 2]))
    assert got[:, 0] == pytest.approx([-1 / 3, 1 / 3, 0, 0.25, 0, -0.25])
    with pytest.raises(DataError, match="times"):
        standardise(features, np.zeros(0))
