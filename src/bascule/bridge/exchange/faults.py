"""The fault plan: what goes wrong, when, and how often. Written in YAML, the same every time.

.. code-block:: yaml

    seed: 7
    faults:
      - {kind: outage, start: 2024-03-01T10:00, end: 2024-03-01T10:05}
      - {kind: latency, seconds: 0.4, probability: 0.1}
      - {kind: status, status: 429, retry_after: 5, probability: 0.02, paths: ["*/klines"]}
      - {kind: lost_reply, probability: 0.05, methods: [POST], paths: ["*/order"]}
      - {kind: delisting, symbols: [XRPUSDT], start: 2024-03-02}

Every fault has a window of the exchange's time (open-ended where not set) and filters; faults of requests
have a probability. Chance is drawn from the seed, the fault's place in the plan, the endpoint, the symbol,
and how often that was asked before: so it does not depend on how requests of different endpoints mix.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from bascule.core import Panel, Settings, moment, yaml_mapping

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Fault(Settings):
    """What all faults share."""

    start: datetime | None = Field(default=None, description="first moment (UTC); default from the beginning")
    end: datetime | None = Field(default=None, description="first moment after it (UTC); default for ever")
    symbols: tuple[str, ...] = Field(default=(), description="exchange symbols such as BTCUSDT; default all")

    @model_validator(mode="after")
    def _ordered(self) -> Fault:
        if self.start and self.end and _utc(self.start) >= _utc(self.end):
            raise ValueError("a fault must start before it ends")
        return self

    def covers(self, now: int, symbol: str | None = None) -> bool:
        """Whether it holds at a moment (Unix milliseconds) for a symbol."""
        if (self.start and now < unix_ms(self.start)) or (self.end and now >= unix_ms(self.end)):
            return False
        return not self.symbols or symbol in self.symbols


class RequestFault(Fault):
    """What happens to requests."""

    probability: float = Field(default=1.0, ge=0, le=1, description="chance that a request meets it")
    paths: tuple[str, ...] = Field(default=(), description="patterns of paths such as */klines; default all")
    methods: tuple[Method, ...] = Field(default=(), description="default all")


class Outage(RequestFault):
    """The connection is closed without an answer; websockets too."""

    kind: Literal["outage"]


class Latency(RequestFault):
    """The answer comes late, in real seconds."""

    kind: Literal["latency"]
    seconds: float = Field(gt=0, le=600, description="least delay")
    jitter: float = Field(default=0.0, ge=0, le=600, description="up to so much more, drawn evenly")


class HttpStatus(RequestFault):
    """An error answer: 429 and 418 (with Retry-After), 403, 5xx. The request is not carried out."""

    kind: Literal["status"]
    status: Literal[403, 418, 429, 500, 502, 503, 504] = Field(description="HTTP status")
    retry_after: int | None = Field(
        default=None, ge=0, le=86_400, description="seconds; default 1 for 429 and 418"
    )


class LostReply(RequestFault):
    """The request *is* carried out, but its answer is lost: where duplicate orders come from."""

    kind: Literal["lost_reply"]
    answer: Literal["close", "504"] = Field(
        default="close", description="close the connection, or answer 504"
    )


class Reject(RequestFault):
    """An order is refused with an error of Binance's."""

    kind: Literal["reject"]
    code: int = Field(default=-1015, lt=0, description="Binance's error code")
    message: str = Field(default="Too many new orders.", min_length=1, description="its text")


class StaleCandles(RequestFault):
    """Candles end some candles ago, as if the exchange were late."""

    kind: Literal["stale_candles"]
    candles: int = Field(default=1, ge=1, le=1_000, description="how many are missing at the end")


class DuplicateCandles(RequestFault):
    """The last candle comes twice."""

    kind: Literal["duplicate_candles"]


class ClockSkew(Fault):
    """The exchange's own time is off: its time endpoint, and how it judges signed requests."""

    kind: Literal["clock_skew"]
    seconds: float = Field(ge=-86_400, le=86_400, description="what is added to its time")


class Disconnect(RequestFault):
    """Websockets are closed: each connection, at each round of messages, with the probability."""

    kind: Literal["disconnect"]


class Spike(Fault):
    """A wick: the candles of the window reach ``factor`` times their open, and come back."""

    kind: Literal["spike"]
    factor: float = Field(gt=0, le=100, description="above 1 a new high, below 1 a new low")

    @model_validator(mode="after")
    def _bounded(self) -> Spike:
        if self.start is None or self.end is None:
            raise ValueError("a spike needs start and end")
        return self


class Delisting(Fault):
    """From ``start`` on the symbols are gone: no candles, orders expire, positions are settled."""

    kind: Literal["delisting"]

    @model_validator(mode="after")
    def _named(self) -> Delisting:
        if self.start is None or not self.symbols or self.end is not None:
            raise ValueError("a delisting needs start and symbols, and has no end")
        return self


AnyFault = Annotated[
    Outage
    | Latency
    | HttpStatus
    | LostReply
    | Reject
    | StaleCandles
    | DuplicateCandles
    | ClockSkew
    | Disconnect
    | Spike
    | Delisting,
    Field(discriminator="kind"),
]


class FaultPlan(Settings):
    """Everything that goes wrong."""

    seed: int = Field(default=0, ge=0, description="of all chances")
    faults: tuple[AnyFault, ...] = Field(default=(), description="see the kinds above")

    @classmethod
    def load(cls, path: Path) -> FaultPlan:
        """Read a plan from YAML.

        Raises:
            ConfigError: the file is missing, no YAML, or not a plan.
        """
        return cls.read(yaml_mapping(path, remedy="begin with 'faults:'"), where=str(path))

    def halts(self) -> dict[str, int]:
        """Symbol → Unix milliseconds of its delisting."""
        found: dict[str, int] = {}
        for fault in self.faults:
            if isinstance(fault, Delisting) and fault.start is not None:
                for symbol in fault.symbols:
                    found[symbol] = min(unix_ms(fault.start), found.get(symbol, unix_ms(fault.start)))
        return found

    def spiked(self, panel: Panel, symbols: dict[str, int]) -> Panel:
        """The panel with the plan's wicks in it; ``symbols``: exchange symbol → column."""
        spikes = [fault for fault in self.faults if isinstance(fault, Spike)]
        if not spikes:
            return panel
        high, low = panel["high"].copy(), panel["low"].copy()
        for spike in spikes:
            assert spike.start is not None and spike.end is not None
            lo, hi = (moment(_utc(when)) for when in (spike.start, spike.end))
            # the candles that the window touches
            rows = (panel.time + panel.timeframe.delta > lo) & (panel.time < hi)
            for column in [symbols[s] for s in spike.symbols or symbols if s in symbols]:
                reach = (panel["open"][rows, column] * np.float32(spike.factor)).astype(np.float32)
                high[rows, column] = np.maximum(high[rows, column], reach)
                low[rows, column] = np.minimum(low[rows, column], reach)
        return panel.with_fields(high=high, low=low)


def _utc(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def unix_ms(when: datetime) -> int:
    """Unix milliseconds; naive times are UTC."""
    return round(_utc(when).timestamp() * 1_000)
