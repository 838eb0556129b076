"""Bringing a store up to date from its sources, again and again; what is there already is not fetched again.

For each feed (`FeedSettings`) of candles:

1. instruments are grouped by how far they are stored, and fetched from a few candles before that on;
2. the candles that are stored already show what the publisher changed since (`restated`), which is refused,
   kept out or taken, as the feed says;
3. health is checked; what the store refuses is not written, and everything found is told;
4. the store appends, resamples, and derives the provider.

Feeds of slow data go on where each of their keys is, too; a few days are asked for again, and corrections
are added as known from now on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from bascule.core import Instrument, Progress, Settings, StoreError, Timeframe, moment, silent
from bascule.core.timeframe import Moment
from bascule.data.checks import View
from bascule.data.comparisons import changes
from bascule.data.health import HealthReport, HealthSettings, check
from bascule.data.prepare import Vwap
from bascule.data.repair import Repair
from bascule.data.rows import OHLCV, Rows
from bascule.data.sources import open_source
from bascule.data.sources.context import Context
from bascule.data.sources.spec import FetchReport, Source
from bascule.data.store import Store
from bascule.data.universe import UniverseSettings

if TYPE_CHECKING:
    import pandas as pd


class FeedSettings(Settings):
    """One source, and where in the store it goes."""

    source: str = Field(description="kind of source, e.g. exchange, file, coinmetrics (see docs/data.md)")
    options: dict[str, Any] = Field(default={}, description="settings of the source")
    instruments: tuple[str, ...] = Field(
        default=(), description="pairs, assets or venues, whose whole past is fetched; default all it knows"
    )
    start: str = Field(description="first day, UTC, where nothing is stored yet")
    table: str | None = Field(default=None, description="table of slow data; default: these are candles")
    restated: Literal["error", "keep", "replace"] = Field(
        default="error", description="candles that the publisher changed: refuse, keep ours, take theirs"
    )
    overlap_bars: int = Field(
        default=3, ge=0, le=1_000, description="stored candles that are asked for again"
    )
    overlap_days: int = Field(default=7, ge=0, le=365, description="stored days of slow data asked for again")
    resample: tuple[str, ...] = Field(default=(), description="longer timeframes to derive")
    repair: tuple[Repair, ...] = Field(default=(), description="defects that may be mended, and are counted")

    @field_validator("start", mode="before")
    @classmethod
    def _day(cls, value: Any) -> str:
        return str(moment(str(value)).astype("datetime64[s]"))  # YAML reads a bare day as a date

    @model_validator(mode="after")
    def _candles_or_table(self) -> Self:
        if self.table is not None and (self.resample or self.repair):
            raise ValueError("resample and repair are for candles, not for tables of slow data")
        return self


class UpdateSettings(Settings):
    """A store and the feeds that keep it up to date."""

    store: Path = Field(description="folder of the store; made if it is not there")
    feeds: tuple[FeedSettings, ...] = Field(min_length=1, description="what to fetch")
    health: HealthSettings = Field(default=HealthSettings(), description="thresholds of the health checks")
    universes: dict[str, dict[str, UniverseSettings]] = Field(
        default={}, description="timeframe → name → universe to keep"
    )
    vwap: Vwap = Field(default="typical", description="how the provider's vwap is made")
    extensions: tuple[str, ...] = Field(default=(), description="extensions with sources of your own")
    patience: float = Field(default=60, ge=0, description="seconds to wait for another writer")


@dataclass(frozen=True)
class Updated:
    """What one feed brought.

    Attributes:
        name: of the source.
        added: new rows in the store.
        replaced: stored rows that changed.
        fetched: what happened on the way.
        health: of the candles that came, with a few before them; None for slow data, or when nothing came.
    """

    name: str
    added: int
    replaced: int
    fetched: tuple[FetchReport, ...]
    health: HealthReport | None = None


def _unheard(note: str) -> None:
    """Nobody wants to know."""


def update(
    settings: UpdateSettings,
    context: Context,
    *,
    until: Moment | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = _unheard,
) -> tuple[Updated, ...]:
    """Fetch what is new of every feed into the store; feeds that are done stay done if a later one fails.

    Args:
        settings: store and feeds.
        context: time, pauses, journal.
        until: end of what is asked for; default now.
        progress: called by sources and store.
        note: told what is no error but worth knowing, e.g. a universe that has no member yet.

    Raises:
        DataError: a source failed, its data are refused, or another writer is at work.
    """
    place = settings.store
    store = Store(place, patience=settings.patience)
    if not (place / "manifest.json").is_file():
        store = Store.create(place)
        store.patience = settings.patience
    end = context.clock() if until is None else moment(until)
    done = []
    touched: set[str] = set()
    for n, feed in enumerate(settings.feeds):
        source = open_source(feed.source, feed.options, context, where=f"feeds[{n}]")
        if feed.table is not None:
            done.append(_slow(store, feed, source, end, context, progress))
            continue
        done.append(_candles(store, feed, source, end, settings, progress))
        touched |= {source.spec.frequency, *feed.resample}
    for name in sorted(touched & {str(one) for one in store.timeframes}):
        if not store.section(name).rows:
            continue
        store.build_provider(name, vwap=settings.vwap, progress=progress)
        for universe, rules in settings.universes.get(name, {}).items():
            if store.universes(name).get(universe) != rules:
                store.save_universe(universe, name, rules, progress=progress, empty="keep")
            if not store.has_members(universe, name):
                note(f"universe {universe} of {name} has no member yet: more history, or milder rules")
    for name in sorted(set(settings.universes) - {str(one) for one in store.timeframes}):
        note(f"universes of {name} wait: the store has no {name} candles")
    return tuple(done)


def _candles(
    store: Store,
    feed: FeedSettings,
    source: Source,
    end: np.datetime64,
    settings: UpdateSettings,
    progress: Progress,
) -> Updated:
    timeframe = Timeframe.parse(source.spec.frequency, where=source.spec.name)
    missing = [name for name in OHLCV if name not in source.spec.columns]
    if missing:
        raise StoreError(
            f"{source.spec.name} brings no {missing[0]}: these are no candles",
            where="feeds",
            remedy="give the feed a table: name, to store them as slow data",
        )
    stored = _spans(store, timeframe)
    wanted = [Instrument.parse(text).id for text in feed.instruments]
    overlap = feed.overlap_bars * timeframe.delta
    groups = _groups(wanted, stored, max(stored.values(), default=None), moment(feed.start), overlap)
    frame, reports = _fetched(source, groups, end, progress)
    if frame is None:
        return Updated(source.spec.name, 0, 0, reports)
    before = _overlap(store, timeframe, frame, bool(stored))
    health = check(frame, timeframe, settings.health, progress, stored=before)
    if before is not None and (
        feed.restated == "keep" or not _restated(frame, before, timeframe, settings.health)
    ):
        frame = _only_new(frame, before)  # so that the store appends
    if not len(frame):
        return Updated(source.spec.name, 0, 0, reports, health)
    written = store.write(
        frame,
        timeframe,
        progress,
        repair=feed.repair,
        conflicts="replace" if feed.restated == "replace" else "error",
    )
    if feed.resample:
        store.resample(timeframe, feed.resample, progress=progress)
    return Updated(source.spec.name, written.added, written.replaced, reports, health)


def _spans(store: Store, timeframe: Timeframe) -> dict[str, np.datetime64]:
    """Store id → its newest candle."""
    if timeframe not in store.timeframes:
        return {}
    spans = store.section(timeframe).spans
    return {name: moment(last.replace(" ", "T")) for name, (_, last) in spans.items()}


def _groups(
    names: Sequence[str],
    stored: Mapping[str, np.datetime64],
    anybody: np.datetime64 | None,
    first: np.datetime64,
    overlap: np.timedelta64,
) -> dict[np.datetime64, list[str]]:
    """First time to ask for → who; an empty list asks for all that the source knows.

    Args:
        names: who is asked for.
        stored: how far each is stored.
        anybody: how far all are stored, where nobody is named; None = nothing is.
        first: where to begin with who is not stored yet.
        overlap: how much of what is stored is asked for again.
    """
    if not names:
        return {first if anybody is None else max(first, anybody - overlap): []}
    groups: dict[np.datetime64, list[str]] = {}
    for name in names:
        since = max(first, stored[name] - overlap) if name in stored else first
        groups.setdefault(since, []).append(name)
    return groups


def _fetched(
    source: Source, groups: Mapping[np.datetime64, list[str]], end: np.datetime64, progress: Progress
) -> tuple[pd.DataFrame | None, tuple[FetchReport, ...]]:
    """What came for all groups, None if nothing did, and how it went."""
    import pandas as pd

    found = [
        source.fetch(since, end, names, progress=progress) for since, names in groups.items() if since < end
    ]
    parts = [one.frame for one in found if len(one.frame)]
    reports = tuple(one.report for one in found)
    return (pd.concat(parts, ignore_index=True) if parts else None), reports


def _overlap(
    store: Store, timeframe: Timeframe, frame: pd.DataFrame, any_stored: bool
) -> pd.DataFrame | None:
    """Stored candles of the range of ``frame``."""
    if not any_stored:
        return None
    names = sorted(set(store.instruments(timeframe)) & set(frame["instrument"].unique()))
    first, last = store.span(timeframe)
    since = moment(frame["time"].min().to_pydatetime())
    if not names or since > last:
        return None
    held = store.frame(timeframe, start=max(first, since - timeframe.delta))
    held = held[held["instrument"].isin(names)]
    return held if len(held) else None


def _restated(frame: pd.DataFrame, before: pd.DataFrame, timeframe: Timeframe, rules: HealthSettings) -> bool:
    """Whether stored candles came with other values, be it wanted in the report or not."""
    view = View.of(Rows.from_frame(frame), timeframe, rules.model_copy(update={"severity": {}}))
    return any(issue.name == "restated" for issue in changes(view, Rows.from_frame(before)))


def _only_new(frame: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Candles that are not stored."""
    keys = ["time", "instrument"]
    known = frame[keys].merge(before[keys], on=keys, how="left", indicator=True)["_merge"] == "both"
    return frame[~known.to_numpy()]


