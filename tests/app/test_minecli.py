"""``bascule mine``: from a command to a catalogue that other commands read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bascule.app.cli import app
from bascule.core import ConfigError, StoreError
from bascule.factors import load
from tests.miners.markets import panel

RUN = CliRunner()
SMALL = [
    "--horizon",
    "4",
    "--set",
    "batch=16",
    "--set",
    "grammar.length=8",
    "--set",
    "grammar.windows=[5, 24]",
]


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long parquet file."""
    path = tmp_path_factory.mktemp("candles") / "market.parquet"
    market = panel(planted=0.3)
    rows, width = market.shape
    frame = pd.DataFrame(
        {
            "time": np.repeat(market.time, width),
            "instrument": np.tile(market.instruments, rows),
            **{n: market[n].ravel() for n in ("open", "high", "low", "close", "volume")},
        }
    )
    frame["time"] = frame["time"].dt.tz_localize("UTC")
    frame.to_parquet(path)
    return path


def mine(*words: str) -> str:
    done = RUN.invoke(app, ["mine", *words], catch_exceptions=False, standalone_mode=False)
    return done.output


def test_a_search_ends_in_a_catalogue_with_lineage(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = mine("run", "random", "--data", str(candles), "--proposals", "200", "--out", "found", *SMALL)
    assert "report: found/report.html" in shown
    factors = load(tmp_path / "found" / "factors.yaml")
    told = json.loads((tmp_path / "found" / "result.json").read_text())
    assert [m["text"] for m in told["members"]] == [factor.text for factor in factors]
    assert "seed 0" in factors[0].source
    assert f"{told['trials']} trials" in factors[0].source
    assert told["found"]
    assert told["test"]["ic"]["mean"] > 0.03
    page = (tmp_path / "found" / "report.html").read_text()
    assert "Learning curves" in page
    assert (tmp_path / "runs" / "trials.sqlite").exists()


def test_resuming_with_a_larger_budget_goes_on(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine("run", "random", "--data", str(candles), "--proposals", "64", "--out", "a", *SMALL)
    mine("resume", "a", "--proposals", "128")
    mine("run", "random", "--data", str(candles), "--proposals", "128", "--out", "b", *SMALL)
    a, b = (json.loads((tmp_path / name / "result.json").read_text()) for name in "ab")
    assert a["members"] == b["members"]
    # the second look at the same rows counts
    assert (a["looks"], b["looks"]) == (2, 2)


def test_searchers_side_by_side(candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = mine(
        "compare",
        "random",
        "evolution",
        "--data",
        str(candles),
        "--proposals",
        "64",
        "--seeds",
        "2",
        "--out",
        "c",
        *SMALL,
    )
    assert shown.count("random") >= 2
    assert sorted(p.parent.name for p in (tmp_path / "c").glob("*/result.json")) == [
        "evolution-0", "evolution-1", "random-0", "random-1",
    ]  # fmt: skip
    assert "Side by side" in (tmp_path / "c" / "report.html").read_text()


def test_mistakes_are_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no searcher 'gold'"):
        mine("run", "gold", "--out", str(tmp_path / "x"))
    with pytest.raises(ConfigError, match="no setting"):
        mine("run", "random", "--out", str(tmp_path / "x"), "--set", "length")
    with pytest.raises(ConfigError, match="grammar"):
        mine("run", "random", "--out", str(tmp_path / "x"), "--set", "grammar.length=1")
    assert not (tmp_path / "x" / "order.json").exists()
    with pytest.raises(ConfigError, match="no search was begun"):
        mine("resume", str(tmp_path / "nothing"))


def test_another_search_in_the_same_folder_is_refused(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "random", "--data", str(candles), "--proposals", "32", "--out", "a", *SMALL]
    mine(*words)
    with pytest.raises(StoreError, match="other settings"):
        mine(*words, "--pool", "3")


def test_a_folder_belongs_to_one_search(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed, or another setting of the searcher, is another search; what was begun can still go on."""
    monkeypatch.chdir(tmp_path)
    words = ["run", "evolution", "--data", str(candles), "--proposals", "32", "--out", "a", *SMALL]
    mine(*words)
    begun = (tmp_path / "a" / "order.json").read_text()
    for other, message in (
        (["--seed", "1"], "other settings: recipe"),
        (["--set", "searcher.population=50"], "other settings: recipe"),
        (["--set", "grammar.length=1"], "grammar"),
    ):
        with pytest.raises((StoreError, ConfigError), match=message):
            mine(*words, *other)
        assert (tmp_path / "a" / "order.json").read_text() == begun
    mine("resume", "a", "--proposals", "48")
    assert json.loads((tmp_path / "a" / "result.json").read_text())["proposals"] == 48


@pytest.mark.parametrize("damaged", ["{", "[]", "{}"])
def test_a_damaged_order_is_one_clear_error(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(damaged)
    with pytest.raises(StoreError, match="begun with"):
        mine("resume", str(tmp_path))


@pytest.mark.parametrize(
    "settings", [["grammar=5"], ["proposals.x=1"], ["searcher=5"], ["pool=3", "pool.size=4"]]
)
def test_a_setting_in_the_wrong_place_is_one_clear_error(settings: list[str], tmp_path: Path) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    with pytest.raises(ConfigError, match="group of settings"):
        mine("run", "random", "--out", str(tmp_path / "x"), *words)


def test_fields_that_the_candles_do_not_have_are_told(
    candles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "random", "--data", str(candles), "--proposals", "8", "--out", "a", *SMALL]
    with pytest.raises(ConfigError, match="do not have all of close, weather"):
        mine(*words, "--set", "grammar.fields=[close, weather]")


@pytest.mark.parametrize("name", ["qfr", "ppo", "gflownet", "alphaforge", "mcts", "programs", "hypotheses"])
def test_every_searcher_can_be_named(name: str) -> None:
    from bascule.app.mining import Plan, searcher_of
    from bascule.miners import Grammar, GrammarSettings, SearchSettings, SplitSettings
    from tests.miners.markets import problem

    grammar = GrammarSettings(length=6, windows=(5, 24))
    plan = Plan(name, 1, SplitSettings(horizon=4), grammar, SearchSettings())
    searcher = searcher_of(plan, Grammar(grammar), problem())
    assert searcher is not None
    assert searcher.name == name
    assert len(searcher.propose(4)) <= 4


def test_language_models_are_for_those_that_ask(tmp_path: Path) -> None:
    words = [
        "--out",
        str(tmp_path / "x"),
        "--set",
        "llm.base_url=http://localhost:1/v1",
        "--set",
        "llm.model=m",
    ]
    with pytest.raises(ConfigError, match="asks no language model"):
        mine("run", "random", *words)
    with pytest.raises(ConfigError, match="llm"):
        mine("run", "mcts", *words, "--set", "llm.base_url=nowhere")
