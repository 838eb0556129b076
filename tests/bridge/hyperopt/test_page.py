"""The page of a walk, from invented epochs; and the command that writes it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bascule.app.hyperoptcli import hyperopt_app
from bascule.app.hyperoptpage import walk_page
from bascule.bridge.freqtrade.hyperopt import Epoch, HyperoptSettings, Outcome, WalkForward, folds, stored
from bascule.bridge.freqtrade.hyperopt.outcomes import FOLDS, WALK, keep
from bascule.core import ConfigError, Timeframe
from bascule.core.files import write_json

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SETTINGS = HyperoptSettings(train_days=60, test_days=20, epochs=80)


def walk(seed: int = 0) -> WalkForward:
    """Five folds with a parameter that matters, one that moves, and one that does not matter."""
    random = np.random.default_rng(seed)
    start = np.datetime64("2023-01-01", "ns")
    outcomes = []
    for fold in folds(start, start + np.timedelta64(165, "D"), SETTINGS, Timeframe(3_600)):
        epochs = []
        wanted = 0.3 + 0.4 * (fold.number % 2)
        for _ in range(SETTINGS.epochs):
            rank, risk, idle = random.uniform(0.5, 1, 3)
            loss = 8 * (rank - 0.82) ** 2 + (risk - 0.5 - wanted / 2) ** 2 + 0.02 * random.standard_normal()
            params: dict[str, float | str | bool] = {
                "entry_rank": rank,
                "risk_limit": risk,
                "exit_rank": idle,
            }
            epochs.append(Epoch(float(loss), params, 40, float(0.1 - loss)))
        best = int(np.argmin([one.loss for one in epochs]))
        days = tuple(
            str(one) for one in np.arange(fold.test[0], fold.test[1], np.timedelta64(1, "D")).astype("M8[D]")
        )
        made, own = (random.normal(mean, 0.01, len(days)) for mean in (0.001, 0.0002))
        figures = [
            {
                "total_trades": 41.0,
                "profit_total": float(part.sum()),
                "sharpe": float(part.mean() / part.std() * 19),
            }
            for part in (made, own)
        ]
        outcomes.append(
            Outcome(
                fold, 80 * fold.number, tuple(epochs), best, figures[0], figures[1], days,
                tuple(made.tolist()), tuple(own.tolist()),
            )
        )  # fmt: skip
    return WalkForward(SETTINGS, tuple(outcomes), 400)


def write(found: WalkForward, folder: Path) -> None:
    for one in found.outcomes:
        keep(folder / FOLDS / f"{one.fold.number:03d}.json", one, "x")
    write_json(folder / WALK, {"settings": found.settings.model_dump(mode="json"), "trials": found.trials})


def test_the_page_tells_what_was_found() -> None:
    text = walk_page("A walk", walk()).render()
    for word in ("Out of sample", "400", "entry_rank", "no lasting effect", "stable", "plateau"):
        assert word in text, word
    assert "<script src" not in text and "<link" not in text  # nothing is loaded from anywhere


def test_a_walk_is_read_back_as_it_was(tmp_path: Path) -> None:
    found = walk()
    write(found, tmp_path)
    again = stored(tmp_path)
    assert again.outcomes == found.outcomes and again.settings == SETTINGS and again.trials == 400
    with pytest.raises(ConfigError, match="cannot be read"):
        stored(tmp_path / "nowhere")


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    write(walk(), tmp_path)
    result = CliRunner().invoke(hyperopt_app, ["stability", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "stability.html").stat().st_size > 100_000
