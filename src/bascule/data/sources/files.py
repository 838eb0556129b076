"""Files as sources: long tables of candles, and freqtrade's data folders, read by `bascule.data.readers`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings, Timeframe
from bascule.data.readers import read_freqtrade, read_long
from bascule.data.sources.context import Context
from bascule.data.sources.fields import CARRIED, PRICES, VOLUMES
from bascule.data.sources.own import RangeSource, candles
from bascule.data.sources.spec import FieldSpec

if TYPE_CHECKING:
    import pandas as pd


class LongFileSettings(Settings):
    """A long table of candles."""

    path: Path = Field(description="parquet, feather or CSV with a row a candle and instrument")
    timeframe: str = Field("1h", description="candle length")
    columns: Mapping[str, str] = Field({}, description="our name → the file's column, where they differ")
    fields: tuple[str, ...] = Field((), description="further columns to take, besides OHLC and volume")
    quote: str | None = Field(None, description="quote asset of symbols written without one")
    settle: str | None = Field(None, description="margin asset, for perpetuals written like spot")
    assume_utc: bool = Field(True, description="times without a zone are UTC")


class FreqtradeFolderSettings(Settings):
    """A data folder of freqtrade."""

    folder: Path = Field(description="e.g. user_data/data/binance")
    timeframe: str = Field("1h", description="candle length")
    market: Literal["spot", "futures"] = Field("spot", description="trading mode")


class WholeSource(RangeSource):
    """One read of everything, cut to the range."""

    def __init__(
        self, name: str, timeframe: Timeframe, fields: tuple[FieldSpec, ...], context: Context
    ) -> None:
        super().__init__(candles(name, timeframe, fields=fields), context)

    def read(self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]) -> pd.DataFrame:
        """Everything; an instrument that is not there is refused."""
        frame = self._read()
        unknown = sorted(set(instruments) - set(frame["instrument"].unique()))
        if unknown:
            raise DataError(
                f"there is no {', '.join(unknown)}", where=self.spec.name, remedy="check names and files"
            )
        return frame

    @abstractmethod
    def _read(self) -> pd.DataFrame:
        """Everything there is."""


class LongFile(WholeSource):
    """See `read_long`."""

    def __init__(self, settings: LongFileSettings, context: Context) -> None:
        extra = tuple(FieldSpec(name, "as in the file", "further column") for name in settings.fields)
        timeframe = Timeframe.parse(settings.timeframe, where="file.timeframe")
        super().__init__("file", timeframe, (*PRICES, VOLUMES[0], *extra), context)
        self._settings = settings

    def _read(self) -> pd.DataFrame:
        one = self._settings
        columns: dict[str, str] = {**{name: name for name in one.fields}, **one.columns}
        return read_long(
            one.path, columns=columns, quote=one.quote, settle=one.settle, assume_utc=one.assume_utc
        )


class FreqtradeFolder(WholeSource):
    """See `read_freqtrade`."""

    def __init__(self, settings: FreqtradeFolderSettings, context: Context) -> None:
        timeframe = Timeframe.parse(settings.timeframe, where="freqtrade.timeframe")
        fields = (*PRICES, VOLUMES[0], *(CARRIED if settings.market == "futures" else ()))
        super().__init__("freqtrade.folder", timeframe, fields, context)
        self._settings = settings

    def _read(self) -> pd.DataFrame:
        one = self._settings
        return read_freqtrade(one.folder, one.timeframe, market=one.market)
