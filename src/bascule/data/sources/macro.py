"""Series of the whole market: the fear and greed index, and CoinGecko's global figures.

CoinGecko gives the present for nothing and the past (`history`) to paying users only; so the free way is to
fetch often and let the store keep what was seen. Dominance of the past is Bitcoin's market cap over the
total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from bascule.core import DataError, moment
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpSettings, HttpSource, excerpt
from bascule.data.sources.retry import RETRYABLE_STATUS, Retry, TransientError, http_date, retry_after
from bascule.data.sources.spec import GLOBAL, FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_DAY = np.timedelta64(1, "D")
_SECOND = np.timedelta64(1, "s")
_RECENT = np.timedelta64(1, "h")  # age of the "present" figures at most
_CAUTION = np.timedelta64(1, "h")  # from a midnight until its daily point is there for all


class FearGreedSettings(HttpSettings):
    """Reaching alternative.me."""

    base_url: str = Field("https://api.alternative.me", description="server")
    lag_minutes: float = Field(60.0, ge=0, le=1_440, description="delay of publication after midnight UTC")


class FearGreed(HttpSource):
    """The daily index, 0 (fear) to 100 (greed), of alternative.me. One request brings all of it."""

    def __init__(self, settings: FearGreedSettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="feargreed",
                publisher="alternative.me",
                scope="global",
                frequency="1d",
                period=0 * _SECOND,
                lag=np.timedelta64(round(settings.lag_minutes * 60), "s"),
                lag_reason="stamped at the midnight at which it is published, plus some minutes of caution",
                fields=(FieldSpec("fear_greed", "1", "0 = extreme fear … 100 = extreme greed"),),
            ),
            settings.base_url,
            settings,
            context,
        )

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        return [Chunk(GLOBAL, start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        reply = self._http.json("/fng/", {"limit": 0, "format": "json"})
        data = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(data, list) or not all(
            isinstance(one, dict) and str(one.get("timestamp", "")).isdecimal() and "value" in one
            for one in data
        ):
            raise DataError(
                "the reply has no list of values under 'data'",
                where="feargreed /fng/",
                remedy="check the base URL; if it is right, the publisher changed its format: report it",
            )
        return pd.DataFrame(
            {
                "time": [int(one["timestamp"]) * 1_000 for one in data],
                "instrument": GLOBAL,
                "fear_greed": [one["value"] for one in data],
            }
        )


class CoinGeckoSettings(HttpSettings):
    """Reaching CoinGecko."""

    base_url: str | None = Field(None, description="server with path, None = CoinGecko's")
    api_key: str | None = Field(None, description="key of a paid plan")
    demo_key: str | None = Field(None, description="free demo key (more requests a minute)")
    history: bool = Field(False, description="daily past of the total; needs a paid key")


class CoinGeckoGlobal(ChunkedSource):
    """Total market cap, volume and Bitcoin's dominance, through pycoingecko."""

    def __init__(self, settings: CoinGeckoSettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="coingecko.history" if settings.history else "coingecko",
                publisher="CoinGecko",
                scope="global",
                frequency="1d" if settings.history else "event",
                period=0 * _SECOND,
                lag=_CAUTION if settings.history else 0 * _SECOND,
                lag_reason="daily points are stamped at midnight, an hour of caution"
                if settings.history
                else "a figure of the present is known when it is fetched",
                fields=(
                    FieldSpec("total_market_cap", "USD", "all coins at CoinGecko"),
                    FieldSpec("total_volume", "USD", "volume of the last 24 hours"),
                    FieldSpec("btc_dominance", "1", "Bitcoin's share of the total market cap, 0…1"),
                ),
            ),
            context,
        )
        self._settings = settings
        self._retry = Retry(settings, context)
        self._skew_seconds: float | None = None
        # of the last reply: pycoingecko does not hand them on
        self._headers: Mapping[str, str] = {}
        self._status = 0
        self._path = ""
        self._api: Any = None

    def _identity(self) -> Any:
        return self._settings.base_url

    def _traffic(self) -> tuple[int, int]:
        return self._retry.requests, self._retry.retries

    def _skew(self) -> float | None:
        return self._skew_seconds

    def _close(self) -> None:
        if self._api is not None:
            self._api.session.close()
            self._api = None

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        return [Chunk(GLOBAL, start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        if self._settings.history:
            return self._past(chunk)
        return self._present_figures(chunk, note)

    def _present_figures(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        columns = (
            "time",
            "available_time",
            "instrument",
            "total_market_cap",
            "total_volume",
            "btc_dominance",
        )
        now = self._context.clock()
        if chunk.end < now - _RECENT:
            note("the free plan tells the present only, which is after the range")
            return pd.DataFrame(columns=columns)
        found = self._call(
            "get_global",
            lambda reply: (
                np.datetime64(int(reply["updated_at"]), "s"),
                reply["total_market_cap"]["usd"],
                reply["total_volume"]["usd"],
                reply["market_cap_percentage"]["btc"] / 100,
            ),
        )
        updated = moment(found[0])
        # never before it was fetched: nobody could have looked it up afterwards
        row = [updated, max(now, updated), GLOBAL, *found[1:]]
        return pd.DataFrame([row], columns=columns)

    def _past(self, chunk: Chunk) -> pd.DataFrame:
        import pandas as pd

        now = self._context.clock()
        days = int((now - chunk.start) / _DAY) + 1
        total, volume = self._call(
            "get_global_market_cap_chart",
            lambda reply: tuple(_series(reply["market_cap_chart"][key]) for key in ("market_cap", "volume")),
            days=days,
            vs_currency="usd",
        )
        bitcoin = self._call(
            "get_coin_market_chart_by_id",
            lambda reply: _series(reply["market_caps"]),
            id="bitcoin",
            vs_currency="usd",
            days=days,
            interval="daily",
        )
        joined: pd.DataFrame = pd.concat(
            {"total_market_cap": total, "total_volume": volume, "bitcoin": bitcoin}, axis=1
        )
        joined = joined.dropna(subset=["total_market_cap"])
        joined["btc_dominance"] = joined["bitcoin"] / joined["total_market_cap"]
        joined["instrument"] = GLOBAL
        return joined.rename_axis("time").reset_index()

    def _call(self, method: str, pick: Any, **arguments: Any) -> Any:
        """What ``pick`` takes from the reply of a pycoingecko method; our retries replace its own."""

        def work() -> Any:
            import requests

            api = self._client()
            self._path = method
            try:
                return pick(getattr(api, method)(**arguments))
            except requests.HTTPError as error:
                raise self._refusal(str(error)) from error
            except requests.RequestException as error:
                raise TransientError(f"no reply ({type(error).__name__})") from error
            except (KeyError, TypeError, IndexError) as error:
                raise self._error(f"the reply lacks {error}") from error
            except ValueError as error:
                # pycoingecko raises this both for an error told as JSON and for a body that is not JSON
                raise self._refusal(str(error)) from error

        return self._retry.run(work, where=lambda: f"coingecko {self._path}")

    def _refusal(self, text: str) -> Exception:
        if self._status in RETRYABLE_STATUS or self._status == 200:
            wait = retry_after(self._headers.get("Retry-After"), self._context.clock())
            return TransientError(f"HTTP {self._status}: {excerpt(text, 80)}", wait)
        return self._error(f"HTTP {self._status}: {excerpt(text)}")

    def _error(self, message: str) -> DataError:
        return DataError(message, where=f"coingecko {self._path}", remedy="check API key, plan and base URL")

    def _client(self) -> Any:
        from pycoingecko import CoinGeckoAPI

        if self._api is None:
            settings = self._settings
            self._api = CoinGeckoAPI(
                api_key=settings.api_key or "", demo_api_key=settings.demo_key or "", retries=0
            )
            self._api.request_timeout = settings.timeout_seconds
            if settings.base_url:
                self._api.api_base_url = settings.base_url.rstrip("/") + "/"
            self._api.session.hooks["response"].append(self._look)
        return self._api

    def _look(self, reply: Any, *_: Any, **__: Any) -> None:
        """Keep status, headers and path of a reply."""
        from urllib.parse import urlsplit

        self._headers, self._status = reply.headers, reply.status_code
        self._path = urlsplit(reply.url).path
        served = http_date(reply.headers.get("Date"))
        if served is not None:
            self._skew_seconds = float((served - self._context.clock()) / _SECOND)


def _series(points: Any) -> pd.Series:
    """``[[milliseconds, value], …]`` as the value of each midnight (UTC): the first point after it.

    A day without a point at its midnight has no value: what came later in the day (today's last point is the
    present) was not known when the midnight's would have been.
    """
    import pandas as pd

    stamps = pd.to_datetime([int(p[0]) for p in points], unit="ms", utc=True)
    values = pd.Series([float(p[1]) for p in points], index=stamps.floor("D"))[
        stamps - stamps.floor("D") < pd.Timedelta(_CAUTION)
    ]
    return values[~values.index.duplicated(keep="first")]
