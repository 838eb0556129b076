"""Every model of qlib's zoo is really tried; the document says what came out."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bascule.core import BundleError, ConfigError, DataError
from bascule.models import KINDS, ModelSettings, kind, load, tensors, zoo
from bascule.models.samples import gather

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
# everyday models in the fast run; the rest is slow only because there are so many
DAILY = ("LGBModel", "XGBModel", "LinearModel")


def _ids(one: zoo.Entry) -> str:
    return one.title


def _check(one: zoo.Entry, folder: Path) -> None:
    first = zoo.trial(one, folder / "first")
    assert first.works
    features, steps = zoo.shape(one.kind)
    values, _, panel = zoo.small_market(features, steps)
    fold = next((folder / "first" / "models").iterdir())
    predictor = load(fold)
    assert predictor.file.suffix in {".txt", ".json", ".ubj", ".cbm", ".safetensors"}
    # one time alone, and all of them at once, as stored: a live bot gets what research got
    rows = np.arange(600, 630)
    cells = gather(values, rows, panel.members)
    whole = predictor.predict(cells.features, cells.row)
    alone = cells.row == 610
    assert np.array_equal(predictor.predict(cells.features[alone], cells.row[alone]), whole[alone])
    second = zoo.trial(one, folder / "second")
    assert second.rank_ic == first.rank_ic
    again = next((folder / "second" / "models").iterdir())
    assert (again / predictor.file.name).read_bytes() == predictor.file.read_bytes()


@pytest.mark.parametrize("one", [e for e in zoo.ENTRIES if e.kind in DAILY], ids=_ids)
def test_everyday_models_are_trained_kept_and_opened(one: zoo.Entry, tmp_path: Path) -> None:
    _check(one, tmp_path)
    assert zoo.trial(one).rank_ic > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("one", [e for e in zoo.ENTRIES if e.kind and e.kind not in DAILY], ids=_ids)
def test_all_other_models_are_trained_kept_and_opened(one: zoo.Entry, tmp_path: Path) -> None:
    _check(one, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("one", [e for e in zoo.ENTRIES if not e.kind and e.module], ids=_ids)
def test_models_that_are_not_offered_fail_as_the_table_says(one: zoo.Entry) -> None:
    found = zoo.trial(one)
    assert not found.works
    assert re.search(one.error, found.error)


def test_the_table_names_every_model_class_of_qlib() -> None:
    listed = {(one.module, one.cls) for one in zoo.ENTRIES if one.module}
    assert zoo.classes_of_qlib() - listed == set()
    assert {one.kind for one in zoo.ENTRIES if one.kind} == set(KINDS)


def test_the_document_holds_the_table() -> None:
    assert zoo.table() in DOCUMENT.read_text("utf-8")


def test_qlibs_own_form_names_a_model() -> None:
    written = {
        "class": "TransformerModel",
        "module_path": "qlib.contrib.model.pytorch_transformer_ts",
        "kwargs": {"d_model": 16},
        "steps": 4,
    }
    read = ModelSettings.read(written)
    assert (read.kind, read.params, read.steps) == ("TransformerModel_ts", {"d_model": 16}, 4)
    assert ModelSettings.read(read.model_dump()) == read
    assert kind("TransformerModel").module.endswith("pytorch_transformer")
    assert kind("LSTM", "qlib.contrib.model").name == "LSTM"
    with pytest.raises(ConfigError, match=r"unknown kind of model 'my\.own\.Net'"):
        ModelSettings.read({"class": "Net", "module_path": "my.own"})
    with pytest.raises(ConfigError, match="either kind and params"):
        ModelSettings.read({"class": "LGBModel", "params": {}})
    with pytest.raises(ConfigError, match="no parameter 'd_modle'"):
        kind("TransformerModel").check({"d_modle": 3})


def test_features_must_fit_the_steps() -> None:
    with pytest.raises(ConfigError, match="not a whole number of times"):
        kind("GRU").fits(7, 3)
    with pytest.raises(ConfigError, match="Alpha360 alone"):
        kind("ADARNN").fits(9, 3)
    with pytest.raises(ConfigError, match="as many times as features"):
        kind("TCN_ts").fits(8, 2)
    kind("TCN_ts").fits(9, 3)


def test_a_tensor_file_holds_numbers_and_refuses_damage(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7, np.int64)}
    tensors.write(tmp_path / "t.safetensors", arrays, {"kind": "GRU"})
    back, metadata = tensors.read(tmp_path / "t.safetensors")
    assert metadata == {"kind": "GRU"}
    for name, values in arrays.items():
        assert back[name].dtype == values.dtype
        assert np.array_equal(back[name], values)
    data = (tmp_path / "t.safetensors").read_bytes()
    for bad in (data[:5], data[:30], b"\xff" * 64, data[:-8]):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(BundleError, match="not a tensor file"):
            tensors.read(tmp_path / "bad")
    with pytest.raises(BundleError, match="is complex128"):
        tensors.write(tmp_path / "c", {"c": np.zeros(2, complex)}, {})


def test_a_network_of_another_kind_or_with_foreign_arguments_is_refused(tmp_path: Path) -> None:
    zoo.trial(zoo.entry("GRU"), tmp_path)
    file = next((tmp_path / "models").glob("*/model.safetensors"))
    arrays, metadata = tensors.read(file)
    with pytest.raises(BundleError, match="not LSTM"):
        kind("LSTM").load(file)
    foreign = metadata["arguments"].replace('"hidden_size"', '"model_path"')
    tensors.write(tmp_path / "f.safetensors", arrays, {**metadata, "arguments": foreign})
    with pytest.raises(BundleError, match=r"unknown arguments \['model_path'\]"):
        kind("GRU").load(tmp_path / "f.safetensors")
    wider = metadata["arguments"].replace('"hidden_size": 32', '"hidden_size": 33')
    tensors.write(tmp_path / "w.safetensors", arrays, {**metadata, "arguments": wider})
    with pytest.raises(BundleError, match="do not fit GRU"):
        kind("GRU").load(tmp_path / "w.safetensors")


def test_a_file_cannot_name_what_is_called(tmp_path: Path) -> None:
    """qlib's general network imports and calls whatever ``pt_model_uri`` names."""
    witness = tmp_path / "made by a file"
    arguments = {"pt_model_uri": "os.mkdir", "pt_model_kwargs": {"path": str(witness)}, "seed": 0}
    file = tmp_path / "model.safetensors"
    for name in ("GeneralPTNN", "TemporalFusion"):
        metadata = {"kind": name, "arguments": json.dumps(arguments), "steps": "1"}
        tensors.write(file, {"x": np.zeros(1, np.float32)}, metadata)
        with pytest.raises(BundleError, match="pt_model_uri is not the kind's own"):
            kind(name).load(file)
    assert not witness.exists()


@pytest.mark.parametrize("arguments", ["[1]", "{", "7"])
def test_metadata_that_says_nothing_is_refused(arguments: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tensors.write(file, {}, {"kind": "GRU", "arguments": arguments, "steps": "1"})
    with pytest.raises(BundleError, match="metadata cannot be read"):
        kind("GRU").load(file)


@pytest.mark.slow
def test_a_relational_model_needs_to_know_which_samples_are_of_one_time(tmp_path: Path) -> None:
    zoo.trial(zoo.entry("GATs, windows"), tmp_path)
    predictor = load(next((tmp_path / "models").iterdir()))
    with pytest.raises(DataError, match="pass the time"):
        predictor.predict(np.ones((4, 9), np.float32))
