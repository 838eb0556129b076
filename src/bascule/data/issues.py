"""What a health check says: the severity, the thresholds, one issue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pydantic import Field

from bascule.core import Settings


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


@dataclass(frozen=True)
class Issue:
    """One kind of trouble in one instrument.

    Attributes:
        name: kind, e.g. ``gaps``.
        severity: how bad.
        instrument: store id.
        count: rows (for gaps and stuck prices: runs) concerned.
        first: time of the first, UTC text.
        last: time of the last, UTC text.
        example: the first one, with its values.
    """

    name: str
    severity: Severity
    instrument: str
    count: int
    first: str
    last: str
    example: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the severity by name."""
        return {**self.__dict__, "severity": self.severity.name.lower()}
