"""Row-wise primitives: scipy's ranks and correlations, whatever lies beside a row."""

import numpy as np
import pytest
from scipy import stats

from bascule.core import DataError
from bascule.evaluate import percentiles, row_ranks, row_sums
from bascule.evaluate.rows import CrossSection, trailing_sums


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_ranks_are_scipys_average_ranks(dtype: type, decimals: int) -> None:
    random = np.random.default_rng(decimals)
    values = random.standard_normal((300, 17)).round(decimals).astype(dtype)
    values[random.random(values.shape) < 0.2] = np.nan
    values[random.random(values.shape) < 0.02] = np.inf
    values[5] = np.nan
    values[6, :2] = 0.0, -0.0
    mask = random.random(values.shape) < 0.9
    ranks = row_ranks(values, mask)
    for row, got, inside in zip(values, ranks, mask, strict=True):
        good = inside & np.isfinite(row)
        assert np.isnan(got[~good]).all()
        assert np.array_equal(got[good], stats.rankdata(row[good], "average"))


def test_ranks_in_many_chunks_equal_ranks_in_one() -> None:
    values = np.random.default_rng(0).standard_normal((20_000, 40)).astype(np.float32)
    whole = row_ranks(values)
    assert np.array_equal(whole[12_345:12_347], row_ranks(values[12_345:12_347]))


def test_percentiles_are_midpoints() -> None:
    values = np.array([[3.0, 1.0, 2.0, np.nan]], np.float32)
    assert percentiles(values)[0, :3] == pytest.approx([5 / 6, 1 / 6, 3 / 6])
    assert np.isnan(percentiles(values)[0, 3])


@pytest.mark.parametrize("width", [0, 1, 2, 3, 7, 64, 65])
def test_row_sums_do_not_depend_on_the_rows_beside_them(width: int) -> None:
    values = np.random.default_rng(1).standard_normal((50, width)) * 1e3
    whole = row_sums(values)
    assert whole == pytest.approx(values.sum(axis=1))
    for t in (0, 17, 49):
        assert np.array_equal(whole[t : t + 1], row_sums(values[t : t + 1]))


def test_wrong_shapes_and_types_are_refused() -> None:
    with pytest.raises(DataError, match="expected floats"):
        row_ranks(np.zeros(3, np.float32))
    with pytest.raises(DataError, match="expected floats"):
        row_ranks(np.zeros((3, 3), np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="mask"):
        row_ranks(np.zeros((3, 3), np.float32), np.ones((3, 2), bool))


def test_correlating_prepared_rows_is_exact_where_their_cells_differ() -> None:
    random = np.random.default_rng(3)
    x, y = random.standard_normal((2, 200, 12))
    x[::3, 4] = np.nan
    y[::5, 7] = np.nan
    got = CrossSection.of(x, rank=True).correlate(CrossSection.of(y, rank=True))
    for t in range(200):
        good = np.isfinite(x[t]) & np.isfinite(y[t])
        assert got[t] == pytest.approx(stats.spearmanr(x[t][good], y[t][good])[0], abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_without_any_variation_correlates_with_nothing(dtype: type) -> None:
    random = np.random.default_rng(5)
    levels = random.standard_normal((200, 1)).astype(dtype)
    same = np.broadcast_to(levels, (200, 13)).copy()
    same[::4, 3] = np.nan
    other = random.standard_normal((200, 13))
    assert np.isnan(CrossSection.of(same, rank=False).correlate(CrossSection.of(other, rank=False))).all()


@pytest.mark.parametrize("bars", [1, 3, 8, 20])
def test_trailing_sums_are_those_of_the_rows_behind(bars: int) -> None:
    values = np.random.default_rng(6).standard_normal((8, 2))
    expected = [values[max(0, t - bars + 1) : t + 1].sum(axis=0) for t in range(8)]
    np.testing.assert_allclose(trailing_sums(values, bars), expected, atol=1e-12)
