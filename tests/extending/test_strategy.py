"""The page's strategy trades in the real freqtrade as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bridge.research import Research
from tests.docs.pages import DOCS
from tests.extending.pages import run_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_the_page_runs_on_a_bundle_and_its_candles(spot: Research, tmp_path: Path) -> None:
    (tmp_path / "bundles").symlink_to(spot.bundle.path.parent)
    (tmp_path / "data").symlink_to(spot.datadir)
    run_page(DOCS / "howto" / "own-strategy.md", tmp_path)
    assert (tmp_path / "user_data" / "strategies" / "Weekdays.py").is_file()
