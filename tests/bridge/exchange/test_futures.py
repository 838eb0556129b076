"""Futures through a real ccxt client: margin, profit, funding, liquidation, conditional orders."""

from __future__ import annotations

from decimal import Decimal as D
from urllib.parse import urlencode

import pytest

from bascule.bridge.exchange import AccountSettings
from bascule.bridge.exchange.auth import KEY_HEADER
from bascule.bridge.exchange.brackets import bracket_of
from bascule.bridge.exchange.ledger import isolated
from bascule.bridge.exchange.service import Asked
from tests.bridge.exchange.rig import UNCHECKED, client, flat, funds, panel, rig

ccxt = pytest.importorskip("ccxt")
NAMES = ("BTC_USDT_USDT",)
PAIR = "BTC/USDT:USDT"
DOWN = (100.0, 101.0, 90.0, 91.0, 1_200.0)
CRASH = (100.0, 100.0, 60.0, 61.0, 1_200.0)


def futures(*candles, **options):
    """A rig of one perpetual."""
    fields = options.pop("fields", {})
    return rig(panel([*flat(1), *candles], names=NAMES, **fields), kind="futures", **options)


def test_a_round_trip_to_the_last_unit() -> None:
    with futures(DOWN, *flat(2, 91)) as exchange, client(exchange, "futures") as api:
        api.set_leverage(5, PAIR)
        api.set_margin_mode("isolated", PAIR)
        opened = api.create_order(PAIR, "market", "sell", 3)
        assert opened["status"] == "closed" and opened["average"] == pytest.approx(99.99)
        (position,) = api.fetch_positions([PAIR])
        assert position["side"] == "short" and position["contracts"] == 3
        assert position["marginMode"] == "isolated" and position["leverage"] == 5
        margin = 3 * D("99.99") / 5
        assert funds(exchange, isolated("BTCUSDT")) == margin
        exchange.step(2 * 3_600)
        closed = api.create_order(PAIR, "market", "buy", 3, None, {"reduceOnly": True})
        ask = D(str(closed["average"]))
        fees = (3 * D("99.99") + 3 * ask) * D("0.0005")
        # the default funding of 0.01 % is not due before 08:00
        assert funds(exchange) == 10_000 + 3 * (D("99.99") - ask) - fees
        assert api.fetch_positions([PAIR]) == []
        trades = api.fetch_my_trades(PAIR)
        assert sum(D(t["info"]["realizedPnl"]) for t in trades) == 3 * (D("99.99") - ask)
        income = api.fapiPrivateGetIncome({"symbol": "BTCUSDT"})
        assert sum(D(row["income"]) for row in income) == funds(exchange) - 10_000
        assert exchange.differences() == []


def test_parts_close_without_a_rest() -> None:
    """Thirds of an odd cost do not divide: nothing may stay behind."""
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        api.set_margin_mode("isolated", PAIR)
        for amount in (0.7, 0.33):
            api.create_order(PAIR, "market", "buy", amount)
        for amount in (0.31, 0.29, 0.43):
            api.create_order(PAIR, "market", "sell", amount, None, {"reduceOnly": True})
            assert exchange.differences() == []
        assert exchange.account.positions["BTCUSDT"].cost == 0
        assert funds(exchange, isolated("BTCUSDT")) == 0


def test_flipping_closes_first() -> None:
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        api.create_order(PAIR, "market", "buy", 1)
        api.create_order(PAIR, "market", "sell", 3)
        (position,) = api.fetch_positions([PAIR])
        assert (position["side"], position["contracts"]) == ("short", 2)
        assert position["entryPrice"] == pytest.approx(99.99)
        assert exchange.differences() == []


def test_funding_is_paid_by_longs_and_received_by_shorts() -> None:
    rates = [float("nan")] * 12
    rates[3], rates[6] = 0.001, -0.002
    results = []
    for side in ("buy", "sell"):
        with (
            futures(*flat(11), fields={"funding_rate": rates}) as exchange,
            client(exchange, "futures") as api,
        ):
            api.create_order(PAIR, "market", side, 2)
            exchange.step(10 * 3_600)
            paid = [row["amount"] for row in api.fetch_funding_history(PAIR)]
            results.append(paid)
            assert exchange.differences() == []
    assert results == [[-0.2, 0.4], [0.2, -0.4]]


