"""The generated reference is whole: commands, options, settings, operators, public names, each with words."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, tools

API, REFERENCE, _ = tools()


def test_pages_made_from_the_code_stand_in_the_repository_too() -> None:
    """With the same title and a word on where else to look, so that no link there is dead."""
    made = {f"{name}.rst": text for name, text in API.pages().items()}
    assert {path.name for path in (DOCS / "reference/api").iterdir()} == set(made)
    for path, text in [
        *((DOCS / "reference" / name, text) for name, text in REFERENCE.pages().items()),
        *((DOCS / "reference/api" / name, text) for name, text in made.items()),
    ]:
        short = path.read_text("utf-8")
        assert short.splitlines()[0] == text.splitlines()[0]
        assert "make docs" in short
        sources = re.findall(r"\]\((\S+/src/\S+?)\)|<(\S+/src/\S+?)>", short)
        assert sources and all((path.parent / (one or other)).exists() for one, other in sources)


def test_every_command_and_option_is_described() -> None:
    page = REFERENCE.commands()
    silent = []
    for path, command in REFERENCE.walk(REFERENCE.root()):
        words = f"bascule {' '.join(path)}"
        assert re.search(rf"^##+ {re.escape(words)}$", page, re.MULTILINE), words
        silent += [] if (command.help or "").strip() else [words]
        for parameter in command.params:
            if parameter.name == "help" or getattr(parameter, "hidden", False):
                continue
            assert all(f"`{name}`" in page for name in parameter.opts if name.startswith("-")), parameter.opts
            silent += [] if (parameter.help or "").strip() else [f"{words} {parameter.name}"]
    assert silent == []


def _keys(schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    groups = {"": schema} | schema.get("$defs", {})
    return [
        (group, key, value.get("description", ""))
        for group, inner in groups.items()
        for key, value in inner.get("properties", {}).items()
    ]


@pytest.mark.parametrize("title,path,reader", REFERENCE.SETTINGS)
def test_every_setting_is_described(title: str, path: str, reader: str) -> None:
    page = REFERENCE.settings()
    assert f"## {title}\n" in page
    keys = _keys(REFERENCE.load(path).model_json_schema())
    assert len(keys) > 5
    assert [f"{group}.{key}" for group, key, _ in keys if f"| `{key}` |" not in page] == []
    assert [f"{group}.{key}" for group, key, what in keys if not what.strip()] == []


def test_links_within_settings_resolve() -> None:
    page = REFERENCE.settings()
    targets = re.findall(r"^\((settings-[\w-]+)\)=$", page, re.MULTILINE)
    assert len(targets) == len(set(targets)) > 20
    assert set(re.findall(r"\(#(settings-[\w-]+)\)", page)) <= set(targets)


def test_ranges_are_shown() -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 9}
    assert REFERENCE.kind_of(schema, {}) == "whole number, ≥ 1 and ≤ 9"
    assert REFERENCE.kind_of({"anyOf": [schema, {"type": "null"}]}, {}).endswith("or none")
    assert REFERENCE.kind_of({"type": "array", "items": {"type": "string"}}, {}) == "list of text"


def test_every_operator_is_described() -> None:
    from bascule.expr import LEFT_TO_QLIB, OPERATORS

    page = REFERENCE.operators()
    assert [
        name for name in OPERATORS if not re.search(rf"^\| `{name}\(.*\| .*\w.* \|$", page, re.MULTILINE)
    ] == []
    assert [name for name in LEFT_TO_QLIB if f"| `{name}` |" not in page] == []


def test_methods_of_a_base_of_ours_are_described() -> None:
    from bascule.data.store import Store

    assert "panel" not in vars(Store) and hasattr(Store, "panel")
    page = API._page("data")
    assert re.search(r"autoclass:: Store\n   :members:\n   :inherited-members:\n", page)


def test_every_floor_has_its_page() -> None:
    import bascule

    packages = {p.name for p in Path(bascule.__file__).parent.iterdir() if (p / "__init__.py").exists()}
    assert packages - {"app"} == {floor.split(".")[0] for floor in API.FLOORS}


@pytest.mark.parametrize("floor", [f for f in API.FLOORS if f != "bridge.freqtrade"])
def test_every_public_name_is_on_its_page(floor: str) -> None:
    module = import_module(f"bascule.{floor}")
    page = API._page(floor)
    wanted = API.names(module)
    assert [name for name in wanted if not re.search(rf"^\.\. auto\w+:: {name}$", page, re.MULTILINE)] == []
    assert page.count(".. auto") > 1
