"""Retraining: when it trains, whom it promotes, and that nothing of the future helps."""

from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.evaluate import forward_return, ic_series
from bascule.models import (
    DriftSettings,
    ModelSettings,
    Retrainer,
    RetrainSettings,
    load,
    run_adaptive,
    zoo,
)
from bascule.models.champions import Champions
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
HORIZON = 2
NAMES = ["a", "b", "c"]
LINEAR = ModelSettings(kind="LinearModel", min_samples=100)
SCHEDULED = RetrainSettings(
    train_days=40, judge_days=10, check_days=2, schedule_days=10, rest_days=2, drift=None, confidence=0.5
)
WATCHED = SCHEDULED.model_copy(
    update={"schedule_days": None, "drift": DriftSettings(share=1.0), "recent_days": 12, "judge_days": 12}
)


def _run(values: np.ndarray, label: np.ndarray, panel, folder: Path, settings: RetrainSettings, **more):
    return run_adaptive(
        values, NAMES, label, panel,
        horizon=HORIZON, model=more.pop("model", LINEAR), folder=folder, settings=settings, seed=1, **more,
    )  # fmt: skip


def test_on_schedule_a_better_challenger_is_promoted_and_predicts_from_then_on(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    got = _run(values, label, panel, tmp_path, SCHEDULED)
    assert got.checks[0].triggers[0].kind == "first"
    assert all(one.triggers[0].kind == "schedule" for one in got.checks[1:])
    gaps = np.diff([one.row for one in got.checks])
    assert (gaps >= panel.timeframe.bars(10)).all()
    promoted = [one for one in got.checks if one.event is not None]
    assert promoted
    first = promoted[0].row
    assert np.isnan(got.values[: first + 1]).all()
    assert np.isfinite(got.values[first + 1 :]).all()
    assert np.nanmean(ic_series(got.values, label, panel.members, rank=True)) > 0.15
    for one in promoted:
        assert got.model_id[one.row + 1].endswith(one.model)


def test_a_challenger_that_is_not_better_does_not_serve(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    strict = SCHEDULED.model_copy(update={"min_gain": 0.2})
    got = _run(values, label, panel, tmp_path, strict)
    later = got.checks[1:]
    assert later
    assert all(one.event is None and not one.verdict.promote for one in later if one.verdict)
    assert got.store.serving == got.checks[0].model


def _flip() -> tuple[np.ndarray, np.ndarray, object, int]:
    random = np.random.default_rng(0)
    factors = random.standard_normal((3, 1500, 14))
    sign = np.where(np.arange(1500) < 800, 1.0, -1.0)[:, None]
    panel = random_panel(1, 1500, 14, timeframe="4h", drive=0.003 * factors[0] * sign)
    return factors.astype(np.float32), forward_return(panel, HORIZON), panel, 800


def test_drift_of_the_ic_triggers_retraining_where_a_quiet_market_does_not(tmp_path: Path) -> None:
    values, label, panel, flip = _flip()
    got = _run(values, label, panel, tmp_path / "flip", WATCHED)
    before = [one for one in got.checks if one.row < flip]
    after = [one for one in got.checks if one.row >= flip]
    assert [one.triggers[0].kind for one in before] == ["first"]
    assert after
    assert {t.kind for one in after for t in one.triggers} <= {"ic", "error"}
    assert after[0].row < flip + panel.timeframe.bars(14)
    # in the end a model that learned from the new market serves
    assert any(one.event is not None for one in after)
    late = ic_series(got.values, label, panel.members, rank=True)[-150:]
    assert np.nanmean(late) > 0.05


def test_a_check_uses_nothing_that_was_not_known(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    whole = _run(values, label, panel, tmp_path / "whole", SCHEDULED)
    rows = 520
    part = _run(
        values[:, :rows], forward_return(panel.rows(0, rows), HORIZON), panel.rows(0, rows),
        tmp_path / "part", SCHEDULED,
    )  # fmt: skip
    assert np.array_equal(part.values, whole.values[:rows], equal_nan=True)
    assert list(part.model_id) == list(whole.model_id[:rows])
    for one in part.checks:
        for name in ("model.json", "meta.json"):
            ours = (part.store.models / one.model / name).read_bytes()
            assert ours == (whole.store.models / one.model / name).read_bytes()


def test_the_judging_window_is_seen_by_neither(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    got = _run(values, label, panel, tmp_path, SCHEDULED)
    for one in got.checks:
        windows = load(got.store.models / one.model).meta["windows"]
        edges = [
            np.datetime64(windows[name][side]) for name in ("train", "valid", "judge") for side in (0, 1)
        ]
        bar = panel.timeframe.delta
        assert edges[1] + (HORIZON + 1) * bar <= edges[2]
        assert edges[3] + (HORIZON + 1) * bar <= edges[4]
        # the last label that judges had ended by the close of the checked row
        last = int(np.searchsorted(panel.time, edges[5])) - 1
        assert last + 1 + HORIZON <= one.row


@pytest.mark.parametrize(
    ("kind", "params"), [("LGBModel", {"num_boost_round": 25}), ("XGBModel", {"num_boost_round": 25})]
)
def test_warm_start_goes_on_from_the_champion(kind: str, params: dict, tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    model = ModelSettings(kind=kind, params=params, min_samples=100, threads=1)
    warm = SCHEDULED.model_copy(update={"warm_start": True})
    trainer = Retrainer(
        values, NAMES, label, panel,
        horizon=HORIZON, model=model, settings=warm, store=Champions(tmp_path), seed=1,
    )  # fmt: skip
    first = trainer.train(400)
    trainer.store.promote(first, reason="test")
    second = trainer.train(460)
    metas = [load(trainer.store.models / name).meta for name in (first, second)]
    assert "start" not in metas[0]
    assert metas[1]["start"] == metas[0]["fingerprint"]
    sizes = [(trainer.store.models / name / metas[0]["file"]).stat().st_size for name in (first, second)]
    assert sizes[1] > sizes[0]


@pytest.mark.slow
def test_warm_start_of_a_network_begins_where_the_champion_ended(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 3)
    names = [f"f{i}" for i in range(9)]
    params = {"n_epochs": 1, "lr": 0.0, "batch_size": 128}
    model = ModelSettings(kind="GRU", params=params, steps=3, min_samples=100, threads=1, device="cpu")
    trainer = Retrainer(
        values, names, label, panel,
        horizon=HORIZON, model=model, settings=SCHEDULED.model_copy(update={"warm_start": True}),
        store=Champions(tmp_path), seed=1,
    )  # fmt: skip
    first = trainer.train(400)
    trainer.store.promote(first, reason="test")
    trainer.task = type(trainer.task)(**{**vars(trainer.task), "seed": 2})
    second = trainer.train(460)
    files = [(trainer.store.models / name / "model.safetensors").read_bytes() for name in (first, second)]
    # nothing was learned at rate 0: other seed, same numbers
    body = [file[file.index(b"}}") :] for file in files]
    assert files[0][-2_000:] == files[1][-2_000:]
    assert len(body[0]) > 2_000


def test_same_seed_same_history(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    model = ModelSettings(params={"num_boost_round": 15}, min_samples=100, threads=1)
    runs = [_run(values, label, panel, tmp_path / name, SCHEDULED, model=model) for name in ("one", "two")]
    assert np.array_equal(runs[0].values, runs[1].values, equal_nan=True)
    assert repr(runs[0].checks) == repr(runs[1].checks)


class Killed(Exception):
    """The process ends here."""


def test_a_run_that_was_cut_off_goes_on_with_its_models(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    whole = _run(values, label, panel, tmp_path / "whole", SCHEDULED)
    store = Champions(tmp_path / "cut")

    def kill(done: int, total: int, note: str = "") -> None:
        if store.serving and len(store.finished()) == 2:
            raise Killed

    with pytest.raises(Killed):
        _run(values, label, panel, tmp_path / "cut", SCHEDULED, progress=kill)
    trained = {name: (store.models / name / "meta.json").stat().st_ino for name in store.finished()}
    assert len(trained) == 2 < len(whole.checks)
    again = _run(values, label, panel, tmp_path / "cut", SCHEDULED)
    np.testing.assert_array_equal(again.values, whole.values)
    assert repr(again.checks) == repr(whole.checks)
    assert again.store.history() == whole.store.history()
    kept = {name: (store.models / name / "meta.json").stat().st_ino for name in trained}
    assert kept == trained


def test_too_little_history_is_told(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1, rows=200)
    with pytest.raises(ConfigError, match="leave nothing to check"):
        _run(values, label, panel, tmp_path / "a", SCHEDULED)
    with pytest.raises(ConfigError, match="no room to train"):
        _run(values, label, panel, tmp_path / "b", SCHEDULED, first=panel.time[30])
    values, label, panel = zoo.small_market(3, 1)
    _run(values, label, panel, tmp_path / "c", SCHEDULED)
    with pytest.raises(ConfigError, match="serves here already"):
        _run(values, label, panel, tmp_path / "c", SCHEDULED)
