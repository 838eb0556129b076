"""Studies: scenarios, histories, verdicts, and going on after a cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bascule.bridge.freqtrade import robust
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.robust import RobustSettings, histories, scenarios, verdict
from bascule.bridge.freqtrade.robust.cells import Cell
from bascule.bridge.freqtrade.robust.keypoints import Point
from bascule.core import ConfigError, Timeframe
from bascule.signals import RuleSettings
from tests.bridge.research import Research

SMALL = RobustSettings(
    fees=(0.0, 0.001, 0.01), slippages=(0.0, 0.0005), delays=(1, 3), starts=(1, 5), draws=4, one_out=2,
    histories=200,
)  # fmt: skip
TRADE = TradeSettings(fee=0.0005, slippage=0.0)


@pytest.fixture(scope="module")
def report(spot: Research) -> robust.Report:
    return robust.study(spot.bundle, spot.panel, trade=TRADE, settings=SMALL, trials=3)


def test_a_study_runs_every_test_and_is_deterministic(spot: Research, report: robust.Report) -> None:
    tests = {one.test for one in report.cells}
    assert tests == {"costs", "parameters", "start", "delay", "instruments"} - (
        set() if report.of("instruments") else {"instruments"}
    )
    assert len(report.of("costs")) == 6 and len(report.of("delay")) == 2 and len(report.of("start")) == 2
    assert [one.test for one in report.verdicts] == [
        "luck", "market regimes", "quarters", "trade histories", "costs", "parameters", "start dates",
        "delay", "instruments", "freqtrade",
    ]  # fmt: skip
    assert report.trials == 3 and report.scenarios == 1 + len(report.cells)
    again = robust.study(spot.bundle, spot.panel, trade=TRADE, settings=SMALL, trials=3)
    assert again.to_dict() == report.to_dict()
    json.dumps(report.to_dict(), allow_nan=False)


def test_costs_cost(report: robust.Report) -> None:
    by_cost = sorted(report.of("costs"), key=lambda one: one.scenario["fee"] + one.scenario["slippage"])
    totals = [one.total for one in by_cost]
    assert totals == sorted(totals, reverse=True) and totals[0] > totals[-1]  # type: ignore[operator]
    paid = [one.costs for one in by_cost]
    assert paid[0] == 0 and paid == sorted(paid)  # type: ignore[type-var]


def test_the_base_is_the_grid_point_of_its_own_costs(spot: Research) -> None:
    settings = SMALL.model_copy(update={"fees": (0.0005,), "slippages": (0.0,)})
    found = robust.study(spot.bundle, spot.panel, trade=TRADE, settings=settings)
    (cell,) = found.of("costs")
    assert (cell.total, cell.sharpe, cell.trades) == (found.base.total, found.base.sharpe, found.base.trades)


def test_a_study_that_was_cut_off_goes_on(spot: Research, report: robust.Report, tmp_path: Path) -> None:
    class CutError(Exception):
        pass

    def cut(done: int, total: int, note: str = "") -> None:
        if note == "delay":
            raise CutError

    with pytest.raises(CutError):
        robust.study(spot.bundle, spot.panel, trade=TRADE, settings=SMALL, folder=tmp_path, progress=cut)
    kept = sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert kept
    stamps = {name: (tmp_path / "cells" / name).stat().st_mtime_ns for name in kept}
    found = robust.study(spot.bundle, spot.panel, trade=TRADE, settings=SMALL, folder=tmp_path, trials=3)
    assert found.to_dict() == report.to_dict()
    assert stamps == {name: (tmp_path / "cells" / name).stat().st_mtime_ns for name in kept}


def test_parameters_stay_within_the_rules_and_come_once() -> None:
    base = scenarios.base(RuleSettings(entry_rank=0.51, exit_rank=0.5), 0.001, 0.0, 0.99)
    found = list(scenarios.parameters(base, RobustSettings(draws=100, reach=0.3)))
    keys = [(one.rules, one.stop, one.size) for one in found]
    assert len(set(keys)) == len(keys) and (base.rules, 1.0, 1.0) not in keys
    assert len({one.name for one in found}) == len(found)
    other = list(scenarios.parameters(base, RobustSettings(draws=100, reach=0.3, seed=1)))
    assert [one.rules for one in other] != [one.rules for one in found]
    drawn = np.array([one.stop for one in found if one.name.startswith("draw")])
    assert 0.5 <= drawn.min() < 0.6 and 1.7 < drawn.max() <= 2.0


def test_starts_beyond_a_third_are_left_out() -> None:
    base = scenarios.base(RuleSettings(), 0.001, 0.0, 0.99)
    found = scenarios.starts(base, RobustSettings(starts=(1, 10, 11)), Timeframe(86_400), 30)
    assert [one.start for one in found] == [1, 10]


def test_histories_have_the_moments_of_the_trades() -> None:
    rng = np.random.default_rng(0)
    earned = rng.normal(0.002, 0.01, 400)
    found = histories.resample(earned, histories=4_000, block=1, seed=1)
    assert found is not None and found.trades == 400
    logs = np.log1p(found.total)
    expected = np.log1p(earned)
    assert logs.mean() == pytest.approx(expected.sum(), abs=4 * expected.std() * np.sqrt(400 / 4_000))
    assert logs.std() == pytest.approx(expected.std() * np.sqrt(400), rel=0.06)
    same = histories.resample(earned, histories=4_000, block=1, seed=1)
    assert same is not None and (same.total == found.total).all()
    assert (found.drawdown >= 0).all() and (found.drawdown < 1).all()
    assert found.without_best < np.expm1(expected.sum())


def test_blocks_keep_what_neighbours_share() -> None:
    """Losses come in runs: long blocks show deeper falls than single trades."""
    earned = np.where(np.arange(600) % 60 < 20, -0.01, 0.007)
    single = histories.resample(earned, histories=1_000, block=1, seed=2)
    runs = histories.resample(earned, histories=1_000, block=30, seed=2)
    assert single is not None and runs is not None
    assert np.median(runs.drawdown) > 1.3 * np.median(single.drawdown)


def test_too_few_trades_are_unknown_and_nonsense_is_refused() -> None:
    assert histories.resample(np.full(9, 0.01), histories=100, block=None, seed=0) is None
    with pytest.raises(ConfigError):
        histories.resample(np.full(20, -1.5), histories=100, block=None, seed=0)


def cell(test: str, name: str = "one", **changes: object) -> Cell:
    plain: dict[str, object] = {
        "test": test, "name": name, "total": 0.5, "cagr": 0.5, "sharpe": 2.0, "max_drawdown": 0.1,
        "turnover": 1.0, "costs": 0.1, "trades": 100,
        "scenario": {"fee": 0.001, "slippage": 0.0, "delay": 1},
    }  # fmt: skip
    return Cell(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("level", "outcome"), [(0.0025, "passes"), (0.0015, "fragile"), (0.0009, "fails")])
def test_costs_are_judged_by_where_nothing_is_left(level: float, outcome: str) -> None:
    grid = [
        cell("costs", total=level - cost, scenario={"fee": cost, "slippage": 0.0})
        for cost in (0.0, 0.0005, 0.001, 0.002, 0.003)
    ]
    found = verdict.costs(grid, cell("base"), RobustSettings().limits)
    assert found.outcome == outcome and found.measure == pytest.approx(level / 0.001)
    assert f"{level:.2%} a side" in found.reason


@pytest.mark.parametrize(("good", "outcome"), [(9, "passes"), (6, "fragile"), (4, "fails")])
def test_parameters_are_judged_by_who_keeps_half(good: int, outcome: str) -> None:
    cells = [cell("parameters", str(i), sharpe=1.1 if i < good else 0.2) for i in range(10)]
    found = verdict.kept("parameters", cells, cell("base"), RobustSettings().limits.plateau)
    assert found.outcome == outcome and "worst" in found.reason


@pytest.mark.parametrize(("left", "outcome"), [(1.2, "passes"), (0.4, "fragile"), (-0.1, "fails")])
def test_a_delay_is_judged_by_the_first_candle(left: float, outcome: str) -> None:
    cells = [
        cell("delay", "1 late", sharpe=left),
        cell("delay", "6 late", sharpe=-5.0, scenario={"delay": 6}),
    ]
    assert verdict.delayed(cells, cell("base"), RobustSettings().limits).outcome == outcome


def test_slices_say_which_part_is_worst() -> None:
    parts = [verdict.Slice("up", 0.7, 0.3, 2.0), verdict.Slice("down", 0.3, -0.1, -1.0)]
    found = verdict.slices("market regimes", parts, (0.2, 0.5))
    assert found.outcome == "fragile" and "worst: down, -10.0%" in found.reason
    assert verdict.slices("market regimes", parts[:1], (0.2, 0.5)).outcome == "unknown"


def test_freqtrade_must_confirm() -> None:
    limits = RobustSettings().limits

    def point(name: str, sharpe: float, total: float = 0.2) -> Point:
        return Point(name, total, 0.1, sharpe, 0.1, 50, ())  # type: ignore[arg-type]

    assert verdict.freqtrade([point("base", 1.8)], cell("base"), limits).outcome == "passes"
    assert verdict.freqtrade([point("base", 0.4)], cell("base"), limits).outcome == "fragile"
    assert verdict.freqtrade([point("base", -0.4)], cell("base"), limits).outcome == "fails"
    harsh = [point("base", 1.8), point("costs", -0.5, -0.1)]
    assert verdict.freqtrade(harsh, cell("base"), limits).outcome == "fragile"


def test_a_losing_base_fails_everything(spot: Research) -> None:
    dear = TradeSettings(fee=0.05, slippage=0.0)
    found = robust.study(spot.bundle, spot.panel, trade=dear, settings=SMALL)
    assert found.base.total is not None and found.base.total < 0
    assert {one.outcome for one in found.verdicts} == {"fails"} and found.outcome == "fails"
    assert "nothing to keep" in found.verdicts[0].reason


def test_the_page_shows_every_verdict(report: robust.Report, tmp_path: Path) -> None:
    from bascule.app.robustpage import robust_page

    page = robust_page(report, source="a test", trade=TRADE, synthetic=True)
    page.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    for one in report.verdicts:
        assert one.outcome in text and one.test in text
    assert "Synthetic market" in text and f"{report.scenarios:,}" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_key_points_go_through_freqtrade_once(spot: Research, tmp_path: Path) -> None:
    """The real thing agrees with the simulator, harsh costs hurt, and a second study runs nothing."""
    from bascule.bridge.freqtrade import run

    trade = TradeSettings(fee=0.001, slippage=0.0005)
    job = run.Job(spot.bundle, tmp_path / "unused", spot.datadir, trade, timeout=300)
    settings = SMALL.model_copy(update={"keypoints": ("base", "delay")})
    found = robust.study(
        spot.bundle, spot.panel, trade=trade, settings=settings, job=job, folder=tmp_path / "study"
    )
    base, late = found.points
    assert found.base.total is not None and base.total is not None
    assert base.total == pytest.approx(found.base.total, abs=0.05)
    assert base.trades == pytest.approx(found.base.trades, rel=0.05)
    assert len(base.earned) == base.trades and late.total != base.total
    assert found.resampled == "freqtrade" and found.histories is not None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*.zip")}
    again = robust.study(
        spot.bundle, spot.panel, trade=trade, settings=settings, job=job, folder=tmp_path / "study"
    )
    assert again.to_dict() == found.to_dict()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*.zip")}
