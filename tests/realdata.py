"""Where the real market panels are, for tests and examples that can use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def panel_path(name: str) -> Path:
    """Path of a real market file, or skip the test with a reason."""
    root = os.environ.get("BASCULE_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(root) if root else beside
    path = folder / "market" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"real market data not at hand ({name}.parquet); set BASCULE_DATA to its folder")
    return path
