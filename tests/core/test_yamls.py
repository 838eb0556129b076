"""Whatever is wrong with a YAML text is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule.core import ConfigError, yaml_mapping, yaml_value


@pytest.mark.parametrize(
    "text",
    [
        "start: 2024-02-31",  # found by fuzzing: a date that is none came out as ValueError
        "[" * 20_000,
        "n: " + "9" * 5_000,
        "a: *b",
        "\0",
        "a: [",
        "a: !!python/object/apply:os.system [ls]",
        "? [1]\n: 2",
    ],
)
def test_what_is_no_yaml(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML") as caught:
        yaml_value(text, "here")
    assert caught.value.where.startswith("here") and caught.value.remedy
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not YAML"):
        yaml_mapping(tmp_path / "a.yaml")


def test_the_line_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        yaml_value("a: 1\nb: [\n", "run.yaml")
    assert caught.value.where == "run.yaml:3"


def test_mappings(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        yaml_mapping(path)
    path.write_text("")
    assert yaml_mapping(path) == {}
    path.write_text("a: {b: 2024-02-29}")
    assert list(yaml_mapping(path)) == ["a"]
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        yaml_mapping(path)
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="no mapping"):
        yaml_mapping(path, remedy="write it")
