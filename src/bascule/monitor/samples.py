"""What is measured: the sample, and the catalogue of all metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from bascule.core import ConfigError


@dataclass(frozen=True)
class Metric:
    """One kind of measure.

    Attributes:
        name: as rules name it.
        help: what it is, with its unit.
        of: what its subject is; "" = there is only one.
    """

    name: str
    help: str
    of: str = ""

    @property
    def prometheus(self) -> str:
        """Its name there."""
        return "bascule_" + self.name.replace(".", "_")


_CATALOGUE = (
    Metric("ic.pearson", "mean IC of recent rows; the interval is the backtest's", "bundle"),
    Metric("ic.rank", "mean rank IC of recent rows; the interval is the backtest's", "bundle"),
    Metric("factor.rank_ic", "mean rank IC of a factor in recent rows; the interval is its past", "factor"),
    Metric("factor.decayed", "share of factors whose rank IC left its interval to the side of 0", "bundle"),
    Metric("crowding.comomentum", "mean correlation of net returns within the extremes of alpha", "bundle"),
    Metric("drift.features", "share of features that moved (PSI or KS over its limit)", "bundle"),
    Metric("drift.feature", "Kolmogorov-Smirnov distance of a feature's recent values", "factor"),
    Metric("drift.predictions", "Kolmogorov-Smirnov distance of recent predictions", "bundle"),
    Metric("book.gross", "sum of |weights|, shares of equity", "book"),
    Metric("book.net", "sum of weights, shares of equity", "book"),
    Metric("book.largest", "largest |weight|, share of equity", "book"),
    Metric("book.beta", "beta of the book to the market factor", "book"),
    Metric("book.exposure", "exposure of the book to a risk factor, deviations", "book/factor"),
    Metric("book.var", "value at risk over a day, share of equity", "book"),
    Metric("book.var_use", "value at risk over its limit", "book"),
    Metric("fills.slippage_bps", "cost of fills against the open of their candle, basis points", "bot"),
    Metric("fills.filled", "share of the ordered amount that was filled", "bot"),
    Metric("fills.seconds", "median seconds from order to fill", "bot"),
    Metric("fills.cancelled", "share of orders that were cancelled or refused", "bot"),
    Metric("data.issues", "health issues of the recent candles, by severity", "severity"),
    Metric("data.age_seconds", "seconds since the close of the newest candle", "store"),
    Metric("data.missing", "share of candles that recent trading instruments lack", "store"),
    Metric("venue.up", "1 = the venue answered, 0 = it did not", "venue"),
    Metric("venue.latency_seconds", "seconds of one answer", "venue"),
    Metric("venue.skew_seconds", "the venue's clock minus ours, seconds", "venue"),
    Metric("model.age_days", "days since the serving model's training ended", "store"),
    Metric("model.challengers", "finished models that do not serve", "store"),
    Metric("model.turns", "promotions and roll-backs so far", "store"),
    Metric("bundle.age_days", "days since the current bundle was written", "bundle"),
    Metric("bot.up", "1 = the bot's API answered, 0 = it did not", "bot"),
    Metric("bot.running", "1 = the bot trades, 0 = it is stopped or paused", "bot"),
    Metric("bot.loop_age_seconds", "seconds since the bot's last loop", "bot"),
    Metric("bot.open_trades", "open trades", "bot"),
    Metric("bot.equity", "value of wallet and open trades, stake currency", "bot"),
    Metric("bot.profit_ratio", "profit of all trades, share of the starting balance", "bot"),
    Metric("bot.drawdown", "present loss from the highest equity that the monitor saw", "bot"),
    Metric("bot.emergency", "severity of the emergency state: 0 run, 1 halt, 2 hedge, 3 flatten", "bot"),
    Metric("source.failed", "1 = the last reading of a source failed", "source"),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _CATALOGUE}


@dataclass(frozen=True)
class Sample:
    """One value.

    Attributes:
        metric: of the catalogue.
        subject: of whom, "" if there is only one.
        at: when it became known, aware.
        value: finite.
        low: lower end of what is expected, or None.
        high: upper end of it, or None.

    Raises:
        ConfigError: the metric is unknown, the time has no zone, or a number is not finite.
    """

    metric: str
    subject: str
    at: datetime
    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        numbers = [number for number in (self.value, self.low, self.high) if number is not None]
        if self.metric not in METRICS or self.at.tzinfo is None or not all(map(math.isfinite, numbers)):
            raise ConfigError(
                f"{self.metric} of {self.subject!r} at {self.at}: {numbers} is no sample",
                where="monitor",
                remedy="use a metric of the catalogue, an aware time and finite numbers",
            )


def sample(
    metric: str,
    subject: str,
    at: datetime,
    value: float,
    low: float | None = None,
    high: float | None = None,
) -> list[Sample]:
    """The sample as a list, which is empty where there is no finite value; ends that are not are left out."""
    if not math.isfinite(value):
        return []
    ends = [end if end is not None and math.isfinite(end) else None for end in (low, high)]
    return [Sample(metric, subject, at, float(value), *ends)]


def aware(time: np.datetime64) -> datetime:
    """A UTC time of the data as an aware datetime (microseconds)."""
    naive: datetime = time.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


def naive(time: datetime) -> np.datetime64:
    """An aware datetime as the data's UTC time."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "ns")
