"""The yardstick against the synthetic market, whose alphas are known by construction."""

import numpy as np
import pytest

from bascule import engine
from bascule.core import Panel
from bascule.data.prepare import prepare
from bascule.data.synthetic import SyntheticMarket, SyntheticSettings, generate
from bascule.evaluate import forward_return, ic_series, shuffle, summarise, suspicion


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
