"""Spot orders through a real ccxt client, and the ledger behind them."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from bascule.bridge.exchange import AccountSettings
from tests.bridge.exchange.rig import client, flat, funds, panel, rig

ccxt = pytest.importorskip("ccxt")
DOWN = (100.0, 101.0, 90.0, 91.0, 1_200.0)  # falls: 100 → 101 → 90 → 91
UP = (100.0, 110.0, 99.0, 109.0, 1_200.0)  # rises: 100 → 99 → 110 → 109


def test_a_market_buy_pays_spread_and_fee() -> None:
    with rig(panel(flat(3))) as exchange, client(exchange) as api:
        order = api.create_order("BTC/USDT", "market", "buy", 2)
        assert order["status"] == "closed" and order["filled"] == 2
        assert order["average"] == pytest.approx(100.01)  # half of two basis points
        assert [f["currency"] for f in order["fees"]] == ["BTC"]
        assert funds(exchange) == 10_000 - 2 * D("100.01")
        assert funds(exchange, asset="BTC") == D("1.998")
        balance = api.fetch_balance()
        assert {"BTC", "USDT"} <= {coin["coin"] for coin in api.sapi_get_capital_config_getall()}
        assert balance["BTC"]["free"] == 1.998 and balance["USDT"]["total"] == 9_799.98
        trades = api.fetch_my_trades("BTC/USDT")
        assert [(t["order"], t["amount"], t["takerOrMaker"]) for t in trades] == [(order["id"], 2, "taker")]
        assert exchange.differences() == []


def test_a_large_order_walks_the_book() -> None:
    with rig(panel(flat(3)), depth_floor=500.0, depth_share=0.001) as exchange, client(exchange) as api:
        order = api.create_order("BTC/USDT", "market", "buy", 12)  # five a level
        assert [float(t["price"]) for t in order["info"]["fills"]] == [100.01, 100.02, 100.03]
        again = api.create_order("BTC/USDT", "market", "buy", 3)  # three of the third level are left
        assert again["average"] == pytest.approx(100.03)
        assert exchange.differences() == []


def test_a_limit_order_fills_only_when_traded_through_and_in_parts() -> None:
    with rig(panel([*flat(1), DOWN, *flat(2, 91)])) as exchange, client(exchange) as api:
        at_low = api.create_order("BTC/USDT", "limit", "buy", 1, 90.0)
        order = api.create_order("BTC/USDT", "limit", "buy", 50, 95.0)
        assert order["status"] == "open" and funds(exchange, "locked") == 90 + 50 * 95
        exchange.step(3_600)  # 01:30, the way down is at 101 → 90
        first = api.fetch_order(order["id"], "BTC/USDT")
        assert first["status"] == "open" and 0 < first["filled"] < 50
        exchange.step(1_800)
        second = api.fetch_order(order["id"], "BTC/USDT")
        assert second["status"] == "closed" and second["average"] == 95
        parts = [t for t in api.fetch_my_trades("BTC/USDT") if t["order"] == order["id"]]
        # a tenth of each point's hundred units
        assert [p["amount"] for p in parts] == [10.0] * 5
        assert {p["takerOrMaker"] for p in parts} == {"maker"}
        # 90 was the low: touched, not traded through
        assert api.fetch_order(at_low["id"], "BTC/USDT")["status"] == "open"
        assert exchange.differences() == []


def test_stop_loss_limit_locks_triggers_and_sells() -> None:
    with rig(panel([*flat(1), DOWN, *flat(2, 91)])) as exchange, client(exchange) as api:
        api.create_order("BTC/USDT", "market", "buy", 1)
        stop = api.create_order("BTC/USDT", "limit", "sell", 0.99, 94.0, {"stopPrice": 96.0})
        assert stop["status"] == "open" and funds(exchange, "locked", "BTC") == D("0.99")
        exchange.step(2 * 3_600)
        done = api.fetch_order(stop["id"], "BTC/USDT")
        assert done["status"] == "closed" and 94.0 <= done["average"] < 96.0
        assert funds(exchange, "locked", "BTC") == 0
        assert exchange.differences() == []


def test_stop_and_target_by_market_at_the_price_that_reaches_them() -> None:
    with rig(panel([*flat(1), UP, DOWN, *flat(2, 91)])) as exchange, client(exchange) as api:
        api.create_order("BTC/USDT", "market", "buy", 3)
        target = api.create_order("BTC/USDT", "market", "sell", 1, None, {"takeProfitPrice": 105.0})
        stop = api.create_order("BTC/USDT", "market", "sell", 1, None, {"stopLossPrice": 95.0})
        exchange.step(4 * 3_600)
        found = {o["id"]: o for o in api.fetch_orders("BTC/USDT")}
        assert found[target["id"]]["average"] > 105.0 and found[stop["id"]]["average"] < 95.0
        assert exchange.differences() == []


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("limit", "buy", 200, 99.0), "InsufficientFunds", "insufficient"),
        (("market", "buy", 200), "InsufficientFunds", "insufficient"),
        (("market", "sell", 1), "InsufficientFunds", "insufficient"),
        (("limit", "buy", 0.01, 99.0), "BadRequest", "NOTIONAL"),
        (("limit", "buy", 1, 101.0, {"postOnly": True}), "OrderImmediatelyFillable", "immediately"),
        (("limit", "sell", 1, 99.0, {"stopPrice": 101.0}), "OrderImmediatelyFillable", "trigger"),
    ],
)
def test_what_is_refused(arguments: tuple, error: str, says: str) -> None:
    with rig(panel(flat(3))) as exchange, client(exchange) as api:
        before = len(exchange.account.ledger.entries)
        with pytest.raises(getattr(ccxt, error), match=says):
            api.create_order("BTC/USDT", *arguments)
        assert len(exchange.account.ledger.entries) == before and exchange.account.orders == {}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"quantity": "1.00000000001", "price": "99"}, -1013),
        ({"quantity": "1", "price": "99.00000000001"}, -1013),
        ({"quantity": "1"}, -1102),
        ({"quantity": "1e3x", "price": "99"}, -1100),
        ({"quantity": "NaN", "price": "99"}, -1100),
        ({"quantity": "1", "price": "99", "timeInForce": "EVER"}, -1115),
        ({"quantity": "1", "price": "99", "side": "HOLD"}, -1117),
        ({"quantity": "1", "price": "99", "type": "WISH"}, -1116),
        ({"quantity": "1", "price": "99", "newClientOrderId": "a b"}, -1100),
    ],
)
def test_filters_speak_binance(query: dict[str, str], code: int) -> None:
    with rig(panel(flat(3))) as exchange, client(exchange) as api:
        given = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"} | query
        with pytest.raises(ccxt.BaseError, match=f'"code":{code}'):
            api.private_post_order(given)
        assert exchange.account.orders == {}


def test_lifetimes() -> None:
    with rig(panel(flat(3)), depth_floor=500.0, depth_share=0.001) as exchange, client(exchange) as api:
        ioc = api.create_order("BTC/USDT", "limit", "buy", 8, 100.01, {"timeInForce": "IOC"})
        assert (ioc["status"], ioc["filled"]) == ("expired", 5)
        fok = api.create_order("BTC/USDT", "limit", "buy", 8, 100.02, {"timeInForce": "FOK"})
        assert (fok["status"], fok["filled"]) == ("expired", 0)
        gtc = api.create_order("BTC/USDT", "limit", "buy", 8, 100.02)
        assert (gtc["status"], gtc["filled"]) == ("open", 5)
        api.cancel_order(gtc["id"], "BTC/USDT")
        with pytest.raises(ccxt.OrderNotFound):
            api.cancel_order(gtc["id"], "BTC/USDT")
        with pytest.raises(ccxt.OrderNotFound):
            api.fetch_order("999", "BTC/USDT")
        assert funds(exchange, "locked") == 0 and exchange.differences() == []


def test_a_client_id_is_unique_among_open_orders() -> None:
    with rig(panel(flat(3))) as exchange, client(exchange) as api:
        named = {"clientOrderId": "mine-1"}
        first = api.create_order("BTC/USDT", "limit", "buy", 1, 90.0, named)
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
            api.create_order("BTC/USDT", "limit", "buy", 1, 90.0, named)
        found = api.fetch_order("", "BTC/USDT", {"origClientOrderId": "mine-1"})
        assert found["id"] == first["id"]
        assert [o["id"] for o in api.fetch_open_orders("BTC/USDT")] == [first["id"]]
        api.cancel_order(first["id"], "BTC/USDT")
        assert api.create_order("BTC/USDT", "limit", "buy", 1, 90.0, named)["status"] == "open"


def test_how_often_the_clock_is_asked_does_not_matter() -> None:
    market = panel([*flat(1), DOWN, UP, DOWN, *flat(2, 91)])

    def run(step: int) -> list[tuple[int, D, D, int]]:
        with rig(market) as exchange, client(exchange) as api:
            api.create_order("BTC/USDT", "limit", "buy", 30, 98.0)
            for _ in range(4 * 3_600 // step):
                exchange.step(step)
            assert exchange.differences() == []
            return [(t.order, t.price, t.quantity, t.ms) for t in exchange.account.trades]

    assert run(4 * 3_600) == run(240)


def test_path_open_tells_nothing_of_the_forming_candle() -> None:
    with rig(panel([*flat(1), DOWN, *flat(2, 91)]), path="open") as exchange, client(exchange) as api:
        order = api.create_order("BTC/USDT", "limit", "buy", 1, 95.0)
        exchange.step(3_600 + 1_799)
        assert api.fetch_order(order["id"], "BTC/USDT")["status"] == "open"
        assert api.fetch_ticker("BTC/USDT")["last"] == 100
        exchange.step(1)
        assert api.fetch_order(order["id"], "BTC/USDT")["status"] == "closed"


def test_fees_are_a_setting() -> None:
    free = AccountSettings(balances={"USDT": D(100)}, taker_fee=D(0), maker_fee=D(0))
    with rig(panel(flat(3)), account=free) as exchange, client(exchange) as api:
        api.create_order("BTC/USDT", "market", "buy", 0.5)
        assert funds(exchange, asset="BTC") == D("0.5")
