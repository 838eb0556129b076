"""The strategy's own rules, without a run of freqtrade: what it refuses, and when it enters and leaves."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import config
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.signals import Bundle
from tests.bridge.research import Research, spec

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def settings(research: Research, **changes: Any) -> dict[str, Any]:
    """A configuration as freqtrade hands it over."""
    trade = TradeSettings(mode=changes.pop("mode", None))
    values = config.build(research.bundle, trade, exchange={"name": "binance"}, assume_tiers=True)
    return {**values, "runmode": "backtest", "datadir": research.datadir, "timerange": None, **changes}


def strategy(values: dict[str, Any], **members: Any) -> Any:
    """A user's strategy class, instantiated."""
    from bascule.bridge.freqtrade import FactorStrategy

    return type("Mine", (FactorStrategy,), members)(values)


def refused(values: dict[str, Any], message: str, **members: Any) -> None:
    from freqtrade.exceptions import OperationalException

    with pytest.raises(OperationalException, match=message):
        strategy(values, **members)


def test_a_bundle_that_does_not_fit_is_refused(spot: Research, futures: Research, tmp_path: Path) -> None:
    refused(settings(spot, timeframe="4h"), "timeframe is 1h, the configuration says 4h")
    refused(settings(spot, trading_mode="futures"), "of the spot market, the configuration trades futures")
    refused(settings(futures, trading_mode="spot"), "of the futures market, the configuration trades spot")
    refused(settings(spot, bascule={}), "no bundle is named")
    refused(settings(spot, bascule={"bundle": str(tmp_path)}), "no readable manifest")
    refused(settings(spot, bascule={"bundle": str(spot.bundle.path), "mode": "x"}), "unknown mode 'x'")


def test_the_class_may_name_the_bundle(spot: Research) -> None:
    mine = strategy(settings(spot, bascule={}), bundle=spot.bundle.path.parent)
    assert mine._bundle.id == spot.bundle.id and mine.timeframe == "1h"


def test_factors_that_candles_do_not_give_are_refused_when_computing(spot: Research) -> None:
    quoted = spec("spot", vwap="quote")
    manifest = spot.bundle.manifest.model_copy(update={"spec": quoted})
    other = Bundle(spot.bundle.path, manifest)
    refused(settings(spot, mode="computed"), "read vwap", _open=lambda self, options: other)
    assert strategy(settings(spot), _open=lambda self, options: other)._mode == "stored"


def test_defaults_follow_the_run_mode(spot: Research, futures: Research) -> None:
    from freqtrade.enums import RunMode

    stored = strategy(settings(spot))
    assert (stored._mode, stored.startup_candle_count, stored.can_short) == ("stored", 1, False)
    live = strategy(settings(spot, runmode=RunMode.DRY_RUN))
    assert (live._mode, live.startup_candle_count) == ("computed", spot.bundle.lookback + 1)
    assert strategy(settings(futures)).can_short
    assert stored.stoploss == -spot.spec.stop.cap


def test_thresholds_default_to_the_bundles_rules_but_the_user_may_set_them(spot: Research) -> None:
    from freqtrade.strategy import DecimalParameter

    from bascule.bridge.freqtrade import FactorStrategy

    mine = strategy(settings(spot))
    assert (mine.entry_rank.value, mine.exit_rank.value) == (0.75, 0.5)
    assert mine.entry_rank is not FactorStrategy.entry_rank  # no state is shared between strategies
    own = strategy(settings(spot), entry_rank=DecimalParameter(0.9, 1.0, default=0.95, space="buy"))
    assert own.entry_rank.value == 0.95 and own.exit_rank.value == 0.5


class Provider:
    """As much of freqtrade's data provider as the checks need."""

    def __init__(self, pairs: list[str], frame: pd.DataFrame | None = None) -> None:
        self.pairs = pairs
        self.frame = frame

    def current_whitelist(self) -> list[str]:
        return self.pairs

    def get_analyzed_dataframe(self, pair: str, timeframe: str) -> tuple[pd.DataFrame, None]:
        return (pd.DataFrame() if self.frame is None else self.frame), None


