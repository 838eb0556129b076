"""Fixtures of all tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.bridge.research import Research

# a shell's background jobs ignore Ctrl-C, and so would all that the tests start and want to interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def spot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Research:
    """The small spot market with its bundle and freqtrade's files, made once."""
    from tests.bridge.research import shared

    return shared(request, tmp_path_factory, "spot")


@pytest.fixture(scope="session")
def futures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Research:
    """Likewise of perpetuals."""
    from tests.bridge.research import shared

    return shared(request, tmp_path_factory, "futures")
