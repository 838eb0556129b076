"""From a publisher's rows to the canonical frame: types, order, uniqueness, and nothing from the future."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import DataError
from bascule.data.sources.spec import SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = float(np.finfo(np.float32).max)


def empty(spec: SourceSpec) -> pd.DataFrame:
    """A canonical frame without rows."""
    import pandas as pd

    stamps = pd.Series([], dtype="datetime64[ns, UTC]")
    columns: dict[str, pd.Series] = {"time": stamps, "available_time": stamps}
    columns["instrument"] = pd.Series([], dtype=object)
    for one in spec.fields:
        columns[one.name] = pd.Series([], dtype=np.float32)
    return pd.DataFrame(columns)


def typed(raw: pd.DataFrame, spec: SourceSpec) -> pd.DataFrame:
    """A publisher's rows with times and numbers for texts; nothing is dropped or sorted yet.

    Args:
        raw: ``time`` and ``instrument``, the fields of the spec (numbers or their text; None and "" = not
            published), and perhaps ``available_time`` (NaT = by the rule of the spec: end of the period plus
            lag; it is never taken earlier than the end of the period).
        spec: what the source promises.

    Raises:
        DataError: a column is missing, a time or a number cannot be read.
    """
    import pandas as pd

    if raw.empty:
        return empty(spec)
    missing = [c for c in ("time", "instrument", *(f.name for f in spec.fields)) if c not in raw.columns]
    if missing:
        raise _malformed(spec, f"the reply lacks {', '.join(missing)}")
    frame = pd.DataFrame({"time": _times(raw["time"], spec, "time")})
    if frame["time"].isna().any():
        raise _malformed(spec, "a row has no time")
    closed = frame["time"] + pd.Timedelta(spec.period)
    known = closed + pd.Timedelta(spec.lag)
    if "available_time" in raw.columns:
        told = _times(raw["available_time"], spec, "available_time")
        known = told.where(told.notna(), known).where(~(told < closed), closed)
    frame["available_time"] = known
    frame["instrument"] = raw["instrument"].astype(str).to_numpy(object)
    for one in spec.fields:
        frame[one.name] = _numbers(raw[one.name], spec, one.name)
    return frame


def settle(
    frame: pd.DataFrame, start: np.datetime64, end: np.datetime64, present: np.datetime64
) -> tuple[pd.DataFrame, Counter[str]]:
    """Cut, sort, make unique, and drop what was not available yet.

    Args:
        frame: of `typed`; of rows with the same time and instrument but other values the last one counts.
        start: first time, included.
        end: last time, excluded.
        present: own clock or server clock, the earlier of the two.

    Returns:
        the canonical frame (see `Fetched`) and how many rows were ``duplicates``, ``restated``,
        ``shuffled``, ``outside``, ``unfinished``, ``future``.
    """
    counts: Counter[str] = Counter()
    order = frame["time"].to_numpy()
    same = frame["instrument"].to_numpy()
    counts["shuffled"] = int(((order[1:] < order[:-1]) & (same[1:] == same[:-1])).sum())
    frame = _only(frame, (frame["time"] >= _utc(start)) & (frame["time"] < _utc(end)), "outside", counts)
    frame = _only(frame, frame["time"] <= _utc(present), "future", counts)
    frame = _only(frame, frame["available_time"] <= _utc(present), "unfinished", counts)
    frame = _only(frame, ~frame.duplicated(), "duplicates", counts)
    frame = _only(frame, ~frame.duplicated(["time", "instrument"], keep="last"), "restated", counts)
    return frame.sort_values(["instrument", "time"], kind="stable", ignore_index=True), counts


def _utc(time: np.datetime64) -> pd.Timestamp:
    import pandas as pd

    return pd.Timestamp(time).tz_localize("UTC")


def _only(frame: pd.DataFrame, keep: pd.Series, reason: str, counts: Counter[str]) -> pd.DataFrame:
    counts[reason] = int((~keep).sum())
    return frame[keep] if counts[reason] else frame


def _times(values: pd.Series, spec: SourceSpec, name: str) -> pd.Series:
    """Times as UTC nanoseconds: datetimes and ISO texts as they are, numbers as milliseconds since 1970."""
    import pandas as pd

    try:
        values = values.infer_objects()
        if pd.api.types.is_numeric_dtype(values.dtype):  # floats too: one empty cell makes them of a column
            when = pd.to_datetime(values, utc=True, unit="ms")
        elif pd.api.types.is_object_dtype(values.dtype):  # texts of one source may be days and moments
            when = pd.to_datetime(values, utc=True, format="ISO8601")
        else:
            when = pd.to_datetime(values, utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise _malformed(spec, f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    return when.dt.as_unit("ns").reset_index(drop=True)


def _numbers(values: pd.Series, spec: SourceSpec, name: str) -> np.ndarray:
    import pandas as pd

    texts = values.reset_index(drop=True)
    if not pd.api.types.is_numeric_dtype(texts.dtype):
        texts = texts.where(texts.ne(""), None)
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64").to_numpy()
    wrong = (np.isnan(numbers) & texts.notna().to_numpy()) | (np.abs(numbers) > _LARGEST)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise _malformed(spec, f"{name} is not a number: received {texts.iloc[first]!r}")
    return numbers.astype(np.float32)


def _malformed(spec: SourceSpec, message: str) -> DataError:
    return DataError(message, where=spec.name, remedy="the publisher changed its format; report it")