def test_pairs_and_files_are_checked_at_the_start(spot: Research, futures: Research, tmp_path: Path) -> None:
    from freqtrade.exceptions import OperationalException

    mine = strategy(settings(spot))
    mine.dp = Provider(["BTC/USDT"])
    mine.bot_start()
    mine.dp = Provider(["BTC/USDT", "SOL/USDT"])
    with pytest.raises(OperationalException, match="no signals for SOL/USDT"):
        mine.bot_start()
    bare = strategy(settings(futures, datadir=tmp_path))
    bare.dp = Provider(["BTC/USDT:USDT"])
    with pytest.raises(OperationalException, match="is missing"):
        bare.bot_start()
    # the universe's candles are needed to compute, though only one pair is traded
    (tmp_path / "BTC_USDT-1h.feather").write_bytes((spot.datadir / "BTC_USDT-1h.feather").read_bytes())
    computing = strategy(settings(spot, mode="computed", datadir=tmp_path))
    computing.dp = Provider(["BTC/USDT"])
    with pytest.raises(OperationalException, match=r"ADA_USDT-1h\.feather is missing \(and 4 more\)"):
        computing.bot_start()


def rows(**columns: list[float]) -> pd.DataFrame:
    """Candles with signals; by default all is well and nothing is to be done."""
    length = len(next(iter(columns.values())))
    usual = {"volume": 1.0, "alpha_rank": 0.6, "target_weight": 0.1, "risk_score": 0.4, "portfolio_risk": 0.4}
    values = {name: [value] * length for name, value in {**usual, "covered": 1.0}.items()}
    return pd.DataFrame({**values, **columns})


def marked(frame: pd.DataFrame, column: str) -> list[int]:
    return [] if column not in frame else np.flatnonzero(frame[column] == 1).tolist()


NAN = float("nan")


def test_entries_need_rank_weight_volume_and_calm(futures: Research) -> None:
    mine = strategy(settings(futures))
    frame = rows(
        alpha_rank=[0.75, 0.74, 1.0, 1.0, 1.0, 1.0, NAN, 1.0, 0.25, 0.26, 0.0, 0.0],
        target_weight=[0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, -0.1, -0.1, -0.1, 0.1, -0.1],
        volume=[1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0],
        risk_score=[0.4] * 4 + [0.9, 0.4] + [0.4] * 6,
        portfolio_risk=[0.4] * 5 + [0.9] + [0.4] * 6,
    )
    found = mine.populate_entry_trend(frame, {"pair": "BTC/USDT:USDT"})
    assert marked(found, "enter_long") == [0] and marked(found, "enter_short") == [8]
    assert found["enter_tag"].iloc[[0, 8]].tolist() == ["alpha_long", "alpha_short"]


def test_spot_never_goes_short(spot: Research) -> None:
    mine = strategy(settings(spot))
    frame = rows(alpha_rank=[0.0], target_weight=[-0.2])
    frame = mine.populate_exit_trend(
        mine.populate_entry_trend(frame, {"pair": "BTC/USDT"}), {"pair": "BTC/USDT"}
    )
    assert not marked(frame, "enter_short") and not marked(frame, "exit_short")
    assert marked(frame, "exit_long") == [0]


def test_exits_name_their_reason(futures: Research) -> None:
    mine = strategy(settings(futures))
    frame = rows(
        alpha_rank=[0.5, 0.49, 0.51, NAN, NAN, NAN, 0.6, 0.6],
        covered=[1, 1, 1, 1, 0, 1, 1, 1],
        volume=[1, 1, 1, 1, 1, 0, 1, 1],
        risk_score=[0.4] * 6 + [0.98, 0.4],
        portfolio_risk=[0.4] * 7 + [0.99],
    )
    found = mine.populate_exit_trend(frame, {"pair": "BTC/USDT:USDT"})
    assert marked(found, "exit_long") == [1, 3, 6, 7]
    assert marked(found, "exit_short") == [2, 3, 6, 7]
    reasons = found["exit_tag"].iloc[[1, 2, 3, 6, 7]].tolist()
    assert reasons == ["alpha_decay", "alpha_decay", "left_universe", "risk", "portfolio_risk"]


def stake(mine: Any, side: str = "long", leverage: float = 1.0, least: float | None = 10.0) -> float:
    return float(
        mine.custom_stake_amount(
            pair="BTC/USDT",
            current_time=None,
            current_rate=1.0,
            proposed_stake=1.0,
            min_stake=least,
            max_stake=900.0,
            leverage=leverage,
            entry_tag=None,
            side=side,
        )
    )


