"""What the journal holds, as values: events, actions; and how they are made of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bascule.monitor.schema import time_of


@dataclass(frozen=True)
class Event:
    """Something that was found.

    Attributes:
        id: rising number.
        at: when.
        kind: ``fired``, ``cleared``, or ``action`` (one that failed for good).
        rule: name of the rule.
        subject: of whom.
        level: how bad.
        text: in a sentence.
        value: that it came from.
        closed: of a firing: when it was over; None = it still holds.
    """

    id: int
    at: datetime
    kind: str
    rule: str
    subject: str
    level: str
    text: str
    value: float
    closed: datetime | None = None


@dataclass(frozen=True)
class Action:
    """Something to do, or done.

    Attributes:
        id: rising number.
        key: the same for the same deed, whoever plans it.
        at: when it was planned.
        do: kind, as in `ActionSettings`.
        target: bot or job.
        arguments: further settings, and what the action itself noted.
        reason: the event in a sentence.
        status: ``planned``, ``done`` or ``failed``.
        outcome: what came of it.
        attempts: so far.
        tried: last attempt.
        ended: when it was done or given up.
    """

    id: int
    key: str
    at: datetime
    do: str
    target: str
    arguments: Mapping[str, Any]
    reason: str
    status: str
    outcome: str
    attempts: int
    tried: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class Taken:
    """What a `take` led to: the events and actions that are new."""

    events: tuple[Event, ...]
    actions: tuple[Action, ...]


def action_of(row: Mapping[Any, Any]) -> Action:
    """An action from its row."""
    return Action(
        row["id"], row["key"], _at(row["at"]), row["do"], row["target"], dict(row["arguments"]),
        row["reason"], row["status"], row["outcome"], row["attempts"], time_of(row["tried"]),
        time_of(row["ended"]),
    )  # fmt: skip


def event_of(row: Mapping[Any, Any]) -> Event:
    """An event from its row."""
    return Event(
        row["id"], _at(row["at"]), row["kind"], row["rule"], row["subject"], row["level"], row["text"],
        row["value"], time_of(row["closed"]),
    )  # fmt: skip


def _at(value: float) -> datetime:
    found = time_of(value)
    assert found is not None
    return found
