"""Coin Metrics: odd replies are one clear error, and never an endless walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bascule.core import DataError
from bascule.data.sources import Context, Fetched, open_source
from tests.data.sources import wires
from tests.data.sources.server import FakeTime, Query, Wire

PATH = "/v4/timeseries/asset-metrics"


def fetch(answer: Any) -> Fetched:
    time = FakeTime("2024-01-10T00:30")
    with Wire({PATH: answer}, date=time.clock) as wire:
        values = {"base_url": wire.url, "min_interval_seconds": 0}
        context = Context(np.random.default_rng(0), time.clock, time.sleep)
        return open_source("coinmetrics", values, context).fetch("2023-12-20", "2024-01-05", ["BTC"])


def test_a_page_that_leads_back_is_refused() -> None:
    honest = wires.coinmetrics()[PATH]

    def circle(query: Query) -> Any:
        return {**honest(query), "next_page_token": "0"}

    with pytest.raises(DataError, match="leads back") as caught:
        fetch(circle)
    assert caught.value.remedy


@pytest.mark.parametrize("told", ["inf", "nan", "", None, "soon", [1]])
def test_an_odd_time_of_completion_counts_as_none(told: Any) -> None:
    honest = wires.coinmetrics(page=1_000)[PATH]

    def odd(query: Query) -> Any:
        reply = honest(query)
        for row in reply["data"]:
            row["AssetEODCompletionTime"] = told
        return reply

    frame = fetch(odd).frame
    assert ((frame["available_time"] - frame["time"]).dt.total_seconds() == 36 * 3_600).all()
