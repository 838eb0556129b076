"""Purged splits: no label of a training row meets a tested one; paths are whole histories."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.evaluate import combinatorial, paths, purged_folds


def spans(rows: np.ndarray, horizon: int) -> set[int]:
    """Candles whose opens the labels of these rows touch."""
    return {t + k for t in rows.tolist() for k in range(1, horizon + 2)}


@pytest.mark.parametrize(("groups", "tested"), [(5, 1), (6, 2), (6, 3)])
@pytest.mark.parametrize(("horizon", "embargo"), [(1, 0), (4, 0), (4, 7)])
def test_no_label_of_a_training_row_meets_a_tested_one(
    groups: int, tested: int, horizon: int, embargo: int
) -> None:
    found = list(combinatorial(301, groups, tested, horizon=horizon, embargo=embargo))
    assert len(found) == comb(groups, tested)
    for split in found:
        assert not set(split.train.tolist()) & set(split.test.tolist())
        assert not spans(split.train, horizon) & spans(split.test, horizon)
        # and no row is given away without need: what is left out lies near a test row
        out = np.setdiff1d(np.arange(301), np.concatenate([split.train, split.test]))
        distance = np.abs(out[:, None] - split.test[None, :]).min(axis=1) if len(out) else np.zeros(1)
        assert distance.max() <= horizon + 1 + embargo
        after = split.test.max() + 1
        rest = split.train[split.train >= after]
        assert len(rest) == 0 or rest.min() >= after + horizon + 1 + embargo


def test_folds_test_every_row_once() -> None:
    tested = np.concatenate([s.test for s in purged_folds(103, 5, horizon=2)])
    assert sorted(tested.tolist()) == list(range(103))


@pytest.mark.parametrize(("groups", "tested"), [(4, 1), (6, 2), (8, 3)])
def test_paths_are_whole_histories(groups: int, tested: int) -> None:
    found = paths(groups, tested)
    assert found.shape == (comb(groups - 1, tested - 1), groups)
    splits = list(combinatorial(240, groups, tested, horizon=1))
    used = set()
    for path in found:
        for group, number in enumerate(path):
            assert group in splits[number].groups
            used.add((group, int(number)))
    assert len(used) == tested * comb(groups, tested)


@pytest.mark.parametrize(
    "bad", [(10, 3, 3, 1, 0), (10, 3, 0, 1, 0), (10, 3, 1, 0, 0), (10, 3, 1, 1, -1), (2, 3, 1, 1, 0)]
)
def test_numbers_are_checked(bad: tuple[int, ...]) -> None:
    rows, groups, tested, horizon, embargo = bad
    with pytest.raises(ConfigError):
        list(combinatorial(rows, groups, tested, horizon=horizon, embargo=embargo))


def test_nothing_left_to_train_on_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nothing is left"):
        list(combinatorial(20, 2, 1, horizon=30))
