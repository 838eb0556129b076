"""Does it still work? Live IC, factors, crowding and drift, from candles and the current bundle.

Times are measured on a grid of `every` (absolute, since 1970), each from rows that were known then:

1. A row is closed one bar after its open; its label of h bars is known h + 2 bars after its open.
2. *IC, rank IC*: mean over the recent rows with a known label. The interval is what the backtest leads to
   expect of a mean of so many rows: the stored out-of-sample signals of the bundle in rows before the recent
   ones give mean μ and long-run variance λ (Newey-West), and the interval is μ ± z √(λ (1/m + 1/n)) for m
   recent and n earlier rows.
3. *Factors*: the same for each factor, the earlier rows being those of the reference days.
4. *Crowding*: comomentum (Lou & Polk 2022, "Comomentum: Inferring Arbitrage Activity from Return
   Correlations"): mean correlation of returns net of the market among the instruments of each extreme of
   alpha, over the recent rows; the interval is its 5 % to 95 % range at earlier times.
5. *Drift*: each feature's and the predictions' recent values against those of the reference days
   (`bascule.models.drift`).
6. *Book*: the bundle's target weights (`book.py`).

Live and replay are the same call: a history is many times, now is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Panel, UniverseError
from bascule.core.panel import BoolArray, FloatArray
from bascule.monitor.rotation import has_decayed
from bascule.monitor.samples import Sample, aware, naive, sample
from bascule.monitor.settings import MonitorSettings, ResearchSettings
from bascule.monitor.sources import book

if TYPE_CHECKING:
    from bascule.signals import Bundle, SignalFrame

Series = NDArray[np.float64]
_LEAST = 30  # rows without which there is no interval
_SAMPLED = 200  # rows of a drift sample
_POINTS = 12  # earlier times that crowding is compared with
_LONGEST = 500  # grid times of one reading


class Research:
    """The source.

    Args:
        settings: what and where.
        home: folder that relative paths start from.
    """

    name = "research"

    def __init__(self, settings: ResearchSettings, home: Path) -> None:
        self.settings = settings
        self.every = settings.every
        self._store, self._bundles = home / settings.store, home / settings.bundles

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """Samples of the grid times in ``(since, now]``; of the last one alone if it was never read.

        Raises:
            BasculeError: store or bundle cannot be read.
        """
        times = grid(since, now, self.every)[-_LONGEST:]
        if not times:
            return []
        found: list[Sample] = []
        view = self.view(times[0], now)
        for at in times:
            found += view.measure(at)
        return found

    def view(self, first: datetime, now: datetime) -> View:
        """Everything that measurements of ``[first, now]`` need."""
        from bascule.data.store import Store
        from bascule.signals import Bundle, with_members

        bundle, store = Bundle.open(self._bundles), Store.open(self._store)
        bar = bundle.spec.bar
        days = self.settings.recent_days + self.settings.reference_days + 2.0
        begin = naive(first - timedelta(days=days)) - (bundle.lookback + bundle.spec.horizon) * bar.delta
        stored = bundle.signals.time[0] - bundle.lookback * bar.delta
        tail = naive(first - timedelta(days=book.days(self.settings.tail)))
        whole = store.panel(bar, start=min(begin, stored, tail), end=naive(now))
        known = set(whole.instruments)
        panel = with_members(
            whole.select([name for name in bundle.instruments if name in known]), bundle.spec
        )
        row = int(np.searchsorted(panel.time, begin))
        if row >= len(panel.time):
            raise DataError(
                f"the newest candle opened at {panel.time[-1]}: too old for a measure at {first:%Y-%m-%d}",
                where=str(self._store),
                remedy="bring the store up to date",
            )
        return View(bundle, panel, row, self.settings)


def grid(since: datetime | None, now: datetime, every: float) -> list[datetime]:
    """Multiples of ``every`` seconds since 1970 in ``(since, now]``; the last alone if ``since`` is None."""
    last = math.floor(now.timestamp() / every)
    first = last if since is None else math.floor(since.timestamp() / every) + 1
    return [datetime.fromtimestamp(step * every, UTC) for step in range(first, last + 1)]


@dataclass(eq=False)
class View:
    """Candles, signals and features of a stretch of time; every measure uses only what was known.

    Attributes:
        bundle: the recipe and the stored signals.
        panel: candles from the first stored signal on, members marked.
        begin: first row for which features may be needed.
        settings: windows.
    """

    bundle: Bundle
    panel: Panel
    begin: int
    settings: ResearchSettings
    _crowds: dict[int, float] = field(default_factory=dict)

    @cached_property
    def near(self) -> Panel:
        """The rows from ``begin`` on."""
        return self.panel.rows(self.begin, None)

    @cached_property
    def live(self) -> SignalFrame:
        """Signals of the near rows, computed as a bot computes them."""
        return self.bundle.live(self.near)

    @cached_property
    def alpha(self) -> FloatArray:
        """The model's output ``[T, N]``: stored where it is, else computed; NaN where there is none."""
        stored = self.bundle.signals
        found = np.full(self.panel.shape, np.nan, np.float32)
        for frame in (self.live, stored):
            mine = np.isin(frame.time, self.panel.time)
            rows = np.searchsorted(self.panel.time, frame.time[mine])
            columns = [frame.instruments.index(name) for name in self.panel.instruments]
            values = frame.alpha[mine][:, columns]
            known = frame.covered[mine]
            found[rows[known]] = values[known]
        return found

    @cached_property
    def label(self) -> FloatArray:
        """Forward returns ``[T, N]``."""
        from bascule.evaluate import forward_return

        return forward_return(self.panel, self.bundle.spec.horizon)

    @cached_property
    def ics(self) -> dict[str, Series]:
        """IC series of the alpha ``[T]``."""
        from bascule.evaluate import ic_series

        members = self.panel.members
        return {
            "ic.pearson": ic_series(self.alpha, self.label, members),
            "ic.rank": ic_series(self.alpha, self.label, members, rank=True),
        }

    @cached_property
    def features(self) -> FloatArray:
        """Raw factor values of the near rows ``[F, T', N]``."""
        from bascule.signals import features

        return features(self.near, self.bundle.spec.model_copy(update={"processors": ()}))

    @cached_property
    def factor_ics(self) -> list[Series]:
        """Rank IC series of each factor in the near rows."""
        from bascule.evaluate import ic_series

        members, label = self.near.members, self.label[self.begin :]
        return [ic_series(values, label, members, rank=True) for values in self.features]

    @cached_property
    def net(self) -> Series:
        """Returns less the members' mean ``[T, N]``."""
        close = self.panel["close"].astype(np.float64)
        found = np.full(close.shape, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[1:] = close[1:] / close[:-1] - 1.0
        known = np.isfinite(found) & self.panel.members
        mean = np.where(known, found, 0.0).sum(1) / np.maximum(1, known.sum(1))
        net: Series = found - mean[:, None]
        return net

    @cached_property
    def beta(self) -> FloatArray:
        """Betas to the market factor in the near rows."""
        from bascule.risk import compute

        return compute(self.near, self.bundle.spec.risk).beta

    @cached_property
    def exposed(self) -> tuple[tuple[str, ...], FloatArray] | None:
        """Names and values ``[K, T', N]`` of the risk factors; None where too few instruments trade."""
        from bascule.risk import exposures

        if not self.settings.exposures:
            return None
        try:
            found = exposures(self.near)
        except UniverseError:
            return None
        return found.names, found.values

    # -- one time --------------------------------------------------------------------------------------

    def measure(self, at: datetime) -> Iterator[Sample]:
        """All samples of one time; none if no row is closed yet."""
        bar = self.panel.timeframe.delta
        closed = int(np.searchsorted(self.panel.time, naive(at) - bar, side="right"))
        if closed <= self.begin + 1:
            return
        known = max(0, closed - self.bundle.spec.horizon - 1)
        yield from self._ics(at, known)
        yield from self._factors(at, known)
        yield from self._crowding(at, closed)
        yield from self._drift(at, closed)
        yield from self._book(at, closed - 1)
        written = self.bundle.manifest.created.removesuffix("Z")
        age = (at - aware(np.datetime64(written, "ns"))).total_seconds() / 86_400
        if age >= 0:
            yield from sample("bundle.age_days", self._subject, at, age)

    @property
    def _subject(self) -> str:
        return "current"

    def windows(self, at: datetime) -> tuple[int, int]:
        """First recent row and first reference row."""
        recent = naive(at - timedelta(days=self.settings.recent_days))
        earlier = naive(at - timedelta(days=self.settings.recent_days + self.settings.reference_days))
        first, start = np.searchsorted(self.panel.time, np.array([recent, earlier]))
        return int(first), max(int(start), self.begin)

    def _ics(self, at: datetime, known: int) -> Iterator[Sample]:
        first, _ = self.windows(at)
        stored = self.bundle.signals.time
        backtest = int(np.searchsorted(self.panel.time, stored[-1], side="right"))
        for metric, series in self.ics.items():
            value, low, high = self._expected(series[: min(first, backtest, known)], series[first:known])
            yield from sample(metric, self._subject, at, value, low, high)

    def _factors(self, at: datetime, known: int) -> Iterator[Sample]:
        first, start = self.windows(at)
        cut = [row - self.begin for row in (start, first, max(first, known))]
        gone = []
        for name, series in zip(self.bundle.spec.names, self.factor_ics, strict=True):
            value, low, high = self._expected(series[cut[0] : cut[1]], series[cut[1] : cut[2]])
            if math.isfinite(value):
                gone.append(has_decayed(value, low, high))
            yield from sample("factor.rank_ic", name, at, value, low, high)
        if gone:
            yield from sample("factor.decayed", self._subject, at, sum(gone) / len(gone))

    def _expected(self, earlier: Series, recent: Series) -> tuple[float, float | None, float | None]:
        return expected(earlier, recent, self.bundle.spec.horizon, self.settings.level)

    def _crowding(self, at: datetime, closed: int) -> Iterator[Sample]:
        _, start = self.windows(at)
        rows = self.panel.timeframe.bars(self.settings.recent_days)
        now = self._comomentum(closed, rows)
        before = [
            self._comomentum(end, rows) for end in range(closed - rows, start + rows, -max(1, rows // 4))
        ]
        known = [one for one in before[:_POINTS] if math.isfinite(one)]
        low, high = np.quantile(known, (0.05, 0.95)) if len(known) >= _POINTS // 2 else (None, None)
        yield from sample("crowding.comomentum", self._subject, at, now, low, high)

    def _comomentum(self, closed: int, rows: int) -> float:
        """Comomentum of the rows before ``closed``."""
        if closed not in self._crowds:
            legs = []
            alpha = np.where(self.panel.members[closed - 1], self.alpha[closed - 1], np.nan)
            for leg in _legs(alpha, self.settings.extremes):
                legs.append(mean_correlation(self.net[max(0, closed - rows) : closed, leg]))
            found = [one for one in legs if math.isfinite(one)]
            self._crowds[closed] = sum(found) / len(found) if found else math.nan
        return self._crowds[closed]

    def _drift(self, at: datetime, closed: int) -> Iterator[Sample]:
        from bascule.models import feature_drift, ks

        first, start = self.windows(at)
        parts = [np.arange(start, first), np.arange(first, closed)]
        if min(map(len, parts)) < 2:
            return
        chosen = [rows[:: max(1, len(rows) // _SAMPLED)] for rows in parts]
        masks = [self.panel.members[rows] for rows in chosen]
        samples = [
            self.features[:, rows - self.begin][:, mask].T for rows, mask in zip(chosen, masks, strict=True)
        ]
        found = feature_drift(samples[0], samples[1], self.bundle.spec.names, self.settings.drift)
        for one in found:
            yield from sample("drift.feature", one.name, at, one.ks)
        yield from sample("drift.features", self._subject, at, sum(one.moved for one in found) / len(found))
        old, new = (self.alpha[rows][mask] for rows, mask in zip(chosen, masks, strict=True))
        yield from sample("drift.predictions", self._subject, at, ks(old, new))

    def _book(self, at: datetime, row: int) -> Iterator[Sample]:
        place = np.flatnonzero(self.live.time == self.panel.time[row])
        if not len(place):
            return
        columns = [self.live.instruments.index(name) for name in self.panel.instruments]
        weights = self.live.target_weight[place[0], columns].astype(np.float64)
        yield from self.book("target", weights, row, at)

    def book(self, name: str, weights: Series, row: int, at: datetime) -> list[Sample]:
        """Samples of any book of this panel's instruments at a closed row."""
        near, exposed = row - self.begin, self.exposed
        return book.measure(
            name, weights, self.panel, row, at,
            tail=self.settings.tail, limit=self.settings.var_limit, beta=self.beta[near],
            exposures=None if exposed is None else (exposed[0], exposed[1][:, near]),
        )  # fmt: skip


def expected(
    earlier: Series, recent: Series, horizon: int, level: float
) -> tuple[float, float | None, float | None]:
    """Mean of the recent values, and the interval that the earlier ones lead to expect (module, step 2)."""
    from bascule.evaluate import newey_west_lags
    from bascule.evaluate.ic import long_run_sum

    now, past = recent[np.isfinite(recent)], earlier[np.isfinite(earlier)]
    if not len(now):
        return math.nan, None, None
    value = float(now.mean())
    n = len(past)
    if n < _LEAST:
        return value, None, None
    mean = float(past.mean())
    variance = max(0.0, long_run_sum(past - mean, newey_west_lags(n, horizon)) / n)
    reach = NormalDist().inv_cdf(0.5 + level / 2.0) * math.sqrt(variance * (1.0 / len(now) + 1.0 / n))
    return value, mean - reach, mean + reach


def mean_correlation(returns: Series) -> float:
    """Mean pairwise correlation of the columns ``[T, K]``; NaN with fewer than two that vary."""
    known = returns[:, np.isfinite(returns).mean(axis=0) > 0.5]
    filled = np.nan_to_num(known - np.nanmean(known, axis=0)) if known.shape[1] else known
    scale = np.sqrt((filled**2).sum(axis=0))
    unit = filled[:, scale > 0] / scale[scale > 0]
    k = unit.shape[1]
    if k < 2:
        return math.nan
    return float(((unit.sum(axis=1) ** 2).sum() - k) / (k * (k - 1)))


def _legs(alpha: FloatArray, share: float) -> list[BoolArray]:
    """The lowest and the highest share of the known values, as masks ``[N]``."""
    known = np.flatnonzero(np.isfinite(alpha))
    size = max(2, round(share * len(known)))
    if len(known) < 2 * size:
        return []
    order = known[np.argsort(alpha[known], kind="stable")]
    legs = []
    for part in (order[:size], order[-size:]):
        mask = np.zeros(len(alpha), np.bool_)
        mask[part] = True
        legs.append(mask)
    return legs


def recent_scores(settings: MonitorSettings, texts: Mapping[str, str]) -> dict[str, float]:
    """Mean rank IC over its standard error (Newey-West), of each factor text over the recent known rows."""
    from bascule.data.store import Store
    from bascule.evaluate import ic_series, summarise
    from bascule.signals import Bundle, FactorText, features, with_members

    assert settings.research is not None
    bar = Bundle.open(settings.within(settings.research.bundles)).spec.bar
    now = aware(Store.open(settings.within(settings.research.store)).span(bar)[1] + bar.delta)
    view = Research(settings.research, settings.home).view(now, now)
    spec = view.bundle.spec
    listed = tuple(FactorText(name=name, text=text) for name, text in texts.items())
    other = spec.model_copy(update={"factors": listed, "processors": ()})
    near = with_members(view.near, spec)
    first = max(0, view.windows(now)[0] - view.begin)
    label = view.label[view.begin :]
    found = {}
    for name, values in zip(texts, features(near, other), strict=True):
        series = ic_series(values, label, near.members, rank=True)[first:]
        t = summarise(series, spec.horizon).t
        found[name] = t if math.isfinite(t) else 0.0
    return found
