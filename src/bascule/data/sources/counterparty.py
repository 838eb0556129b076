"""How far a venue can be trusted: an exchange score and the size of its insurance fund, from a user's table.

No free interface tells these, so the user keeps a CSV (UTF-8; lines that begin with ``#`` are comments):

==================  ========================================================================================
column              meaning
==================  ========================================================================================
venue               name of the exchange, lower case (``binance``)
as_of               the day that the row describes
score               trust in [0, 1], by whatever scale the user chose; 1 = no doubt
insurance_fund_usd  size of the insurance or protection fund in USD
published           when it became known (optional; a day after ``as_of`` if empty)
source              where it was read (optional)
==================  ========================================================================================

``examples/counterparty.csv`` beside this module shows the form. Its figures are made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.spec import FieldSpec, SourceSpec
from bascule.data.sources.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE = Path(__file__).with_name("examples") / "counterparty.csv"


class CounterpartySettings(Settings):
    """Which table."""

    path: Path | None = Field(None, description="the user's CSV; None = the example, for trying out only")


class Counterparty(ChunkedSource):
    """Rows of the table; instruments are venues, none named = all of the table."""

    def __init__(self, settings: CounterpartySettings, context: Context) -> None:
        super().__init__(
            SourceSpec(
                name="counterparty",
                publisher="user",
                scope="venue",
                frequency="event",
                period=np.timedelta64(0, "s"),
                lag=np.timedelta64(1, "D"),
                lag_reason="as the table tells, else a day after the date",
                fields=(
                    FieldSpec("exchange_score", "1", "trust in the venue, 0…1"),
                    FieldSpec("insurance_fund", "USD", "size of the insurance or protection fund"),
                ),
            ),
            context.without_journal(),
        )
        self._path = settings.path or EXAMPLE

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        return [Chunk(",".join(instruments), start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        table = read_table(
            self._path,
            {"venue": "text", "as_of": "time", "score": "share", "insurance_fund_usd": "non-negative"},
            {"published": "time", "source": "text"},
        )
        if self._path == EXAMPLE:
            note("this is the example table: its figures are made up, give a table of your own")
        twice = table.duplicated(["venue", "as_of"])
        if twice.any():
            row = table[twice].iloc[0]
            raise DataError(
                f"two rows of {row['venue']} on {row['as_of']:%Y-%m-%d}",
                where=str(self._path),
                remedy="keep one; a correction is a new row with a later date",
            )
        if chunk.instrument:
            table = self._only(table, chunk.instrument.split(","))
        named = table.rename(
            columns={
                "as_of": "time",
                "venue": "instrument",
                "score": "exchange_score",
                "insurance_fund_usd": "insurance_fund",
                "published": "available_time",
            }
        )
        return named.drop(columns="source", errors="ignore")

    def _only(self, table: pd.DataFrame, venues: list[str]) -> pd.DataFrame:
        unknown = sorted(set(venues) - set(table["venue"]))
        if unknown:
            raise DataError(
                f"the table has no {', '.join(unknown)}",
                where=str(self._path),
                remedy=f"at hand: {', '.join(sorted(set(table['venue'])))}",
            )
        return table[table["venue"].isin(venues)]
