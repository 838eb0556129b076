"""What surrounds a run: configuration, files, workspace, reading of verdicts and failures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bascule import __version__
from bascule.bridge.exchange import exchange_config
from bascule.bridge.freqtrade import bias, config, datafiles, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.process import freqtrade
from bascule.bridge.freqtrade.trading.reload import Pointer
from bascule.core import BridgeError, ConfigError, Instrument, Timeframe
from tests.bridge.research import Research

HOUR = Timeframe.parse("1h")
BLOCK = exchange_config("http://127.0.0.1:1", "spot")


# -- configuration -------------------------------------------------------------------------------------


def test_the_configuration_is_complete_and_json(spot: Research) -> None:
    settings = TradeSettings(wallet=5_000, fee=0.001, slippage=0.0007, mode="computed")
    values = config.build(spot.bundle, settings, exchange=BLOCK)
    assert json.loads(json.dumps(values)) == values
    assert values["fee"] == pytest.approx(0.0017)  # freqtrade has no slippage
    assert values["dry_run"] and values["dry_run_wallet"] == 5_000
    assert values["stake_amount"] == "unlimited" and values["max_open_trades"] == 6
    assert values["exchange"]["pair_whitelist"] == [Instrument.parse(n).pair for n in spot.raw.instruments]
    assert values["bascule"] == {
        "bundle": str(spot.bundle.path),
        "id": spot.bundle.id,
        "version": __version__,
        "leverage": 1.0,
        "mode": "computed",
    }
    assert values["exchange"]["ccxt_config"] == BLOCK["ccxt_config"]


def test_a_bot_follows_current_and_a_backtest_stays_with_its_bundle(spot: Research) -> None:
    bundles = spot.bundle.path.parent
    values = config.build(spot.bundle, TradeSettings(), exchange=BLOCK, follow=bundles)
    assert values["bascule"]["bundle"] == str(bundles)
    assert Pointer(bundles, spot.bundle)._link == bundles / "current"
    pinned = config.build(spot.bundle, TradeSettings(), exchange=BLOCK)["bascule"]["bundle"]
    assert Pointer(pinned, spot.bundle)._link is None


def test_pairs_may_be_chosen_from_the_universe(spot: Research, futures: Research) -> None:
    settings = TradeSettings()
    values = config.build(spot.bundle, settings, exchange=BLOCK, pairs=["ETH_USDT", "BTC/USDT"])
    assert values["exchange"]["pair_whitelist"] == ["ETH/USDT", "BTC/USDT"] and values["max_open_trades"] == 2
    with pytest.raises(BridgeError, match="no signals for SOL/USDT"):
        config.build(spot.bundle, settings, exchange=BLOCK, pairs=["SOL/USDT"])
    with pytest.raises(BridgeError, match="no pairs"):
        config.build(spot.bundle, settings, exchange=BLOCK, pairs=[])
    with pytest.raises(BridgeError, match="stake currency BUSD"):
        config.build(spot.bundle, TradeSettings(stake_currency="BUSD"), exchange=BLOCK)
    with pytest.raises(BridgeError, match="no leverage tiers for EOS/USDT:USDT"):
        config.build(futures.bundle, settings, exchange=BLOCK)
    assumed = config.build(futures.bundle, settings, exchange=BLOCK, assume_tiers=True)
    assert assumed["bascule"]["assumed_tiers"] == ["EOS/USDT:USDT"]
    assert (assumed["trading_mode"], assumed["margin_mode"]) == ("futures", "isolated")


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="fee"):
        TradeSettings.read({"fee": 0.5})
    with pytest.raises(ConfigError, match="mode"):
        TradeSettings.read({"mode": "guess"})


# -- files ---------------------------------------------------------------------------------------------


def test_missing_files_are_named(futures: Research, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(futures.datadir, tmp_path / "data"))
    names = futures.raw.instruments
    datafiles.require(folder, names, HOUR, "futures")
    one = Instrument.parse("BTC_USDT_USDT")
    rates = datafiles.file(folder, one, HOUR, "funding_rate")
    kept = pd.read_feather(rates)

    rates.unlink()
    with pytest.raises(BridgeError, match=r"BTC_USDT_USDT-1h-funding_rate\.feather is missing.*silently"):
        datafiles.require(folder, names, HOUR, "futures")
    datafiles.require(folder, names, HOUR, "futures", funding=False)

    for part in (kept.iloc[20:], kept.iloc[:-20], kept.drop(index=range(100, 104))):
        part.reset_index(drop=True).to_feather(rates)
        with pytest.raises(BridgeError, match="leaves a hole"):
            datafiles.require(folder, names, HOUR, "futures")
    rates.write_bytes(b"nonsense")
    with pytest.raises(BridgeError, match="cannot be read"):
        datafiles.require(folder, names, HOUR, "futures")
    with pytest.raises(BridgeError, match=r"BTC_USDT-1h\.feather is missing"):
        datafiles.require(folder, ["BTC_USDT"], HOUR, "spot")


# -- workspace and processes ---------------------------------------------------------------------------


def test_a_workspace_is_laid_out_and_refreshed(tmp_path: Path) -> None:
    space = run.workspace(tmp_path / "user", {"a": 1})
    assert (
        "class BasculeStrategy(FactorStrategy)"
        in (space.folder / "strategies/BasculeStrategy.py").read_text()
    )
    (space.results / "kept.zip").write_text("x")
    again = run.workspace(tmp_path / "user", {"a": 2}, strategy="Mine", source="class Mine: ...\n")
    assert json.loads(again.config.read_text()) == {"a": 2}
    assert (again.results / "kept.zip").exists() and (again.folder / "strategies/Mine.py").exists()
    with pytest.raises(BridgeError, match="class name"):
        run.workspace(tmp_path / "other", {}, strategy="no good")


def test_a_time_range_without_candles_is_refused(spot: Research, tmp_path: Path) -> None:
    job = run.Job(spot.bundle, tmp_path, spot.datadir, start="2023-03-01", end="2023-03-01T01:00")
    with pytest.raises(BridgeError, match="fewer than two candles between"):
        _ = job.timerange
    assert run.Job(spot.bundle, tmp_path, spot.datadir, start="2023-03-01", end="2023-03-02").timerange == (
        "1677628800-1677711600"
    )


def test_freqtrades_failure_becomes_one_error(tmp_path: Path) -> None:
    with pytest.raises(
        BridgeError, match=r"freqtrade backtesting failed \(status \d\).*(?s:.*)nowhere"
    ) as caught:
        freqtrade(
            "backtesting", ["--config", str(tmp_path / "nowhere.json")], log=tmp_path / "log" / "run.log"
        )
    assert caught.value.where == str(tmp_path / "log" / "run.log") and Path(caught.value.where).is_file()
    with pytest.raises(BridgeError, match="took longer than"):
        freqtrade("backtesting", [], log=tmp_path / "slow.log", timeout=0.2)


# -- verdicts ------------------------------------------------------------------------------------------

HEAD = "filename,strategy,has_bias,total_signals,biased_entry_signals,biased_exit_signals,biased_indicators\n"


def test_a_lookahead_verdict_is_read(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text(HEAD + 'S.py,S,True,20,3,4,"alpha,alpha_rank"\n')
    assert bias.read_lookahead(path, "") == bias.LookaheadReport(True, 20, 3, 4, ("alpha", "alpha_rank"))
    path.write_text(HEAD + "S.py,S,False,20,0,0,\n")
    assert bias.read_lookahead(path, "") == bias.LookaheadReport(False, 20, 0, 0, ())
    path.write_text(HEAD)
    with pytest.raises(BridgeError, match=r"too few trades caught \(2/10\)"):
        bias.read_lookahead(path, "│ S.py │ S │ too few trades caught (2/10).Test failed. │")


END = "INFO - Start checking for lookahead bias on indicators only\n"
TABLE = """\
┏━━━━━━━━━━━━┳━━━━━┳━━━━━━━━━━━━━━━━━━━━━┓
┃ Indicators ┃  20 ┃ 193 (from strategy) ┃
┡━━━━━━━━━━━━╇━━━━━╇━━━━━━━━━━━━━━━━━━━━━┩
│      alpha │ nan% │              0.010% │
│       risk │ 1.2% │                   - │
└────────────┴─────┴─────────────────────┘
"""


def test_a_recursive_verdict_is_read() -> None:
    report = bias.read_recursive(END + "INFO - => found lookahead in indicator alpha\n" + TABLE)
    assert report.startup == 193 and report.lookahead == ("alpha",)
    assert report.variance == {"alpha": {20: "nan%", 193: "0.010%"}, "risk": {20: "1.2%"}}
    assert report.unstable(193) == ("alpha",) and report.unstable(20) == ("alpha", "risk")
    clean = bias.read_recursive("INFO - No variance on indicator(s) found due to recursive formula.\n" + END)
    assert clean == bias.RecursiveReport(None, {}, ())
    with pytest.raises(BridgeError, match="did not come to its end"):
        bias.read_recursive("nothing")
    with pytest.raises(BridgeError, match="no table"):
        bias.read_recursive(END)
