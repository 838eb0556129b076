"""The real freqtrade, offline, trades what the bundle says, and finds no bias in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import results, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.results import BacktestResult
from bascule.core import BridgeError, Instrument
from tests.bridge.research import Research

# freqtrade's and ccxt's own
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = pd.Timedelta(hours=1)
SETTINGS = TradeSettings(wallet=10_000, fee=0.001, slippage=0.0005)


def job(research: Research, folder: Path, mode: str | None = None, **changes: object) -> run.Job:
    settings = SETTINGS.model_copy(update={"mode": mode})
    plain = run.Job(research.bundle, folder, research.datadir, settings, timeout=300)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def stored(spot: Research, tmp_path_factory: pytest.TempPathFactory) -> BacktestResult:
    return run.backtest(job(spot, tmp_path_factory.mktemp("stored") / "user"))


def signal(research: Research, pair: str, when: pd.Timestamp, name: str) -> float:
    """The stored signal of the last candle that was closed at ``when``."""
    frame = research.bundle.signals
    row = int(np.searchsorted(frame.time, (when - HOUR).tz_localize(None).to_datetime64()))
    values = getattr(frame, name)[row]
    return float(values if values.ndim == 0 else values[frame.instruments.index(Instrument.parse(pair).id)])


def check_trades(research: Research, trades: pd.DataFrame) -> None:
    """Entries, exits and stops are those of the signals, candle by candle."""
    rules = research.spec.rules
    for trade in trades.to_dict("records"):
        pair, opened, closed = trade["pair"], trade["open_date"], trade["close_date"]
        side = -1 if trade["is_short"] else 1
        place = f"{pair} {opened}"

        def rank(when: pd.Timestamp, pair: str = pair, side: int = side) -> float:
            value = signal(research, pair, when, "alpha_rank")
            return value if side > 0 else 1 - value

        assert rank(opened) >= rules.entry_rank, place
        assert side * signal(research, pair, opened, "target_weight") > 0, place
        assert signal(research, pair, opened, "risk_score") < rules.risk_limit, place
        assert signal(research, pair, opened, "portfolio_risk") < rules.portfolio_limit, place
        if trade["exit_reason"] == "alpha_decay":
            assert rank(closed) < rules.exit_rank, place
        if trade["exit_reason"] == "left_universe":
            assert np.isnan(rank(closed)), place
        if trade["exit_reason"] in ("stop_loss", "trailing_stop_loss"):
            # the tightest of all distances known so far, from the entry price; the exit's own candle counts
            # only if the stop before it was not hit
            hours = pd.date_range(opened, closed, freq="1h")
            distances = [signal(research, pair, when, "stop_distance") for when in hours]
            prices = [trade["open_rate"] * (1 - side * min(d)) for d in (distances, distances[:-1]) if d]
            assert any(trade["stop_loss_abs"] == pytest.approx(price, rel=1e-4) for price in prices), place


def test_a_backtest_trades_the_stored_signals(spot: Research, stored: BacktestResult) -> None:
    trades = stored.trades
    assert len(trades) > 100 and stored.metrics["trade_count_short"] == 0
    check_trades(spot, trades)
    assert set(trades["exit_reason"]) >= {"alpha_decay", "left_universe"}
    assert set(trades["exit_reason"]) & {"stop_loss", "trailing_stop_loss"}
    # every pair's first signal of the range is traded at the next open
    for pair, group in trades.groupby("pair"):
        frame = spot.bundle.signals
        column = frame.instruments.index(Instrument.parse(str(pair)).id)
        entry = (
            (frame.alpha_rank[:, column] >= spot.spec.rules.entry_rank)
            & (frame.target_weight[:, column] > 0)
            & (frame.risk_score[:, column] < spot.spec.rules.risk_limit)
            & (frame.portfolio_risk < spot.spec.rules.portfolio_limit)
        )
        first = pd.Timestamp(frame.time[np.flatnonzero(entry)[0]], tz="UTC")
        assert group["open_date"].min() == first + HOUR


def test_stakes_are_target_weights_and_costs_are_charged(spot: Research, stored: BacktestResult) -> None:
    trades = stored.trades
    first = trades[trades["open_date"] == trades["open_date"].min()]
    for trade in first.to_dict("records"):
        weight = signal(spot, trade["pair"], trade["open_date"], "target_weight")
        # the wallet shrinks a little with the fees of the pairs before it
        assert trade["stake_amount"] == pytest.approx(weight * 10_000 * SETTINGS.tradable, rel=2e-3)
    np.testing.assert_allclose(trades["fee_open"], SETTINGS.fee + SETTINGS.slippage)
    assert trades["profit_abs"].sum() == pytest.approx(stored.metrics["final_balance"] - 10_000, abs=1e-6)


def test_the_equity_curve_is_marked_to_market(spot: Research, stored: BacktestResult) -> None:
    from freqtrade.data.btanalysis import get_backtest_wallet_change, load_backtest_stats

    equity = stored.equity
    assert equity.iloc[0] == 10_000 and equity.index.is_monotonic_increasing
    assert equity.index[0] >= pd.Timestamp(spot.bundle.signals.time[0], tz="UTC")
    assert equity.nunique() > 0.95 * len(equity)
    # freqtrade's own record of a spot wallet says the same while nothing held is delisted, but for entry fees
    # (it books them at the exit) and stops (it shows the candle's open, not yet the exit within the candle)
    record = get_backtest_wallet_change(stored.path, stored.strategy)
    wallet = (record["rate"] * record["balance"]).groupby(record["date"]).sum()
    np.testing.assert_allclose(equity.to_numpy(), wallet.to_numpy(), rtol=0.02)
    wallet = load_backtest_stats(stored.path)["strategy"][stored.strategy]["wallet_stats"]
    assert stored.metrics["max_drawdown"] == pytest.approx(wallet["max_relative_drawdown"], rel=0.02)
    assert stored.metrics["sharpe"] < 0 and 0 < stored.metrics["max_drawdown"] < 1


def test_freqtrades_refusal_is_passed_on(spot: Research, tmp_path: Path) -> None:
    """A bundle that does not fit is refused by the strategy, in one clear error."""
    other = spot.bundle.path / "nowhere"
    source = (
        "from bascule.bridge.freqtrade import FactorStrategy\n\n\n"
        f"class BasculeStrategy(FactorStrategy):\n    bundle = {str(other)!r}\n"
    )
    with pytest.raises(BridgeError, match="there is no readable manifest") as caught:
        run.backtest(job(spot, tmp_path / "user", source=source))
    assert "Traceback" not in str(caught.value)


def test_missing_candles_are_refused_before_anything_runs(spot: Research, tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="is missing"):
        run.backtest(job(spot, tmp_path / "user", datadir=tmp_path))
    assert not (tmp_path / "user").exists()


# -- more runs of freqtrade ------------------------------------------------------------------------------

SAME = ["pair", "open_date", "close_date", "is_short", "stake_amount", "profit_abs", "exit_reason"]


def test_computed_and_stored_signals_give_the_same_trades(
    spot: Research, stored: BacktestResult, tmp_path: Path
) -> None:
    computed = run.backtest(job(spot, tmp_path / "user", "computed"))
    pd.testing.assert_frame_equal(computed.trades[SAME], stored.trades[SAME])


def test_futures_trade_both_sides_with_funding(futures: Research, tmp_path: Path) -> None:
    # EOS has no leverage tiers in freqtrade: this covers assumed ones too
    stored = run.backtest(job(futures, tmp_path / "stored"))
    check_trades(futures, stored.trades)
    assert min(stored.metrics["trade_count_long"], stored.metrics["trade_count_short"]) > 100
    assert "EOS/USDT:USDT" in set(stored.trades["pair"])
    assert (stored.trades["funding_fees"] != 0).any()
    assert stored.equity.iloc[-1] == pytest.approx(stored.metrics["final_balance"], rel=1e-9)
    assert stored.equity.nunique() > 0.95 * len(stored.equity)
    # the candles may go: the equity was kept beside the result
    pd.testing.assert_series_equal(results.load(stored.path).equity, stored.equity, check_freq=False)
    stored.path.with_suffix(".equity.parquet").unlink()
    with pytest.raises(BridgeError, match="leaves positions out"):
        results.load(stored.path)
    computed = run.backtest(job(futures, tmp_path / "computed", "computed"))
    pd.testing.assert_frame_equal(computed.trades[SAME], stored.trades[SAME])
    # leverage halves the margin and leaves entries, exits and stops where they were
    doubled = job(futures, tmp_path / "doubled")
    doubled = replace(doubled, settings=doubled.settings.model_copy(update={"leverage": 2.0}))
    levered = run.backtest(doubled)
    check_trades(futures, levered.trades)
    assert set(levered.trades["leverage"]) == {2.0}
    first = [result.trades["stake_amount"].iloc[0] for result in (levered, stored)]
    assert first[0] == pytest.approx(first[1] / 2, rel=1e-6)


WEEK = {"start": "2023-03-01", "end": "2023-03-08"}


@pytest.mark.parametrize("mode", ["stored", "computed"])
def test_freqtrade_finds_no_bias(spot: Research, tmp_path: Path, mode: str) -> None:
    here = job(spot, tmp_path / "user", mode, **WEEK)
    verdict = run.lookahead(here, trades=8, least=4)
    assert verdict.signals == 8
    assert not verdict.has_bias and verdict.biased_indicators == ()
    stable = run.recursive(here, startup=(20, 300))
    assert stable.lookahead == ()
    assert stable.unstable(300) == ()
    if mode == "computed":
        own = spot.bundle.lookback + 1
        assert stable.startup == own and stable.unstable(own) == ()
        assert "alpha" in stable.unstable(20)  # too short a start-up is seen


BIASED = """
from bascule.bridge.freqtrade import FactorStrategy


