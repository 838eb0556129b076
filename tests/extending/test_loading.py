"""A broken extension is one clear error that names the place, and leaves nothing behind."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bascule.core import BasculeError, ConfigError, Extension, extensions
from bascule.core.extensions import Loaded
from bascule.expr import OPERATORS, parse
from bascule.factors import LIBRARIES, library
from bascule.models import KINDS

HEAD = """\
from bascule.core import Extension
from bascule.expr import Number, RollingOperator, Window
from bascule.models import Kind
class Own(RollingOperator):
    'Of my own.'
    def values(self, x):
        return x[:, 0]
"""
WRONG = {
    "syntax": ("def values(:\n", r"own\.py:1", "SyntaxError"),
    "raises": ("x = 1\nraise RuntimeError('no licence')\n", r"own\.py:2", "RuntimeError: no licence"),
    "nothing": ("x = 1\n", r"own\.py", "names no extension"),
    "no part": (HEAD + "extension = Extension('own', '1')\n", "own", "brings nothing"),
    "name": (HEAD + "extension = Extension('My Own', '1')\n", r"own\.py:8", "not a name"),
    "no operator": (
        HEAD + "extension = Extension('own', '1', operators=[int])\n",
        "operators, int", "no class",
    ),
    "no words": (
        HEAD.replace("'Of my own.'", "pass") + "extension = Extension('own', '1', operators=[Own])\n",
        "operators, Own", "does not say",
    ),
    "no function": (
        HEAD.replace("def values", "def value") + "extension = Extension('own', '1', operators=[Own])\n",
        "operators, Own", "no method values",
    ),
    "taken": (
        HEAD.replace("class Own", "class Mean") + "extension = Extension('own', '1', operators=[Mean])\n",
        "operators, Mean", "taken by Bascule",
    ),
    "own window": (
        HEAD + "    back = 3\n" + "extension = Extension('own', '1', operators=[Own])\n",
        "operators, Own", "rule back",
    ),
    "future": (
        HEAD + "extension = Extension('own', '1', factors={'own': {'F': 'Ref($close,-1)'}})\n",
        "factors, own", "future",
    ),
    "half": (
        HEAD + "extension = Extension('own', '1', operators=[Own], factors={'own': {'F': 'Own($close)'}})\n",
        "factors, own", "arguments",
    ),
    "no model": (
        HEAD + "extension = Extension('own', '1', models=[Kind])\n",
        "models, ", "no object of a Kind",
    ),
    "no searcher": (
        HEAD + "extension = Extension('own', '1', searchers={'own': Own})\n",
        "searchers, own", "propose",
    ),
    "no source": (
        HEAD + "extension = Extension('own', '1', sources={'own': Own})\n",
        "sources, own", "Entry",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case: str, tmp_path: Path) -> None:
    text, place, problem = WRONG[case]
    path = tmp_path / "own.py"
    path.write_text(text)
    told = os.environ.get(extensions.VARIABLE)
    with pytest.raises(BasculeError, match=problem) as caught:
        extensions.load(path)
    assert caught.value.where is not None
    assert caught.value.remedy
    assert re.search(place, caught.value.where)
    assert "Own" not in OPERATORS and "own" not in LIBRARIES
    assert [one for one in extensions.loaded() if one.extension.name == "own"] == []
    assert os.environ.get(extensions.VARIABLE) == told


def test_missing_ones_are_told(tmp_path: Path) -> None:
    for source, problem in (
        ("gone.py", "cannot be read"),
        ("no_such_module_x", "no extension"),
        ("a b", "no extension"),
    ):
        with pytest.raises(ConfigError, match=problem) as caught:
            extensions.load(source, root=tmp_path, where="run.yaml: extensions")
        assert caught.value.where == "run.yaml: extensions"


def test_a_changed_file_needs_a_new_process(extend: Callable[[str], Loaded]) -> None:
    line = "extension = Extension('own', '1', operators=[Own])\n"
    held = extend(HEAD + line)
    assert extend(HEAD + line) is held
    with pytest.raises(ConfigError, match="another extension of this name"):
        extend(HEAD.replace("x[:, 0]", "x[:, -1]") + line)


def test_what_is_loaded_is_there_and_what_is_unloaded_is_gone(extend: Callable[[str], Loaded]) -> None:
    line = "extension = Extension('own', '1', operators=[Own], factors={'own': {'F': 'Own($close,3)'}})\n"
    held = extend(HEAD + line)
    assert OPERATORS.owner("Own") == "own" and OPERATORS.owner("Mean") is None
    node = parse("Mean(Own($close,3),5)")
    assert pickle.loads(pickle.dumps(node)) == node
    assert [one.lookback for one in library("own")] == [2]
    assert held.source in os.environ[extensions.VARIABLE].split(os.pathsep)
    assert extensions.record(["own", None]) == (held.record,)
    extensions.unload("own")
    assert "Own" not in OPERATORS and "own" not in LIBRARIES
    assert held.source not in os.environ[extensions.VARIABLE].split(os.pathsep)


def test_the_variable_is_asked_for_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extend: Callable[[str], Loaded]
) -> None:
    path = tmp_path / "named.py"
    path.write_text(HEAD + "extension = Extension('own', '1', operators=[Own])\n")
    monkeypatch.setenv(extensions.VARIABLE, str(path))
    try:
        assert parse("Own($close,3)").back == 2
    finally:
        extensions.unload("own")


def test_made_on_the_spot_it_cannot_be_remembered(extend: Callable[[str], Loaded]) -> None:
    spot = Extension("spot", "1", factors={"spot": {"F": "$close/Ref($close,1)-1"}})
    try:
        assert extensions.load(spot) is extensions.load(spot)
        with pytest.raises(ConfigError, match="on the spot"):
            extensions.record(["spot"])
    finally:
        extensions.unload("spot")


def test_models_travel_by_name(extend: Callable[[str], Loaded]) -> None:
    extend("own-model")
    assert pickle.loads(pickle.dumps(KINDS["Correlator"])) is KINDS["Correlator"]


def test_what_lacks_is_said(extend: Callable[[str], Loaded]) -> None:
    held = extend("own-operator").record
    assert extensions.lacking([held]) is None
    changed = held.model_copy(update={"sha256": "0" * 64})
    assert "another source" in str(extensions.lacking([changed]))
    assert "version 1.0 is loaded" in str(extensions.lacking([held.model_copy(update={"version": "2"})]))
    assert "not loaded" in str(extensions.lacking([held.model_copy(update={"name": "other"})]))
