"""Recorded liquidations as a `Source`: values by bucket, only for buckets that were listened to from their
first to their last moment. `recorder` records them, `recordings` keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings, Timeframe
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.recordings import Span, read_parts
from bascule.data.sources.spec import FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_DAY = np.timedelta64(1, "D")


class LiquidationSettings(Settings):
    """Reading recordings."""

    folder: Path = Field(description="where the recorder wrote")
    venue: Literal["binance", "bybit", "okx"] = Field("binance", description="exchange")
    timeframe: str = Field("1h", description="length of a bucket")
    contract_sizes: Mapping[str, float] = Field(
        {}, description="coins in one contract, a store id; needed for OKX, which counts contracts"
    )


class Liquidations(ChunkedSource):
    """Recorded liquidations by bucket; zeros mean that somebody listened and nothing came.

    Of Binance, which pushes at most one a symbol and second, the sums are a floor.
    """

    def __init__(self, settings: LiquidationSettings, context: Context) -> None:
        self._settings = settings
        self._timeframe = Timeframe.parse(settings.timeframe, where="liquidations.timeframe")
        super().__init__(
            SourceSpec(
                name=f"liquidations:{settings.venue}:{self._timeframe}",
                publisher=settings.venue,
                scope="instrument",
                frequency=str(self._timeframe),
                period=self._timeframe.delta,
                lag=np.timedelta64(1, "s"),
                lag_reason="pushed within a second of the order",
                fields=(
                    FieldSpec("liquidated_long", "quote", "value of long positions closed by force"),
                    FieldSpec("liquidated_short", "quote", "value of short positions closed by force"),
                    FieldSpec("liquidations", "1", "number of orders seen"),
                ),
            ),
            context.without_journal(),
        )

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError(
                "no instruments were named",
                where=self.spec.name,
                remedy="name perpetuals, e.g. BTC_USDT_USDT",
            )
        return [Chunk(",".join(instruments), start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        events, spans = read_parts(self._parts(chunk.start, chunk.end))
        if not spans:
            note("nothing was recorded in this range")
        names = chunk.instrument.split(",")
        whole = list(self._whole_buckets(spans, chunk))
        grid = pd.MultiIndex.from_product([whole, names], names=["time", "instrument"])
        events = events[events["instrument"].isin(names)]
        value = events["price"].astype(float) * events["amount"].astype(float) * self._sizes(events)
        frame = pd.DataFrame(
            {
                "time": events["time"].astype("datetime64[ns]").dt.floor(pd.Timedelta(self._timeframe.delta)),
                "instrument": events["instrument"],
                "liquidated_long": value.where(events["side"] == "long", 0.0),
                "liquidated_short": value.where(events["side"] == "short", 0.0),
                "liquidations": 1.0,
            }
        )
        sums = frame.groupby(["time", "instrument"]).sum()
        return sums.reindex(grid, fill_value=0.0).reset_index()

    def _parts(self, start: np.datetime64, end: np.datetime64) -> list[Path]:
        # a part is filed under the day of its first moment and may reach into the next
        first = (start - _DAY).astype("datetime64[D]")
        days = np.arange(first, end.astype("datetime64[D]") + 1)
        root = self._settings.folder / self._settings.venue
        return [part for day in days for part in sorted((root / str(day)).glob("*.parquet"))]

    def _whole_buckets(self, spans: Sequence[Span], chunk: Chunk) -> Iterator[np.datetime64]:
        step = self._timeframe.delta
        for since, until in spans:
            opens = self._timeframe.floor(max(since, chunk.start) - np.timedelta64(1, "ns")) + step
            while opens + step <= until and opens < chunk.end:
                yield opens
                opens = opens + step

    def _sizes(self, events: pd.DataFrame) -> pd.Series:
        """Coins in one unit of ``amount``."""
        import pandas as pd

        sizes = self._settings.contract_sizes
        if self._settings.venue != "okx":
            return pd.Series(1.0, index=events.index)
        unknown = sorted(set(events["instrument"]) - set(sizes))
        if unknown:
            raise DataError(
                f"the contract size of {', '.join(unknown)} is not known",
                where=f"{self.spec.name} contract_sizes",
                remedy="give the coins in one contract (ctVal of OKX's /api/v5/public/instruments)",
            )
        return events["instrument"].map(dict(sizes)).astype(float)
