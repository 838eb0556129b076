"""The bundle: live equals stored, and nothing damaged, foreign or executable is ever opened."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.core import BundleError, Timeframe
from bascule.core.files import TEMPORARY
from bascule.signals import Bundle, ModelWindow, SignalFrame, write_bundle
from bascule.signals.frame import BY_INSTRUMENT
from tests.bridge.research import Research


@pytest.fixture
def copy(spot: Research, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(spot.bundle.path, tmp_path / spot.bundle.path.name))


def again(research: Research, folder: Path, **changes: Any) -> Bundle:
    """Write the research's bundle anew."""
    parts: dict[str, Any] = {
        "spec": research.spec,
        "panel": research.panel,
        "signals": research.signals,
        "models": research.models,
        "data_fingerprint": "test",
        "created": np.datetime64("2024-01-01T10:00:05"),
    }
    return write_bundle(folder, **{**parts, **changes})


def test_what_is_stored_is_what_was_found(spot: Research) -> None:
    stored, found = spot.bundle.signals, spot.signals
    rows = np.flatnonzero(found.covered)
    np.testing.assert_array_equal(stored.time, found.time[rows])
    present = spot.panel.traded[rows]
    for name in BY_INSTRUMENT:
        np.testing.assert_array_equal(getattr(stored, name)[present], getattr(found, name)[rows][present])
    for name in ("portfolio_risk", "regime", "model_id"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(found, name)[rows])


@pytest.mark.parametrize("end", [1_250, 1_441, 1_700, 2_400])
def test_live_equals_stored(spot: Research, end: int) -> None:
    """Raw candles of a window, as an exchange gives them, lead to the stored signals, model by model."""
    live = spot.bundle.live(spot.raw.rows(end - spot.bundle.lookback - 40, end))
    assert len(live.time) == 40
    stored = spot.bundle.signals
    for i, time in enumerate(live.time):
        row = int(np.searchsorted(stored.time, time))
        assert live.model_id[i] == stored.model_id[row] != ""
        assert live.portfolio_risk[i] == stored.portfolio_risk[row]
        present = np.isfinite(stored.stop_distance[row])
        for name in BY_INSTRUMENT:
            np.testing.assert_array_equal(
                getattr(live, name)[i][present], getattr(stored, name)[row][present], err_msg=name
            )


def test_short_windows_have_no_rows(spot: Research) -> None:
    assert len(spot.bundle.live(spot.raw.rows(0, spot.bundle.lookback)).time) == 0


def test_each_row_is_predicted_by_the_newest_model_of_its_time(spot: Research) -> None:
    models = spot.bundle.manifest.models
    assert len(models) == 3
    _, ids = spot.bundle.predict(spot.features, spot.panel.time)
    first = spot.panel.time[np.flatnonzero(ids != "")[0]]
    assert np.datetime64(models[0].test.start.removesuffix("Z")) == first
    np.testing.assert_array_equal(ids, spot.signals.model_id)
    assert [model.purge for model in models] == [spot.spec.horizon + 1] * 3


def test_a_bundle_names_what_it_is(spot: Research) -> None:
    manifest = spot.bundle.manifest
    assert manifest.universe == spot.panel.instruments
    assert manifest.data.fingerprint and manifest.data.first == "2023-01-01T00:00:00Z"
    np.testing.assert_array_equal(manifest.listed_times, spot.panel.listed)
    assert {"bascule", "numpy", "lightgbm"} <= set(manifest.versions)
    assert set(manifest.files) >= {"signals.parquet", "factors.yaml"}


