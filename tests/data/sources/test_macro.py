"""CoinGecko's past holds nothing of later in the day; odd replies are one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bascule.core import DataError
from bascule.data.sources import Context, Fetched, open_source
from tests.data.sources import wires
from tests.data.sources.exchanges import stamp
from tests.data.sources.server import FakeTime, Query, Route, Wire


def fetch(kind: str, routes: dict[str, Route], time: FakeTime, **values: Any) -> Fetched:
    with Wire(routes, date=time.clock) as wire:
        base = f"{wire.url}/api/v3" if kind == "coingecko" else wire.url
        context = Context(np.random.default_rng(0), time.clock, time.sleep)
        source = open_source(kind, {"base_url": base, **values}, context)
        return source.fetch("2024-01-06", "2024-01-11", [])


def test_a_day_without_its_midnight_has_no_value() -> None:
    """The present is told among the daily points: it must not stand for a midnight that is not there."""
    time = FakeTime("2024-01-10T15:00")
    routes = wires.coingecko(time)
    hidden = {stamp("2024-01-08"), stamp("2024-01-10")}

    def without(route: Route, path: tuple[str, ...]) -> Route:
        def answer(query: Query) -> Any:
            reply = route(query)
            held = reply
            for key in path:
                held = held[key]
            for name, points in held.items():
                held[name] = [point for point in points if point[0] not in hidden]
            return reply

        return answer

    for path, keys in (
        ("global/market_cap_chart", ("market_cap_chart",)),
        ("coins/bitcoin/market_chart", ()),
    ):
        routes[f"/api/v3/{path}"] = without(routes[f"/api/v3/{path}"], keys)
    frame = fetch("coingecko", routes, time, history=True, api_key="key").frame
    assert frame["time"].dt.strftime("%d").tolist() == ["06", "07", "09"]
    assert (frame["available_time"] - frame["time"]).dt.total_seconds().eq(3_600).all()


@pytest.mark.parametrize("updated", ["soon", None, [1]])
def test_a_present_without_a_time(updated: Any) -> None:
    time = FakeTime("2024-01-10T15:00")
    routes = wires.coingecko(time)
    reply = routes["/api/v3/global"]({})
    reply["data"]["updated_at"] = updated
    with pytest.raises(DataError) as caught:
        fetch("coingecko", {"/api/v3/global": lambda _: reply}, time, attempts=1)
    assert caught.value.remedy


def test_a_stamp_of_odd_digits_is_refused() -> None:
    reply = {"data": [{"value": "20", "timestamp": "²"}]}
    with pytest.raises(DataError, match="no list of values"):
        fetch("feargreed", {"/fng/": lambda _: reply}, FakeTime("2024-01-10T15:00"))
