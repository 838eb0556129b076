"""Walk-forward training: out of sample, to the same bits again, resumable after a kill."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.core import BundleError, ConfigError, DataError, Panel
from bascule.evaluate import forward_return, ic_series, shuffle, summarise, truncation
from bascule.models import (
    ModelSettings,
    Predictions,
    WalkForwardSettings,
    folds,
    importance,
    load,
    train_walk_forward,
)
from bascule.models.samples import gather, target
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

NAMES = ("signal", "noise", "other")
HORIZON = 2
WALK = WalkForwardSettings(
    first_test=date(2021, 4, 1), train_days=80, min_train_days=30, embargo_bars=2, valid_share=0.25
)
SETTINGS = ModelSettings(
    features="raw",
    params={"num_boost_round": 30, "learning_rate": 0.1, "min_data_in_leaf": 50},
    min_samples=200,
    threads=2,
)


@dataclass(frozen=True)
class Case:
    values: np.ndarray
    label: np.ndarray
    panel: Panel

    def train(self, folder: Path, **changes: Any) -> Predictions:
        options: dict[str, Any] = {
            "values": self.values,
            "label": self.label,
            "panel": self.panel,
            "settings": SETTINGS,
            "seed": 7,
            **changes,
        }
        found = options.get("found") or folds(options["panel"].time, WALK, HORIZON)
        return train_walk_forward(
            options["values"],
            NAMES,
            options["label"],
            options["panel"],
            found,
            options["settings"],
            folder,
            seed=options["seed"],
            progress=options.get("progress", lambda *_: None),
        )


def make_case() -> Case:
    random = np.random.default_rng(0)
    rows, width = 900, 12
    alpha = random.standard_normal((rows, width))
    panel = random_panel(1, rows, width, timeframe="4h", missing=0.01, late=2, drive=alpha * 0.003)
    values = random.standard_normal((3, rows, width)).astype(np.float32)
    values[0] = alpha
    values[:, :10] = np.nan
    values[1, random.random((rows, width)) < 0.1] = np.nan
    universe = np.ones(panel.shape, bool)
    universe[:, 5] = False
    return Case(values, forward_return(panel, HORIZON), panel.with_universe(universe))


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def trained(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    return case.train(tmp_path_factory.mktemp("whole") / "models")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_predictions_are_out_of_sample_members_only_and_named(case: Case, trained: Predictions) -> None:
    first = np.searchsorted(case.panel.time, np.datetime64("2021-04-01"))
    assert np.isnan(trained.values[:first]).all()
    assert set(trained.model_id[:first]) == {""}
    assert sorted(set(trained.model_id[first:])) == ["lgb-2021-04", "lgb-2021-05"]
    members = case.panel.members & ~np.isnan(case.values).all(axis=0)
    assert np.array_equal(np.isfinite(trained.values[first:]), members[first:])
    assert trained.values.dtype == np.float32


def test_a_planted_signal_is_learned_and_shuffled_labels_teach_nothing(
    case: Case, trained: Predictions, tmp_path: Path
) -> None:
    planted = summarise(ic_series(trained.values, case.label, case.panel.members, rank=True), HORIZON)
    assert planted.t > 4
    nothing = case.train(tmp_path / "models", label=shuffle(case.label, 3))
    control = summarise(ic_series(nothing.values, case.label, case.panel.members, rank=True), HORIZON)
    assert abs(control.t) < 2 or control.n == 0
    top = importance(trained.folder)
    assert top.index[0] == "signal"
    assert top.sum().to_numpy() == pytest.approx(np.ones(2))


def test_the_real_qlib_model_predicts_the_same_bits(case: Case, trained: Predictions) -> None:
    from qlib.contrib.model.gbdt import LGBModel

    from bascule.models.dataset import ArrayDataset

    fold = folds(case.panel.time, WALK, HORIZON)[0]
    meta = json.loads((trained.folder / fold.id / "meta.json").read_text())
    fixed = {"seed": 7, "deterministic": True, "force_row_wise": True, "num_threads": 2}
    model = LGBModel(**meta["params"], **fixed)

    aim = target(case.label, case.panel.members, "rank")
    segments = {}
    for name in ("train", "valid"):
        lo, hi = np.searchsorted(case.panel.time, np.array(getattr(fold, name)))
        segments[name] = gather(case.values, np.arange(lo, hi), np.isfinite(aim), aim)
    lo, hi = np.searchsorted(case.panel.time, np.array(fold.test))
    segments["test"] = gather(case.values, np.arange(lo, hi), case.panel.members)
    dataset = ArrayDataset(case.panel, NAMES, segments)

    from bascule.models.recording import recording

    with recording() as metrics:
        model.fit(dataset)
    assert len(metrics["l2.valid"]) >= 5
    theirs = model.predict(dataset, "test")
    samples = segments["test"]
    ours = load(trained.folder / fold.id).predict(samples.features)
    assert np.array_equal(theirs.to_numpy().astype(np.float32), ours)
    assert np.array_equal(trained.values[samples.row, samples.column], ours)


def test_one_sample_gives_the_bits_of_the_batch(case: Case, trained: Predictions) -> None:
    predictor = load(trained.folder / "2021-05")
    features = np.ascontiguousarray(case.values[:, 600:640].reshape(3, -1).T)
    batch = predictor.predict(features)
    for i in (0, 17, 200):
        assert np.array_equal(predictor.predict(features[i : i + 1]), batch[i : i + 1])
    assert np.isnan(predictor.predict(np.full((2, 3), np.nan, np.float32))).all()


def test_same_seed_same_bytes_and_another_seed_another_model(
    case: Case, trained: Predictions, tmp_path: Path
) -> None:
    again = case.train(tmp_path / "again")
    assert _bytes(again.folder) == _bytes(trained.folder)
    assert np.array_equal(again.values, trained.values, equal_nan=True)
    other = case.train(tmp_path / "other", seed=8)
    assert not np.array_equal(other.values, trained.values, equal_nan=True)


def test_threads_do_not_change_predictions(case: Case, trained: Predictions, tmp_path: Path) -> None:
    single = case.train(tmp_path / "models", settings=SETTINGS.model_copy(update={"threads": 1}))
    assert np.array_equal(single.values, trained.values, equal_nan=True)


def test_no_value_of_a_test_window_reaches_its_model(
    case: Case, trained: Predictions, tmp_path: Path
) -> None:
    """Whatever happens from the first test row on, the first model is the same to the byte."""
    first = int(np.searchsorted(case.panel.time, np.datetime64("2021-04-01")))
    ruined = {name: values.copy() for name, values in case.panel.fields.items()}
    for values in ruined.values():
        values[first:] *= 3
        values[first + 1 :: 2] = np.nan
    panel = case.panel.with_fields(**ruined)
    changed = case.values.copy()
    changed[:, first:] = 9.0
    label = forward_return(panel, HORIZON)
    one = folds(panel.time, WALK, HORIZON)[:1]
    got = case.train(tmp_path / "models", values=changed, label=label, panel=panel, found=one)
    assert _bytes(got.folder / "2021-04") == _bytes(trained.folder / "2021-04")


def test_appended_rows_change_no_earlier_prediction(case: Case, tmp_path: Path) -> None:
    def predict(panel: Panel) -> np.ndarray:
        rows = panel.shape[0]
        label = forward_return(panel, HORIZON)
        got = case.train(tmp_path / str(rows), values=case.values[:, :rows], label=label, panel=panel)
        return got.values

    report = truncation(predict, case.panel, [600, 801])
    assert report.ok, report.mismatches


def test_a_fold_whose_labels_reach_into_later_windows_is_refused(case: Case, tmp_path: Path) -> None:
    honest = folds(case.panel.time, WALK, HORIZON)[0]
    bar = case.panel.timeframe.delta
    leaky = (
        replace(honest, train=(honest.train[0], case.panel.time[-1])),
        replace(honest, train=(honest.train[0], honest.valid[0] - bar)),
        replace(honest, valid=(honest.valid[0], honest.test[0])),
    )
    for fold in leaky:
        with pytest.raises(ConfigError, match="end after the"):
            case.train(tmp_path / "models", found=[fold])
    assert not (tmp_path / "models").exists()


def test_a_label_longer_than_the_purge_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reach 9 bars ahead, the fold is purged for 2"):
        case.train(tmp_path / "models", label=forward_return(case.panel, 9))
    longer = SETTINGS.model_copy(update={"horizons": (1, 6)})
    with pytest.raises(ConfigError, match="reach 6 bars ahead"):
        case.train(tmp_path / "models", settings=longer)
    purged = folds(case.panel.time, WALK, longer.reach(HORIZON))
    assert purged[0].horizon == 6
    got = case.train(tmp_path / "models", settings=longer, found=purged)
    assert summarise(ic_series(got.values, case.label, case.panel.members, rank=True), HORIZON).t > 4


KILLED = """
import os, signal, sys
from pathlib import Path
import bascule.models.task as train
from tests.models.test_train import make_case

