"""The table of factors: equal to its parts, and to pandas."""

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError
from bascule.evaluate import (
    Labels,
    autocorrelation,
    decay,
    forward_return,
    ic_series,
    summarise,
    table,
    turnover,
)
from tests.markets import random_panel


def test_table_equals_its_parts() -> None:
    random = np.random.default_rng(0)
    panel = random_panel(1, 400, 12, missing=0.02, late=4)
    universe = random.random(panel.shape) < 0.9
    panel = panel.with_universe(universe)
    values = random.standard_normal((3, 400, 12)).astype(np.float32)
    values[:, :20] = np.nan
    values[2] = np.round(values[2])
    told: list[tuple[int, int, str]] = []

    got = table(values, ["a", "b", "c"], panel, [1, 6], lambda *call: told.append(call))

    assert told == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]
    assert list(got.index.names) == ["factor", "horizon"]
    for f, name in enumerate("abc"):
        for horizon in (1, 6):
            label = forward_return(panel, horizon)
            ic = summarise(ic_series(values[f], label, panel.members), horizon)
            rank = summarise(ic_series(values[f], label, panel.members, rank=True), horizon)
            row = got.loc[(name, horizon)]
            assert row["ic"] == pytest.approx(ic.mean, abs=1e-12)
            assert row["t"] == pytest.approx(ic.t)
            assert row["icir"] == pytest.approx(ic.ir)
            assert row["rank_ic"] == pytest.approx(rank.mean, abs=1e-12)
            assert row["rank_t"] == pytest.approx(rank.t)
            assert row["rank_icir"] == pytest.approx(rank.ir)
            assert row["n"] == rank.n
            assert row["turnover_horizon"] == pytest.approx(turnover(values[f], panel.members, horizon))
            covered = np.isfinite(values[f]) & panel.members
            assert row["coverage"] == pytest.approx(covered.sum() / panel.members.sum())


@pytest.mark.parametrize("lag", [1, 5])
def test_turnover_equals_pandas(lag: int) -> None:
    random = np.random.default_rng(3)
    factor = np.cumsum(random.standard_normal((200, 10)), axis=0).astype(np.float32)
    factor[random.random(factor.shape) < 0.05] = np.nan
    ranks = pd.DataFrame(factor).rank(axis=1)
    expected = 1 - ranks.corrwith(ranks.shift(lag), axis=1).mean()
    assert turnover(factor, lag=lag) == pytest.approx(expected, abs=1e-9)


def test_turnover_of_a_fixed_order_is_nothing() -> None:
    factor = np.tile(np.arange(8, dtype=np.float32), (30, 1))
    assert turnover(factor) == pytest.approx(0.0, abs=1e-12)
    flipped = factor * np.where(np.arange(30) % 2, 1, -1)[:, None].astype(np.float32)
    assert turnover(flipped) == pytest.approx(2.0)


def test_a_lag_is_at_least_one_bar() -> None:
    factor = np.zeros((30, 8), np.float32)
    for measure in (lambda: turnover(factor, lag=0), lambda: autocorrelation(factor, None, [0, 1])):
        with pytest.raises(ConfigError, match="a lag of 0"):
            measure()


def test_shapes_that_do_not_fit_are_refused() -> None:
    panel = random_panel(1, 30, 6)
    with pytest.raises(DataError, match="do not fit"):
        table(np.zeros((2, 30, 6), np.float32), ["a"], panel, [1])
    with pytest.raises(DataError, match="do not fit"):
        table(np.zeros((1, 29, 6), np.float32), ["a"], panel, [1])


def test_labels_made_once_are_those_made_anew() -> None:
    panel = random_panel(9, 200, 8, missing=0.05)
    values = np.random.default_rng(9).standard_normal((2, *panel.shape)).astype(np.float32)
    labels = Labels(panel)
    alone = table(values, ["a", "b"], panel, [1, 4])
    pd.testing.assert_frame_equal(alone, table(values, ["a", "b"], panel, [1, 4], labels=labels))
    given, anew = (decay(values[0], panel, [1, 4, 8], labels=one) for one in (labels, None))
    assert (given.cumulative, given.marginal, given.reason) == (anew.cumulative, anew.marginal, anew.reason)
    np.testing.assert_array_equal(labels.returns(4, delay=1), forward_return(panel, 4, delay=1))
    assert labels.section(4, rank=True) is labels.section(4, rank=True)
