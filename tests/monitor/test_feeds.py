"""Candles of a store, clocks of venues, stores of champions."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bascule.core import BundleError
from bascule.data.store import Store
from bascule.models import Champions
from bascule.monitor.samples import aware
from bascule.monitor.settings import DataSettings, ModelStoreSettings, VenueSettings
from bascule.monitor.sources.feeds import Data, Models, Venue
from tests.bridge.research import long
from tests.markets import random_panel
from tests.monitor.servers import serving

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def values(samples: list[Any]) -> dict[tuple[str, str], float]:
    return {(one.metric, one.subject): one.value for one in samples}


def test_a_venue_answers_with_its_clock_or_is_down() -> None:
    answer: list[Any] = [200, lambda: {"serverTime": int(1_000 * (time.time() + 5.0))}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer[1]()).encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        venue = Venue(VenueSettings.read({"name": "x", "url": f"{url}/time", "timeout": "5s"}))
        found = values(venue.read(None, NOW))
        assert found["venue.up", "x"] == 1.0 and found["venue.latency_seconds", "x"] > 0
        assert found["venue.skew_seconds", "x"] == pytest.approx(5.0, abs=2.0)
        answer[1] = lambda: {"other": 1}
        assert values(venue.read(None, NOW)) == {("venue.up", "x"): 0.0}
        answer[0] = 503
        assert values(venue.read(None, NOW)) == {("venue.up", "x"): 0.0}
    assert values(venue.read(None, NOW)) == {("venue.up", "x"): 0.0}


def test_candles_are_looked_at_up_to_now_and_not_beyond(tmp_path: Path) -> None:
    panel = random_panel(3, 400, 4)
    frame = long(panel)
    gap = (frame["instrument"] == "C001_USDT") & frame["time"].isin(sorted(frame["time"].unique())[300:310])
    store = Store.create(tmp_path / "store")
    store.write(frame[~gap].reset_index(drop=True), "1h")
    source = Data(DataSettings.read({"store": "store", "days": 7}), tmp_path)
    end = aware(panel.time[-1]) + timedelta(hours=1)
    found = values(source.read(None, end + timedelta(hours=3)))
    assert found["data.age_seconds", "store"] == 3 * 3_600.0
    assert found["data.missing", "store"] == pytest.approx(10 / (4 * 165), rel=1e-6)
    assert found["data.issues", "error"] == 0.0
    earlier = values(source.read(None, end - timedelta(hours=120)))  # before the gap
    assert earlier["data.missing", "store"] == 0.0 and earlier["data.age_seconds", "store"] == 0.0
    late = values(source.read(None, end + timedelta(days=30)))
    assert set(late) == {("data.age_seconds", "store")}


def test_a_store_of_champions_without_one_is_told(tmp_path: Path) -> None:
    source = Models(ModelStoreSettings.read({"name": "c", "folder": "champions"}), tmp_path)
    with pytest.raises(BundleError, match="no store of models"):
        source.read(None, NOW)
    Champions(tmp_path / "champions")
    found = values(source.read(None, NOW))
    assert found == {("model.turns", "c"): 0.0, ("model.challengers", "c"): 0.0}
