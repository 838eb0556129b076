"""``bascule hyperopt run`` as a user runs it: from a run's YAML to the page on stability."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bascule.bridge.freqtrade import hyperopt
from tests.app.calls import call
from tests.app.runs import write_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_from_a_runs_file_to_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_run(tmp_path, backtest={"wallet": 10_000, "fee": 0.001, "slippage": 0.0005})
    settings = tmp_path / "walk.yaml"
    settings.write_text(
        yaml.safe_dump({"train_days": 10, "test_days": 5, "min_trades": 1, "end": "2022-03-08", "seed": 2})
    )
    arguments = ["hyperopt", "run", str(file), "--settings", str(settings), "--epochs", "4"]
    assert call(*arguments) == 0
    shown = capsys.readouterr().out
    (folder,) = [path for path in (tmp_path / "run" / "hyperopt").iterdir() if path.is_dir()]
    page = folder / "stability.html"
    assert str(page) in shown.replace("\n", "") and "out of sample" in page.read_text("utf-8")

    found = hyperopt.stored(folder)
    assert len(found.outcomes) == 1 and len(found.outcomes[0].epochs) == 4
    assert found.settings.epochs == 4 and found.settings.loss == "DeflatedSharpeLoss"
    one = found.outcomes[0]
    # the run's own trials on these days count for the loss, and the walk's for the ledger
    assert one.prior >= 6 and found.trials > one.prior
    assert str(one.fold.test[1])[:10] <= "2022-03-08" and len(one.days) >= 4

    # again: finished folds are read, freqtrade is not asked
    logs = folder / "fold-000" / "logs"
    for path in logs.iterdir():
        path.unlink()
    assert call(*arguments) == 0
    assert not list(logs.iterdir())
    # the page again, from what is stored
    page.unlink()
    assert call("hyperopt", "stability", str(folder)) == 0
    assert page.exists()
    assert json.loads((folder / hyperopt.outcomes.WALK).read_text("utf-8"))["trials"] == found.trials


def test_a_wrong_setting_is_told_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_run(tmp_path)
    settings = tmp_path / "walk.yaml"
    settings.write_text("train_dais: 10\n")
    assert call("hyperopt", "run", str(file), "--settings", str(settings)) != 0
    assert "train_days" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