def _slow(
    store: Store, feed: FeedSettings, source: Source, end: np.datetime64, context: Context, progress: Progress
) -> Updated:
    assert feed.table is not None
    stored = _newest(store, feed.table, source)
    overlap = np.timedelta64(feed.overlap_days, "D")
    keys = _keys(feed.instruments, source)
    groups = _groups(keys, stored, min(stored.values(), default=None), moment(feed.start), overlap)
    frame, reports = _fetched(source, groups, end, progress)
    if frame is None:
        return Updated(source.spec.name, 0, 0, reports)
    written = store.write_table(
        feed.table,
        frame,
        scope=source.spec.scope,
        units={field.name: field.unit for field in source.spec.fields},
        revisions="revise",
        now=context.clock(),
    )
    return Updated(source.spec.name, written.added, written.replaced, reports)


def _newest(store: Store, table: str, source: Source) -> dict[str, np.datetime64]:
    """Key of a table → the newest time with a value of this source: others may write to the table too."""
    if table not in store.tables:
        return {}
    held = store.table(table)
    fields = [field.name for field in source.spec.fields if field.name in held.columns]
    known = held[held[fields].notna().any(axis=1)]
    return {str(key): moment(time) for key, time in known.groupby("instrument")["time"].max().items()}


def _keys(names: Sequence[str], source: Source) -> list[str]:
    if source.spec.scope == "instrument":
        return [Instrument.parse(text).id for text in names]
    return list(names)
