"""The test part is opened once, and what luck does there is not called a find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.evaluate import Ledger, Trial, deflated_threshold
from bascule.miners import (
    Grammar,
    GrammarSettings,
    Miner,
    PoolSettings,
    Problem,
    SearchSettings,
    SelectionSettings,
    SplitSettings,
    open_test,
)
from bascule.miners.searchers.uniform import RandomSearch
from tests.miners.markets import panel, problem

GRAMMAR = Grammar(GrammarSettings(windows=(5, 10, 24), lags=(1, 5), length=8))
# let everything in, so that pools of noise come about
EAGER = SearchSettings(
    proposals=96, batch=32, look_every=1, pool=PoolSettings(least_t=0.5),
    selection=SelectionSettings(least_t=0.5, apart=0.95),
)  # fmt: skip


def test_a_planted_reversal_stands() -> None:
    search = Miner(
        problem(), RandomSearch(GRAMMAR, 1), GRAMMAR, EAGER.model_copy(update={"proposals": 192})
    ).run()
    judged = open_test(search, problem())
    assert judged.found
    assert judged.ic.mean > 0.05
    assert any(member.stands for member in judged.members)
    assert (judged.looks, judged.threshold) == (1, pytest.approx(1.96, abs=0.01))
    assert judged.ic.mean == pytest.approx(np.nanmean(judged.series))


def test_what_was_tried_on_the_test_rows_raises_the_bar(tmp_path: Path) -> None:
    ledger, cut = Ledger(tmp_path / "trials.sqlite"), problem()
    part = cut.test()
    early, late = part.panel.time[0], part.panel.time[part.first + 5]
    elsewhere = [
        Trial(f"$close*{n}", "market", early, part.panel.time[part.first - 50], 4) for n in range(40)
    ]
    there = [Trial(f"$open*{n}", "market", late, part.panel.time[-1], 4) for n in range(9)]
    ledger.record([*elsewhere, *there], part.panel.time[-1])
    search = Miner(cut, RandomSearch(GRAMMAR, 1), GRAMMAR, EAGER).run()
    judged = open_test(search, cut, ledger=ledger, data="market")
    assert judged.looks == 10
    assert judged.threshold == pytest.approx(deflated_threshold(10))
    # the same pool again is no new trial
    assert open_test(search, cut, ledger=ledger, data="market").looks == 10


@pytest.mark.slow
def test_on_noise_hardly_anything_is_found() -> None:
    found = 0
    for seed in range(20):
        noise = Problem.of(panel(rows=900, width=16, seed=100 + seed), SplitSettings(horizon=4))
        search = Miner(noise, RandomSearch(GRAMMAR, seed), GRAMMAR, EAGER).run()
        judged = open_test(search, noise)
        assert len(judged.members) > 3
        found += judged.found
    # one-sided: half of the two-sided 5 % are expected, with margin for the short series
    assert found <= 2
