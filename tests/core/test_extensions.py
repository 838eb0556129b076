"""The variable that names extensions to other processes: what it names is loaded, each time it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule.core import extensions

TEXT = """\
from bascule.core import Extension
extension = Extension("again_x", "1", factors={"again_x": {"F": "$close/Ref($close,1)-1"}})
"""


def test_what_was_unloaded_is_loaded_when_it_is_named_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "again.py").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        monkeypatch.setenv(extensions.VARIABLE, "again.py")
        assert "again_x" in [one.extension.name for one in extensions.loaded()]
        extensions.unload("again_x")
        assert "again_x" not in [one.extension.name for one in extensions.loaded()]
