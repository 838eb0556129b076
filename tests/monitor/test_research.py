"""What is measured from candles and bundle, live and in rehearsal, and that nothing looks ahead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from bascule.data.store import Store
from bascule.evaluate import forward_return, ic_series
from bascule.monitor.journal import Journal
from bascule.monitor.replay import replay
from bascule.monitor.rotation import has_decayed, rotate
from bascule.monitor.rules import Rule
from bascule.monitor.samples import Sample, aware, naive
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings, ResearchSettings
from bascule.monitor.sources.research import Research, expected, grid, mean_correlation
from tests.bridge.research import build

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("research")
    build(folder, "spot")
    yield folder


def settings(**values: object) -> ResearchSettings:
    given = {"store": "store", "bundles": "bundles", "recent_days": 7, "reference_days": 20, **values}
    return ResearchSettings.read({"tail": {"window": 50}, **given})


def last(home: Path) -> datetime:
    return aware(Store.open(home / "store").span("1h")[1]) + timedelta(hours=1)


@pytest.fixture(scope="module")
def week(home: Path) -> list[Sample]:
    end = last(home)
    return Research(settings(), home).read(end - 7 * DAY, end)


def test_every_measure_is_taken_each_day(home: Path, week: list[Sample]) -> None:
    days = {one.at for one in week}
    assert len(days) == 7 and max(days) <= last(home)
    metrics = {one.metric for one in week if one.at == max(days)}
    assert metrics >= {
        "ic.pearson", "ic.rank", "factor.rank_ic", "factor.decayed", "crowding.comomentum", "drift.features",
        "drift.feature", "drift.predictions", "book.gross", "book.net", "book.largest", "book.beta",
        "book.var", "book.var_use",
    }  # fmt: skip
    factors = {one.subject for one in week if one.metric == "factor.rank_ic"}
    assert factors == {"momentum", "reversal", "range", "flow", "gap"}


def test_the_rank_ic_is_the_mean_of_rows_whose_label_was_known(home: Path, week: list[Sample]) -> None:
    view = Research(settings(), home).view(last(home), last(home))
    horizon, bar = view.bundle.spec.horizon, np.timedelta64(1, "h")
    at = max(one.at for one in week)
    time = view.panel.time
    rows = (time >= naive(at - 7 * DAY)) & (time + (horizon + 2) * bar <= naive(at))
    series = ic_series(view.alpha, forward_return(view.panel, horizon), view.panel.members, rank=True)
    (found,) = [one for one in week if one.metric == "ic.rank" and one.at == at]
    assert found.value == pytest.approx(np.nanmean(series[rows]), abs=1e-9)
    assert found.low is not None and found.high is not None and found.low < found.high


def test_later_candles_change_nothing(home: Path, week: list[Sample], tmp_path: Path) -> None:
    """Law: a store that ends at a time gives the same samples up to it."""
    end = sorted({one.at for one in week})[3]
    whole = Store.open(home / "store")
    short = Store.create(tmp_path / "store")
    short.write(whole.frame("1h", end=naive(end)), "1h")
    short.build_provider("1h")
    (tmp_path / "bundles").symlink_to(home / "bundles")
    alone = Research(settings(), tmp_path).read(last(home) - 7 * DAY, end)
    known = [one for one in week if one.at <= end]
    assert {(o.metric, o.subject, o.at) for o in alone} == {(o.metric, o.subject, o.at) for o in known}
    for mine, other in zip(sorted(alone, key=_place), sorted(known, key=_place), strict=True):
        for name in ("value", "low", "high"):
            found, wanted = getattr(mine, name), getattr(other, name)
            assert (found is None) is (wanted is None), mine
            assert found is None or found == pytest.approx(wanted, rel=1e-6, abs=1e-9), mine


def _place(one: Sample) -> tuple[object, ...]:
    return one.at, one.metric, one.subject


def test_day_by_day_is_the_same_as_the_week_at_once(home: Path, week: list[Sample]) -> None:
    end = last(home)
    research = Research(settings(), home)
    (today,) = {one.at for one in research.read(end - DAY, end)}
    one_by_one = [one for one in research.read(end - DAY, end) if one.metric == "ic.rank"]
    assert one_by_one[0].value == next(o.value for o in week if o.metric == "ic.rank" and o.at == today)
    assert research.read(end, end) == []


def test_a_rehearsal_shows_what_would_have_been_done(week: list[Sample]) -> None:
    values = sorted((one.at, one.value) for one in week if one.metric == "ic.rank")
    limit = sorted(value for _, value in values)[3]
    rule = {"name": "ranks", "metric": "ic.rank", "below": limit, "actions": ["alert", "retrain"]}
    found = replay(week, (Rule.read(rule),))
    below = [value < limit for _, value in values]
    begins = sum(now and not before for now, before in zip(below, [False, *below[:-1]], strict=True))
    assert sum(event.kind == "fired" for event in found.events) == begins == len(found.actions) > 0
    assert {action.status for action in found.actions} == {"planned"}
    again = replay(reversed(week), (Rule.read(rule),))
    assert [event.text for event in again.events] == [event.text for event in found.events]


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Means of 60 autocorrelated values after 400 earlier ones, 600 times."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((600, 461))
    series = noise[:, 1:] + 0.5 * noise[:, :-1]
    inside = 0
    for one in series:
        value, low, high = expected(one[:400], one[400:], horizon=3, level=0.9)
        assert low is not None and high is not None
        inside += low <= value <= high
    assert 0.85 < inside / 600 < 0.94


def test_too_little_history_gives_no_interval() -> None:
    assert expected(np.ones(5), np.ones(5), 1, 0.95) == (1.0, None, None)
    assert np.isnan(expected(np.ones(50), np.full(3, np.nan), 1, 0.95)[0])


def test_mean_correlation_is_that_of_the_pairs() -> None:
    rng = np.random.default_rng(1)
    returns = rng.standard_normal((300, 6)) + 0.7 * rng.standard_normal((300, 1))
    table = np.corrcoef(returns.T)
    assert mean_correlation(returns) == pytest.approx(table[np.triu_indices(6, 1)].mean(), abs=1e-12)
    assert np.isnan(mean_correlation(returns[:, :1]))


def test_the_grid_is_absolute() -> None:
    start = datetime(2026, 1, 1, 5, 30, tzinfo=UTC)
    assert grid(None, start, 86_400) == [start.replace(hour=0, minute=0)]
    assert [at.hour for at in grid(start, start + timedelta(hours=4), 7_200)] == [6, 8]


@pytest.mark.parametrize(
    ("value", "low", "high", "gone"),
    [(0.0, 0.01, 0.05, True), (0.02, 0.01, 0.05, False), (0.06, 0.01, 0.05, False), (0.0, -0.05, -0.01, True),
     (-0.09, -0.05, -0.01, False), (0.0, None, None, False)],
)  # fmt: skip
def test_decay_is_towards_nothing(value: float, low: float | None, high: float | None, gone: bool) -> None:
    assert has_decayed(value, low, high) is gone


def test_rotation_replaces_what_decayed_by_what_holds(home: Path, tmp_path: Path) -> None:
    database = Database(None)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    journal = Journal(database)
    journal.take(
        [
            Sample("factor.rank_ic", "momentum", at, 0.0, 0.02, 0.06),
            Sample("factor.rank_ic", "flow", at - DAY, 0.0, 0.02, 0.06),
            Sample("factor.rank_ic", "flow", at, 0.03, 0.02, 0.06),
        ],
        now=at,
    )
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"turn": "Rank($close, 24)", "again": "$volume"}))
    given = {"home": str(home), "research": settings().model_dump(mode="json")}
    act = {"candidates": str(tmp_path / "more.yaml")}
    found = rotate(MonitorSettings.read({**given, "act": act}), database)
    assert found.out == ("momentum",) and len(found.come) <= 1
    names = [one["name"] for one in found.factors]
    assert names[:4] == ["reversal", "range", "flow", "gap"] and "momentum" not in names
    assert set(names[4:]) == set(found.come)
