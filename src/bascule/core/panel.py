"""The Panel: what travels between floors. ``[time × instrument]`` arrays, one per field.

Timing law: row *t* carries the candle's *open* time and holds what is known at its *close*; a signal of row
*t* may be acted on from the open of row *t + 1*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core.errors import DataError, UniverseError
from bascule.core.timeframe import Moment, TimeArray, Timeframe, moment

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
NAT = np.datetime64("NaT", "ns")


@dataclass(frozen=True, eq=False)
class Panel:
    """Market data of one timeframe.

    Attributes:
        timeframe: candle length.
        time: UTC candle open times ``[T]``, ``datetime64[ns]``, strictly regular (24/7, no holes: a missing
            candle is a row of NaN).
        instruments: store ids ``[N]`` (`Instrument.id`), sorted, unique.
        fields: name (lower case, without ``$``) → C-contiguous float32 ``[T, N]``; NaN = no trade, no data.
        listed: open time of each instrument's first candle ever ``[N]`` (may lie before ``time[0]``: a window
            of a longer history keeps it); NaT = never traded.
        universe: point-in-time membership ``[T, N]``, or None = every instrument with a trade.
    """

    timeframe: Timeframe
    time: TimeArray
    instruments: tuple[str, ...]
    fields: Mapping[str, FloatArray]
    listed: TimeArray
    universe: BoolArray | None = field(default=None)

    def __post_init__(self) -> None:
        shape = self.shape
        if self.time.dtype != np.dtype("datetime64[ns]"):
            raise DataError(f"time must be datetime64[ns], received {self.time.dtype}", where="Panel")
        if len(self.time) > 1 and not bool((np.diff(self.time) == self.timeframe.delta).all()):
            raise DataError(
                f"time must step by {self.timeframe} everywhere",
                where="Panel",
                remedy="put missing candles in as rows of NaN (Panel.from_long does)",
            )
        if list(self.instruments) != sorted(set(self.instruments)):
            raise DataError("instruments must be sorted and unique", where="Panel")
        if self.listed.shape != (shape[1],):
            raise DataError(f"listed has shape {self.listed.shape}, expected ({shape[1]},)", where="Panel")
        for name, values in self.fields.items():
            if values.shape != shape or values.dtype != np.float32:
                raise DataError(
                    f"field {name!r} is {values.dtype}{list(values.shape)}, expected float32{list(shape)}",
                    where="Panel",
                )
        if self.universe is not None and (self.universe.shape != shape or self.universe.dtype != np.bool_):
            raise DataError("universe must be boolean of the panel's shape", where="Panel")

    # -- construction ------------------------------------------------------------------------------

    @classmethod
    def from_long(
        cls,
        frame: pd.DataFrame,
        timeframe: Timeframe,
        *,
        fields: Sequence[str] | None = None,
        listed: Mapping[str, np.datetime64] | None = None,
    ) -> Panel:
        """Build from one row per (``time``, ``instrument``).

        Args:
            frame: columns ``time`` (UTC, candle open; aware or naive), ``instrument`` (store id) and fields.
            timeframe: candle length; every time must lie on its grid.
            fields: which columns to take; default all others.
            listed: earlier first-candle times, for a window of a longer history.

        Raises:
            DataError: no rows, a missing column, an empty time, duplicate rows, or times off the grid.
        """
        import pandas as pd

        if frame.empty:
            raise UniverseError("no rows", where="Panel.from_long", remedy="check dates and instruments")
        names = [c for c in frame.columns if c not in ("time", "instrument")] if fields is None else fields
        missing = [c for c in ("time", "instrument", *names) if c not in frame.columns]
        if missing:
            raise DataError(
                f"column {missing[0]!r} is missing",
                where="Panel.from_long",
                remedy=f"at hand: {', '.join(map(str, frame.columns))}",
            )
        when = pd.DatetimeIndex(frame["time"])
        if when.hasnans:
            raise DataError("a row has no time", where="Panel.from_long", remedy="remove rows without a time")
        stamps = (when.tz_convert("UTC").tz_localize(None) if when.tz else when).to_numpy("datetime64[ns]")
        codes, uniques = pd.factorize(frame["instrument"].astype(str), sort=True)
        axis = timeframe.axis(stamps.min(), stamps.max())
        offset = (stamps - axis[0]).astype(np.int64)
        step = int(timeframe.delta.astype(np.int64))
        if (offset % step).any():
            bad = stamps[np.flatnonzero(offset % step)[0]]
            raise DataError(
                f"time {bad} is not on the {timeframe} grid",
                where="Panel.from_long",
                remedy="check the timeframe and that times are candle opens in UTC",
            )
        rows = offset // step
        flat = rows * len(uniques) + codes
        shape = (len(axis), len(uniques))
        taken = np.zeros(shape[0] * shape[1], np.bool_)
        taken[flat] = True
        if np.count_nonzero(taken) != len(flat):
            raise DataError("duplicate (time, instrument) rows", where="Panel.from_long", remedy="drop them")
        arrays: dict[str, FloatArray] = {}
        for name in names:
            values = np.full(shape, np.nan, np.float32)
            values.reshape(-1)[flat] = frame[name].to_numpy(np.float32)
            arrays[name] = values
        first = np.full(shape[1], np.iinfo(np.int64).max)
        np.minimum.at(first, codes, stamps.astype(np.int64))
        since = first.astype("datetime64[ns]")
        for n, name in enumerate(uniques):
            if listed and name in listed:
                since[n] = min(since[n], listed[name].astype("datetime64[ns]"))
        return cls(timeframe, axis, tuple(uniques), arrays, since)

    # -- views -------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """``(T, N)``."""
        return len(self.time), len(self.instruments)

    def __getitem__(self, name: str) -> FloatArray:
        """The array of one field ``[T, N]``."""
        try:
            return self.fields[name]
        except KeyError:
            raise DataError(
                f"field ${name} is not in the panel",
                where="panel",
                remedy=f"fields at hand: {', '.join('$' + f for f in self.fields)}",
            ) from None

    @cached_property
    def traded(self) -> BoolArray:
        """True where a candle with a close exists ``[T, N]``."""
        return np.isfinite(self["close"])

    @cached_property
    def started(self) -> BoolArray:
        """True from an instrument's first candle on, delisting or not ``[T, N]``: never uses the future."""
        return (self.time[:, None] >= self.listed[None, :]) & ~np.isnat(self.listed)[None, :]

    @cached_property
    def members(self) -> BoolArray:
        """The universe of each row: `universe` where set, and always only what traded ``[T, N]``."""
        return self.traded if self.universe is None else self.universe & self.traded

    def rows(self, start: int | None, stop: int | None) -> Panel:
        """The rows ``start:stop`` (views, no copies)."""
        cut = slice(start, stop)
        return replace(
            self,
            time=self.time[cut],
            fields={name: values[cut] for name, values in self.fields.items()},
            universe=None if self.universe is None else self.universe[cut],
        )

    def between(self, start: Moment | None = None, end: Moment | None = None) -> Panel:
        """Rows whose open time is in ``[start, end)``; None is open-ended."""
        lo = 0 if start is None else int(np.searchsorted(self.time, moment(start)))
        hi = len(self.time) if end is None else int(np.searchsorted(self.time, moment(end)))
        return self.rows(lo, hi)

    def select(self, instruments: Iterable[str]) -> Panel:
        """Only these instruments (copies).

        Raises:
            UniverseError: one of them is not in the panel, or none was named.
        """
        wanted = sorted(set(instruments))
        unknown = [name for name in wanted if name not in self.instruments]
        if unknown or not wanted:
            raise UniverseError(
                f"unknown instruments {unknown}" if unknown else "no instruments were named",
                where="panel",
                remedy=f"the panel holds {len(self.instruments)}: {', '.join(self.instruments[:8])}, …",
            )
        index = np.array([self.instruments.index(name) for name in wanted])
        return replace(
            self,
            instruments=tuple(wanted),
            fields={name: np.ascontiguousarray(v[:, index]) for name, v in self.fields.items()},
            listed=self.listed[index],
            universe=None if self.universe is None else np.ascontiguousarray(self.universe[:, index]),
        )

    def with_universe(self, universe: BoolArray) -> Panel:
        """The same panel under another membership."""
        return replace(self, universe=universe)

    def with_fields(self, **arrays: FloatArray) -> Panel:
        """The same panel with fields added or replaced."""
        return replace(self, fields={**self.fields, **arrays})

    def fingerprint(self) -> str:
        """A digest (16 hex digits) of axes, fields and universe: equal data, equal digest."""
        digest = hashlib.sha256(f"{self.timeframe}|{'|'.join(self.instruments)}".encode())
        digest.update(self.time.tobytes())
        for name in sorted(self.fields):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.fields[name]).data)
        if self.universe is not None:
            digest.update(np.packbits(self.universe).data)
        return digest.hexdigest()[:16]
