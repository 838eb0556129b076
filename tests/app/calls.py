"""The command line, called within the test's own process."""

from __future__ import annotations

import pytest

from bascule.app.cli import main


def call(*arguments: object) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)