def test_isolated_liquidation_costs_the_margin_and_not_more() -> None:
    with futures(CRASH, *flat(2, 61)) as exchange, client(exchange, "futures") as api:
        api.set_leverage(10, PAIR)
        api.set_margin_mode("isolated", PAIR)
        api.create_order(PAIR, "market", "buy", 10)
        resting = api.create_order(PAIR, "limit", "buy", 1, 50.0)
        (position,) = api.fetch_positions([PAIR])
        step = bracket_of(PAIR, D(1_000))
        entry, margin = D("100.01"), D("100.01")
        price = (margin + step.deduction - 10 * entry) / (10 * step.ratio - 10)
        assert position["liquidationPrice"] == pytest.approx(float(price), rel=1e-6)
        fee = 10 * entry * D("0.0005")
        exchange.step(2 * 3_600)
        assert api.fetch_positions([PAIR]) == []
        assert funds(exchange) == 10_000 - margin - fee
        assert api.fetch_order(resting["id"], PAIR)["status"] == "canceled"
        assert exchange.account.orders[max(exchange.account.orders)].type == "LIQUIDATION"
        assert exchange.differences() == []


def test_crossed_liquidation_asks_the_whole_wallet() -> None:
    small = AccountSettings(balances={"USDT": D(400)})
    with (
        futures(CRASH, *flat(2, 61), account=small) as exchange,
        client(exchange, "futures") as api,
    ):
        api.set_leverage(10, PAIR)
        api.create_order(PAIR, "market", "buy", 15)
        exchange.step(3_600)
        assert len(api.fetch_positions([PAIR])) == 1  # isolated margin would be gone by now
        exchange.step(3_600)
        assert api.fetch_positions([PAIR]) == []
        assert 0 <= funds(exchange) < 40
        assert exchange.differences() == []


def test_stop_market_becomes_an_order_of_its_own() -> None:
    with futures(DOWN, *flat(2, 91)) as exchange, client(exchange, "futures") as api:
        api.create_order(PAIR, "market", "buy", 2)
        given = {"stopPrice": 95.0, "reduceOnly": True}
        stop = api.create_order(PAIR, "market", "sell", 2, None, given)
        assert stop["status"] == "open" and stop["triggerPrice"] == 95
        assert [o["id"] for o in api.fetch_open_orders(PAIR, params={"stop": True})] == [stop["id"]]
        assert api.fetch_open_orders(PAIR) == []
        exchange.step(2 * 3_600)
        done = api.fetch_order(stop["id"], PAIR, {"stop": True})
        assert done["status"] == "closed"
        actual = api.fetch_order(done["info"]["actualOrderId"], PAIR)
        assert actual["status"] == "closed" and actual["average"] < 95 and actual["filled"] == 2
        assert api.fetch_positions([PAIR]) == []
        assert exchange.differences() == []


def test_stop_limit_and_cancel() -> None:
    with futures(DOWN, *flat(2, 91)) as exchange, client(exchange, "futures") as api:
        api.create_order(PAIR, "market", "buy", 2)
        given = {"stopPrice": 95.0, "reduceOnly": True}
        gone = api.create_order(PAIR, "limit", "sell", 1, 94.0, given)
        api.cancel_order(gone["id"], PAIR, {"stop": True})
        assert api.fetch_order(gone["id"], PAIR, {"stop": True})["status"] == "canceled"
        api.create_order(PAIR, "limit", "sell", 2, 99.0, given)  # too dear once triggered
        exchange.step(2 * 3_600)
        assert [(o["price"], o["status"]) for o in api.fetch_open_orders(PAIR)] == [(99.0, "open")]
        assert exchange.differences() == []


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (("market", "buy", 30_000), "InsufficientFunds", -2019),
        (("limit", "buy", 30_000, 99.0), "InsufficientFunds", -2019),
        (("market", "sell", 1, None, {"reduceOnly": True}), "InvalidOrder", -2022),
        (("limit", "buy", 1, 101.0, {"timeInForce": "PO"}), "InvalidOrder", -5022),
        (("limit", "buy", 0.01, 99.0), "InvalidOrder", -4164),
        (("market", "sell", 1, None, {"stopPrice": 101.0}), "OrderImmediatelyFillable", -2021),
    ],
)
def test_what_is_refused(arguments: tuple, error: str, code: int) -> None:
    """With the kinds of error that ccxt raises at Binance's own address."""
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        if code != -5022:
            at_binance = api.exceptions["linear"]["exact"].get(str(code), ccxt.BaseError)
            assert issubclass(getattr(ccxt, error), at_binance)
        with pytest.raises(getattr(ccxt, error)):
            api.create_order(PAIR, *arguments)
        assert exchange.account.orders == {}