save = train.checksum
def killed_while_writing(path):
    if "2021-05" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return save(path)
train.checksum = killed_while_writing
make_case().train(Path(sys.argv[1]))
"""


def test_a_killed_run_resumes_to_the_same_bytes(case: Case, trained: Predictions, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (folder / "2021-04" / "meta.json").is_file()
    assert not (folder / "2021-05").exists()
    assert [p.name for p in folder.glob(".tmp-*")], "the killed writer leaves its half-written folder"

    kept = (folder / "2021-04" / "model.txt").stat().st_mtime_ns
    told: list[str] = []
    resumed = case.train(folder, progress=lambda done, total, note="": told.append(note))
    assert told == ["lgb-2021-04", "lgb-2021-05"]
    # a finished fold is not trained again
    assert (folder / "2021-04" / "model.txt").stat().st_mtime_ns == kept
    assert _bytes(folder) == _bytes(trained.folder)
    assert np.array_equal(resumed.values, trained.values, equal_nan=True)


def test_a_folder_of_other_settings_or_data_is_refused(case: Case, trained: Predictions) -> None:
    before = _bytes(trained.folder)
    with pytest.raises(ConfigError, match="other data or settings"):
        case.train(trained.folder, seed=8)
    corrected = case.values.copy()
    corrected[1, 200, 3] += 1
    with pytest.raises(ConfigError, match="other data or settings"):
        case.train(trained.folder, values=corrected)
    assert _bytes(trained.folder) == before


def test_a_damaged_model_is_refused(trained: Predictions, tmp_path: Path) -> None:
    copy = tmp_path / "2021-04"
    copy.mkdir()
    for item in (trained.folder / "2021-04").iterdir():
        (copy / item.name).write_bytes(item.read_bytes())
    assert load(copy).model_id == "lgb-2021-04"
    (copy / "model.txt").write_bytes((copy / "model.txt").read_bytes()[:-40])
    with pytest.raises(BundleError, match="missing or changed"):
        load(copy)
    meta = json.loads((copy / "meta.json").read_text())
    for wrong, message in (
        ({"file": "../2021-05/model.txt"}, "a file elsewhere"),
        ({"file": str(trained.folder / "2021-05" / "model.txt")}, "a file elsewhere"),
        ({"checksum": None}, "does not name its checksum"),
    ):
        changed = {key: value for key, value in {**meta, **wrong}.items() if value is not None}
        (copy / "meta.json").write_text(json.dumps(changed))
        with pytest.raises(BundleError, match=message):
            load(copy)
    (copy / "meta.json").write_text("{")
    with pytest.raises(BundleError, match="cannot read"):
        load(copy)
    with pytest.raises(DataError, match="expected \\[n, 3\\]"):
        load(trained.folder / "2021-04").predict(np.zeros((2, 4), np.float32))


def test_the_description_says_how_the_model_was_made(trained: Predictions) -> None:
    meta = load(trained.folder / "2021-05").meta
    assert meta["purge_bars"] == HORIZON + 1
    assert meta["embargo_bars"] == 2
    assert meta["windows"]["test"][0].startswith("2021-05-01T00:00")
    assert meta["names"] == list(NAMES)
    assert meta["valid_ic"]["mean"] > 0.05
    assert meta["train_samples"] > 200
    assert set(meta["versions"]) == {"pyqlib", "lightgbm", "numpy"}


def test_the_linear_kind_learns_from_ranked_features(case: Case, tmp_path: Path) -> None:
    settings = ModelSettings(kind="LinearModel", features="rank", min_samples=200)
    got = case.train(tmp_path / "models", settings=settings)
    score = summarise(ic_series(got.values, case.label, case.panel.members, rank=True), HORIZON)
    assert score.t > 6
    predictor = load(tmp_path / "models" / "2021-05")
    assert predictor.compares
    lo = int(np.searchsorted(case.panel.time, np.datetime64("2021-05-03")))
    row = gather(case.values, np.array([lo]), case.panel.members)
    live = predictor.predict(row.features, case.panel.time[row.row])
    assert np.array_equal(live, got.values[lo, row.column])
    with pytest.raises(DataError, match="pass the time"):
        predictor.predict(row.features)
    with pytest.raises(ConfigError, match="missing values"):
        case.train(tmp_path / "raw", settings=ModelSettings(kind="LinearModel", features="raw"))


def test_what_does_not_fit_is_one_clear_error(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown kind"):
        case.train(tmp_path / "a", settings=ModelSettings(kind="LGBModle"))
    wrong = ModelSettings(params={"num_leafs": 5})
    with pytest.raises(ConfigError, match="no parameter 'num_leafs'") as caught:
        case.train(tmp_path / "p", settings=wrong)
    assert caught.value.remedy == "did you mean 'num_leaves'?"
    with pytest.raises(DataError, match="do not fit"):
        case.train(tmp_path / "b", label=case.label[:-1])
    with pytest.raises(DataError, match="min_samples is 100000"):
        case.train(tmp_path / "c", settings=ModelSettings(min_samples=100_000))
    assert not list((tmp_path / "c").iterdir())