class BasculeStrategy(FactorStrategy):
    def populate_indicators(self, dataframe, metadata):
        dataframe = super().populate_indicators(dataframe, metadata)
        dataframe["alpha_rank"] = dataframe["alpha_rank"].shift(-2)
        dataframe["slow"] = dataframe["close"].ewm(span=200).mean()
        return dataframe
"""


def test_freqtrade_finds_the_bias_of_a_biased_strategy(spot: Research, tmp_path: Path) -> None:
    here = job(spot, tmp_path / "user", "computed", source=BIASED, **WEEK)
    verdict = run.lookahead(here, trades=8, least=4)
    assert verdict.has_bias and {"alpha_rank", "enter_long"} <= set(verdict.biased_indicators)
    stable = run.recursive(here, startup=(20, 300))
    assert "slow" in stable.unstable(spot.bundle.lookback + 1)


@pytest.mark.slow
def test_thresholds_can_be_hyperoptimised(spot: Research, tmp_path: Path) -> None:
    """Two worker processes: the strategy travels to them, and stakes and stops work there."""
    here = job(spot, tmp_path / "user", end="2023-03-01")
    arguments = ["--epochs", "4", "--spaces", "buy", "sell", "-j", "2", "--random-state", "1"]
    arguments += ["--min-trades", "1"]
    run.command(here, "hyperopt", [*arguments, "--hyperopt-loss", "SharpeHyperOptLossDaily"])
    found = (here.folder / "strategies" / "BasculeStrategy.json").read_text()
    assert "entry_rank" in found and "critical_portfolio" in found
