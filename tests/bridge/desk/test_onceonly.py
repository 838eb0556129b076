"""Every order once: lost answers, silent exchanges, kills between answer and database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccxt
import pytest

from bascule.bridge.freqtrade.onceonly import OnceOnly, read


class Exchange:
    """ccxt's surface over a list of orders; what happens next is said by the test."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.fate: list[str] = []  # of the next requests: ok, lost, down, busy, broke
        self.questions = 0

    def market(self, symbol: str) -> dict[str, Any]:
        return {"symbol": symbol, "swap": ":" in symbol}

    def _next(self) -> str:
        return self.fate.pop(0) if self.fate else "ok"

    def create_order(
        self, symbol: str, type: str, side: str, amount: float, price: float | None, params: dict[str, Any]
    ) -> dict[str, Any]:
        fate = self._next()
        if fate == "down":
            raise ccxt.ExchangeNotAvailable("503")
        if fate == "busy":
            raise ccxt.RateLimitExceeded("429")
        if fate == "broke":
            raise ccxt.InsufficientFunds("no money")
        order = {
            "id": str(len(self.orders) + 1),
            "clientOrderId": params["newClientOrderId"],
            "symbol": symbol,
            "side": side,
            "status": "closed",
            "filled": amount,
            "params": params,
        }
        self.orders.append(order)
        if fate == "lost":
            raise ccxt.RequestTimeout("no answer")
        return order

    def cancel_order(self, id: str, symbol: str, params: dict[str, Any]) -> dict[str, Any]:
        fate = self._next()
        order = self.orders[int(id) - 1]
        if order["status"] != "open":
            raise ccxt.OrderNotFound("-2011")
        if fate == "stuck":
            raise ccxt.InvalidOrder("-2011")
        order["status"] = "canceled"
        if fate == "lost":
            raise ccxt.RequestTimeout("no answer")
        return order

    def fetch_order(self, id: str | None, symbol: str, params: dict[str, Any]) -> dict[str, Any]:
        self.questions += 1
        fate = self._next()
        if fate == "down":
            raise ccxt.NetworkError("down")
        for order in self.orders:
            if id is not None and order["id"] == id:
                return order
            if id is None and order["clientOrderId"] == params["clientOrderId"] and order["symbol"] == symbol:
                return order
        raise ccxt.OrderNotFound("-2013")


@pytest.fixture
def api() -> Exchange:
    return Exchange()


class Bot:
    """What freqtrade does with answers: it knows the orders that it was told of."""

    def __init__(self, api: Exchange, folder: Path) -> None:
        self.known: set[str] = set()
        self.slept: list[float] = []
        self.once = OnceOnly(api, folder, lambda id, pair: id in self.known, sleep=self.slept.append)

    def buy(self, symbol: str = "BTC/USDT", amount: float = 1.0, **params: Any) -> dict[str, Any]:
        order: dict[str, Any] = self.once.create_order(symbol, "market", "buy", amount, None, params)
        self.known.add(order["id"])
        return order


def test_an_order_that_is_answered_is_placed_as_asked(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    order = bot.buy(timeInForce="GTC")
    assert order["params"]["timeInForce"] == "GTC" and len(order["clientOrderId"]) <= 36
    bot.buy()
    assert len(api.orders) == 2 and len({one["clientOrderId"] for one in api.orders}) == 2
    assert len(read(tmp_path)) == 1  # the first is known to the bot and forgotten


def test_a_lost_answer_is_found(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    api.fate = ["lost"]
    assert bot.buy()["id"] == "1" and len(api.orders) == 1


def test_it_asks_several_times(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    api.fate = ["lost", "down", "down", "ok"]
    assert bot.buy()["id"] == "1" and api.questions == 3 and bot.slept == [0.5, 2.0, 5.0]


def test_an_order_that_never_arrived_may_be_placed_again(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    api.fate = ["down"]
    with pytest.raises(ccxt.ExchangeNotAvailable):
        bot.buy()
    assert read(tmp_path) == [] and bot.buy()["id"] == "1" and len(api.orders) == 1


def test_in_doubt_nothing_is_placed(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    api.fate = ["lost", *["down"] * 3]
    with pytest.raises(ccxt.RequestTimeout):
        bot.buy()
    api.fate = ["down"]
    with pytest.raises(ccxt.NetworkError):
        bot.buy()
    assert len(api.orders) == 1
    bot.buy("ETH/USDT")  # others are not held up
    # and when it can be asked, the first order is taken for the second
    assert bot.buy()["id"] == "1" and [one["symbol"] for one in api.orders] == ["BTC/USDT", "ETH/USDT"]


def test_a_killed_bot_takes_up_what_it_does_not_know(api: Exchange, tmp_path: Path) -> None:
    first = Bot(api, tmp_path)
    first.buy()
    again = Bot(api, tmp_path)  # its database never heard of the order
    assert again.buy()["id"] == "1" and len(api.orders) == 1
    assert again.buy()["id"] == "2"  # now it has, and the next is a new one


def test_an_unknown_order_that_came_to_nothing_is_not_taken_up(api: Exchange, tmp_path: Path) -> None:
    Bot(api, tmp_path).buy()
    api.orders[0] |= {"status": "canceled", "filled": 0.0}
    assert Bot(api, tmp_path).buy()["id"] == "2"


@pytest.mark.parametrize("fate", ["busy", "broke"])
def test_refusals_leave_nothing_behind(api: Exchange, tmp_path: Path, fate: str) -> None:
    bot = Bot(api, tmp_path)
    api.fate = [fate]
    with pytest.raises(ccxt.BaseError):
        bot.buy()
    assert read(tmp_path) == [] and api.questions == 0


def test_kinds_are_kept_apart(api: Exchange, tmp_path: Path) -> None:
    """A stop whose fate is unknown does not keep the position from being closed, nor an exit an entry."""
    bot = Bot(api, tmp_path)
    api.fate = ["lost", *["down"] * 3]
    with pytest.raises(ccxt.RequestTimeout):
        bot.buy("BTC/USDT:USDT", stopPrice=90.0, reduceOnly=True)
    bot.buy("BTC/USDT:USDT", reduceOnly=True)
    bot.buy("BTC/USDT:USDT")
    assert len(api.orders) == 3
    assert [one.conditional for one in read(tmp_path)].count(True) == 1


def test_an_order_that_is_gone_is_the_answer_to_its_cancel(api: Exchange, tmp_path: Path) -> None:
    bot = Bot(api, tmp_path)
    bot.buy()
    api.orders[0] |= {"status": "open", "filled": 0.0}
    api.fate = ["lost"]
    with pytest.raises(ccxt.RequestTimeout):
        bot.once.cancel_order("1", "BTC/USDT")
    assert bot.once.cancel_order("1", "BTC/USDT")["status"] == "canceled"  # freqtrade's next try
    api.orders[0] |= {"status": "closed", "filled": 1.0}
    assert bot.once.cancel_order("1", "BTC/USDT")["filled"] == 1.0
    api.orders[0] |= {"status": "open"}
    api.fate = ["stuck"]
    with pytest.raises(ccxt.InvalidOrder):
        bot.once.cancel_order("1", "BTC/USDT")


def test_a_damaged_intent_is_told_and_left(
    api: Exchange, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bsc1.json").write_text("{")
    assert read(tmp_path) == [] and "cannot be read" in caplog.text and (tmp_path / "bsc1.json").exists()
