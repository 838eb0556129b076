"""The example is a configuration that FreqAI's strategy and model take; secrets stay out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bascule.app.freqaicli import freqai_app
from bascule.bridge.freqtrade.freqai import Plan
from bascule.core import ConfigError

EXAMPLE = Path(__file__).parents[3] / "examples" / "freqai.yaml"


def test_the_example_becomes_a_user_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(freqai_app, ["prepare", str(EXAMPLE), str(tmp_path / "user")])
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "user" / "config.json").read_text())
    plan = Plan.of(values)
    assert plan.train_days == 90 and plan.retrain_days == 7 and len(plan.spec.factors) == 158
    assert plan.lookback > plan.warmup > 168 and len(plan.instruments) == 16
    assert values["freqai"]["feature_parameters"]["use_SVM_to_remove_outliers"] is True
    assert "bundle" not in values["bascule"] and values["dry_run"] is True
    strategy = (tmp_path / "user" / "strategies" / "FreqaiFactorStrategy.py").read_text()
    assert "class FreqaiFactorStrategy(" in strategy
    assert not {"key", "secret"} & set(values["exchange"])


def test_settings_on_the_command_line_win(tmp_path: Path) -> None:
    some = "recipe.pairs=[BTC/USDT, ETH/USDT, SOL/USDT, XRP/USDT, ADA/USDT, LTC/USDT]"
    order = ["prepare", str(EXAMPLE), str(tmp_path), "--set", some, "--set", "schedule.train_days=30"]
    result = CliRunner().invoke(freqai_app, order)
    assert result.exit_code == 0, result.output
    plan = Plan.of(json.loads((tmp_path / "config.json").read_text()))
    assert len(plan.instruments) == 6 and plan.train_days == 30

    result = CliRunner().invoke(freqai_app, [*order[:3], "--set", "schedule.trane_days=30"])
    assert isinstance(result.exception, ConfigError) and "did you mean 'train_days'" in str(result.exception)


def test_secrets_in_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "freqai.yaml"
    path.write_text(
        EXAMPLE.read_text().replace("exchange: {name: binance}", "exchange: {name: binance, key: abc123}")
    )
    result = CliRunner().invoke(freqai_app, ["prepare", str(path), str(tmp_path / "user")])
    assert isinstance(result.exception, ConfigError)
    assert "key in a file" in str(result.exception) and "abc123" not in str(result.exception)
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("pooled", "expand: [{name: roc, text: '$close / Ref($close, {period})'}]"), "need pooled: false"),
        (("kind", "model: {kind: GATs, features: rank}\n  pooled: false"), "it needs pooled: true"),
        (("future", "factors: [{name: a, text: 'Ref($close, -1)'}]"), "future"),
        (("word", "horizons: 3"), "did you mean 'horizon'"),
    ],
)
def test_wrong_recipes_are_one_clear_error(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    from bascule.core import BasculeError

    lines = [line for line in EXAMPLE.read_text().splitlines() if not line.startswith("  factors")]
    text = "\n".join(lines)
    start = text.index("  model:")
    text = text[:start] + text[text.index("  rules:") :]
    extra = change[1] if "factors" in change[1] else f"factors: [alpha158]\n  {change[1]}"
    path = tmp_path / "freqai.yaml"
    path.write_text(text.replace("  horizon: 24", f"  {extra}\n  horizon: 24"))
    result = CliRunner().invoke(freqai_app, ["prepare", str(path), str(tmp_path / "user")])
    assert isinstance(result.exception, BasculeError), result.output
    assert message in str(result.exception)
