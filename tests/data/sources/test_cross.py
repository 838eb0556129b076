"""Series of two sources: what is joined, and which sources may be."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.data.sources import Context, open_source
from tests.data.sources import cases
from tests.data.sources.server import FakeTime, Wire

NOW = "2024-01-10T00:30"


def context(time: FakeTime) -> Context:
    return Context(np.random.default_rng(0), time.clock, time.sleep)


@pytest.mark.parametrize(
    ("kind", "one", "two"), [("cross", "first", "second"), ("premium", "local", "dollar")]
)
@pytest.mark.parametrize(
    ("values", "problem"),
    [({"market": "futures", "kind": "mark"}, "both must be candles"), ({"timeframe": "4h"}, "one timeframe")],
)
def test_sources_that_do_not_go_together(
    kind: str, one: str, two: str, values: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_source(
            kind, {one: {"venue": "upbit"}, two: {"venue": "binance", **values}}, context(FakeTime(NOW))
        )


def test_instruments_of_one_coin_share_its_local_price() -> None:
    time = FakeTime(NOW)
    with Wire(cases.premium(time), date=time.clock) as wire:
        feeds = {
            name: cases.feed(wire.url, venue) for name, venue in (("local", "upbit"), ("dollar", "binance"))
        }
        source = open_source("premium", {**feeds, "rates": {"base_url": wire.url}}, context(time))
        # another spelling of one instrument stands for another quote currency, which the server lacks
        frame = source.fetch("2024-01-02", "2024-01-03", ["BTC_USDT", "BTC/USDT"]).frame
    counts = frame["instrument"].value_counts()
    assert counts.to_dict() == {"BTC_USDT": 24, "BTC/USDT": 24}
