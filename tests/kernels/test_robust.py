"""Robust rows against plain readings of their definitions; spikes, constants, holes, and no other row."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bascule.core import DataError
from bascule.kernels import cross, order, robust

Row = Callable[[np.ndarray], np.ndarray]


def gauss(row: np.ndarray) -> np.ndarray:
    return stats.norm.ppf((stats.rankdata(row) - 0.5) / len(row))


def mad(row: np.ndarray) -> np.ndarray:
    away = row - np.median(row)
    scale = 1.4826 * np.median(np.abs(away))
    return away / scale if scale > 0 else np.full(len(row), np.nan)


def moved(row: np.ndarray, q: float) -> np.ndarray:
    return np.clip(row, np.quantile(row, q), np.quantile(row, 1 - q))


def trimmed(row: np.ndarray, q: float) -> np.ndarray:
    return row - stats.trim_mean(row, q)


CASES: dict[str, tuple[robust.Transform, Row]] = {
    "rank_gauss": (robust.rank_gauss, gauss),
    "mad_zscore": (robust.mad_zscore, mad),
    "winsorize": (functools.partial(robust.winsorize, q=0.1), functools.partial(moved, q=0.1)),
    "trimmed_demean": (functools.partial(robust.trimmed_demean, q=0.2), functools.partial(trimmed, q=0.2)),
}


def sample(rows: int = 40, width: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """Fat tails, holes, infinities, ties, an offset, a constant row, an empty row, a row of one."""
    rng = np.random.default_rng(4)
    x = rng.standard_t(2, (rows, width)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[3, :5] = np.inf
    x[4] = np.round(x[4])
    x[5] += 60_000
    x[6] = 7
    x[7] = np.nan
    x[8, 1:] = np.nan
    x[9, 2] = 1e9
    members = rng.random(x.shape) < 0.9
    members[8, 0] = True
    return x, members


@pytest.mark.parametrize("name", CASES)
def test_each_row_is_its_definition(name: str) -> None:
    transform, plain = CASES[name]
    x, members = sample()
    found = transform(x, members)
    for t in range(len(x)):
        counts = members[t] & np.isfinite(x[t])
        assert np.isnan(found[t, ~counts]).all()
        if counts.any():
            np.testing.assert_allclose(
                found[t, counts], plain(x[t, counts].astype(np.float64)), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("name", CASES)
def test_a_row_depends_on_no_other_row(name: str) -> None:
    transform, _ = CASES[name]
    x, members = sample()
    whole = transform(x, members)
    np.testing.assert_array_equal(transform(x[10:20], members[10:20]), whole[10:20])


def test_an_outlier_keeps_its_place_and_loses_its_weight() -> None:
    x = np.arange(21.0)[None, :]
    wild = x.copy()
    wild[0, 20] = 1e9
    members = np.ones(x.shape, bool)
    np.testing.assert_array_equal(robust.rank_gauss(wild, members), robust.rank_gauss(x, members))
    np.testing.assert_allclose(
        robust.mad_zscore(wild, members)[0, :20], robust.mad_zscore(x, members)[0, :20]
    )
    assert robust.mad_zscore(wild, members, limit=3)[0, 20] == 3
    assert robust.winsorize(wild, members, 0.1)[0, 20] == 18


def test_within_tiers_each_tier_is_standardised_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 12))
    groups = np.tile(np.array([1] * 4 + [2] * 6 + [0] * 2, np.int8), (30, 1))
    x[:, 4:] = 100 + 50 * x[:, 4:]
    members = np.ones(x.shape, bool)
    found = robust.within(cross.zscore, x, groups, members)
    assert np.isnan(found[:, 10:]).all()
    for cut in (slice(0, 4), slice(4, 10)):
        np.testing.assert_allclose(found[:, cut].mean(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(found[:, cut].std(axis=1, ddof=1), 1)
        np.testing.assert_allclose(found[:, cut], cross.zscore(x[:, cut], members[:, cut]), rtol=1e-12)
    assert np.isnan(robust.within(cross.zscore, x, groups, members, least=5)[:, :4]).all()
    with pytest.raises(DataError, match="groups have shape"):
        robust.within(cross.zscore, x, groups[:1], members)


@pytest.mark.parametrize("q", [-0.1, 0.5, 0.9])
def test_shares_out_of_range(q: float) -> None:
    x, members = sample()
    for transform in (robust.winsorize, robust.trimmed_demean):
        with pytest.raises(DataError, match="received q"):
            transform(x, members, q)


def by_group(row: np.ndarray, labels: np.ndarray) -> np.ndarray:
    found = np.full(len(row), np.nan)
    for label in set(labels.tolist()) - {0.0}:
        mine = labels == label
        if mine.sum() > 1 and len(set(row[mine].tolist())) > 1:
            found[mine] = (row[mine] - row[mine].mean()) / row[mine].std(ddof=1)
    return found


def test_standard_scores_within_groups_by_hand() -> None:
    x, members = sample()
    rng = np.random.default_rng(6)
    groups = rng.choice([0.0, 1.0, 2.5, -3.0, np.nan], x.shape).astype(np.float32)
    groups[11] = rng.normal(size=x.shape[1])  # everybody apart
    groups[12] = 1
    found = robust.group_zscore(x, groups, members)
    for t in range(len(x)):
        there = members[t] & np.isfinite(x[t]) & np.isfinite(groups[t])
        expected = np.full(x.shape[1], np.nan)
        expected[there] = by_group(x[t, there].astype(float), groups[t, there].astype(float))
        np.testing.assert_allclose(found[t], expected, rtol=1e-9, atol=1e-12)
    whole = np.where(np.isfinite(groups), groups, 0)
    np.testing.assert_allclose(robust.within(cross.zscore, x, whole, members), found, rtol=1e-9, atol=1e-9)
    assert np.isnan(robust.group_zscore(x, groups, np.zeros_like(members))).all()


def test_many_groups_cost_no_more_than_few() -> None:
    x = np.random.default_rng(1).normal(size=(400, 300)).astype(np.float32)
    everybody = np.ones(x.shape, bool)
    begin = time.process_time()
    assert np.isnan(robust.group_zscore(x, x, everybody)).all()  # 120,000 groups of one
    assert time.process_time() - begin < 2


def madz(values: np.ndarray) -> float:
    kept = values[np.isfinite(values)]
    away = values[-1] - np.median(kept) if len(kept) else np.nan
    scale = 1.4826 * np.median(np.abs(kept - np.median(kept))) if len(kept) else 0.0
    return away / scale if scale > 0 and np.isfinite(values[-1]) else np.nan


@pytest.mark.parametrize("window", [1, 3, 8, 60])
def test_rolling_mad_scores_by_hand(window: int) -> None:
    x, _ = sample(50, 6)
    x[10:30, 1] = 7  # a constant stretch
    x[20:, 2] += 60_000
    found = order.mad_zscores(x, window, len(x))
    for t in range(len(x)):
        for n in range(x.shape[1]):
            part = x[max(0, t + 1 - window) : t + 1, n].astype(float)
            np.testing.assert_allclose(found[t, n], madz(part), rtol=1e-9, err_msg=f"{t} {n}")
    # after a spike has left the window nothing of it is left
    spiked = x.copy()
    spiked[5, 3] = 1e9
    np.testing.assert_array_equal(
        order.mad_zscores(spiked, window, len(x))[5 + window :, 3], found[5 + window :, 3]
    )
