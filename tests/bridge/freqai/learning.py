"""A FreqAI recipe and configuration for the small market of the bridge's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.freqai import FreqaiRecipe
from bascule.bridge.freqtrade.freqai.runs import Job, Schedule, configure
from bascule.core import Instrument
from tests.bridge.research import FACTORS, Research

RISK = {
    "volatility_days": 3,
    "half_life_days": 1,
    "beta_days": 4,
    "illiquidity_days": 3,
    "history_days": 4,
    "trend_days": 2,
}
MODEL = {"params": {"num_boost_round": 15}, "threads": 1, "min_samples": 100}


def recipe(research: Research, **changes: Any) -> FreqaiRecipe:
    """What is learned of the research's market."""
    values: dict[str, Any] = {
        "market": research.spec.market,
        "pairs": [Instrument.parse(name).pair for name in research.raw.instruments],
        "factors": [{"name": name, "text": text} for name, text in FACTORS],
        "horizon": 6,
        "universe": {"top": 5, "volume_days": 2, "min_age_days": 1},
        "risk": RISK,
        "portfolio": {"top": 3, "min_members": 3, "side": research.spec.portfolio.side},
        "rules": {"entry_rank": 0.75, "exit_rank": 0.5},
        "model": MODEL,
    }
    return FreqaiRecipe.read(values | changes)


def schedule(**changes: Any) -> Schedule:
    """Trainings of 20 days, every five days, all outlier detection on."""
    values = {
        "identifier": "small",
        "train_days": 20,
        "retrain_days": 5,
        "dissimilarity": 1.5,
        "svm": True,
        "dbscan": True,
    }
    return Schedule.read(values | changes)


def config(research: Research, folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration as freqtrade hands it over, in a backtest of ten days."""
    chosen = {name: changes.pop(name) for name in list(changes) if name in Schedule.model_fields}
    values = configure(
        recipe(research, **changes), schedule(**chosen), TradeSettings(), exchange={"name": "binance"}
    )
    return {
        **values,
        "runmode": "backtest",
        "datadir": research.datadir,
        "user_data_dir": folder,
        "timerange": "1678147200-1679007600",  # 2023-03-07 … 2023-03-16 23:00
        "config_files": [folder / "config.json"],
        "candle_type_def": "futures" if research.spec.market == "futures" else "spot",
    }


def job(research: Research, folder: Path, days: tuple[str, str], **changes: Any) -> Job:
    """A run of freqtrade."""
    chosen = {name: changes.pop(name) for name in list(changes) if name in Schedule.model_fields}
    return Job(
        recipe(research, **changes), schedule(**chosen), folder, research.datadir, *days,
        settings=TradeSettings(fee=0.001, slippage=0.0005), timeout=600,
    )  # fmt: skip
