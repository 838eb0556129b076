"""Rules: when a measure means something, by a state machine that touches nothing.

For each rule and subject, sample by sample, in the order of time:

1. A sample that is not newer than the last one is left out: reading history twice changes nothing.
2. While the rule rests, every value beyond the threshold counts; `readings` of them in a row and a
   cool-down that is over make it fire.
3. While it fires, it goes on until a value is back beyond `clear` (hysteresis): values between the two
   neither fire nor clear, so that noise around a threshold is one event.
4. A rule may also wait for what does not come: `absent` fires when a subject that was seen has no sample for
   so long, and clears with the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from bascule.core import Settings
from bascule.monitor.samples import METRICS, Sample

AHEAD = timedelta(seconds=60)  # samples of other machines may be this far ahead of our clock
Level = Literal["info", "warning", "critical"]
End = Literal["low", "middle", "high"]
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.strip())
        if not match:
            raise ValueError("write a time such as 30s, 5m, 12h or 2d")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, description="seconds, or 30s, 5m, 12h")]


class ActionSettings(Settings):
    """What is done when a rule fires."""

    do: Literal["alert", "halt", "hedge", "flatten", "reduce", "rotate", "retrain", "switch_venue", "job"] = (
        Field(description="the action")
    )
    bot: str = Field(default="*", description="which bots: a name, or * for all (of a bot's own metric: it)")
    share: float = Field(default=0.5, gt=0, lt=1, description="reduce: share of each position that is sold")
    to: str = Field(default="", description="switch_venue: the bot that takes over")
    job: str = Field(default="", description="job, retrain, rotate: name of the job; default that of `do`")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.do == "switch_venue" and (not self.to or self.bot == "*"):
            raise ValueError("switch_venue needs `bot`, which stops, and `to`, which takes over")
        if self.do == "job" and not self.job:
            raise ValueError("name the job")
        return self


class Rule(Settings):
    """One rule."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="unique name")
    metric: str = Field(description="what is watched")
    subject: str = Field(default="*", description="of whom: a pattern such as BTC* or main")
    above: float | End | None = Field(
        default=None, description="fires above this: a number, or an end of the value's own interval"
    )
    below: float | End | None = Field(default=None, description="fires below this")
    absent: Duration | None = Field(default=None, description="fires when no value comes for so long")
    clear: float | End | None = Field(
        default=None, description="is over when the value is back beyond this; default the threshold"
    )
    readings: int = Field(default=1, ge=1, description="values in a row that make it fire")
    cool_down: Duration = Field(default=0.0, description="least time between two firings of a subject")
    level: Level = Field(default="warning", description="how bad it is")
    actions: tuple[ActionSettings, ...] = Field(
        default=(ActionSettings(do="alert"),), description="what is done; always journalled"
    )
    text: str = Field(default="", description="what it means, for the message")

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(f"unknown metric; known: {', '.join(METRICS)}")
        return value

    @field_validator("actions", mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return [{"do": one} if isinstance(one, str) else one for one in value]
        return value

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [name for name in ("above", "below", "absent") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of above, below, absent (given: {', '.join(given) or 'none'})"
            )
        if self.clear is not None and self.absent is not None:
            raise ValueError("absent clears with the next value: leave clear out")
        limit = self.threshold
        if isinstance(limit, float) and isinstance(self.clear, float):
            inside = self.clear <= limit if self.above is not None else self.clear >= limit
            if not inside:
                raise ValueError(f"clear {self.clear:g} lies beyond the threshold {limit:g}")
        return self

    def watches(self, metric: str, subject: str) -> bool:
        """Whether it looks at such samples."""
        return metric == self.metric and fnmatchcase(subject, self.subject)

    @property
    def threshold(self) -> float | End | None:
        """`above` or `below`, whichever is given."""
        return self.above if self.above is not None else self.below

    def beyond(self, one: Sample) -> bool:
        """Whether a sample is past the threshold; False where the sample lacks the interval asked for."""
        at = self.limit(one)
        if at is None:
            return False
        return one.value > at if self.above is not None else one.value < at

    def over(self, one: Sample) -> bool:
        """Whether a sample ends what fires; False where the sample lacks the interval asked for."""
        at = _end(one, self.clear if self.clear is not None else self.threshold)
        if at is None:
            return False
        return one.value <= at if self.above is not None else one.value >= at

    def limit(self, one: Sample) -> float | None:
        """The threshold as a number."""
        return _end(one, self.threshold)


class RuleBook(Settings):
    """All rules of a file."""

    rules: tuple[Rule, ...] = Field(default=(), description="the rules")

    @field_validator("rules")
    @classmethod
    def _named_once(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in value]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"rule names must be unique; doubled: {', '.join(doubled)}")
        return value


