"""The plain correlation across instruments against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bascule.kernels.correlate import correlations


@pytest.mark.parametrize("rank", [False, True])
def test_each_row_is_the_correlation_of_its_common_cells(rank: bool) -> None:
    random = np.random.default_rng(0)
    x = np.round(random.standard_normal((30, 25)), 1).astype(np.float32)
    y = random.standard_normal((30, 25)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    y[random.random(x.shape) < 0.1] = np.inf
    members = random.random(x.shape) < 0.9
    found = correlations(x, y, members, 5, rank=rank)
    for row in range(30):
        cells = members[row] & np.isfinite(x[row]) & np.isfinite(y[row])
        left, right = x[row, cells].astype(np.float64), y[row, cells].astype(np.float64)
        expected = stats.spearmanr(left, right)[0] if rank else np.corrcoef(left, right)[0, 1]
        assert found[row] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rank", [False, True])
def test_few_or_equal_cells_have_no_correlation(rank: bool) -> None:
    y = np.arange(6, dtype=np.float32)[None, :]
    assert np.isnan(correlations(np.full((1, 6), 0.1, np.float32), y, None, 2, rank=rank))
    assert np.isnan(correlations(y, np.full((1, 6), 0.1, np.float32), None, 2, rank=rank))
    assert np.isnan(correlations(y, y, None, 7, rank=rank))
    assert correlations(y, -y, None, 6, rank=rank)[0] == pytest.approx(-1.0)
