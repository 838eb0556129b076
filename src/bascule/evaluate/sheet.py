"""Everything that a tear sheet says about one factor, measured apart in sample and out of sample.

1. The rows are split at one time. In-sample rows end a label's length before it, so that no in-sample label
   reaches over; everything that is judged is measured in the rows from it on.
2. Per part: IC, rank IC, coverage; out of sample also the decay with the half-life's interval, quantile and
   long-short returns before and after cost, autocorrelation, capacity, and the IC by regime, tier, hour and
   venue.
3. Honesty: a bootstrap interval of the rank IC, the |t| that luck alone would reach in so many trials, the
   deflated Sharpe ratio of the long-short book (of rows a horizon apart, in the direction seen in sample),
   and the verdict against the targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, field_validator

from bascule.core import ConfigError, Moment, Panel, Settings, Timeframe, moment
from bascule.core.panel import FloatArray
from bascule.evaluate.bootstrap import Interval, mean_interval
from bascule.evaluate.capacity import capacity
from bascule.evaluate.decay import Decay, decay
from bascule.evaluate.ic import Part, summarise
from bascule.evaluate.labels import Labels
from bascule.evaluate.quantiles import QuantileReturns, quantile_returns
from bascule.evaluate.rows import CrossSection, Float64Array
from bascule.evaluate.sharpe import SharpeStatistics, deflated_sharpe
from bascule.evaluate.significance import deflated_threshold
from bascule.evaluate.slices import by_rows, by_tier, hours, liquidity_tiers, regimes, years
from bascule.evaluate.table import autocorrelation
from bascule.evaluate.venues import by_venue
from bascule.evaluate.verdict import Measured, Targets, Verdict, judge

if TYPE_CHECKING:
    import pandas as pd


class SheetSettings(Settings):
    """What a tear sheet measures."""

    horizon: int = Field(default=24, ge=1, description="bars of the label")
    horizons: tuple[int, ...] = Field(
        default=(1, 4, 12, 24, 72, 168), description="horizons of the decay curve, in bars"
    )
    split: str | None = Field(
        default=None, description="first out-of-sample moment, UTC; default after `share` of the rows"
    )
    share: float = Field(default=0.6, gt=0, lt=1, description="part of the rows that is in sample by default")
    quantiles: int = Field(default=5, ge=2, le=20, description="buckets of the quantile returns")
    cost: float = Field(default=0.001, ge=0, le=0.1, description="cost of trading one unit, as a fraction")
    participation: float = Field(
        default=0.01, gt=0, le=1, description="share of the traded value that own trades may be"
    )
    reps: int = Field(default=500, ge=100, le=20_000, description="bootstrap samples")
    level: float = Field(default=0.95, gt=0, lt=1, description="confidence of intervals")
    seed: int = Field(default=0, ge=0, description="seed of the bootstrap")
    targets: Targets = Field(default=Targets(), description="what a factor should reach")

    @field_validator("horizons")
    @classmethod
    def _ordered(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1 or list(value) != sorted(set(value)):
            raise ValueError("horizons must be rising numbers of bars, at least 1")
        return value

    @field_validator("split")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            moment(value)
        return value


@dataclass(frozen=True, eq=False)
class Sheet:
    """What was measured of one factor, out of sample but for ``inside``, ``ic``, ``rank_ic`` and the part
    ``year``.

    Attributes:
        name: the factor.
        timeframe: of the candles.
        horizon: bars of the label.
        split: number of the first out-of-sample row.
        inside: in sample.
        outside: out of sample.
        ic: IC of every row ``[T]``.
        rank_ic: rank IC of every row ``[T]``.
        interval: of the mean rank IC.
        decay: by horizon.
        quantiles: of the label over ``horizon`` bars.
        autocorrelation: of the ranks, by lag in bars.
        capacity: book in the quote currency.
        parts: ``regime``, ``tier``, ``hour``, ``venue``: rank IC by parts (hours only of candles shorter than
            a day, venues only where several were given); ``year``: by year, all rows.
        trials: number of tries that the two figures below are deflated by.
        luck: |t| that the best of so many worthless factors exceeds in one of twenty cases.
        deflated_sharpe: probability that the long-short book's Sharpe ratio is real; NaN if undefined.
        verdicts: against the targets.
    """

    name: str
    timeframe: Timeframe
    horizon: int
    split: int
    inside: Part
    outside: Part
    ic: Float64Array
    rank_ic: Float64Array
    interval: Interval
    decay: Decay
    quantiles: QuantileReturns
    autocorrelation: dict[int, float]
    capacity: float
    parts: dict[str, pd.DataFrame]
    trials: int
    luck: float
    deflated_sharpe: float
    verdicts: tuple[Verdict, ...]

    @property
    def sign(self) -> int:
        """Direction of the rank IC in sample: what one would have traded."""
        return _sign(self.inside)

    @property
    def book(self) -> tuple[Float64Array, Float64Array]:
        """Long-short returns over a horizon, before and after cost, in the direction seen in sample."""
        return self.quantiles.directed(self.sign or 1)

    @property
    def yearly(self) -> float:
        """What the long-short book keeps a year after cost: a sum of returns, not compounded."""
        kept = self.book[1]
        kept = kept[np.isfinite(kept)]
        return float(kept.mean()) * self.timeframe.bars_a_year / self.horizon if len(kept) else math.nan

    @property
    def half_life_days(self) -> float:
        """Half-life in days, NaN where there is none."""
        return _days(self.decay, self.timeframe)

    @property
    def turnover(self) -> float:
        """1 less the rank autocorrelation at the shortest lag."""
        return 1.0 - self.autocorrelation[min(self.autocorrelation)]


def split_row(panel: Panel, settings: SheetSettings) -> int:
    """Number of the first out-of-sample row.

    Raises:
        ConfigError: one of the two parts has no row with a label.
    """
    rows = panel.shape[0]
    row = (
        int(np.searchsorted(panel.time, moment(settings.split)))
        if settings.split is not None
        else int(rows * settings.share)
    )
    reach = settings.horizon + 1
    if row <= reach or row >= rows - reach:
        first: Moment = panel.time[0]
        raise ConfigError(
            f"the split leaves {row} of {rows} rows in sample, with labels of {settings.horizon} bars",
            where="split",
            remedy=f"split between {first} and {panel.time[-1]}, with more than {reach} rows on both sides",
        )
    return row


class Yardstick:
    """What all factors of a panel are measured with: split, labels and parts, each made once.

    Args:
        panel: gives prices, volume and members.
        settings: what to measure.
        venues: the factors' own panel (under its name, first) and those of other venues, if there are any.
    """

    def __init__(
        self,
        panel: Panel,
        settings: SheetSettings | None = None,
        *,
        venues: Mapping[str, Panel] | None = None,
    ) -> None:
        self.panel = panel
        self.settings = settings or SheetSettings()
        self.venues = dict(venues or {})
        self.split = split_row(panel, self.settings)
        self.later = panel.rows(self.split, None)
        self._labels = Labels(self.later)
        self._whole = Labels(panel)
        outside = np.arange(panel.shape[0]) >= self.split
        # regimes and tiers look back, so they are made on all rows and cut afterwards
        self._rows = {"regime": {name: rows & outside for name, rows in regimes(panel).items()}}
        self._tiers = {name: cells[self.split :] for name, cells in liquidity_tiers(panel).items()}
        self._rows["year"] = years(panel)
        if panel.timeframe.seconds < 86_400:
            self._rows["hour"] = {name: rows & outside for name, rows in hours(panel).items()}

    def measure(
        self,
        name: str,
        factor: FloatArray,
        *,
        trials: int = 1,
        elsewhere: Sequence[FloatArray] = (),
    ) -> Sheet:
        """Measure one factor ``[T, N]``.

        Args:
            name: of the factor.
            factor: its values on the panel.
            trials: how many different factors were tried on the out-of-sample rows, this one included.
            elsewhere: its values on the panels of the other venues, in their order.
        """
        panel, settings, split, horizon = self.panel, self.settings, self.split, self.settings.horizon
        members, values, later = panel.members, factor[split:], self.later
        ic, rank_ic = (
            CrossSection.of(factor, members, rank=rank).correlate(self._whole.section(horizon, rank=rank))
            for rank in (False, True)
        )
        known = np.isfinite(factor) & members
        inside, outside = (
            Part(
                summarise(ic[rows], horizon),
                summarise(rank_ic[rows], horizon),
                float(known[rows].sum() / max(1, members[rows].sum())),
            )
            for rows in (slice(0, split - horizon - 1), slice(split, None))
        )
        lasting = decay(
            values,
            later,
            settings.horizons,
            reps=settings.reps,
            level=settings.level,
            seed=settings.seed,
            labels=self._labels,
        )
        buckets = quantile_returns(
            values,
            self._labels.returns(horizon),
            later.members,
            horizon=horizon,
            quantiles=settings.quantiles,
            cost=settings.cost,
        )
        return Sheet(
            name=name,
            timeframe=panel.timeframe,
            horizon=horizon,
            split=split,
            inside=inside,
            outside=outside,
            ic=ic,
            rank_ic=rank_ic,
            interval=mean_interval(
                rank_ic[split:], horizon, level=settings.level, reps=settings.reps, seed=settings.seed
            ),
            decay=lasting,
            quantiles=buckets,
            autocorrelation=autocorrelation(values, later.members, settings.horizons),
            capacity=capacity(
                values, later, horizon, quantiles=settings.quantiles, participation=settings.participation
            ),
            parts=self._parts(factor, rank_ic, elsewhere),
            trials=trials,
            luck=deflated_threshold(trials),
            deflated_sharpe=_deflated(buckets, horizon, _sign(inside), trials),
            verdicts=judge(_measured(inside, outside, lasting, panel.timeframe), settings.targets),
        )

    def _parts(
        self, factor: FloatArray, series: Float64Array, elsewhere: Sequence[FloatArray]
    ) -> dict[str, pd.DataFrame]:
        horizon, split = self.settings.horizon, self.split
        found = {kind: by_rows(series, rows, horizon) for kind, rows in self._rows.items()}
        label = self._labels.returns(horizon)
        found["tier"] = by_tier(factor[split:], label, self._tiers, horizon)
        if self.venues:
            values = dict(zip(self.venues, (factor, *elsewhere), strict=True))
            found["venue"] = by_venue(values, self.venues, horizon, start=self.panel.time[split])
        return found


def _sign(inside: Part) -> int:
    return int(np.sign(inside.rank_ic.mean)) if inside.rank_ic.n else 0


def _measured(inside: Part, outside: Part, lasting: Decay, timeframe: Timeframe) -> Measured:
    ranked, days = outside.rank_ic, _days(lasting, timeframe)
    return Measured(outside.ic.mean, ranked.mean, ranked.t, half_life_days=days, sign=_sign(inside))


def _days(lasting: Decay, timeframe: Timeframe) -> float:
    return lasting.half_life * timeframe.seconds / 86_400


def _deflated(buckets: QuantileReturns, horizon: int, sign: int, trials: int) -> float:
    """Deflated Sharpe ratio of rows a horizon apart, the book held in the direction seen in sample."""
    if not sign:
        return math.nan
    statistics = SharpeStatistics.of(buckets.directed(sign)[1][::horizon])
    if not statistics.n > 2:
        return math.nan
    # Sharpe ratios of worthless trials of n returns have a variance of 1 / n
    return deflated_sharpe(statistics, trials, 1.0 / statistics.n)
