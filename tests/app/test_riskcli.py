"""``bascule risk``: what each command says of a small market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.testing

from bascule.app.riskcli import risk_app
from bascule.core import BasculeError
from tests.markets import random_panel


def call(*arguments: object) -> tuple[int, str]:
    """Exit code (3 for an error of ours) and output."""
    done = typer.testing.CliRunner().invoke(risk_app, [str(one) for one in arguments])
    if isinstance(done.exception, BasculeError):
        return done.exception.exit_code, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parquet of four-hourly candles, with a bitcoin among them."""
    panel = random_panel(0, 2400, 12, timeframe="4h", start="2022-01-01", volatility=0.02)
    names = ["BTC_USDT", *panel.instruments[1:]]
    t, n = np.nonzero(np.isfinite(panel["close"]))
    frame = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(panel.time[t], tz="UTC"),
            "instrument": np.array(names)[n],
            **{field: values[t, n] for field, values in panel.fields.items()},
        }
    )
    path = tmp_path_factory.mktemp("risk") / "candles.parquet"
    frame.to_parquet(path)
    return path


def test_exposures_name_what_is_missing(candles: Path) -> None:
    code, told = call("exposures", "--data", candles, "--timeframe", "4h")
    assert code == 0
    assert "momentum" in told and "BTC_USDT" in told
    assert "left out: funding: the panel lacks $funding_rate" in told


def test_model_writes_one_page_with_everything(candles: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.yaml"
    weights.write_text("BTC/USDT: 0.5\nC003_USDT: 0.3\n")
    page = tmp_path / "risk.html"
    given = ("--data", candles, "--timeframe", "4h", "--weights", weights)
    code, told = call("model", *given, "--html", page)
    assert code == 0 and "specific share" in told and "bias" in told
    text = page.read_text("utf-8")
    for part in ("Value at risk", "Stress", "Cumulative factor returns", "LUNA", "Kupiec", "left out"):
        assert part in text
    assert text.count('class="plotly-graph-div"') == 7
    assert "<script src" not in text  # nothing is loaded from elsewhere
    weights.write_text("NOPE_USDT: 1\n")
    code, told = call("model", *given)
    assert code == 3 and "NOPE_USDT is not in the risk model" in told
    weights.write_text("BTC_USDT: much\n")
    assert call("model", *given)[0] == 3


def test_var_and_stress(candles: Path) -> None:
    code, told = call("var", "--data", candles, "--timeframe", "4h", "--level", 0.95, "--window", 100)
    assert code == 0 and "VaR 95%" in told and "within Kupiec" in told
    code, told = call("var", "--data", candles, "--timeframe", "4h", "--method", "crystal ball")
    assert code == 3 and "method" in told
    code, told = call("stress", "--data", candles, "--timeframe", "4h")
    assert code == 0 and "FTX" in told and "-30" in told


GRAPH = """
treatment: momentum
outcome: return
edges: [liquidity -> momentum, liquidity -> return, momentum -> return, momentum -> crowd, return -> crowd]
data:
  momentum: $close/Ref($close,42)-1
  liquidity: Log(Mean($close*$volume,42))
  crowd: $volume/Mean($volume,42)
"""


def test_causal_roles_effects_and_refusal(candles: Path, tmp_path: Path) -> None:
    graph = tmp_path / "dag.yaml"
    graph.write_text(GRAPH)
    given = (graph, "--data", candles, "--timeframe", "4h", "--horizon", 6, "--repeats", 5)
    code, told = call("causal", *given)
    assert code == 0 and "liquidity confounder" in told and "crowd collider" in told
    assert "minimal adjustment sets: {liquidity}" in told
    assert "placebo treatment" in told and "periods" in told
    code, told = call("causal", *given, "--controls", "liquidity,crowd")
    assert code == 3 and "refused: crowd is an effect of return" in told
    code, told = call("causal", *given, "--controls", "liquidity,crowd", "--override")
    assert code == 0 and "your controls: crowd is an effect of return" in told
    graph.write_text(GRAPH + "  moon: $close\n")
    code, told = call("causal", *given)
    assert code == 3 and "unknown node 'moon'" in told


def test_construct_with_alpha_views_and_limits(candles: Path, tmp_path: Path) -> None:
    settings, views, out = tmp_path / "c.yaml", tmp_path / "v.yaml", tmp_path / "weights.csv"
    settings.write_text("objective: mean_variance\ncost: 0.001\nlimits: {max_weight: 0.3}\n")
    views.write_text("per: day\nviews: [{view: momentum = 0.002, confidence: 0.7}]\n")
    given = ("--data", candles, "--timeframe", "4h")
    text = "-1*($close/Ref($close,6)-1)"
    code, told = call("construct", settings, *given, "--alpha", text, "--views", views, "--out", out)
    assert code == 0 and "mean_variance of candles" in told
    frame = pd.read_csv(out)
    assert frame["weight"].sum() == pytest.approx(1, abs=1e-6) and frame["weight"].max() <= 0.3 + 1e-6
    held = tmp_path / "held.yaml"
    held.write_text("BTC_USDT: 0.6\nC003_USDT: 0.4\n")
    settings.write_text("objective: min_variance\nlimits: {max_weight: 0.6, turnover: 0.2}\n")
    code, told = call("construct", settings, *given, "--current", held)
    assert code == 0 and "turnover 0.20" in told and "held back by: " in told
    code, told = call("construct", *given)
    assert code == 0 and "min_variance" in told
    settings.write_text("limits: {max_weight: 0.01}\n")
    code, told = call("construct", settings, *given)
    assert code == 3 and "max_weight = 0.01; net = 1" in told
    settings.write_text("limits: {max_wait: 0.01}\n")
    code, told = call("construct", settings, *given)
    assert code == 3 and "did you mean 'max_weight'" in told
