"""An extension's module that is not there, or fails, is told with the file and line to be mended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bascule.core import ConfigError
from bascule.core.extensionfile import from_file, from_module


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``acme_x`` that can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    home = tmp_path / "acme_x"
    home.mkdir()
    (home / "__init__.py").write_text("")
    yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_x"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["acme_x.gone", "acme_x.gone.deeper", "acme_y", "acme_x.plain.below"])
def test_a_module_that_is_not_there(package: Path, name: str) -> None:
    (package / "plain.py").write_text("")
    with pytest.raises(ConfigError, match="there is no extension") as caught:
        from_module(name, None, "run.yaml")
    assert caught.value.where == "run.yaml"


@pytest.mark.parametrize(
    ("file", "text", "line", "problem"),
    [
        ("own.py", "x = 1\nraise RuntimeError('no licence')\n", 2, "RuntimeError: no licence"),
        ("own.py", "import no_such_library_x\n", 1, "No module named 'no_such_library_x'"),
        ("own.py", "x = (\n", 1, "SyntaxError"),
    ],
)
def test_a_module_that_fails(package: Path, file: str, text: str, line: int, problem: str) -> None:
    (package / file).write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        from_module("acme_x.own", None, "run.yaml")
    assert caught.value.where == f"{package / file}:{line}"


def test_a_package_that_fails_is_not_told_as_absent(package: Path) -> None:
    (package / "__init__.py").write_text("import no_such_library_x\n")
    with pytest.raises(ConfigError, match="the extension's module fails: ModuleNotFoundError"):
        from_module("acme_x.own", None, "run.yaml")


def test_the_file_with_the_wrong_syntax_is_named_not_the_one_that_imports_it(package: Path) -> None:
    (package / "helper.py").write_text("x = 1\ny = = 2\n")
    own = package / "own.py"
    own.write_text("# first\n# second\n# third\nimport acme_x.helper\n")
    with pytest.raises(ConfigError) as caught:
        from_file(own, "run.yaml")
    assert caught.value.where == f"{package / 'helper.py'}:2"


def test_an_interrupted_file_is_run_again(tmp_path: Path) -> None:
    mark, own = tmp_path / "mark", tmp_path / "own.py"
    own.write_text(
        f"from pathlib import Path\nmark = Path({str(mark)!r})\n"
        "if not mark.exists():\n    mark.touch()\n    raise KeyboardInterrupt\n"
        "from bascule.core import Extension\nextension = Extension('own_x', '1')\n"
    )
    with pytest.raises(KeyboardInterrupt):
        from_file(own, "here")
    assert from_file(own, "here").extension.name == "own_x"
