"""Every variant of the strategy in the real freqtrade: it does what it says, and looks at nothing to come.

Bias is looked for twice: by freqtrade's own analyses, which trade one pair alone, and, for every part and for
all of them together, by the analyses of the whole book (`bridge.freqtrade.wholebook`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import run, wholebook
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.trading import TradingSettings
from bascule.core import Instrument
from bascule.data.export import to_freqtrade
from bascule.data.store import Store
from tests.bridge.research import Research, build
from tests.bridge.strategies.coarse import four_hours

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
STOPS = {
    "tighten": 0.3,
    "levels": [{"after": 1.0}, {"after": 2.0, "lock": 1.0}],
    "trail": {"after": 1.0, "distance": 0.8},
    "time": {"candles": 30, "gain": 0.2},
}
SIZES = {
    "rebalance": {"band": 0.02, "relative": 0.1},
    "ladder": {"entries": [0.5, 0.5], "spacing": 2, "exits": [{"gain": 0.5, "share": 0.3}]},
}
CAUTION = {
    "limits": {"gross": 0.6, "var": 0.03, "max_weight": 0.25},
    "gates": {"min_volume": 1_000, "participation": 0.5},
    "guard": {"halve": 0.03, "halt": 0.06, "recover": 0.01, "rest_days": 2},
}
BALANCED = {
    "neutral": {"by": "beta", "tolerance": 0.08},
    "gear": {"most": 5, "volatility": 2.0},
    "rebalance": {"band": 0.01},
}
HEDGED = {"neutral": {"by": "dollar", "hedge": "BTC/USDT:USDT", "band": 0.03}}
MONTH = {"start": "2023-02-20", "end": "2023-03-20"}
FORTNIGHT = {"start": "2023-02-20", "end": "2023-03-06"}
WEEK = {"start": "2023-03-01", "end": "2023-03-08"}
# every part by itself, on the market where it is at home, and all that go together
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rebalance": ("spot", {"rebalance": SIZES["rebalance"]}),
    "ladder": ("spot", {"ladder": SIZES["ladder"]}),
    "stops": ("spot", {"stops": STOPS}),
    "fusion": ("spot", {}),
    "limits": ("spot", {"limits": CAUTION["limits"]}),
    "gates": ("spot", {"gates": CAUTION["gates"]}),
    "guard": ("spot", {"guard": CAUTION["guard"]}),
    "pricing": ("spot", {"pricing": {"offset": 0.003, "tries": 2}}),
    "protections": ("spot", {"protections": {"cooldown": 3, "low_profit": {"trades": 2}}}),
    "gear": ("futures", {"gear": BALANCED["gear"]}),
    "balance": ("futures", {"neutral": BALANCED["neutral"]}),
    "hedge": ("long", HEDGED),
    "all on spot": ("spot", SIZES | CAUTION | {"stops": STOPS}),
    "all on futures": (
        "futures",
        SIZES | CAUTION | HEDGED | {"stops": STOPS, "gear": {"most": 3, "volatility": 2.0}},
    ),
}


@pytest.fixture(scope="session")
def long_futures(tmp_path_factory: pytest.TempPathFactory) -> Research:
    portfolio = {"top": 3, "min_members": 3, "side": "long"}
    return build(tmp_path_factory.mktemp("long"), "futures", portfolio=portfolio)


@pytest.fixture(scope="session")
def coarse(spot: Research, tmp_path_factory: pytest.TempPathFactory) -> Research:
    """The same market in candles of four hours, its files beside the hourly ones."""
    folder = tmp_path_factory.mktemp("coarse")
    found = build(folder, "spot", candles=four_hours(spot.raw), timeframe="4h")
    to_freqtrade(Store.open(folder / "store"), found.raw.timeframe, spot.datadir, market="spot")
    return found


def job(
    research: Research, folder: Path, trading: dict[str, Any], mode: str | None = None, **changes: Any
) -> run.Job:
    settings = TradeSettings(trading=TradingSettings.read(trading), mode=mode)
    return replace(run.Job(research.bundle, folder, research.datadir, settings, timeout=900), **changes)


def orders(trades: pd.DataFrame) -> pd.Series:
    """How often each order tag was filled."""
    return pd.Series([order["ft_order_tag"] for one in trades["orders"] for order in one]).value_counts()


def untroubled(here: run.Job) -> None:
    """No callback failed: freqtrade logs that and goes on."""
    log = (here.folder / "logs" / "backtesting.log").read_text()
    assert not re.findall(r".*(?:Traceback|Strategy caused|nothing is traded).*", log)


def unbiased(here: run.Job, startup: int) -> None:
    verdict = run.lookahead(here, trades=6, least=3)
    assert verdict.signals == 6
    assert not verdict.has_bias and verdict.biased_indicators == ()
    stable = run.recursive(here, startup=(startup,))
    assert stable.lookahead == () and stable.unstable(startup) == ()


PEEKING = '''
from bascule.bridge.freqtrade import FactorStrategy


class BasculeStrategy(FactorStrategy):
    """Sizes its entries by the candle that has just opened, and by how much history there is."""

    def custom_stake_amount(self, pair, current_time, *args, **kwargs):
        stake = super().custom_stake_amount(pair, current_time, *args, **kwargs)
        rows = self._rows[pair]
        row = rows.index(current_time.timestamp()) + 1
        up = rows._column("close")[row] > rows._column("open")[row]
        return stake * (0.5 + 0.25 * up + 0.0001 * row)
'''


@pytest.mark.parametrize("part", PARTS)
def test_no_part_looks_at_what_is_to_come(
    request: pytest.FixtureRequest, spot: Research, tmp_path: Path, part: str
) -> None:
    """Orders of the whole book up to a moment are the same, to the last bit, with the future withheld."""
    kind, trading = PARTS[part]
    arguments = ["--enable-protections"] if part == "protections" else []
    if part == "fusion":
        coarse: Research = request.getfixturevalue("coarse")
        trading = {"fusion": [{"bundle": str(coarse.bundle.path), "rank": 0.6}]}
    names = {"spot": "spot", "futures": "futures", "long": "long_futures"}
    research: Research = request.getfixturevalue(names[kind])
    here = job(research, tmp_path / "user", trading, **FORTNIGHT)
    if "neutral" in trading:
        here = replace(here, settings=here.settings.model_copy(update={"leverage": 3.0}))
    ahead, behind = wholebook.analyse(here, arguments=arguments)
    untroubled(here)
    assert ahead.orders > 100 and len(ahead.runs) == 4 and ahead.differences == ()
    assert behind.orders > 50 and behind.differences == ()


def test_the_whole_book_analyses_find_what_is_there(spot: Research, tmp_path: Path) -> None:
    here = job(spot, tmp_path / "user", CAUTION, source=PEEKING, **FORTNIGHT)
    ahead, behind = wholebook.analyse(here)
    untroubled(here)
    assert ahead.has_bias and behind.has_bias
    # all before the moment is as it was: only what was decided then had been seen
    assert {f"{np.datetime64(one.deed.at, 'ms')}" == one.run for one in ahead.differences} == {True}


def test_sizes_follow_targets_in_steps(spot: Research, tmp_path: Path) -> None:
    trading = SIZES | CAUTION | {"stops": STOPS}
    here = job(spot, tmp_path / "user", trading, **MONTH)
    trades = run.backtest(here).trades
    untroubled(here)
    tags = orders(trades)
    assert {"alpha_long", "ladder_in_2", "ladder_out_1"} <= set(tags.index)
    assert tags["ladder_in_2"] > 20 and "time_stop" in set(trades["exit_reason"])
    for one in trades.to_dict("records"):
        entries = [o for o in one["orders"] if o["ft_is_entry"]]
        second = [o for o in entries if o["ft_order_tag"] == "ladder_in_2"]
        assert len(second) <= 1
        if second:
            waited = (second[0]["order_filled_timestamp"] - entries[0]["order_filled_timestamp"]) / 3.6e6
            assert waited >= 2
    # what is open at any time stays below the limit of gross exposure
    times = pd.date_range(MONTH["start"], MONTH["end"], freq="7h", tz="UTC")
    gross = [
        trades[(trades["open_date"] <= t) & (trades["close_date"] > t)]["stake_amount"].sum() for t in times
    ]
    assert 0 < max(gross) <= 0.6 * 10_000 * 1.02
    # freqtrade's analysis trades one pair by itself, with a wallet of a milliard: limits of the book and
    # shares of the volume would decide otherwise there
    unbiased(job(spot, tmp_path / "bias", SIZES | {"stops": STOPS}, **WEEK), 300)


def test_a_balanced_book_has_its_leverage_from_risk(futures: Research, tmp_path: Path) -> None:
    here = job(futures, tmp_path / "user", BALANCED, **MONTH)
    trades = run.backtest(here).trades
    untroubled(here)
    assert trades["leverage"].between(1.0, 5.0).all() and trades["leverage"].nunique() > 10
    assert orders(trades)["rebalance"] > 50
    unbiased(replace(here, folder=tmp_path / "bias", **WEEK), 300)


def exposure(trades: pd.DataFrame, moment: pd.Timestamp, bases: set[str] | None = None) -> float:
    """Net value at entry prices of what is open, by the orders filled until then."""
    total = 0.0
    for one in trades.to_dict("records"):
        if one["open_date"] <= moment < one["close_date"] and (bases is None or one["pair"] in bases):
            amount = sum(
                (1 if o["ft_is_entry"] else -1) * o["amount"]
                for o in one["orders"]
                if o["order_filled_timestamp"] <= moment.timestamp() * 1000
            )
            total += (-1 if one["is_short"] else 1) * amount * one["open_rate"]
    return total


def test_a_hedge_leg_covers_what_is_held(long_futures: Research, tmp_path: Path) -> None:
    # at three times leverage there is margin for the leg
    settings = TradeSettings(trading=TradingSettings.read(HEDGED), leverage=3.0)
    here = replace(job(long_futures, tmp_path / "user", HEDGED, **FORTNIGHT), settings=settings)
    trades = run.backtest(here).trades
    untroubled(here)
    leg = trades[trades["pair"] == "BTC/USDT:USDT"]
    assert len(leg) and leg["is_short"].all() and set(leg["enter_tag"]) == {"hedge"}
    moments = pd.date_range("2023-02-21T12:30", "2023-03-05", freq="7h", tz="UTC")
    others = set(trades["pair"]) - {"BTC/USDT:USDT"}
    # the leg follows at the next candle: it is compared with what was held an hour before
    held = np.array([exposure(trades, one - pd.Timedelta(hours=1), others) for one in moments])
    hedge = np.array([exposure(trades, one, {"BTC/USDT:USDT"}) for one in moments])
    some = held > 1_000
    gap = np.abs(held + hedge)[some]
    # within the band of 3 % of the wallet, but for prices that moved since the entries
    assert some.sum() > 20 and np.mean(gap < 600) > 0.7 and np.median(gap) < 0.1 * np.median(held[some])


@pytest.mark.parametrize("mode", ["stored", "computed"])
def test_a_coarser_timeframe_confirms_entries(
    spot: Research, coarse: Research, tmp_path: Path, mode: str
) -> None:
    fused = {"fusion": [{"bundle": str(coarse.bundle.path), "rank": 0.6}]}
    here = job(spot, tmp_path / "user", fused, mode, **MONTH)
    trades = run.backtest(here).trades
    untroubled(here)
    signals = coarse.bundle.signals
    for one in trades.to_dict("records"):
        opened = one["open_date"].tz_localize(None).to_datetime64()
        row = int(np.searchsorted(signals.time + signals.timeframe.delta, opened, side="right")) - 1
        column = signals.instruments.index(Instrument.parse(one["pair"]).id)
        assert signals.alpha_rank[row, column] >= np.float32(0.6), one["open_date"]
    assert len(trades) > 30
    unbiased(replace(here, folder=tmp_path / "bias", **WEEK), 300)


def test_limit_orders_come_nearer_until_they_fill(spot: Research, tmp_path: Path) -> None:
    here = job(spot, tmp_path / "user", {"pricing": {"offset": 0.003, "tries": 2}}, **MONTH)
    trades = run.backtest(here).trades
    untroubled(here)
    candles = {
        p: pd.read_feather(spot.datadir / f"{p.replace('/', '_')}-1h.feather") for p in set(trades["pair"])
    }
    better = waited = 0
    for one in trades.to_dict("records"):
        first = one["orders"][0]
        filled = pd.Timestamp(first["order_filled_timestamp"], unit="ms", tz="UTC")
        frame = candles[one["pair"]].set_index("date")
        candle = frame.loc[filled]
        assert candle["low"] * (1 - 1e-6) <= first["safe_price"] <= candle["high"] * (1 + 1e-6)
        better += first["safe_price"] < candle["open"] * 0.9999
        waited += filled > one["open_date"]
    assert better > 0.5 * len(trades)
    unbiased(replace(here, folder=tmp_path / "bias", **WEEK), 300)


def test_parameters_of_the_parts_can_be_hyperoptimised(spot: Research, tmp_path: Path) -> None:
    """Two worker processes: all parts travel to them and work there."""
    trading = SIZES | CAUTION | {"stops": STOPS}
    here = job(spot, tmp_path / "user", trading, start="2023-02-20", end="2023-03-01")
    arguments = ["--epochs", "3", "--spaces", "buy", "sell", "-j", "2", "--random-state", "1"]
    arguments += ["--min-trades", "1", "--hyperopt-loss", "SharpeHyperOptLossDaily"]
    output = run.command(here, "hyperopt", arguments).output
    assert not re.findall(r"Traceback|Strategy caused|nothing is traded", output)
    tuned = dict(re.findall(r'^ +"(\w+)": [^,]+,(.*)$', output, re.MULTILINE))
    for name in ("entry_rank", "no_trade_band", "break_even", "trail_distance"):
        assert tuned[name] == ""
    assert "value loaded from strategy" in tuned["volatility_target"]  # its part is off
