"""Series that two sources make together: the same pair on two venues, and the premium of a local currency.

Joined on candles that both venues closed; a candle that one lacks gives no row. The rate of exchange that
counts for a candle is the last one *published* by its close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import DataError, Instrument, Moment, Progress, Settings, silent
from bascule.data.sources.canonical import settle, typed
from bascule.data.sources.chunked import span
from bascule.data.sources.context import Context
from bascule.data.sources.exchange import ExchangeSettings, ExchangeSource
from bascule.data.sources.fx import EcbRates, EcbSettings, FxFile, FxFileSettings
from bascule.data.sources.spec import Fetched, FetchReport, FieldSpec, Source, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

# the ECB skips weekends and holidays; an older rate than this is no rate
_STALE = np.timedelta64(10, "D")
_KEYS = ["time", "instrument"]


class CrossExchangeSettings(Settings):
    """Two venues."""

    first: ExchangeSettings = Field(description="candles in the numerator")
    second: ExchangeSettings = Field(description="candles in the denominator")

    @model_validator(mode="after")
    def _alike(self) -> Self:
        _must_be_alike(self.first, self.second)
        return self


class CrossExchange:
    """Spread of one instrument between two venues. Compare like with like: spot with spot."""

    def __init__(self, settings: CrossExchangeSettings, context: Context) -> None:
        self._context = context
        self._first: Source = ExchangeSource(settings.first, context)
        self._second: Source = ExchangeSource(settings.second, context)
        one = self._first.spec
        self._spec = SourceSpec(
            name=f"cross:{settings.first.venue}:{settings.second.venue}:{one.frequency}",
            publisher=f"{settings.first.venue}, {settings.second.venue}",
            scope="instrument",
            frequency=one.frequency,
            period=one.period,
            lag=one.lag,
            lag_reason="known when both candles have closed",
            fields=(
                FieldSpec("venue_spread", "1", "close at the first venue / close at the second - 1"),
                FieldSpec("venue_share", "1", "first venue's part of the volume of both, 0…1"),
            ),
        )

    @property
    def spec(self) -> SourceSpec:
        """What it delivers."""
        return self._spec

    def fetch(
        self, start: Moment, end: Moment, instruments: Sequence[str] = (), *, progress: Progress = silent
    ) -> Fetched:
        """See `Source.fetch`."""
        first, last = span(start, end, self._spec.name)
        one = self._first.fetch(first, last, instruments, progress=progress)
        two = self._second.fetch(first, last, instruments, progress=progress)
        both = _both(one.frame, two.frame)
        volumes = both["volume"].astype(float), both["volume_2"].astype(float)
        both["venue_spread"] = both["close"].astype(float) / both["close_2"].astype(float) - 1
        total = volumes[0] + volumes[1]
        both["venue_share"] = (volumes[0] / total).where(total > 0)
        frame, _ = settle(typed(both, self._spec), first, last, self._context.clock())
        return Fetched(frame, self._spec, merged(len(frame), one.report, two.report))


class KrwPremiumSettings(Settings):
    """A venue that trades in a local currency, one that trades in dollars, and the rate between them."""

    local: ExchangeSettings = Field(
        ExchangeSettings.read({"venue": "upbit"}), description="candles in the local currency"
    )
    dollar: ExchangeSettings = Field(
        ExchangeSettings.read({"venue": "binance"}), description="candles in USDT"
    )
    currency: str = Field("KRW", pattern="^[A-Z]{3}$", description="the local currency")
    rates: FxFileSettings | EcbSettings = Field(
        EcbSettings.read({}), description="file of rates, or the ECB's"
    )

    @model_validator(mode="after")
    def _alike(self) -> Self:
        _must_be_alike(self.local, self.dollar)
        return self


class KrwPremium:
    """The "kimchi premium": local price / (dollar price × rate) − 1.

    Instruments are those of the dollar venue (``BTC_USDT``). A Tether is taken for a dollar, as is usual: a
    discount of Tether shows up as premium.
    """

    def __init__(self, settings: KrwPremiumSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._local: Source = ExchangeSource(settings.local, context)
        self._dollar: Source = ExchangeSource(settings.dollar, context)
        rates = settings.rates
        self._rates: Source = (
            FxFile(rates, context) if isinstance(rates, FxFileSettings) else EcbRates(rates, context)
        )
        one = self._local.spec
        self._spec = SourceSpec(
            name=f"premium:{settings.currency}:{settings.local.venue}:{settings.dollar.venue}:{one.frequency}",
            publisher=f"{settings.local.venue}, {settings.dollar.venue}, {self._rates.spec.publisher}",
            scope="instrument",
            frequency=one.frequency,
            period=one.period,
            lag=one.lag,
            lag_reason="known when both candles have closed, with the last rate published by then",
            fields=(
                FieldSpec("premium", "1", "local price over the dollar price at the rate of exchange, - 1"),
                FieldSpec("rate", f"{settings.currency}/USD", "the rate of exchange used"),
            ),
        )

    @property
    def spec(self) -> SourceSpec:
        """What it delivers."""
        return self._spec

    def fetch(
        self, start: Moment, end: Moment, instruments: Sequence[str] = (), *, progress: Progress = silent
    ) -> Fetched:
        """See `Source.fetch`."""
        import pandas as pd

        first, last = span(start, end, self._spec.name)
        if not instruments:
            raise DataError("no instruments were named", where=self._spec.name, remedy="name e.g. BTC_USDT")
        currency = self._settings.currency
        # several instruments of one coin (BTC_USDT, BTC_USDC) have one local price
        names = pd.DataFrame(
            [(Instrument(Instrument.parse(name).base, currency).id, name) for name in instruments],
            columns=["instrument", "told"],
        )
        local = self._local.fetch(first, last, sorted(set(names["instrument"])), progress=progress)
        dollar = self._dollar.fetch(first, last, instruments, progress=progress)
        rates = self._rates.fetch(first - _STALE, last, [f"USD_{currency}"], progress=progress)
        priced = local.frame.merge(names, on="instrument").drop(columns="instrument")
        priced = priced.rename(columns={"told": "instrument"})
        both = _with_rate(_both(priced, dollar.frame), rates.frame)
        dollars = both["close_2"].astype(float) * both["rate"].astype(float)
        both["premium"] = both["close"].astype(float) / dollars - 1
        frame, _ = settle(typed(both, self._spec), first, last, self._context.clock())
        return Fetched(frame, self._spec, merged(len(frame), local.report, dollar.report, rates.report))


def _must_be_alike(one: ExchangeSettings, two: ExchangeSettings) -> None:
    if {one.kind, two.kind} != {"candles"}:
        raise ValueError("both must be candles")
    if one.timeframe != two.timeframe:
        raise ValueError("both must have one timeframe")


def _both(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Rows that both frames have; columns of the second carry ``_2``; known when both are."""
    both = one.merge(two, on=_KEYS, suffixes=("", "_2"), validate="one_to_one")
    known = both[["available_time", "available_time_2"]].max(axis=1)
    return both.assign(available_time=known)


def _with_rate(both: pd.DataFrame, rates: pd.DataFrame) -> pd.DataFrame:
    """Each row with the last rate published by its `available_time`; rows without one are dropped."""
    import pandas as pd

    known = rates[["available_time", "rate"]].sort_values("available_time", kind="stable")
    joined = pd.merge_asof(
        both.sort_values("available_time", kind="stable"),
        known,
        on="available_time",
        tolerance=pd.Timedelta(_STALE),
    )
    return joined.dropna(subset=["rate"])


def merged(rows: int, *reports: FetchReport) -> FetchReport:
    """One report of several fetches: counts added, the largest skew."""
    parts = [asdict(one) for one in reports]
    counts = ("duplicates", "restated", "shuffled", "outside", "unfinished", "future")
    sums = {name: sum(p[name] for p in parts) for name in (*counts, "requests", "retries", "reused")}
    skews = [one.skew_seconds for one in reports if one.skew_seconds is not None]
    notes = tuple(note for one in reports for note in one.notes)
    return FetchReport(rows=rows, skew_seconds=max(skews, key=abs, default=None), notes=notes, **sums)
