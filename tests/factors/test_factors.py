"""Libraries equal qlib's; files and entries are checked; the future is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule.core import ConfigError, ExpressionError
from bascule.factors import Factor, library, load, resolve


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "theirs"), [("alpha158", "Alpha158DL"), ("alpha360", "Alpha360DL")])
def test_names_and_texts_are_those_of_qlib(name: str, theirs: str) -> None:
    from qlib.contrib.data import loader

    texts, names = getattr(loader, theirs).get_feature_config()
    assert [factor.name for factor in library(name)] == names
    assert [factor.text for factor in library(name)] == texts
    assert len(names) == int(name.removeprefix("alpha"))


def test_every_factor_has_a_family_and_a_source() -> None:
    for name in ("alpha158", "alpha360"):
        assert all(factor.family and factor.source for factor in library(name))


@pytest.mark.parametrize("text", ["Ref($close,-1)", "Delta($close,-5)", "Mean(Ref($close,-2),3)/$close"])
def test_the_future_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="future") as caught:
        Factor("X", text)
    assert caught.value.where == "factor X"


def test_a_shift_back_makes_a_shift_ahead_harmless() -> None:
    assert Factor("X", "Ref(Ref($close,-1),1)").node


def test_a_bad_text_names_the_factor_and_the_column() -> None:
    with pytest.raises(ExpressionError) as caught:
        Factor("MOM", "Meen($close,5)")
    assert caught.value.where == "factor MOM, factor text, column 1"
    assert caught.value.remedy == "did you mean Mean?"


@pytest.mark.parametrize("name", ["", "5D", "a b", "x" * 65, "é"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="factor name"):
        Factor(name, "$close")


def test_loads_pairs_and_lists(tmp_path: Path) -> None:
    pairs = tmp_path / "a.yaml"
    pairs.write_text("MOM5: $close/Ref($close,5)-1\nVOL: Std($close,5)\n")
    assert [factor.name for factor in load(pairs)] == ["MOM5", "VOL"]
    full = tmp_path / "b.yml"
    full.write_text("factors:\n  - {name: A, text: '$close', family: price, note: n}\n")
    assert load(full) == (Factor("A", "$close", family="price", note="n"),)
    assert len(resolve(["alpha158", str(pairs), full, {"name": "Z", "text": "$open"}])) == 158 + 2 + 1 + 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no factors"),
        ("[]", "no factors"),
        ("just text", "no factors"),
        ("- {name: A}", "'text' is required"),
        ("- {name: A, text: $close, famly: x}", "unknown key 'famly'"),
        ("- {name: A, text: 5}", "must be a text"),
        ("A: 5", "must be a text"),
        ("- 5", "expected name and text"),
        ("A: [", "not YAML"),
        ("- {name: A, text: $close}\n- {name: A, text: $open}", "two factors are named 'A'"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=problem.replace("'", ".")) as caught:
        load(path)
    assert caught.value.where
    assert caught.value.remedy


def test_missing_files_and_libraries(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError) as caught:
        resolve(["alpha185"])
    assert caught.value.remedy == "did you mean 'alpha158'?"
    with pytest.raises(ConfigError, match="no factors"):
        resolve([])
    with pytest.raises(ConfigError, match="two factors"):
        resolve(["alpha158", "alpha360"])
