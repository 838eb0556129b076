"""What a health check says: the severity, the thresholds, one issue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from pydantic import Field, field_validator

from bascule.core import Settings
from bascule.data.rows import nanoseconds

Grade = Literal["ignore", "info", "warning", "error"]
ERROR_KINDS = (
    "unsorted",
    "duplicates",
    "off_grid",
    "timeframe",
    "not_finite",
    "non_positive",
    "negative_volume",
    "impossible",
    "early",
)
"""What no market can do; the store refuses such candles (but `early`, which is not in the candle itself)."""
KINDS = (
    *ERROR_KINDS,
    "gaps",
    "zero_volume",
    "stuck",
    "spike",
    "jump",
    "volume_spike",
    "volume_drop",
    "volume_level",
    "listed",
    "delisted",
    "relisted",
    "migration",
    "redenomination",
    "multiplier",
    "funding_absent",
    "funding_gaps",
    "late",
    "restated",
    "backfilled",
    "venue_disagreement",
    "venue_mismatch",
    "silent",
)
"""Every name that an issue can have; `silent` (no candle came) is told by the live validator alone."""


class Severity(IntEnum):
    """How bad an issue is."""

    INFO = 1
    WARNING = 2
    ERROR = 3


class HealthSettings(Settings):
    """Thresholds of the checks."""

    spike_mads: float = Field(
        default=25,
        gt=0,
        description="a log return is a spike beyond this many 1.4826 MAD",
    )
    spike_move: float = Field(default=0.1, ge=0, description="and beyond this absolute log return")
    reversal: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="a spike is isolated when the next candle undoes this share",
    )
    stuck_bars: int = Field(default=24, ge=2, description="candles at one price that count as stuck")
    zero_volume_share: float = Field(
        default=0.01, ge=0, le=1, description="share of candles without trade from which it is a warning"
    )
    gap_share: float = Field(
        default=0.01, ge=0, le=1, description="share of missing candles from which gaps are a warning"
    )
    funding_hours: int = Field(default=8, ge=1, le=24, description="longest regular time between rates")
    volume_bars: int = Field(default=168, ge=10, description="candles whose median volume is the usual one")
    volume_mads: float = Field(
        default=12, gt=0, description="a log dollar volume is odd beyond this many 1.4826 MAD from the usual"
    )
    volume_times: float = Field(default=30, gt=1, description="and beyond this many times, or parts, of it")
    volume_level_times: float = Field(
        default=100, gt=1, description="change of the usual volume from one block to the next that is odd"
    )
    listing_hours: int = Field(
        default=72, ge=1, description="hours without a candle that count as delisted, or not yet listed"
    )
    relisting_move: float = Field(
        default=0.7, gt=0, description="log price change over such hours from which it is another coin"
    )
    redenomination_slack: float = Field(
        default=0.15, gt=0, lt=1, description="how far from a power of ten the step between candles may be"
    )
    late_seconds: float = Field(
        default=300, ge=0, description="time after its close by which a candle is due"
    )
    restated_share: float = Field(
        default=1e-6, ge=0, lt=1, description="relative change of a stored value that is none"
    )
    venue_move: float = Field(
        default=0.03, gt=0, description="log distance from the other venues that is disagreement"
    )
    venue_mads: float = Field(
        default=15, gt=0, description="and beyond this many 1.4826 MAD of the usual distance"
    )
    severity: Mapping[str, Grade] = Field(
        default={}, description="kind of issue → another severity than the usual one, or ignore"
    )
    quarantine: tuple[str, ...] = Field(
        default=(
            *ERROR_KINDS,
            *("stuck", "spike", "jump", "volume_level", "migration", "redenomination"),
            *("late", "restated", "venue_disagreement", "venue_mismatch", "silent"),
        ),
        description="kinds of issues that make an instrument untradable until it is clean",
    )
    clean_bars: int = Field(
        default=3, ge=1, description="candles without such an issue after which it is clean again"
    )

    @field_validator("severity", "quarantine")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        for name in value:
            if name not in KINDS:
                raise ValueError(f"{name!r} is no kind of issue; known: {', '.join(KINDS)}")
        return value

    def grade(self, name: str, usual: Severity) -> Severity | None:
        """The severity of a kind after the settings; None = not wanted."""
        told = self.severity.get(name)
        if told is None:
            return usual
        return None if told == "ignore" else Severity[told.upper()]


@dataclass(frozen=True)
class Issue:
    """One kind of trouble in one instrument.

    Attributes:
        name: kind, e.g. ``gaps``.
        severity: how bad.
        instrument: store id.
        count: rows (for gaps and stuck prices: runs) concerned.
        first: time of the first, UTC text.
        last: time of the last (of a run: its last candle), UTC text.
        example: the first one, with its values.
    """

    name: str
    severity: Severity
    instrument: str
    count: int
    first: str
    last: str
    example: str

    @property
    def newest(self) -> int:
        """`last` in ns since 1970."""
        return nanoseconds(self.last)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the severity by name."""
        return {**self.__dict__, "severity": self.severity.name.lower()}