def test_current_leads_to_the_newest(spot: Research, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    report.write_text("<html></html>")
    first = again(spot, tmp_path / "b", report=report)
    assert Bundle.open(tmp_path / "b").path == first.path
    assert (first.path / "report.html").read_text() == "<html></html>"
    second = again(spot, tmp_path / "b", created=np.datetime64("2024-02-01"))
    third = again(spot, tmp_path / "b", created=np.datetime64("2024-03-01"), activate=False)
    assert Bundle.open(tmp_path / "b").path == second.path != third.path
    assert len({first.id, second.id, third.id}) == 3
    assert Bundle.open(first.path).id == first.id
    with pytest.raises(BundleError, match="never changed"):
        again(spot, tmp_path / "b", report=report)


@pytest.mark.parametrize("name", ["signals.parquet", "factors.yaml", "models"])
def test_a_changed_byte_is_found(copy: Path, name: str) -> None:
    path = copy / name
    if path.is_dir():
        path = sorted(path.rglob("*.txt"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="was changed"):
        Bundle.open(copy)


def test_missing_and_foreign_files_are_found(copy: Path) -> None:
    (copy / "models" / "extra.txt").write_text("x")
    with pytest.raises(BundleError, match="does not belong"):
        Bundle.open(copy)
    (copy / "models" / "extra.txt").unlink()
    (copy / "factors.yaml").unlink()
    with pytest.raises(BundleError, match=r"factors\.yaml is missing"):
        Bundle.open(copy)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"schema_version": None}, "schema version None"),
        ({"unheard_of": 1}, "unknown key"),
        ({"universe": ["B_USDT", "A_USDT"]}, "not sorted"),
        ({"listed": {"XX_USDT": "2023-01-01T00:00:00Z"}}, "outside the universe"),
        ({"files": {"../../secret": "0" * 64}}, "leads out of the bundle"),
        ({"files": {"/etc/passwd": "0" * 64}}, "leads out of the bundle"),
        ({"lookback": -1}, "greater than or equal to 0"),
    ],
)
def test_bad_manifests_are_refused(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


def test_unreadable_manifests_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        Bundle.open(copy)
    with pytest.raises(BundleError, match="no readable manifest"):
        Bundle.open(tmp_path / "nowhere")
    (copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="no readable manifest"):
        Bundle.open(copy)


def test_models_that_could_execute_code_are_refused(spot: Research, tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(one, tmp_path / "m" / one.name)) for one in spot.models]
    (folders[0] / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BundleError, match="could execute code"):
        again(spot, tmp_path / "b", models=folders)
    assert not [item for item in (tmp_path / "b").iterdir() if item.is_dir()]


def test_one_writer_at_a_time_and_the_next_sweeps_up(spot: Research, tmp_path: Path) -> None:
    from bascule.data.lock import writer_lock

    (tmp_path / f"{TEMPORARY}left-behind").mkdir()
    with writer_lock(tmp_path), pytest.raises(BundleError, match="another process"):
        again(spot, tmp_path)
    assert again(spot, tmp_path).path.exists()
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(TEMPORARY)]


def test_parts_that_do_not_fit_are_refused(spot: Research, tmp_path: Path) -> None:
    empty = SignalFrame.nothing(Timeframe.parse("1h"), spot.panel.instruments)
    with pytest.raises(BundleError, match="no signals"):
        again(spot, tmp_path / "b", signals=empty)
    with pytest.raises(BundleError, match="differ in instruments"):
        again(spot, tmp_path / "b", panel=spot.panel.select(spot.panel.instruments[1:]))
    with pytest.raises(BundleError, match="description"):
        ModelWindow.describe(tmp_path)


def test_live_says_what_does_not_fit(spot: Research) -> None:
    with pytest.raises(BundleError, match="candles of 4h"):
        spot.bundle.live(_retimed(spot))
    others = spot.raw.select(["BTC_USDT", "XRP_USDT"])
    renamed = type(others)(
        others.timeframe, others.time, ("AAA_USDT", "BBB_USDT"), others.fields, others.listed
    )
    with pytest.raises(BundleError, match="none of the candles"):
        spot.bundle.live(renamed)


def _retimed(research: Research) -> Any:
    from bascule.core import Panel

    timeframe = Timeframe.parse("4h")
    raw = research.raw.rows(0, 50)
    time = timeframe.axis(raw.time[0], raw.time[0] + 49 * timeframe.delta)
    return Panel(timeframe, time, raw.instruments, raw.fields, raw.listed)


def test_tables_round_trip_and_bad_ones_are_refused(spot: Research) -> None:
    table = spot.signals.to_long()
    frame = SignalFrame.from_long(table, spot.spec.bar, spot.panel.instruments)
    assert frame.to_long().equals(table)
    with pytest.raises(BundleError, match="columns are missing: alpha_rank"):
        SignalFrame.from_long(table.drop(columns="alpha_rank"), spot.spec.bar, spot.panel.instruments)
    with pytest.raises(BundleError, match="doubled"):
        SignalFrame.from_long(table.iloc[[0, 0]], spot.spec.bar, spot.panel.instruments)
    with pytest.raises(BundleError, match="outside the bundle"):
        SignalFrame.from_long(table, spot.spec.bar, spot.panel.instruments[1:])


def test_a_bundle_is_pickled_without_what_it_can_read_again(spot: Research) -> None:
    _ = spot.bundle.signals
    copied = pickle.loads(pickle.dumps(spot.bundle))
    assert copied.id == spot.bundle.id and "signals" not in copied.__dict__
    np.testing.assert_array_equal(copied.signals.alpha, spot.bundle.signals.alpha)
