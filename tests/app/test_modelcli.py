"""``bascule model``: on a small synthetic run, from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bascule.app.cli import app, main
from bascule.app.modelcli import contestants
from bascule.core import ConfigError
from bascule.models import Champions

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow, qlib
runner = CliRunner()

RUN = """
name: small
folder: {folder}
ledger: {folder}/trials.sqlite
data:
  source:
    kind: synthetic
    synthetic: {{instruments: 12, days: 150, timeframe: 4h, late: 0.0, delisted: 0.0}}
timeframe: 4h
horizon: 3
factors:
  - {{name: MOM, text: "$close / Ref($close, 6)"}}
  - {{name: REV, text: "$close / Ref($close, 1)"}}
  - {{name: VOL, text: "Std($close, 12) / $close"}}
evaluation: {{horizons: [1, 3]}}
model:
  class: LGBModel
  module_path: qlib.contrib.model.gbdt
  kwargs: {{num_boost_round: 15, learning_rate: 0.1}}
  min_samples: 100
  threads: 1
walk_forward: {{first_test: 2022-05-01, test_months: null, test_days: 7, train_days: 90, min_train_days: 20}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("run")
    path = home / "small.yaml"
    path.write_text(RUN.format(folder=home / "small"))
    return path


def _call(*arguments: object) -> str:
    done = runner.invoke(app, ["model", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_models_are_compared_on_a_runs_folds(config: Path, tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(
        "ridge: {kind: LinearModel, min_samples: 100}\n"
        "trees: {class: LGBModel, module_path: qlib.contrib.model.gbdt, kwargs: {num_boost_round: 10},"
        " min_samples: 100, threads: 1}\n"
    )
    shown = _call("compare", config, "--models", models, "--reps", 100, "--out", tmp_path / "out")
    assert "ridge" in shown
    assert "rank IC, 95 % interval" in " ".join(shown.split())
    written = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert {score["name"] for score in written["scores"]} == {"ridge", "trees"}
    assert len(written["duels"]) == 1


def test_dynamic_weights_stand_beside_static_ones(config: Path, tmp_path: Path) -> None:
    settings = tmp_path / "combine.yaml"
    settings.write_text("window_days: 20\nevery_bars: 6\n")
    shown = _call("combine", config, "--settings", settings)
    assert "dynamic" in shown
    assert "static" in shown


def test_retraining_leaves_a_store_that_can_be_rolled_back(config: Path, tmp_path: Path) -> None:
    settings = tmp_path / "retrain.yaml"
    settings.write_text(
        "train_days: 40\njudge_days: 10\ncheck_days: 5\nschedule_days: 10\nrest_days: 0\nconfidence: 0.5\n"
        "min_ic: -0.99\n"
    )
    shown = _call("retrain", config, "--settings", settings, "--folder", tmp_path / "store")
    assert "first" in shown
    assert "rank IC out of sample" in shown
    assert Champions(tmp_path / "store").serving in _call("store", tmp_path / "store")
    finished = Champions(tmp_path / "store").finished()
    _call("store", tmp_path / "store", "--promote", finished[-1], "--reason", "a test")
    assert Champions(tmp_path / "store").serving == finished[-1]
    assert "a test" in _call("store", tmp_path / "store")


@pytest.mark.slow
def test_a_run_is_explained(config: Path) -> None:
    shown = _call("explain", config, "--top", 3)
    assert "MOM" in shown
    assert "importances correlate" in " ".join(shown.split())


def test_the_default_pair_is_lightgbm_and_the_transformer() -> None:
    assert list(contestants(None, ())) == ["LGBModel", "TransformerModel"]
    assert list(contestants(None, ["GRU"])) == ["GRU"]


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "models.yaml"
    bad.write_text("../x: {kind: LGBModel}\n")
    with pytest.raises(ConfigError, match="not a name of model settings"):
        contestants(bad, ())
    bad.write_text("x: {kind: LGBModle}\n")
    with pytest.raises(ConfigError, match="no model of qlib's"):
        from bascule.models import zoo

        zoo.entry("LGBModle")
    with pytest.raises(SystemExit):
        main(["model", "store", str(tmp_path / "nowhere")])
    assert "no such folder" in capsys.readouterr().err


def test_the_zoo_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _call("zoo")
    assert "Transformer" in shown
    assert "not offered" in shown


def test_a_sequence_model_gets_its_factors_at_several_times(config: Path) -> None:
    from bascule.app.config import load

    sequence = load(config, ["model={kind: GRU, steps: 3}"]).recipe()
    assert sequence.names[:4] == ("MOM_lag2", "MOM_lag1", "MOM", "REV_lag2")
    assert sequence.factors[0].text == "Ref($close / Ref($close, 6), 2)"
    flat = load(config, ["model={kind: GRU, steps: 3, unroll: false}"]).recipe()
    assert flat.names == ("MOM", "REV", "VOL")
    with pytest.raises(ConfigError, match="unknown kind of model"):
        load(config, ["model={class: Net, module_path: my.module}"])
