"""A walk of optimisation and tests with the real freqtrade: trials are counted, and it can be taken up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bascule.bridge.freqtrade import run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.hyperopt import HyperoptSettings, stability, walk_forward, walkforward
from bascule.core import ConfigError
from bascule.evaluate import Ledger
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
NOW = np.datetime64("2024-01-01", "ns")


def test_a_walk_optimises_tests_counts_and_resumes(spot: Research, tmp_path: Path) -> None:
    settings = HyperoptSettings(
        train_days=12, test_days=6, epochs=8, loss="WorstRegimeLoss", min_trades=1, regime_days=3,
        end="2023-03-01",
    )  # fmt: skip
    ledger = Ledger(tmp_path / "trials.sqlite")
    trade = TradeSettings(fee=0.001, slippage=0.0005)
    job = run.Job(spot.bundle, tmp_path / "walk", spot.datadir, trade, timeout=600)

    found = walk_forward(job, settings, ledger=ledger, market="here", at=NOW)
    assert len(found.outcomes) == 1
    one = found.outcomes[0]
    assert len(one.epochs) == 8 and one.prior == 0
    assert one.best == min(range(8), key=lambda n: one.epochs[n].loss)
    assert set(one.epochs[0].params) >= {"entry_rank", "exit_rank", "critical_risk"}
    # every different set of parameters is one trial on the window that it saw, and not on others
    different = {tuple(sorted(epoch.params.items())) for epoch in one.epochs}
    assert ledger.count("here", *one.fold.train).trials == len(different) == found.trials
    assert ledger.count("here", one.fold.test[1], one.fold.test[1] + np.timedelta64(9, "D")).trials == 0
    # the parameters found were really traded
    assert one.tested["total_trades"] != one.untouched["total_trades"]
    assert len(found.returns()) == len(one.days) >= 5
    assert found.table()["trials"].tolist() == [8]
    assert 0 <= found.deflated() <= 1
    assert stability(found.outcomes).parameters

    # the same call reads what is there; freqtrade is not asked again
    nothing = replace(job, datadir=tmp_path / "gone")
    again = walk_forward(nothing, settings, ledger=ledger, market="here", at=NOW)
    assert again.outcomes == found.outcomes and again.trials == found.trials
    with pytest.raises(ConfigError, match="a walk of another bundle"):
        walk_forward(job, settings.model_copy(update={"seed": 5}), ledger=ledger, market="here", at=NOW)

    # seeded: another folder, the same tries
    twin = replace(job, folder=tmp_path / "twin", start=one.fold.train[0], end=one.fold.train[1])
    epochs, _ = walkforward._optimise(twin, settings, one.fold, settings.epochs)
    assert tuple(epochs) == one.epochs
