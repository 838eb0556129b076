"""The fault plan: validated, deterministic, and felt by a real client."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.bridge.exchange import FaultPlan, Keys, ReplayExchange, wall_clock
from bascule.bridge.exchange.chaos import Chaos
from bascule.core import ConfigError
from tests.bridge.exchange.rig import client, flat, funds, panel, rig

ccxt = pytest.importorskip("ccxt")
MARKET = panel([*flat(3), (100.0, 101.0, 90.0, 91.0, 1_200.0), *flat(4, 91)], names=("BTC_USDT", "XRP_USDT"))


def plan(*faults: dict[str, Any], seed: int = 7) -> FaultPlan:
    return FaultPlan.read({"seed": seed, "faults": list(faults)})


def status(exchange: ReplayExchange, path: str) -> tuple[int, str | None]:
    """Status and Retry-After of a public GET."""
    try:
        with urllib.request.urlopen(exchange.url + path, timeout=10) as response:
            return response.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Retry-After")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("faults: [{kind: outrage}]", "faults"),
        ("faults: [{kind: latency}]", "seconds"),
        ("faults: [{kind: latency, seconds: 1, probability: 2}]", "probability"),
        ("faults: [{kind: outage, start: 2024-03-02, end: 2024-03-01}]", "start before it ends"),
        ("faults: [{kind: delisting, symbols: [BTCUSDT]}]", "needs start"),
        ("faults: [{kind: spike, factor: 2, start: 2024-03-01}]", "start and end"),
        ("faults: [{kind: status, status: 200}]", "status"),
        ("seeds: 1", "did you mean 'seed'"),
        ("- a", "is no mapping"),
        ("faults: [", "not YAML"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        FaultPlan.load(file)
    assert str(file) in str(caught.value)


def test_chances_depend_on_seed_and_endpoint_not_on_the_mixture() -> None:
    fault = {"kind": "outage", "probability": 0.3}

    def struck(order: list[str], seed: int = 7) -> dict[str, list[bool]]:
        chaos, found = Chaos(plan(fault, seed=seed)), {"/a": [], "/b": []}
        for path in order:
            found[path].append(chaos.judge("GET", path, None, 0).cut)
        return found

    one, other = struck(["/a", "/b"] * 200), struck(["/a"] * 200 + ["/b"] * 200)
    assert one == other and one["/a"] != one["/b"]
    assert one != struck(["/a", "/b"] * 200, seed=8)
    assert 0.2 < np.mean(one["/a"]) < 0.4


def test_outage_and_errors_in_their_window() -> None:
    faults = plan(
        {"kind": "outage", "start": "2024-03-01T01:00", "end": "2024-03-01T02:00"},
        {"kind": "status", "status": 418, "retry_after": 9, "start": "2024-03-01T02:00", "paths": ["*/ping"]},
    )
    with rig(MARKET, faults=faults) as exchange:
        assert status(exchange, "/api/v3/ping") == (200, None)
        exchange.step(3_600)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            status(exchange, "/api/v3/ping")
        exchange.step(3_600)
        assert status(exchange, "/api/v3/ping") == (418, "9")
        assert status(exchange, "/api/v3/time") == (200, None)
        with client(exchange) as api, pytest.raises(ccxt.DDoSProtection):
            api.public_get_ping()


def test_latency_is_waited_for() -> None:
    slow = plan({"kind": "latency", "seconds": 0.3, "jitter": 0.1, "paths": ["*/time"]})
    with rig(MARKET, faults=slow) as exchange:
        began = time.monotonic()
        status(exchange, "/api/v3/time")
        assert 0.3 <= time.monotonic() - began < 2


def test_candles_come_late_or_twice() -> None:
    late = plan(
        {"kind": "stale_candles", "candles": 2, "end": "2024-03-01T02:45"}, {"kind": "duplicate_candles"}
    )
    with rig(MARKET, faults=late, at="2024-03-01T02:30") as exchange, client(exchange) as api:
        hour = 3_600_000
        begun = api.parse8601("2024-03-01T00:00:00Z")
        assert [(r[0] - begun) // hour for r in api.fetch_ohlcv("BTC/USDT", "1h")] == [0, 0]
        exchange.step(1_800)
        assert [(r[0] - begun) // hour for r in api.fetch_ohlcv("BTC/USDT", "1h")] == [0, 1, 2, 3, 3]


def test_a_lost_reply_is_carried_out_and_found_again() -> None:
    lost = plan({"kind": "lost_reply", "methods": ["POST"], "paths": ["*/order"], "end": "2024-03-01T01:00"})
    with rig(MARKET, faults=lost) as exchange, client(exchange) as api:
        named = {"clientOrderId": "once"}
        with pytest.raises(ccxt.NetworkError):
            api.create_order("BTC/USDT", "limit", "buy", 1, 95.0, named)
        found = api.fetch_order("", "BTC/USDT", {"origClientOrderId": "once"})
        assert found["status"] == "open" and funds(exchange, "locked") == 95
        exchange.step(1_800)
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate"):
            api.create_order("BTC/USDT", "limit", "buy", 1, 95.0, named)
        assert len(exchange.account.orders) == 1


def test_orders_are_rejected_with_the_plans_words() -> None:
    busy = plan(
        {"kind": "reject", "symbols": ["BTCUSDT"], "code": -2010, "message": "This action is disabled."}
    )
    with rig(MARKET, faults=busy) as exchange, client(exchange) as api:
        with pytest.raises(ccxt.InvalidOrder, match="disabled"):
            api.create_order("BTC/USDT", "market", "buy", 1)
        assert api.create_order("XRP/USDT", "market", "buy", 1)["status"] == "closed"


def test_a_skewed_clock_refuses_signed_requests() -> None:
    ahead = plan({"kind": "clock_skew", "seconds": 30})
    keys = Keys()
    with (
        rig(MARKET, faults=ahead, keys=keys, clock=wall_clock) as exchange,
        client(exchange, keys=keys) as api,
    ):
        with pytest.raises(ccxt.InvalidNonce):
            api.fetch_balance()
        api.load_time_difference()
        assert api.fetch_balance()["USDT"]["free"] == 10_000


def test_a_delisted_symbol_is_gone_and_its_orders_with_it() -> None:
    gone = plan({"kind": "delisting", "symbols": ["XRPUSDT"], "start": "2024-03-01T02:00"})
    with rig(MARKET, faults=gone) as exchange, client(exchange) as api:
        order = api.create_order("XRP/USDT", "limit", "buy", 1, 95.0)
        assert [s["symbols"] for s in api.sapi_get_spot_delist_schedule()] == [["XRPUSDT"]]
        exchange.step(4 * 3_600)
        assert api.fetch_order(order["id"], "XRP/USDT")["status"] == "expired"
        assert api.fetch_ohlcv("XRP/USDT", "1h")[-1][0] == api.parse8601("2024-03-01T01:00:00Z")
        assert not api.load_markets(True)["XRP/USDT"]["active"]
        with pytest.raises(ccxt.BaseError, match="Market is closed"):
            api.create_order("XRP/USDT", "market", "buy", 1)
        assert api.fetch_ohlcv("BTC/USDT", "1h")[-1][0] == api.parse8601("2024-03-01T04:00:00Z")
        assert funds(exchange, "locked") == 0 and exchange.differences() == []


def test_a_spike_is_a_wick_that_fills_orders() -> None:
    window = {"start": "2024-03-01T01:10", "end": "2024-03-01T01:20"}
    wick = plan({"kind": "spike", "factor": 0.5, "symbols": ["BTCUSDT"], **window})
    with rig(MARKET, faults=wick) as exchange, client(exchange) as api:
        cheap = api.create_order("BTC/USDT", "limit", "buy", 1, 60.0)
        exchange.step(2 * 3_600)
        assert api.fetch_order(cheap["id"], "BTC/USDT")["status"] == "closed"
        rows = {p: [r[1:5] for r in api.fetch_ohlcv(p, "1h", limit=3)] for p in ("BTC/USDT", "XRP/USDT")}
        assert rows["BTC/USDT"][1] == [100, 100, 50, 100] and rows["XRP/USDT"][1] == [100] * 4


def test_limits_are_counted_and_can_be_enforced() -> None:
    with rig(MARKET, enforce_limits=True) as exchange:
        for _ in range(75):
            assert status(exchange, "/api/v3/ticker/24hr")[0] == 200  # 80 each
        assert status(exchange, "/api/v3/ping") == (429, "60")
        exchange.step(60)
        with urllib.request.urlopen(exchange.url + "/api/v3/klines?symbol=BTCUSDT&interval=1h") as response:
            assert response.headers["X-MBX-USED-WEIGHT-1M"] == "2"


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (Keys("other", "rehearsal-secret", False), "AuthenticationError"),
        (Keys("rehearsal-key", "other", False), "AuthenticationError"),
    ],
)
def test_wrong_keys_open_nothing(keys: Keys, error: str) -> None:
    with rig(MARKET) as exchange, client(exchange) as api:
        api.apiKey, api.secret = keys.key, keys.secret
        with pytest.raises(getattr(ccxt, error)):
            api.fetch_balance()
