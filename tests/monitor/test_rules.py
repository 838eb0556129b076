"""The state machine: hysteresis, readings in a row, cool-down, absence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.core import ConfigError
from bascule.monitor.rules import Rule, RuleBook, State, step, wait
from bascule.monitor.samples import METRICS, Sample

START = datetime(2026, 1, 1, tzinfo=UTC)
METRIC = "book.var_use"


def rule(**values: object) -> Rule:
    return Rule.read({"name": "r", "metric": METRIC, **values})


def play(one: Rule, values: list[float], minutes: float = 60.0) -> list[tuple[int, str]]:
    state, turns = State(), []
    for number, value in enumerate(values):
        at = START + number * timedelta(minutes=minutes)
        state, turn = step(one, state, Sample(METRIC, "", at, value, 1.0, 3.0))
        if turn:
            turns.append((number, turn))
    return turns


def test_values_between_threshold_and_clear_change_nothing() -> None:
    one = rule(above=1.0, clear=0.5)
    assert play(one, [0.9, 1.1, 0.9, 1.2, 0.6, 0.5, 0.9, 1.01]) == [
        (1, "fired"),
        (5, "cleared"),
        (7, "fired"),
    ]


def test_without_hysteresis_noise_fires_again_and_again() -> None:
    assert len(play(rule(above=1.0), [1.1, 0.9, 1.1, 0.9])) == 4


def test_it_takes_readings_in_a_row() -> None:
    assert play(rule(above=1.0, readings=3), [2, 2, 0, 2, 2, 2, 2]) == [(5, "fired")]


def test_a_cool_down_holds_the_next_firing_back_but_not_for_ever() -> None:
    one = rule(above=1.0, cool_down="5h")
    assert play(one, [2, 0, 2, 2, 2, 2, 2]) == [(0, "fired"), (1, "cleared"), (5, "fired")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"below": "low", "clear": "middle"}, [(1, "fired"), (3, "cleared")]), ({"above": "high"}, [])],
)
def test_thresholds_may_be_the_interval_of_the_value(values: dict[str, str], expected: list[object]) -> None:
    assert play(rule(**values), [1.5, 0.9, 1.9, 2.0]) == expected


def test_a_value_without_interval_fires_no_rule_on_it() -> None:
    state, turn = step(rule(below="low"), State(), Sample(METRIC, "", START, -9.0))
    assert turn is None and not state.firing


def test_reading_again_changes_nothing() -> None:
    one = rule(above=1.0)
    first = Sample(METRIC, "", START, 2.0)
    state, turn = step(one, State(), first)
    assert turn == "fired"
    assert step(one, state, first) == (state, None)


def test_absence_fires_once_and_the_next_value_ends_it() -> None:
    one = rule(absent="10m")
    state, _ = step(one, State(), Sample(METRIC, "", START, 1.0))
    state, turn = wait(one, state, START + timedelta(minutes=9))
    assert turn is None
    state, turn = wait(one, state, START + timedelta(minutes=10))
    assert turn == "fired"
    assert wait(one, state, START + timedelta(minutes=50))[1] is None
    state, turn = step(one, state, Sample(METRIC, "", START + timedelta(minutes=60), 1.0))
    assert turn == "cleared" and not state.firing


def test_who_was_never_seen_is_not_absent() -> None:
    assert wait(rule(absent="10m"), State(), START) == (State(), None)


@given(st.lists(st.floats(-2, 2), max_size=60), st.floats(-1, 0), st.integers(1, 4))
def test_firings_and_clearings_alternate(values: list[float], clear: float, readings: int) -> None:
    turns = [turn for _, turn in play(rule(above=1.0, clear=clear, readings=readings), values)]
    assert turns == (["fired", "cleared"] * len(turns))[: len(turns)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metric": "nonsense", "above": 1}, "unknown metric"),
        ({}, "exactly one"),
        ({"above": 1, "below": 0}, "exactly one"),
        ({"above": 1, "clear": 2}, "beyond the threshold"),
        ({"absent": "5x"}, "30s, 5m"),
        ({"above": 1, "actions": ["explode"]}, "halt"),
        ({"above": 1, "actions": [{"do": "switch_venue", "bot": "a"}]}, "takes over"),
        ({"above": 1, "actions": ["job"]}, "name the job"),
        ({"above": 1, "thresold": 2}, "unknown key"),
    ],
)
def test_a_wrong_rule_is_one_clear_error(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RuleBook.read({"rules": [{"name": "r", "metric": METRIC, **values}]})


def test_names_are_unique() -> None:
    one = {"name": "r", "metric": METRIC, "above": 1}
    with pytest.raises(ConfigError, match="doubled: r"):
        RuleBook.read({"rules": [one, one]})


def test_a_sample_is_checked() -> None:
    for wrong in (
        ("no.such", START, 1.0),
        (METRIC, START.replace(tzinfo=None), 1.0),
        (METRIC, START, float("nan")),
    ):
        with pytest.raises(ConfigError):
            Sample(wrong[0], "", wrong[1], wrong[2])
    assert len({metric.prometheus for metric in METRICS.values()}) == len(METRICS)
