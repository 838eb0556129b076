"""A run's file: defaults, overrides, paths, and one clear error for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bascule.app.config import RunConfig, load, schema
from bascule.core import BasculeError, ConfigError

GOOD = {"name": "x", "walk_forward": {"first_test": "2022-03-01"}}


def written(tmp_path: Path, values: object) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def test_defaults_and_overrides(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD), ["horizon=12", "universe.top=7", "data.source.synthetic.seed=3"])
    assert (config.horizon, config.universe.top, config.data.source.synthetic.seed) == (12, 7, 3)
    assert len(config.recipe().factors) == 158
    assert config.home == Path("runs/x")


def test_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- {name: a, text: '$close/Ref($close,1)-1'}\n")
    values = {**GOOD, "data": {"source": {"kind": "long", "path": "candles.csv"}}, "factors": ["mine.yaml"]}
    config = load(written(tmp_path, values))
    assert config.data.source.path == tmp_path.resolve() / "candles.csv"
    assert [factor.name for factor in config.recipe().factors] == ["a"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"horizn": 3}, "horizn"),
        ({"universe": {"topp": 3}}, "universe.topp"),
        ({"horizon": 0}, "horizon"),
        ({"timeframe": "7m"}, "timeframe"),
        ({"data": {"source": {"kind": "long"}}}, "data.source"),
        ({"data": {"source": {"kind": "synthetic", "path": "x"}}}, "data.source"),
        ({"evaluation": {"horizons": [4, 1]}}, "evaluation.horizons"),
        ({"walk_forward": {"first_test": "yesterday"}}, "walk_forward.first_test"),
        ({"factors": []}, "factors"),
        ({"backtest": {"fee": 2}}, "backtest.fee"),
        ({"name": "../x"}, "name"),
    ],
)
def test_a_wrong_setting_is_one_error_that_names_its_place(
    tmp_path: Path, change: dict[str, object], place: str
) -> None:
    path = written(tmp_path, {**GOOD, **change})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.where == f"{path}: {place}"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "match"),
    [("a: [", "run.yaml:"), ("- 1", "mapping"), ("name: x", "walk_forward"), ("", "mapping")],
)
def test_files_that_are_no_run(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load(written(tmp_path, text))


def test_missing_file_and_wrong_overrides(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    for text in ("horizon", "=3", "horizon.x=3", "horizon=[", "nothing.at=1"):
        with pytest.raises(ConfigError):
            load(written(tmp_path, GOOD), [text])


@pytest.mark.parametrize(
    ("factor", "match"),
    [
        ("alpha159", "alpha159"),
        ({"name": "a", "text": "Meen($close, 5)"}, "Mean"),
        ({"name": "a", "text": "Ref($close, -1)/$close"}, "look|future"),
        ({"name": "a", "text": "__import__('os')"}, "__import__"),
    ],
)
def test_factors_are_checked_before_anything_runs(tmp_path: Path, factor: object, match: str) -> None:
    config = load(written(tmp_path, {**GOOD, "factors": [factor]}))
    with pytest.raises(BasculeError, match=match) as caught:
        config.recipe()
    assert caught.value.remedy


def test_every_setting_is_described() -> None:
    def undescribed(node: dict[str, object], path: str) -> list[str]:
        found = []
        for name, field in node.get("properties", {}).items():  # type: ignore[attr-defined]
            if "description" not in field:
                found.append(f"{path}.{name}")
        return found

    whole = schema()
    missing = undescribed(dict(whole), "run")
    for name, definition in whole["$defs"].items():
        missing += undescribed(definition, name)
    assert missing == []


def test_a_dumped_run_reads_back(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert RunConfig.read(config.model_dump(mode="json")) == config