def test_old_way_of_stop_orders_is_closed() -> None:
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        given = {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "STOP_MARKET",
            "quantity": "1",
            "stopPrice": "9",
        }
        with pytest.raises(ccxt.BaseError, match='"code":-4120'):
            api.fapiPrivatePostOrder(given)


def test_terms_cannot_be_changed_at_will() -> None:
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        with pytest.raises(ccxt.BaseError, match="-4028"):
            api.fapiPrivatePostLeverage({"symbol": "BTCUSDT", "leverage": "500"})
        with pytest.raises(ccxt.MarginModeAlreadySet):
            api.set_margin_mode("cross", PAIR)
        api.create_order(PAIR, "market", "buy", 1)
        with pytest.raises(ccxt.BaseError, match="-4048"):
            api.set_margin_mode("isolated", PAIR)


def test_margin_is_moved_by_hand() -> None:
    with futures(*flat(3)) as exchange, client(exchange, "futures") as api:
        api.set_margin_mode("isolated", PAIR)
        api.create_order(PAIR, "market", "buy", 1)
        before = api.fetch_positions([PAIR])[0]["liquidationPrice"]
        api.add_margin(PAIR, 20)
        assert api.fetch_positions([PAIR])[0]["liquidationPrice"] < before or before is None
        with pytest.raises(ccxt.BaseError, match="-4051"):
            api.fapiPrivatePostPositionMargin({"symbol": "BTCUSDT", "amount": "1000000", "type": "1"})
        with pytest.raises(ccxt.BaseError, match="-4051"):
            api.fapiPrivatePostPositionMargin({"symbol": "BTCUSDT", "amount": "24", "type": "2"})
        assert exchange.differences() == []


def test_account_adds_up() -> None:
    with futures(DOWN, *flat(2, 91)) as exchange, client(exchange, "futures") as api:
        api.create_order(PAIR, "market", "buy", 2)
        api.create_order(PAIR, "limit", "buy", 1, 80.0)
        exchange.step(3_600)
        account = api.fapiPrivateV3GetAccount()
        wallet, profit = D(account["totalWalletBalance"]), D(account["totalUnrealizedProfit"])
        assert profit < 0 and wallet + profit == D(account["totalMarginBalance"])
        used = D(account["totalInitialMargin"])
        assert D(account["availableBalance"]) == pytest.approx(wallet + profit - used, abs=D("1e-7"))
        assert api.fetch_balance()["USDT"]["total"] == float(account["totalMarginBalance"])
        (tier, *_) = api.fetch_leverage_tiers([PAIR])[PAIR]
        assert tier["maxLeverage"] >= 20


@pytest.mark.parametrize("orders", ["", "x", "{}", "[]", "[1]", "[null]", '["x"]'])
def test_a_batch_that_is_no_list_of_orders_is_refused(orders: str) -> None:
    service = futures(*flat(2)).service
    query = urlencode({"batchOrders": orders})
    signed = f"{query}&signature={UNCHECKED.sign(query)}"
    asked = Asked("POST", "/fapi/v1/batchOrders", signed, headers={KEY_HEADER: UNCHECKED.key})
    answer = service.answer(asked)
    assert answer.status == 400 and b"-1100" in answer.body


@pytest.mark.parametrize(("path", "code"), [("/fapi/v1/klines", b"-1100"), ("/v5/market/kline", b"10001")])
def test_a_digit_that_is_no_number_is_refused(path: str, code: bytes) -> None:
    service = futures(*flat(2)).service
    query = urlencode({"symbol": "BTCUSDT", "category": "linear", "limit": "\u00b2"})
    query += "&interval=" + ("60" if "v5" in path else "1h")
    assert code in service.answer(Asked("GET", path, query)).body