def test_stakes_are_weights_of_the_wallet(futures: Research) -> None:
    mine = strategy(settings(futures))
    mine.wallets = SimpleNamespace(get_total_stake_amount=lambda: 1_000.0)

    def weighing(weight: float) -> Any:
        mine.dp = Provider([], pd.DataFrame({"target_weight": [0.9, weight]}))
        return mine

    assert stake(weighing(0.2)) == pytest.approx(200)
    assert stake(weighing(0.2), leverage=4) == pytest.approx(50)
    assert stake(weighing(-0.2), "short") == pytest.approx(200)
    assert stake(weighing(-0.2)) == stake(weighing(0.2), "short") == stake(weighing(NAN)) == 0
    assert stake(weighing(0.009)) == 0  # below the exchange's minimum
    assert stake(weighing(1.0)) == 900  # never more than there is
    mine.dp = Provider([])
    assert stake(mine) == 0


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("leverage", [1.0, 3.0])
def test_stops_are_prices_at_the_distance_from_the_entry(
    futures: Research, short: bool, leverage: float
) -> None:
    mine = strategy(settings(futures))
    trade = SimpleNamespace(id=1, open_rate=100.0, is_short=short, leverage=leverage, stop_loss=None)

    def stop(distance: float, rate: float) -> float | None:
        mine.dp = Provider([], pd.DataFrame({"stop_distance": [distance]}))
        found = mine.custom_stoploss("BTC/USDT", trade, None, rate, 0.0, False)
        # freqtrade turns it into a price like this
        return None if found is None else rate * (1 + found / leverage if short else 1 - found / leverage)

    price = 108.0 if short else 92.0
    for rate in (97.0, 100.0, 104.0):
        assert stop(0.08, rate) == pytest.approx(price)
    assert stop(NAN, 100.0) is None
    trade.stop_loss = price
    assert stop(0.08, 100.0) is None and stop(0.09, 100.0) is None  # freqtrade keeps the tightest
    assert stop(0.07, 100.0) == pytest.approx(107.0 if short else 93.0)


@pytest.mark.parametrize("short", [False, True])
def test_a_position_past_its_stop_when_risk_rises_is_closed_at_the_open(
    futures: Research, short: bool
) -> None:
    """freqtrade sets no stop that the price has passed; in a backtest, none that the candle passes."""
    from freqtrade.persistence import LocalTrade

    mine = strategy(settings(futures))
    mine.min_roi_reached = lambda **_: False
    begin = datetime(2023, 3, 1, tzinfo=UTC)

    def mirrored(price: float) -> float:
        return 200.0 - price if short else price

    def reasons(distance: float, price: float, low: float | None = None, high: float | None = None) -> Any:
        """Why freqtrade leaves a long of 100, stopped at 92 so far, or a short that mirrors it."""
        trade = LocalTrade(
            id=1, pair="BTC/USDT:USDT", stake_amount=100.0, amount=1.0, open_rate=100.0, open_date=begin,
            is_open=True, is_short=short, leverage=1.0, fee_open=0.0, fee_close=0.0, orders=[],
        )  # fmt: skip
        trade.adjust_stop_loss(100.0, 0.08, initial=True)
        mine.dp = Provider([], pd.DataFrame({"stop_distance": [distance]}))
        edges = {} if low is None or high is None else {"low": low, "high": high}
        if edges and short:
            edges = {"low": mirrored(high), "high": mirrored(low)}  # type: ignore[arg-type]
        mine._live = not edges
        now = begin + timedelta(hours=3)
        exits = mine.should_exit(trade, mirrored(price), now, enter=False, exit_=False, **edges)
        return [one.exit_reason for one in exits]

    # live: at the present price
    assert reasons(0.03, 96.0) == ["stop_overtaken"]
    assert reasons(0.05, 96.0) == reasons(0.08, 96.0) == reasons(NAN, 96.0) == []
    assert reasons(0.03, 91.0) == ["stop_loss"]  # at the market, as stops are
    # a backtest: first at the open, whatever the candle does after it
    for low, high in ((95.0, 96.5), (95.0, 98.0), (91.0, 98.0)):
        assert reasons(0.03, 96.0, low, high)[0] == "stop_overtaken"
    assert reasons(0.05, 96.0, 95.5, 98.0) == []
    assert reasons(0.05, 96.0, 94.5, 98.0) == ["trailing_stop_loss"]
    assert reasons(0.03, 91.0, 90.0, 98.0) == ["stop_loss"]


def test_it_travels_to_other_processes_without_its_signals(spot: Research) -> None:
    from bascule.bridge.freqtrade import FactorStrategy

    mine = FactorStrategy(settings(spot))
    date = pd.date_range("2023-03-01", periods=1, tz="UTC")
    mine.advise_exit(rows(alpha_rank=[0.5], date=date), {"pair": "BTC/USDT"})
    copied = pickle.loads(pickle.dumps(mine))
    assert copied._rows == {} and copied.entry_rank.value == 0.75
    assert mine.version().endswith(spot.bundle.id)
