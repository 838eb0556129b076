"""Headlines from GDELT's document API and from RSS or Atom feeds, as an index of tone and regulation.

Headlines come with the time at which they were published (RSS) or first seen (GDELT). They count as known
some minutes later (`lag`), and fall into the bucket in which they became known (`bascule.data.sentiment`).
A bucket without headlines gives no row: whether nobody wrote, or a feed does not reach back so far, cannot
be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, field_validator

from bascule.core import DataError, Timeframe
from bascule.data.sentiment import Scorer, VaderScorer, sentiment_index
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note, grid
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpClient, HttpSettings
from bascule.data.sources.spec import GLOBAL, FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = (
    FieldSpec("headlines", "1", "distinct titles"),
    FieldSpec("sentiment", "1", "mean tone, -1…1"),
    FieldSpec("regulation_share", "1", "mean weight of regulation, 0…1"),
    FieldSpec("regulation", "1", "regulation pressure: mean of weight × -tone"),
)
_GDELT_PATH = "/api/v2/doc/doc"
_GDELT_PAGE = 250
_SHORTEST = np.timedelta64(15, "m")  # GDELT's own resolution


class NewsSettings(HttpSettings):
    """What both kinds of source share."""

    timeframe: str = Field("1h", description="length of a bucket")
    lag_minutes: float = Field(15.0, ge=0, le=1_440, description="from publication until it counts as known")


class GdeltSettings(NewsSettings):
    """Reaching GDELT."""

    base_url: str = Field("https://api.gdeltproject.org", description="server")
    min_interval_seconds: float = Field(5.0, ge=0, le=60, description="GDELT allows a request in 5 seconds")
    queries: Mapping[str, str] = Field(
        {GLOBAL: "(bitcoin OR ethereum OR cryptocurrency) sourcelang:english"},
        description="key (GLOBAL or an asset) → query in GDELT's language",
    )


class RssSettings(NewsSettings):
    """Which feeds."""

    feeds: tuple[str, ...] = Field(
        (
            "https://www.coindesk.com/arc/outboundfeeds/rss/",
            "https://cointelegraph.com/rss",
            "https://www.sec.gov/news/pressreleases.rss",
        ),
        min_length=1,
        description="URLs of RSS or Atom feeds",
    )

    @field_validator("feeds")
    @classmethod
    def _urls(cls, feeds: tuple[str, ...]) -> tuple[str, ...]:
        for url in feeds:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
                raise ValueError(f"{url!r} is not a URL")
        return feeds


class _News(ChunkedSource):
    """Buckets of headlines; a subclass brings the headlines."""

    def __init__(
        self,
        name: str,
        publisher: str,
        keys: Sequence[str],
        settings: NewsSettings,
        context: Context,
        scorer: Scorer | None,
    ) -> None:
        self._timeframe = Timeframe.parse(settings.timeframe, where=f"{name}.timeframe")
        self._lag = np.timedelta64(round(settings.lag_minutes * 60), "s")
        self._keys = tuple(keys)
        self._scorer: Scorer = scorer or VaderScorer()
        super().__init__(
            SourceSpec(
                name=f"{name}:{self._timeframe}",
                publisher=publisher,
                scope="global" if self._keys == (GLOBAL,) else "asset",
                frequency=str(self._timeframe),
                period=self._timeframe.delta,
                lag=np.timedelta64(0, "s"),
                lag_reason=f"a bucket holds what was published {settings.lag_minutes:g} min before its end",
                fields=_FIELDS,
            ),
            context,
        )

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        unknown = [name for name in instruments if name not in self._keys]
        if unknown:
            raise DataError(
                f"no query for {', '.join(unknown)}",
                where=self.spec.name,
                remedy=f"known: {', '.join(self._keys)}; add a query in the settings",
            )
        # whole buckets, so that no bucket is made from a part of its headlines
        first = self._timeframe.floor(start)
        last = self._timeframe.floor(end - np.timedelta64(1, "ns")) + self._timeframe.delta
        length = max(np.timedelta64(1, "D").astype("timedelta64[ns]"), self._timeframe.delta)
        return [Chunk(key, a, b) for key in instruments or self._keys for a, b in grid(first, last, length)]

    def _buckets(self, titles: list[tuple[np.datetime64, str]], chunk: Chunk) -> pd.DataFrame:
        """The index of the headlines that became known within the chunk."""
        import pandas as pd

        known = [(when + self._lag, title) for when, title in titles]
        frame = pd.DataFrame(
            [one for one in known if chunk.start <= one[0] < chunk.end], columns=["available_time", "title"]
        )
        frame["available_time"] = pd.to_datetime(frame["available_time"], utc=True)
        return sentiment_index(frame, self._timeframe, self._scorer).assign(instrument=chunk.instrument)


class Gdelt(_News):
    """News of the world by GDELT.

    Args:
        settings: server, queries, bucket.
        context: time, pause, dice, journal.
        scorer: tells tone; default VADER with crypto words.
    """

    def __init__(self, settings: GdeltSettings, context: Context, scorer: Scorer | None = None) -> None:
        super().__init__("gdelt", "GDELT", tuple(settings.queries), settings, context, scorer)
        self._settings = settings
        self._http = HttpClient("gdelt", settings.base_url, settings, context)

    def _identity(self) -> Any:
        return [
            self._settings.base_url,
            dict(self._settings.queries),
            str(self._lag),
            repr(type(self._scorer)),
        ]

    def _traffic(self) -> tuple[int, int]:
        return self._http.requests, self._http.retries

    def _skew(self) -> float | None:
        return self._http.skew_seconds

    def _close(self) -> None:
        self._http.close()

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        query = self._settings.queries[chunk.instrument]
        titles = self._articles(query, chunk.start - self._lag, chunk.end - self._lag, note)
        return self._buckets(titles, chunk)

    def _articles(
        self, query: str, start: np.datetime64, end: np.datetime64, note: Note
    ) -> list[tuple[np.datetime64, str]]:
        """All of ``[start, end)``; a full page is split, for GDELT gives no further pages."""
        reply = self._http.json(
            _GDELT_PATH,
            {
                "query": query,
                "mode": "artlist",
                "format": "json",
                "sort": "dateasc",
                "maxrecords": _GDELT_PAGE,
                "startdatetime": _compact(start),
                "enddatetime": _compact(end - np.timedelta64(1, "s")),
            },
        )
        articles = reply.get("articles", None if reply else []) if isinstance(reply, dict) else None
        if not isinstance(articles, list):
            raise DataError(
                "the reply has no list under 'articles'",
                where=f"gdelt {_GDELT_PATH}",
                remedy="check query and base URL; if they are right, GDELT changed its format: report it",
            )
        if len(articles) >= _GDELT_PAGE:
            if end - start > _SHORTEST:
                middle = start + (end - start) // 2
                return self._articles(query, start, middle, note) + self._articles(query, middle, end, note)
            note(f"more than {_GDELT_PAGE} headlines within {_SHORTEST}: the rest is not served")
        try:
            return [(_seen(one["seendate"]), str(one["title"])) for one in articles]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"an article cannot be read: {error!r}",
                where=f"gdelt {_GDELT_PATH}",
                remedy="GDELT changed its format; report it",
            ) from error


class Rss(_News):
    """RSS and Atom feeds of the user's choice. Feeds hold some days at most: fetch often.

    Args:
        settings: feeds, bucket.
        context: time, pause, dice, journal.
        scorer: tells tone; default VADER with crypto words.
    """

    def __init__(self, settings: RssSettings, context: Context, scorer: Scorer | None = None) -> None:
        super().__init__("rss", "feeds of the user", (GLOBAL,), settings, context, scorer)
        self._feeds: list[tuple[HttpClient, str]] = []
        for url in settings.feeds:
            parts = urlsplit(url)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            client = HttpClient(f"rss {parts.netloc}", f"{parts.scheme}://{parts.netloc}", settings, context)
            self._feeds.append((client, path))
        self._settings = settings

    def _identity(self) -> Any:
        return [list(self._settings.feeds), str(self._lag), repr(type(self._scorer))]

    def _traffic(self) -> tuple[int, int]:
        return sum(c.requests for c, _ in self._feeds), sum(c.retries for c, _ in self._feeds)

    def _close(self) -> None:
        for client, _ in self._feeds:
            client.close()

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        """One chunk: a feed gives all it has at once."""
        days = super()._chunks(start, end, instruments)
        return [Chunk(GLOBAL, days[0].start, days[-1].end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        titles: list[tuple[np.datetime64, str]] = []
        for client, path in self._feeds:
            items, undated = client.decoded(path, None, read_feed)
            if undated:
                note(f"{client.source}: {undated} items without a date were left out")
            if items and min(when for when, _ in items) > chunk.start:
                note(f"{client.source}: reaches back to {min(when for when, _ in items)} only")
            titles += items
        return self._buckets(titles, chunk)


def read_feed(body: bytes) -> tuple[list[tuple[np.datetime64, str]], int]:
    """Time and title of each item of an RSS 2.0 or Atom document, and how many had no readable date.

    Raises:
        ValueError: it is not a whole XML document, or not a feed.
    """
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(body)
    except ParseError as error:
        raise ValueError(f"not whole XML: {error}") from error
    if root.tag.rpartition("}")[2] not in ("rss", "feed", "RDF"):
        raise ValueError(f"<{root.tag}> is not a feed")
    items, undated = [], 0
    for item in root.iter():
        if item.tag.rpartition("}")[2] not in ("item", "entry"):
            continue
        texts = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in item}
        title = texts.get("title", "")
        date = next((texts[k] for k in ("pubDate", "published", "updated", "date") if texts.get(k)), "")
        when = _published(date)
        if when is None or not title:
            undated += 1
        else:
            items.append((when, title))
    return items, undated


def _published(text: str) -> np.datetime64 | None:
    """RFC 822 (RSS) or ISO 8601 (Atom) as UTC; a date without a zone cannot be placed and counts as none."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text)
            if when.tzinfo is None:
                return None
            plain = when.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, TypeError, OverflowError):
            continue
        return np.datetime64(plain, "ns")
    return None


def _compact(time: np.datetime64) -> str:
    return str(time.astype("datetime64[s]")).translate(str.maketrans("", "", "-:T"))


def _seen(text: str) -> np.datetime64:
    return np.datetime64(datetime.strptime(text, "%Y%m%dT%H%M%SZ"), "ns")
