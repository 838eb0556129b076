"""Each example runs at a small size: fewer coins, days and factors; everything else is the file's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from bascule.app import freqaipage
from bascule.app.config import load
from bascule.app.spine import run_spine
from bascule.app.trials import REAL, UNKNOWN
from bascule.bridge.freqtrade.freqai import runs
from bascule.evaluate import Ledger
from tests.app.calls import call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    "data.source.synthetic.instruments=9",
    "universe={top: 8, min_age_days: 3, volume_days: 3}",
    "evaluation.horizons=[6, 24]",
    "walk_forward={first_test: 2022-03-20, test_months: null, test_days: 15, min_train_days: 20}",
    "model.min_samples=200",
    "portfolio.min_members=3",
    "risk={max_bars: 240, history_days: 20, beta_days: 15, volatility_days: 10, half_life_days: 5}",
)
FEW = "factors=[{name: a, text: '$close/Ref($close,5)-1'}, {name: b, text: 'Log($volume/Mean($volume,48))'}]"
CHANGES: dict[str, tuple[str, ...]] = {
    "spot_rotation": ("data.source.synthetic.days=100", FEW),
    "market_neutral": (
        "data.source.synthetic.days=100",
        FEW,
        "portfolio.construction.history_days=10",
        "portfolio.construction.limits.max_weight=0.25",
    ),
    "funding_carry": ("data.source.synthetic.days=130", "portfolio.top=3"),
    "mined_factors": ("data.source.synthetic.days=100",),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_ends_in_a_report(name: str, tmp_path: Path) -> None:
    config = load(EXAMPLES / f"{name}.yaml", [*SMALL, *CHANGES[name]])
    config = config.model_copy(update={"folder": tmp_path / "run"})
    report = run_spine(config, Console(quiet=True))
    text = report.read_text("utf-8")
    assert "Synthetic market" in text and "The backtest" in text
    told = json.loads((tmp_path / "run" / "stages" / "backtest.json").read_text("utf-8"))
    assert told["facts"]["trades"] > 0


def order(**changes: Any) -> runs.Order:
    values = yaml.safe_load((EXAMPLES / "freqai_qlib.yaml").read_text("utf-8"))
    values["recipe"]["pairs"] = values["recipe"]["pairs"][:6]
    values["recipe"]["factors"] = ["macd", "macd@4h"]
    values["recipe"]["model"] |= {"params": {"num_boost_round": 20}, "min_samples": 200}
    values["recipe"]["universe"] = {"volume_days": 1, "min_age_days": 0}
    values["recipe"]["risk"] = {"max_bars": 240, "history_days": 10, "beta_days": 10, "volatility_days": 5}
    values["recipe"]["risk"] |= {"half_life_days": 3, "illiquidity_days": 5, "trend_days": 5}
    values["recipe"]["portfolio"] |= {"min_members": 3}
    values["schedule"] |= {"train_days": 25, "retrain_days": 7}
    values["synthetic"] |= {"instruments": 6, "days": 130}
    return runs.Order.read(values | {"start": "2022-04-15", "end": "2022-04-29"} | changes)


def test_freqai_with_a_qlib_model_trades_and_is_reported(tmp_path: Path) -> None:
    wanted = order()
    data = runs.embedded(wanted.synthetic, wanted.recipe, tmp_path)  # type: ignore[arg-type]
    assert runs.embedded(wanted.synthetic, wanted.recipe, tmp_path) == data  # type: ignore[arg-type]
    job = runs.Job(
        wanted.recipe, wanted.schedule, tmp_path / "user", data, wanted.start, wanted.end, wanted.trade  # type: ignore[arg-type]
    )  # fmt: skip
    file, ledger = tmp_path / "order.yaml", tmp_path / "trials.sqlite"
    file.write_text(yaml.safe_dump(wanted.model_dump(mode="json") | {"start": None}))
    where = ("--data", data, "--start", wanted.start, "--ledger", ledger)
    assert call("freqai", "backtest", file, job.folder, *where, "--set", "schedule.identifier=qlib") == 0
    fits = freqaipage.trainings(tmp_path / "user" / "models" / "qlib")
    assert len(fits) == 3 and all(fit["kind"] == "CatBoostModel" for fit in fits)
    text = (job.folder / "report.html").read_text("utf-8")
    assert "Synthetic market" in text and "Windows of the trainings" in text and "cat-2022-04-14" in text
    assert "trials that ever touched these days" in text and "By reason of the exit" in text
    # a generated market's candles are no real ones in the ledger, whatever folder they lie in
    held = Ledger(ledger)
    assert held.count(f"synthetic {UNKNOWN}", wanted.start, wanted.end).trials == held.count(REAL).trials + 1

    # and freqtrade finds no look-ahead in it
    verdict = runs.lookahead(job, trades=4, least=3)
    assert not verdict.has_bias and verdict.biased_entries == verdict.biased_exits == 0
