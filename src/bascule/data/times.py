"""Times from outside, of any kind, as nanoseconds since 1970 UTC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import DataError
from bascule.data.rows import Int64Array

if TYPE_CHECKING:
    import pandas as pd

_ZONE = re.compile(r"(Z|UTC|[+-]\d{2}:?\d{2})$", re.IGNORECASE)
# epoch numbers tell their unit by size: these ranges are the years 1990 to 2100
_EPOCHS = {unit: (631_152_000 * scale, 4_102_444_800 * scale) for unit, scale in
           (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))}  # fmt: skip


def utc_nanoseconds(column: pd.Series[Any], *, where: str, assume_utc: bool = False) -> Int64Array:
    """Convert timestamps, ISO texts or epoch numbers ``[R]``.

    Times with a zone are converted to UTC; epoch numbers (s, ms, µs or ns) are UTC by definition; times
    without a zone are refused unless ``assume_utc``.

    Raises:
        DataError: empty or unreadable times, or times without a zone.
    """
    import pandas as pd

    if bool(column.isna().any()):
        row = int(np.flatnonzero(column.isna())[0]) + 1
        raise DataError(f"row {row} has no time", where=where, remedy="remove rows without a time")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _plain(column.dt.tz_convert("UTC").dt.tz_localize(None))
    if pd.api.types.is_datetime64_dtype(column.dtype):
        _must_be_utc(assume_utc, str(column.iloc[0]), where)
        return _plain(column)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return _epoch(column, where)
    # the same few thousand texts come again for every instrument: parse each once
    codes, texts = pd.factorize(column)
    return _texts([str(text).strip() for text in texts], where, assume_utc)[codes]


def _plain(column: pd.Series[Any]) -> Int64Array:
    return column.to_numpy("datetime64[ns]").astype(np.int64)


def _must_be_utc(assume_utc: bool, example: str, where: str) -> None:
    if not assume_utc:
        raise DataError(
            f"times such as {example!r} have no time zone",
            where=where,
            remedy="write them with a zone (2024-01-01T00:00:00Z), or give assume_utc=True if they are UTC",
        )


def _epoch(column: pd.Series[Any], where: str) -> Int64Array:
    low, high = float(column.min()), float(column.max())
    for unit, (least, most) in _EPOCHS.items():
        if least <= low and high <= most:
            scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
            if column.dtype.kind == "f":
                whole = column.round()
                if bool((whole != column).any()):
                    raise DataError(
                        "fractions of epoch units", where=where, remedy="write whole s, ms, us or ns"
                    )
            return column.to_numpy(np.int64) * scale
    raise DataError(
        f"numbers from {low:.17g} to {high:.17g} are no epoch times in s, ms, us or ns",
        where=where,
        remedy="write all of them in one unit, or as ISO texts with a zone",
    )


def _texts(texts: list[str], where: str, assume_utc: bool) -> Int64Array:
    import pandas as pd

    bare = [text for text in texts if not _ZONE.search(text)]
    if bare:
        _must_be_utc(assume_utc, bare[0], where)
    parsed = pd.to_datetime(pd.Series(texts), utc=True, errors="coerce", format="ISO8601")
    wrong = np.flatnonzero(parsed.isna())
    if len(wrong):
        raise DataError(
            f"{texts[int(wrong[0])]!r} is no time",
            where=where,
            remedy="write ISO 8601 (2024-01-01T00:00:00Z) or epoch numbers",
        )
    return _plain(parsed.dt.tz_localize(None))
