"""Extensions of the how-to pages, loaded for one test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bascule.core import extensions
from bascule.core.extensions import Loaded
from tests.docs.pages import DOCS
from tests.extending.pages import modules


@pytest.fixture
def extend(tmp_path: Path) -> Iterator[Callable[[str], Loaded]]:
    """Loads the module of a page, or a given text, and forgets it after the test."""
    before, names = os.environ.get(extensions.VARIABLE), []

    def load(page_or_text: str) -> Loaded:
        page = DOCS / "howto" / f"{page_or_text}.md"
        [(name, text)] = modules(page).items() if "\n" not in page_or_text else [("own.py", page_or_text)]
        (tmp_path / name).write_text(text + "\n", "utf-8")
        held = extensions.load(tmp_path / name)
        names.append(held.extension.name)
        return held

    yield load
    for name in names:
        extensions.unload(name)
    os.environ.pop(extensions.VARIABLE, None)
    if before is not None:
        os.environ[extensions.VARIABLE] = before
