"""Exchange rates of currencies: from a file of the user, or the ECB's daily reference rates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note, grid
from bascule.data.sources.context import Context
from bascule.data.sources.http import HttpSettings, HttpSource
from bascule.data.sources.spec import FieldSpec, SourceSpec
from bascule.data.sources.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

_RATE = (FieldSpec("rate", "second/first", "units of the second currency for one of the first"),)
_PAIR = re.compile(r"[A-Z]{3}_[A-Z]{3}")
_LONGEST = np.timedelta64(360, "D")  # of one request
_ZERO = np.timedelta64(0, "s")


class EcbSettings(HttpSettings):
    """Reaching the reference rates (Frankfurter REST, which republishes the ECB's)."""

    base_url: str = Field("https://api.frankfurter.dev", description="server")


class EcbRates(HttpSource):
    """One rate a working day; instruments read ``USD_KRW``."""

    def __init__(self, settings: EcbSettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="fx.ecb",
                publisher="European Central Bank",
                scope="instrument",
                frequency="1d",
                period=_ZERO,
                lag=np.timedelta64(16, "h"),
                lag_reason="published on the day at about 16:00 Central European time, 14:00 or 15:00 UTC",
                fields=_RATE,
            ),
            settings.base_url,
            settings,
            context,
        )

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError("no rates were named", where="fx.ecb", remedy="name pairs, e.g. USD_KRW")
        for name in instruments:
            if not _PAIR.fullmatch(name):
                raise DataError(f"{name!r} is no pair", where="fx.ecb", remedy="write e.g. USD_KRW")
        return [Chunk(name, a, b) for name in instruments for a, b in grid(start, end, _LONGEST)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        first, _, second = chunk.instrument.partition("_")
        since = chunk.start.astype("datetime64[D]")
        until = (chunk.end - np.timedelta64(1, "ns")).astype("datetime64[D]")
        path = f"/v1/{since}..{until}"
        reply = self._http.json(path, {"base": first, "symbols": second})
        rates = reply.get("rates") if isinstance(reply, dict) else None
        if not isinstance(rates, dict) or not all(
            isinstance(one, dict) and second in one for one in rates.values()
        ):
            raise DataError(
                f"the reply has no {second} rates",
                where=f"fx.ecb {path}",
                remedy="check the currencies and the base URL",
            )
        return pd.DataFrame(
            {
                "time": list(rates),
                "instrument": chunk.instrument,
                "rate": [one[second] for one in rates.values()],
            }
        )


class FxFileSettings(Settings):
    """A table of the user."""

    path: Path = Field(description="CSV with the columns time, rate, and perhaps available_time (UTC)")
    pair: str = Field("USD_KRW", description="what the rates are of")
    lag_hours: float = Field(24.0, ge=0, le=168, description="delay of publication where the file tells none")


class FxFile(ChunkedSource):
    """Rates of a CSV."""

    def __init__(self, settings: FxFileSettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="fx.file",
                publisher="user",
                scope="instrument",
                frequency="event",
                period=_ZERO,
                lag=np.timedelta64(round(settings.lag_hours * 3_600), "s"),
                lag_reason=f"as the file tells, else {settings.lag_hours:g} hours after the time",
                fields=_RATE,
            ),
            context.without_journal(),
        )
        self._settings = settings

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        unknown = [name for name in instruments if name != self._settings.pair]
        if unknown:
            raise DataError(
                f"the file has {self._settings.pair}, not {', '.join(unknown)}",
                where=f"fx.file {self._settings.path}",
                remedy="name the pair of the file in the settings",
            )
        return [Chunk(self._settings.pair, start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        table = read_table(
            self._settings.path, {"time": "time", "rate": "positive"}, {"available_time": "time"}
        )
        return table.assign(instrument=chunk.instrument)
