"""On-chain data a day and asset, from Coin Metrics (community REST v4: no key, CC BY-NC 4.0, non-commercial).

A day's values are computed after the day's end. Coin Metrics tells when (``AssetEODCompletionTime``); where
it does not, the publication lag of the settings counts from the end of the day. Values may be restated
later; the store keeps what was known first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from bascule.core import DataError
from bascule.data.sources.chunked import Chunk, Note, grid
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpSettings, HttpSource
from bascule.data.sources.spec import FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

# our field ← Coin Metrics' metric
METRICS: dict[str, tuple[str, str, str]] = {
    "active_addresses": ("AdrActCnt", "1", "addresses active in the day"),
    "transactions": ("TxCnt", "1", "transactions in the day"),
    "transfer_value": ("TxTfrValAdjUSD", "USD", "value moved, adjusted for change and churn"),
    "fees": ("FeeTotUSD", "USD", "fees paid"),
    "market_cap": ("CapMrktCurUSD", "USD", "current supply at the day's price"),
    "realised_cap": ("CapRealUSD", "USD", "supply at the price of its last move"),
    "mvrv": ("CapMVRVCur", "1", "market cap / realised cap"),
    "nvt": ("NVTAdj", "1", "market cap / adjusted transfer value"),
}
_COMPLETED = "AssetEODCompletionTime"
_PATH = "/v4/timeseries/asset-metrics"
_PAGE = 1_000
_DAY = np.timedelta64(1, "D")


class CoinMetricsSettings(HttpSettings):
    """Reaching Coin Metrics."""

    base_url: str = Field("https://community-api.coinmetrics.io", description="server")
    api_key: str | None = Field(None, description="key of a paid plan, with the paid server as base_url")
    min_interval_seconds: float = Field(
        0.7, ge=0, le=60, description="community allows 10 requests in 6 seconds"
    )
    lag_hours: float = Field(
        12.0, ge=0, le=168, description="publication lag after the day's end, where the reply tells none"
    )


class CoinMetrics(HttpSource):
    """Fields of `METRICS` a day; instruments are assets in capitals (``BTC``)."""

    def __init__(self, settings: CoinMetricsSettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="coinmetrics",
                publisher="Coin Metrics",
                scope="asset",
                frequency="1d",
                period=_DAY,
                lag=np.timedelta64(round(settings.lag_hours * 3_600), "s"),
                lag_reason="the completion time that Coin Metrics tells, else some hours after the day's end",
                fields=tuple(FieldSpec(name, unit, text) for name, (_, unit, text) in METRICS.items()),
            ),
            settings.base_url,
            settings,
            context,
        )
        self._settings = settings

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError("no assets were named", where="coinmetrics", remedy="name assets, e.g. BTC")
        # as many days as a page has rows
        return [Chunk(name, a, b) for name in instruments for a, b in grid(start, end, _PAGE * _DAY)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        query: dict[str, str | int | float] = {
            "assets": chunk.instrument.lower(),
            "metrics": ",".join([*(metric for metric, _, _ in METRICS.values()), _COMPLETED]),
            "frequency": "1d",
            "start_time": f"{np.datetime_as_string(chunk.start, unit='s')}Z",
            "end_time": f"{np.datetime_as_string(chunk.end, unit='s')}Z",
            "end_inclusive": "false",
            "page_size": _PAGE,
            "paging_from": "start",
            "ignore_unsupported_errors": "true",
            "ignore_forbidden_errors": "true",
        }
        if self._settings.api_key:
            query["api_key"] = self._settings.api_key
        rows = self._pages(query)
        present = {key for one in rows for key in one}
        for name, (metric, _, _) in METRICS.items():
            if rows and metric not in present:
                note(f"{chunk.instrument}: {name} ({metric}) is not in this plan or not of this asset")
        return pd.DataFrame(
            {
                "time": [one["time"] for one in rows],
                "available_time": [_seconds(one.get(_COMPLETED)) for one in rows],
                "instrument": chunk.instrument,
                **{name: [one.get(metric) for one in rows] for name, (metric, _, _) in METRICS.items()},
            }
        )

    def _pages(self, query: dict[str, str | int | float]) -> list[dict[str, Any]]:
        """The rows of all pages of a query."""
        rows: list[dict[str, Any]] = []
        tokens: set[str] = set()
        while True:
            reply = self._http.json(_PATH, query)
            data = reply.get("data") if isinstance(reply, dict) else None
            if not isinstance(data, list) or not all(isinstance(one, dict) and "time" in one for one in data):
                raise _malformed("the reply has no list of rows under 'data'")
            rows += data
            token = str(reply.get("next_page_token") or "")
            if not token:
                return rows
            if token in tokens:
                raise _malformed("the reply leads back to a page that was read already")
            tokens.add(token)
            query = {**query, "next_page_token": token}


def _malformed(message: str) -> DataError:
    return DataError(
        message,
        where=f"coinmetrics {_PATH}",
        remedy="check the base URL; if it is right, Coin Metrics changed its format: report it",
    )


def _seconds(value: Any) -> np.datetime64:
    """Seconds since 1970, as a text or number, or nothing."""
    try:
        return np.datetime64(int(float(value) * 1_000), "ms")
    except (TypeError, ValueError, OverflowError):
        return np.datetime64("NaT", "ms")
