"""Fixtures of the signal tests."""

from __future__ import annotations

import pytest

from tests.bridge.research import Research, shared


@pytest.fixture(scope="session")
def spot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Research:
    return shared(request, tmp_path_factory, "spot")
