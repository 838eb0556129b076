"""Weights by rank: limits to the last bit, row by row, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, DataError
from bascule.portfolio import PortfolioSettings, target_weights
from bascule.risk import RiskScores


def _scores(rows: int, width: int, seed: int = 0) -> RiskScores:
    random = np.random.default_rng(seed)
    matrix = random.random((3, rows, width)).astype(np.float32)
    matrix[0] += 0.2
    return RiskScores(
        volatility=matrix[0],
        beta=matrix[1],
        illiquidity=matrix[1],
        score=matrix[2],
        portfolio=random.random(rows).astype(np.float32),
        regime=np.zeros(rows, np.int8),
    )


def _case(seed: int) -> tuple[np.ndarray, RiskScores, np.ndarray]:
    random = np.random.default_rng(seed)
    rank = random.random((400, 23)).round(2).astype(np.float32)
    rank[random.random(rank.shape) < 0.1] = np.nan
    members = random.random(rank.shape) < random.random((400, 1))
    scores = _scores(400, 23, seed)
    for values in (scores.volatility, scores.score):
        values[random.random(rank.shape) < 0.1] = np.nan
    scores.portfolio[random.random(400) < 0.1] = np.nan
    return rank, scores, members


@pytest.mark.parametrize("side", ["long", "long_short"])
@pytest.mark.parametrize("weighting", ["equal", "rank", "inverse_vol"])
@pytest.mark.parametrize(
    ("top", "cap", "gross"), [(1, 1.0, 1.0), (5, 0.15, 1.0), (10, 0.3, 2.0), (40, 0.05, 0.7)]
)
def test_limits_hold_exactly(side: str, weighting: str, top: int, cap: float, gross: float) -> None:
    rank, scores, members = _case(top)
    settings = PortfolioSettings.read(
        {"side": side, "weighting": weighting, "top": top, "max_weight": cap, "gross": gross}
    )
    weights = target_weights(rank, scores, members, settings)
    size = np.abs(weights.astype(np.float64))
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all()
    assert (size <= cap).all()
    risk = np.where(np.isfinite(scores.portfolio), scores.portfolio, 1.0).astype(float)
    budget = gross * (1 - settings.risk_scaling * risk)
    assert (size.sum(axis=1) <= budget).all()
    assert (weights[~members | np.isnan(rank)] == 0).all()
    assert ((weights > 0).sum(axis=1) <= top).all()
    if side == "long":
        assert (weights >= 0).all()
        names = np.minimum(top, (members & np.isfinite(rank)).sum(axis=1))
    else:
        assert ((weights < 0).sum(axis=1) <= top).all()
        assert weights.astype(float).sum(axis=1) == pytest.approx(np.zeros(400), abs=1e-6)
        names = 2 * np.minimum(top, (members & np.isfinite(rank)).sum(axis=1) // 2)
    ranked = (members & np.isfinite(rank)).sum(axis=1)
    assert (weights[ranked < settings.min_members] == 0).all()
    full = (ranked >= settings.min_members) & (names * cap >= budget * 1.0001)
    assert size.sum(axis=1)[full] == pytest.approx(budget[full], rel=1e-6)
    short = (ranked >= settings.min_members) & (names * cap < budget)
    assert size.sum(axis=1)[short] == pytest.approx((names * cap)[short], rel=1e-6)


def test_every_row_depends_on_itself_alone() -> None:
    rank, scores, members = _case(1)
    settings = PortfolioSettings(side="long_short", max_weight=0.12, top=4)
    whole = target_weights(rank, scores, members, settings)
    for start, stop in ((0, 1), (17, 18), (100, 400)):
        part = target_weights(rank[start:stop], scores.rows(start, stop), members[start:stop], settings)
        assert np.array_equal(part, whole[start:stop])


def _plain(width: int = 6) -> tuple[np.ndarray, RiskScores, np.ndarray]:
    rank = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    scores = RiskScores(
        volatility=np.linspace(0.5, 1.5, width, dtype=np.float32)[None, :],
        beta=np.ones((1, width), np.float32),
        illiquidity=np.ones((1, width), np.float32),
        score=np.zeros((1, width), np.float32),
        portfolio=np.zeros(1, np.float32),
        regime=np.zeros(1, np.int8),
    )
    return rank, scores, np.ones((1, width), bool)


def test_weights_by_hand() -> None:
    case = _plain()
    free = {"top": 3, "max_weight": 1.0}
    by_rank = target_weights(*case, PortfolioSettings(weighting="rank", **free))
    assert by_rank[0] == pytest.approx([0, 0, 0, 1 / 6, 2 / 6, 3 / 6])
    equal = target_weights(*case, PortfolioSettings(weighting="equal", **free))
    assert equal[0] == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
    inverse = target_weights(*case, PortfolioSettings(weighting="inverse_vol", **free))[0, 3:]
    assert inverse[0] / inverse[2] == pytest.approx(1.5 / 1.1, rel=1e-5)
    both = target_weights(
        *case, PortfolioSettings(weighting="rank", side="long_short", top=2, max_weight=1.0)
    )
    assert both[0] == pytest.approx([-1 / 3, -1 / 6, 0, 0, 1 / 6, 1 / 3])


def test_what_the_cap_cuts_goes_to_the_others() -> None:
    weights = target_weights(*_plain(), PortfolioSettings(weighting="rank", top=3, max_weight=0.4))
    assert weights[0] == pytest.approx([0, 0, 0, 0.2, 0.4, 0.4])


def test_risk_scales_down_the_whole_and_tilts_the_parts() -> None:
    rank, scores, members = _plain()
    settings = PortfolioSettings(weighting="equal", top=3, max_weight=1.0, risk_scaling=0.8, risk_tilt=0.5)
    scores.portfolio[0] = 0.5
    assert target_weights(rank, scores, members, settings).sum() == pytest.approx(0.6)
    scores.portfolio[0] = np.nan
    assert target_weights(rank, scores, members, settings).sum() == pytest.approx(0.2)
    scores.portfolio[0] = 0.0
    scores.score[0, 5] = 1.0
    tilted = target_weights(rank, scores, members, settings)[0]
    assert tilted[5] == pytest.approx(tilted[4] / 2)
    scores.score[0, 5] = np.nan
    assert target_weights(rank, scores, members, settings)[0] == pytest.approx(tilted)


def test_sides_never_share_a_name_and_ties_go_to_the_first() -> None:
    rank, scores, members = _plain(5)
    rank[:] = 0.5
    weights = target_weights(
        rank, scores, members, PortfolioSettings(side="long_short", top=5, max_weight=1.0)
    )
    assert ((weights[0] != 0).sum()) <= 4
    longs = target_weights(rank, scores, members, PortfolioSettings(weighting="equal", top=2))
    assert np.flatnonzero(longs[0]).tolist() == [0, 1]


def test_settings_and_shapes_are_checked() -> None:
    rank, scores, members = _plain()
    with pytest.raises(DataError, match="differ in shape"):
        target_weights(rank[:, :4], scores, members, PortfolioSettings())
    for wrong in ({"top": 0}, {"max_weight": 1.5}, {"side": "short"}, {"risk_scaling": 2}, {"topp": 3}):
        with pytest.raises(ConfigError):
            PortfolioSettings.read(wrong)
