"""Where definitions agree with alphalens-reloaded: plain pandas and scipy references of the same tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bascule.core import Panel
from bascule.evaluate import forward_return, ic_series, quantile_returns, table, turnover
from tests.markets import random_panel

HORIZONS = (1, 4, 12)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return random_panel(31, 300, 20)


@pytest.fixture(scope="module")
def factor(panel: Panel) -> np.ndarray:
    values = np.random.default_rng(32).standard_normal(panel.shape).astype(np.float32)
    values[1:] += values[:-1]
    return values


def forward(panel: Panel, horizon: int) -> pd.DataFrame:
    """Returns from the price at which a signal of the row can be acted on."""
    prices = pd.DataFrame(panel["open"].astype(np.float64)).shift(-1)
    return prices.shift(-horizon) / prices - 1


@pytest.mark.parametrize("horizon", HORIZONS)
def test_rank_ic_of_every_row_and_its_mean(panel: Panel, factor: np.ndarray, horizon: int) -> None:
    later = forward(panel, horizon).to_numpy().astype(np.float32)
    rows = np.arange(len(later) - horizon - 1)
    expected = [stats.spearmanr(factor[t], later[t]).statistic for t in rows]
    found = ic_series(factor, forward_return(panel, horizon), panel.members, rank=True)
    np.testing.assert_allclose(found[rows], expected, atol=1e-12)
    assert np.isnan(found[len(rows) :]).all()
    mean = table(factor[None], ["x"], panel, [horizon])["rank_ic"].iloc[0]
    assert mean == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_mean_return_by_quantile(panel: Panel, factor: np.ndarray, horizon: int) -> None:
    later = forward(panel, horizon)
    quantile = pd.DataFrame(factor).apply(lambda row: pd.qcut(row, 5, labels=False), axis=1)
    long = pd.DataFrame({"q": quantile.stack(), "r": later.stack()}).dropna()
    expected = long.groupby("q")["r"].mean().to_numpy()
    found = quantile_returns(factor, forward_return(panel, horizon), panel.members, horizon=horizon)
    np.testing.assert_allclose(found.mean, expected, atol=1e-8)


@pytest.mark.parametrize("lag", [1, 7])
def test_rank_autocorrelation(panel: Panel, factor: np.ndarray, lag: int) -> None:
    ranks = pd.DataFrame(factor).rank(axis=1)
    expected = ranks.corrwith(ranks.shift(lag), axis=1).mean()
    assert 1.0 - turnover(factor, panel.members, lag) == pytest.approx(expected, abs=1e-12)
