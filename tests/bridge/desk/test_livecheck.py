"""Live against backtest, on databases written as freqtrade writes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import livecheck, livesignals
from bascule.core import BridgeError, Instrument, Timeframe
from bascule.signals import RuleSettings
from tests.bridge.research import Research

HOUR = Timeframe(3_600)
COLUMNS = [*livecheck.TRADE, "enter_tag"]


def trade(
    pair: str, opened: str, closed: str | None, price: float, exit_price: float, **more: object
) -> dict:
    row: dict[str, object] = {
        "pair": pair,
        "is_short": False,
        "open_date": pd.Timestamp(opened, tz="UTC"),
        "close_date": pd.NaT if closed is None else pd.Timestamp(closed, tz="UTC"),
        "open_rate": price,
        "close_rate": None if closed is None else exit_price,
        "stake_amount": 100.0,
        "profit_abs": None if closed is None else exit_price - price,
        "profit_ratio": None if closed is None else exit_price / price - 1,
        "exit_reason": None if closed is None else "alpha_decay",
        "enter_tag": "alpha_long",
    }
    return row | more


def table(*rows: dict) -> pd.DataFrame:
    found = pd.DataFrame(list(rows), columns=COLUMNS)
    for name in ("open_date", "close_date"):
        found[name] = pd.to_datetime(found[name], utc=True)
    return found


BACKTEST = table(
    trade("BTC/USDT", "2024-01-01 05:00", "2024-01-01 09:00", 100.0, 104.0),
    trade("ETH/USDT", "2024-01-01 05:00", "2024-01-01 07:00", 50.0, 49.0),
    trade("SOL/USDT", "2024-01-01 06:00", "2024-01-01 08:00", 10.0, 11.0),
    trade("XRP/USDT", "2024-01-01 06:00", "2024-01-01 08:00", 1.0, 1.1),
    trade("BTC/USDT", "2024-01-01 12:00", "2024-01-01 13:00", 110.0, 100.0, is_short=True, profit_abs=10.0),
)
LIVE = table(
    trade("BTC/USDT", "2024-01-01 05:00:07", "2024-01-01 09:00:05", 100.1, 103.9),
    trade("ETH/USDT", "2024-01-01 06:00:04", "2024-01-01 07:00:05", 50.0, 49.5),
    trade("SOL/USDT", "2024-01-01 05:30", "2024-01-01 08:00:05", 9.0, 11.0),
    trade("DOGE/USDT", "2024-01-01 06:00:09", None, 0.1, 0.0),
    trade(
        "BTC/USDT", "2024-01-01 12:00:03", "2024-01-01 13:00:05", 109.0, 100.0, is_short=True, profit_abs=9.0
    ),
)
ORDERS = pd.DataFrame(
    {
        "pair": ["XRP/USDT"],
        "order_date": [pd.Timestamp("2024-01-01 06:00:05", tz="UTC")],
        "filled": [0.0],
        "status": ["canceled"],
        "cancelled": ["cancelled due to timeout"],
    }
)


def test_trades_are_matched_missed_and_extra() -> None:
    found = livecheck.match(LIVE, BACKTEST, HOUR, orders=ORDERS, tolerance=1)
    assert found.matched["pair"].tolist() == ["BTC/USDT", "SOL/USDT", "ETH/USDT", "BTC/USDT"]
    assert found.missed["pair"].tolist() == ["XRP/USDT"] and found.extra["pair"].tolist() == ["DOGE/USDT"]
    assert found.missed["why"].tolist() == ["the order did not fill (cancelled due to timeout)"]
    assert found.same == pytest.approx(4 / 6)
    strict = livecheck.match(LIVE, BACKTEST, HOUR, orders=ORDERS, tolerance=0)
    assert strict.matched["pair"].tolist() == ["BTC/USDT", "BTC/USDT"]
    assert (
        dict(zip(strict.missed["pair"], strict.missed["why"], strict=True))["SOL/USDT"]
        == "live held the pair"
    )
    assert (
        dict(zip(strict.missed["pair"], strict.missed["why"], strict=True))["ETH/USDT"]
        == "no order was placed"
    )


def test_prices_are_worse_when_positive_on_both_sides() -> None:
    found = livecheck.match(LIVE, BACKTEST, HOUR).matched.set_index(["pair", "is_short"])
    long, short = found.loc[("BTC/USDT", False)], found.loc[("BTC/USDT", True)]
    assert long["entry_bps"] == pytest.approx(10.0) and long["exit_bps"] == pytest.approx(10_000 * 0.1 / 104)
    # sold 1 lower than the backtest: worse for a short
    assert short["entry_bps"] == pytest.approx(10_000 / 110) and short["exit_bps"] == pytest.approx(0.0)
    assert long["late"] == 7.0 and found.loc[("ETH/USDT", False)]["exit_bps"] < 0


def test_the_parts_of_the_difference_add_up() -> None:
    figure = livecheck.match(LIVE, BACKTEST, HOUR).summary()
    whole = figure["profit_live"] - figure["profit_backtest"]
    parts = figure["difference_matched"] + figure["difference_extra"] + figure["difference_missed"]
    assert whole == pytest.approx(parts) and figure["difference_missed"] == pytest.approx(-0.1)
    closed = LIVE["profit_abs"].dropna().astype(float).sum()
    assert figure["profit_live"] == pytest.approx(closed)


def test_each_trade_is_matched_once() -> None:
    twice = table(
        trade("BTC/USDT", "2024-01-01 05:00:01", "2024-01-01 05:20", 100.0, 100.0),
        trade("BTC/USDT", "2024-01-01 05:30", "2024-01-01 06:00", 100.0, 100.0),
    )
    found = livecheck.match(twice, BACKTEST.head(1), HOUR)
    assert len(found.matched) == 1 and len(found.extra) == 1
    assert found.matched["late"].tolist() == [1.0]


def test_nothing_on_either_side_is_no_trouble() -> None:
    none = table()
    assert np.isnan(livecheck.match(none, none, HOUR).same)
    assert livecheck.match(none, BACKTEST, HOUR).missed["why"].tolist() == ["no order was placed"] * 5
    assert len(livecheck.match(LIVE, none, HOUR).extra) == 5
    with pytest.raises(BridgeError, match="lack profit_abs"):
        livecheck.match(LIVE.drop(columns="profit_abs"), BACKTEST, HOUR)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_database_of_freqtrade_is_read_beside_a_writer(tmp_path: Path) -> None:
    """Tables as freqtrade itself makes them, so that a change of its schema is seen here."""
    from freqtrade.persistence.models import init_db
    from freqtrade.persistence.trade_model import Order, Trade

    path = tmp_path / "trades.sqlite"
    init_db(f"sqlite:///{path}")
    opened = pd.Timestamp("2024-01-01 05:00:07").to_pydatetime()
    one = Trade(
        pair="BTC/USDT", base_currency="BTC", stake_currency="USDT", exchange="binance", is_open=True,
        open_rate=100.0, open_date=opened, stake_amount=50.0, amount=0.5, fee_open=0.001, fee_close=0.001,
        enter_tag="alpha_long", is_short=False, leverage=1.0,
    )  # fmt: skip
    order = Order(
        ft_order_side="buy", ft_pair="BTC/USDT", ft_is_open=False, ft_amount=0.5, ft_price=100.0,
        order_id="dry_run_1", status="closed", symbol="BTC/USDT", order_type="market", side="buy",
        price=100.0, average=100.0, amount=0.5, filled=0.5, order_date=opened,
    )  # fmt: skip
    one.orders.append(order)
    Trade.session.add(one)
    Trade.commit()
    try:
        with sqlite3.connect(path) as writer:
            writer.execute("BEGIN")
            trades, orders = livecheck.read_trades(path), livecheck.read_orders(path)
    finally:
        Trade.session.remove()
    assert trades[["pair", "is_open", "open_rate"]].values.tolist() == [["BTC/USDT", True, 100.0]]
    assert trades["open_date"].iloc[0] == pd.Timestamp(opened, tz="UTC") and trades["close_date"].isna().all()
    assert orders[["order_id", "side", "filled"]].values.tolist() == [["dry_run_1", "buy", 0.5]]
    with pytest.raises(BridgeError, match="no such database"):
        livecheck.read_trades(tmp_path / "other.sqlite")
    (tmp_path / "bad.sqlite").write_bytes(
        b"no database at all, only text, and more text than a header holds" * 20
    )
    with pytest.raises(BridgeError, match="cannot be read"):
        livecheck.read_trades(tmp_path / "bad.sqlite")


def test_signals_from_candles_are_the_stored_ones(spot: Research) -> None:
    stored = spot.bundle.signals
    start, end = stored.time[24], stored.time[72]
    found = livesignals.recompute(spot.bundle, spot.raw, start, end)
    assert found.time[0] == start and len(found.time) == 48
    gap = livesignals.differences(found, stored, spot.bundle)
    assert gap is not None and gap.rows == 48 and gap.entries == 0 and gap.of > 0
    assert max(gap.largest.values()) < 1e-6
    with pytest.raises(BridgeError, match="candles more"):
        livesignals.recompute(spot.bundle, spot.raw.between(start, end), start, end)


def test_differences_are_seen(spot: Research) -> None:
    stored = spot.bundle.signals
    noise = np.random.default_rng(1).normal(0, 0.02, spot.raw.shape)
    changed = spot.raw.with_fields(close=(spot.raw["close"] * np.exp(noise)).astype(np.float32))
    found = livesignals.recompute(spot.bundle, changed, stored.time[24], stored.time[72])
    gap = livesignals.differences(found, stored, spot.bundle)
    assert gap is not None and gap.largest["alpha"] > 0 and gap.entries > 0


def test_each_wish_has_an_outcome(spot: Research) -> None:
    stored = spot.bundle.signals.rows(0, 48)
    long, _ = livesignals.wishes(stored, spot.bundle)
    rows, columns = np.nonzero(long)
    first = pd.Timestamp(stored.time[rows[0]], tz="UTC")
    pair = Instrument.parse(stored.instruments[columns[0]]).pair
    live = table(trade(pair, str((first + pd.Timedelta("1h5s")).tz_localize(None)), None, 1.0, 0.0))
    found = livesignals.followed(stored, spot.bundle, live)
    assert len(found) == long.sum()
    own = found[found["pair"] == pair]
    assert own["outcome"].tolist() == ["entered"] + ["held"] * (len(own) - 1)
    assert set(found[found["pair"] != pair]["outcome"]) <= {"nothing"}


def test_constructed_portfolios_are_entered_by_weight_whatever_the_rank(spot: Research) -> None:
    stored = spot.bundle.signals.rows(0, 48)
    rules = RuleSettings(risk_limit=1.0, critical_risk=1.0, portfolio_limit=1.0, critical_portfolio=1.0)
    by_weight = SimpleNamespace(spec=SimpleNamespace(rules=rules, market="spot", by_weight=True))
    long, short = livesignals.wishes(stored, by_weight)  # type: ignore[arg-type]
    calm = (stored.risk_score < 1) & (stored.portfolio_risk < 1)[:, None]
    np.testing.assert_array_equal(long, (stored.target_weight > 0) & calm)
    assert long.sum() > 0 and not short.any()


def test_the_page_shows_it(spot: Research, tmp_path: Path) -> None:
    from bascule.app.livepage import live_page

    check = livecheck.match(LIVE, BACKTEST, HOUR, orders=ORDERS)
    stored = spot.bundle.signals.rows(0, 24)
    page = live_page(
        check,
        title="bot",
        span=("2024-01-01", "2024-01-02"),
        followed=livesignals.followed(stored, spot.bundle, LIVE),
        difference=livesignals.differences(stored, spot.bundle.signals, spot.bundle),
        assumed_bps=5.0,
        currency="USDT",
    )
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    for word in ("cancelled due to timeout", "DOGE/USDT", "4 matched", "1 missed", "1 extra"):
        assert word in text