@dataclass(frozen=True)
class State:
    """Where a rule stands with a subject.

    Attributes:
        count: values in a row beyond the threshold.
        firing: it has fired and is not over.
        fired: time of the last firing.
        at: time of the last sample.
        value: of that sample.
    """

    count: int = 0
    firing: bool = False
    fired: datetime | None = None
    at: datetime | None = None
    value: float = 0.0


Turn = Literal["fired", "cleared"]


def step(rule: Rule, state: State, one: Sample) -> tuple[State, Turn | None]:
    """The state after a sample, and whether the rule fired or cleared with it."""
    if state.at is not None and one.at <= state.at:
        return state, None
    seen = replace(state, at=one.at, value=one.value)
    if rule.absent is not None:
        return (replace(seen, firing=False), "cleared") if state.firing else (seen, None)
    if state.firing:
        if rule.over(one):
            return replace(seen, firing=False, count=0), "cleared"
        return seen, None
    if not rule.beyond(one):
        return replace(seen, count=0), None
    count = state.count + 1
    if count >= rule.readings and _cool(rule, state, one.at):
        return replace(seen, count=count, firing=True, fired=one.at), "fired"
    return replace(seen, count=count), None


def wait(rule: Rule, state: State, now: datetime) -> tuple[State, Turn | None]:
    """The state when nothing came until ``now``; only `absent` rules can fire so."""
    if rule.absent is None or state.firing or state.at is None:
        return state, None
    due = state.at + timedelta(seconds=rule.absent)
    if now < due or not _cool(rule, state, now):
        return state, None
    return replace(state, firing=True, fired=now), "fired"


def behind(state: State, now: datetime) -> State:
    """A state none of whose times is ahead of the clock: those that are come from one that was set back.

    They become just before ``now``, so that the next sample counts.
    """
    latest = now - timedelta(microseconds=1)

    def held(at: datetime | None) -> datetime | None:
        return latest if at is not None and at > now + AHEAD else at

    return replace(state, at=held(state.at), fired=held(state.fired))


def later(state: State, by: float) -> State:
    """A state whose last sample came so many seconds later."""
    return state if state.at is None else replace(state, at=state.at + timedelta(seconds=by))


def describe(rule: Rule, one: Sample) -> str:
    """The finding in a sentence."""
    whose = f" of {one.subject}" if one.subject else ""
    side = "above" if rule.above is not None else "below"
    limit = rule.limit(one)
    found = (
        f"{rule.metric}{whose} is {one.value:.6g}, {side} {limit:.6g}" if limit is not None else rule.metric
    )
    return f"{found}: {rule.text}" if rule.text else found


def _cool(rule: Rule, state: State, now: datetime) -> bool:
    return state.fired is None or now - state.fired >= timedelta(seconds=rule.cool_down)


def _end(one: Sample, limit: float | End | None) -> float | None:
    if limit is None or isinstance(limit, float):
        return limit
    ends: Mapping[str, float | None] = {"low": one.low, "high": one.high, "middle": None}
    if limit == "middle" and one.low is not None and one.high is not None:
        return (one.low + one.high) / 2.0
    return ends[limit]
