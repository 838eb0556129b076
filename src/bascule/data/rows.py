"""Candles as columns: what readers, health checks and the store hand to each other inside this package.

The outside form is the canonical long frame (one row a candle, see `Rows.frame`). Working on integer codes
and nanoseconds instead of its string and timestamp columns makes millions of rows take seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Instrument, moment

if TYPE_CHECKING:
    import pandas as pd

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]

OHLC = ("open", "high", "low", "close")
OHLCV = (*OHLC, "volume")
OPTIONAL = ("quote_volume", "funding_rate", "mark")
"""Columns that readers take when a source has them; `volume` is in base units, `quote_volume` in quote."""

AVAILABLE = "available_time"
"""When a source had a row. Candles are known at their close (timing law), so `Rows` leave it out; health
checks look at it (`comparisons.arrivals`), and tables of slow data live by it (`slow.py`)."""


@dataclass(frozen=True)
class Rows:
    """Candles ``[R]`` in any order.

    Attributes:
        ids: store ids, sorted and unique ``[N]``.
        codes: index into ``ids`` ``[R]``.
        time: candle opens, nanoseconds since 1970 UTC ``[R]``.
        values: column name → float32 ``[R]``; always holds `OHLCV`.
    """

    ids: tuple[str, ...]
    codes: Int32Array
    time: Int64Array
    values: Mapping[str, FloatArray]

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, where: str = "frame") -> Rows:
        """Read a canonical long frame; a column `AVAILABLE` is left out.

        Raises:
            DataError: no rows, a column is missing or of the wrong kind, or an instrument is not a store id.
        """
        import pandas as pd

        need = ("time", "instrument", *OHLCV)
        missing = [name for name in need if name not in frame.columns]
        if missing:
            raise DataError(
                f"column {missing[0]!r} is missing",
                where=where,
                remedy=f"needed: {', '.join(need)}; at hand: {', '.join(map(str, frame.columns))}",
            )
        if frame.empty:
            raise DataError("there are no rows", where=where, remedy="check the source and the dates")
        stamps = frame["time"]
        if not isinstance(stamps.dtype, pd.DatetimeTZDtype) or str(stamps.dtype.tz) != "UTC":
            raise DataError(
                f"column 'time' is {stamps.dtype}, not UTC timestamps",
                where=where,
                remedy="convert with pandas.to_datetime(..., utc=True)",
            )
        if bool(stamps.isna().any()):
            raise DataError("column 'time' has empty values", where=where, remedy="remove these rows")
        time = stamps.dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)
        codes, uniques = pd.factorize(frame["instrument"], sort=True)
        if (codes < 0).any():
            raise DataError("column 'instrument' has empty values", where=where, remedy="remove these rows")
        ids = tuple(str(name) for name in uniques)
        for name in ids:
            if Instrument.parse(name).id != name:
                raise DataError(
                    f"{name!r} is not a store id", where=where, remedy=f"write {Instrument.parse(name).id!r}"
                )
        values = {
            str(name): as_float32(frame[name], where=f"{where}: {name}")
            for name in frame.columns
            if name not in ("time", "instrument", AVAILABLE)
        }
        return cls(ids, codes.astype(np.int32), time, values)

    def frame(self) -> pd.DataFrame:
        """The canonical long frame: `time` (UTC), `instrument` (store id), float32 columns; order kept."""
        import pandas as pd

        return pd.DataFrame(
            {
                "time": pd.DatetimeIndex(self.time.astype("datetime64[ns]")).tz_localize("UTC"),
                "instrument": np.array(self.ids, object)[self.codes],
                **self.values,
            }
        )

    def take(self, index: IndexArray | BoolArray) -> Rows:
        """The rows of an index or mask, in its order."""
        return Rows(
            self.ids,
            self.codes[index],
            self.time[index],
            {name: column[index] for name, column in self.values.items()},
        )

    def used(self) -> Rows:
        """The same rows without the ids that none of them has."""
        present, codes = np.unique(self.codes, return_inverse=True)
        if len(present) == len(self.ids):
            return self
        ids = tuple(self.ids[code] for code in present)
        return Rows(ids, codes.astype(np.int32), self.time, self.values)

    def with_columns(self, names: Sequence[str]) -> Rows:
        """Exactly these columns, in this order; absent ones are NaN."""
        nothing = np.full(len(self), np.nan, np.float32)
        values = {name: self.values.get(name, nothing) for name in names}
        return Rows(self.ids, self.codes, self.time, values)

    def order(self) -> IndexArray | None:
        """The stable permutation that sorts by instrument, then time; None when they are sorted."""
        later = (self.codes[1:] > self.codes[:-1]) | (
            (self.codes[1:] == self.codes[:-1]) & (self.time[1:] >= self.time[:-1])
        )
        return None if bool(later.all()) else np.lexsort((self.time, self.codes))

    def ordered(self) -> Rows:
        """Sorted by instrument, then time (stable)."""
        order = self.order()
        return self if order is None else self.take(order)

    def by_instrument(self) -> Rows:
        """Grouped by instrument, the order within each kept: order between instruments has no meaning."""
        if bool((self.codes[1:] >= self.codes[:-1]).all()):
            return self
        return self.take(np.argsort(self.codes, kind="stable"))

    @property
    def bounds(self) -> Int64Array:
        """For grouped rows: row where each instrument starts, and the end ``[N + 1]``."""
        return np.searchsorted(self.codes, np.arange(len(self.ids) + 1)).astype(np.int64)


def concat(parts: Sequence[Rows]) -> Rows:
    """Several tables as one, grouped by instrument, in the order of the parts; absent columns are NaN."""
    ids = tuple(sorted(set().union(*(part.ids for part in parts))))
    place = {name: code for code, name in enumerate(ids)}
    names = list(dict.fromkeys(name for part in parts for name in part.values))
    codes = [np.array([place[n] for n in part.ids], np.int32)[part.codes] for part in parts]
    values = {
        name: np.concatenate(
            [part.values.get(name, np.full(len(part), np.nan, np.float32)) for part in parts]
        )
        for name in names
    }
    whole = Rows(ids, np.concatenate(codes), np.concatenate([part.time for part in parts]), values)
    return whole.by_instrument()


def as_float32(column: pd.Series[float], *, where: str) -> FloatArray:
    """A column as float32.

    Raises:
        DataError: a value is no number, or does not fit into float32.
    """
    import pandas as pd

    if not (pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)):
        numbers = pd.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(numbers.isna().to_numpy() & column.notna().to_numpy())
        if len(bad) or pd.api.types.is_bool_dtype(column.dtype):
            at = int(bad[0]) if len(bad) else 0
            raise DataError(
                f"row {at + 1} holds {column.iloc[at]!r}, which is not a number",
                where=where,
                remedy="write plain decimal numbers (no thousands separators, no units)",
            )
        column = numbers
    wide = column.to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        narrow: FloatArray = wide.astype(np.float32)
    over = np.flatnonzero(np.isinf(narrow) & np.isfinite(wide))
    if len(over):
        raise DataError(
            f"row {over[0] + 1} holds {wide[over[0]]:g}, too large for a 32-bit float",
            where=where,
            remedy="check the unit of this column",
        )
    return narrow


def stamp(time: int | np.int64) -> str:
    """Nanoseconds since 1970 as readable UTC text, to the second."""
    return str(np.datetime64(int(time), "ns").astype("datetime64[s]")).replace("T", " ")


def nanoseconds(text: str) -> int:
    """What `stamp` wrote, as nanoseconds since 1970."""
    return int(moment(text.replace(" ", "T")).astype(np.int64))
