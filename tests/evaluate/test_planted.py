"""The yardstick against the synthetic market, whose alphas are known by construction."""

from itertools import pairwise

import numpy as np
import pytest

from bascule import engine
from bascule.core import Panel
from bascule.data.prepare import prepare
from bascule.data.synthetic import SyntheticMarket, SyntheticSettings, generate
from bascule.evaluate import decay, forward_return, ic_series, shuffle, summarise, suspicion
from bascule.evaluate.decay import half_life_of


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return generate(SyntheticSettings(seed=3, instruments=24, days=200))


@pytest.fixture(scope="module")
def panel(market: SyntheticMarket) -> Panel:
    return prepare(Panel.from_long(market.frame, market.timeframe))


def test_planted_alphas_are_found_with_their_sign_and_shuffled_labels_are_not(
    market: SyntheticMarket, panel: Panel
) -> None:
    assert market.planted
    values = engine.evaluate([alpha.text for alpha in market.planted], panel)
    for seed, (alpha, factor) in enumerate(zip(market.planted, values, strict=True)):
        label = forward_return(panel, alpha.horizon)
        found = summarise(ic_series(factor, label, panel.members, rank=True), alpha.horizon)
        assert found.t * alpha.sign > 3, alpha.name
        control = ic_series(factor, shuffle(label, seed), panel.members, rank=True)
        assert abs(summarise(control, alpha.horizon).t) < 2, alpha.name


def test_planted_alphas_are_not_taken_for_leaks_but_a_smuggled_bar_is(
    market: SyntheticMarket, panel: Panel
) -> None:
    values = engine.evaluate([alpha.text for alpha in market.planted], panel)
    leak = values[0] + np.nan_to_num(forward_return(panel, 1)).astype(np.float32)
    names = [*(alpha.name for alpha in market.planted), "smuggled"]
    found = suspicion(np.concatenate([values, leak[None]]), names, panel)
    assert {f.name for f in found} == {"smuggled"}


def standardised(factor: np.ndarray, panel: Panel) -> np.ndarray:
    """Mean 0 and deviation 1 in each row, 0 where nothing is known."""
    there = panel.members & np.isfinite(factor)
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    z = np.where(there, factor, 0.0).astype(np.float64)
    z = np.where(there, z - z.sum(axis=1, keepdims=True) / count, 0.0)
    return z / np.maximum(np.sqrt((z**2).sum(axis=1, keepdims=True) / count), 1e-12)


def test_half_lives_of_planted_alphas_lie_in_their_intervals() -> None:
    """The truth has no return in it: each factor against the drifts that all planted ones cause later.

    A bar's drift is the loaded sum of the means of each alpha's last ``horizon`` standardised values.
    """
    market = generate(SyntheticSettings(seed=5, instruments=30, days=240, strength=2.0))
    panel = prepare(Panel.from_long(market.frame, market.timeframe))
    values = engine.evaluate([alpha.text for alpha in market.planted], panel)
    scores = [standardised(factor, panel) for factor in values]
    drift = np.zeros(panel.shape)  # row t: of the bar after t
    for alpha, z in zip(market.planted, scores, strict=True):
        total = np.vstack([np.zeros((1, z.shape[1])), np.cumsum(z, axis=0)])
        drift[alpha.horizon - 1 :] += (
            alpha.loading * (total[alpha.horizon :] - total[: -alpha.horizon]) / alpha.horizon
        )
    judged = []
    for alpha, factor, z in zip(market.planted, values, scores, strict=True):
        horizons = [alpha.horizon // 2 * n for n in (1, 2, 3, 4, 6)]
        rows = np.arange(200, len(z) - max(horizons))
        each = [np.mean(z[rows] * drift[rows + k]) for k in range(max(horizons))]
        edges = np.array([0, *horizons])
        ic = np.array([sum(each[a:b]) / np.sqrt(b - a) for a, b in pairwise(edges)])
        found = decay(factor, panel, horizons, reps=300, level=0.99)
        errors = np.array([one.mean / one.t for one in found.marginal])
        truth = half_life_of(edges[:-1].astype(float), edges[1:].astype(float), ic, 99.0, errors)[0]
        assert np.sign(found.marginal[0].mean) == alpha.sign
        if alpha.name == "reversal":  # its drift turns into that of range_position, which it is part of
            assert found.reason == "the marginal IC changes sign"
        if found.identified and np.isfinite(truth):
            judged.append(alpha.name)
            assert found.low <= truth <= found.high, alpha.name
    assert len(judged) >= 3
