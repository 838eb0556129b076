"""Tables of slow data in the store: on-chain, macro, sentiment, funding of other venues …

::

    <store>/tables/onchain/2024.<digest>.parquet    rows that became available in 2024

A row is unique by ``instrument``, ``time`` (what it describes) and ``available_time`` (when it was known). A
value that was corrected later is another row with a later ``available_time``: what was known then stays
known. `pointintime.join` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from bascule.core import DataError, StoreError, moment
from bascule.core.timeframe import Moment
from bascule.data.digest import digest
from bascule.data.manifest import Partition, Table
from bascule.data.partitions import read_parquet, write_parquet
from bascule.data.rows import AVAILABLE, as_float32, stamp

if TYPE_CHECKING:
    import pandas as pd

Scope = Literal["instrument", "asset", "venue", "global"]
Revisions = Literal["error", "revise", "replace"]
KEY = ["instrument", "time", AVAILABLE]
_DESCRIBED = ["instrument", "time"]  # what a row is about, in whatever revision


def canonical(frame: pd.DataFrame, *, where: str) -> pd.DataFrame:
    """A frame of slow data as it is stored: sorted, unique, UTC, float32.

    Raises:
        DataError: a column is missing or of the wrong type, a row is twice there, or was available before the
            time that it describes.
    """
    import pandas as pd

    missing = [name for name in KEY if name not in frame.columns]
    if missing or frame.empty:
        raise DataError(
            f"column {missing[0]!r} is missing" if missing else "there are no rows",
            where=where,
            remedy=f"needed: {', '.join(KEY)} and value columns",
        )
    for name in ("time", AVAILABLE):
        kind = frame[name].dtype
        if not isinstance(kind, pd.DatetimeTZDtype) or str(kind.tz) != "UTC" or frame[name].isna().any():
            raise DataError(
                f"column {name!r} is not full of UTC timestamps",
                where=where,
                remedy="convert with pandas.to_datetime(..., utc=True), and remove rows without a time",
            )
    if frame["instrument"].isna().any():
        raise DataError("column 'instrument' has empty values", where=where, remedy="remove these rows")
    fields = [str(name) for name in frame.columns if name not in KEY]
    for name in fields:
        if not name.isidentifier() or name != name.lower():
            raise DataError(f"{name!r} is no field name", where=where, remedy="use lower-case, digits and _")
    plain = pd.DataFrame(
        {
            "time": frame["time"].dt.as_unit("ns"),
            AVAILABLE: frame[AVAILABLE].dt.as_unit("ns"),
            "instrument": frame["instrument"].astype(str).to_numpy(object),
            **{name: as_float32(frame[name], where=f"{where}: {name}") for name in fields},
        }
    ).sort_values(KEY, kind="stable", ignore_index=True)
    early = np.flatnonzero(plain[AVAILABLE] < plain["time"])
    if len(early):
        row = plain.iloc[int(early[0])]
        raise DataError(
            f"{row['instrument']} {row['time']} was available at {row[AVAILABLE]}, before it began",
            where=where,
            remedy="available_time is when the value was known to everybody",
        )
    twice = np.flatnonzero(plain.duplicated(KEY))
    if len(twice):
        row = plain.iloc[int(twice[0])]
        raise DataError(
            f"{row['instrument']} {row['time']} is there twice", where=where, remedy="keep one of the rows"
        )
    return plain


def updated(
    table: Table | None,
    new: pd.DataFrame,
    store: Path,
    name: str,
    *,
    scope: Scope,
    units: Mapping[str, str],
    revisions: Revisions,
    now: Moment | None,
) -> tuple[Table, int, int]:
    """The table after canonical rows were added; also how many rows are new, and how many were changed.

    Raises:
        StoreError: other values for stored rows, another scope, or a wrong argument.
    """
    if scope not in get_args(Scope):
        raise StoreError(
            f"unknown scope {scope!r}", where=f"table {name}", remedy=f"one of {', '.join(get_args(Scope))}"
        )
    if table is not None and table.scope != scope:
        raise StoreError(
            f"the table is of scope {table.scope}, received {scope}",
            where=f"table {name}",
            remedy="write to a table of another name",
        )
    before = None if table is None else read(table, store)
    whole, changed = (new, 0) if before is None else _merged(before, new, name, revisions, now)
    years = whole[AVAILABLE].dt.year.astype(str)
    parts = {
        year: _write(part, store, name, year, None if table is None else table.years.get(year))
        for year, part in whole.groupby(years, sort=True)
    }
    columns = tuple(c for c in whole.columns if c not in KEY)
    known = whole[AVAILABLE].to_numpy("datetime64[ns]").astype(np.int64)
    told = {} if table is None else table.units
    after = Table(
        columns,
        scope,
        {**told, **{c: u for c, u in units.items() if c in columns}},
        {str(year): part for year, part in parts.items()},
        stamp(known.min()),
        stamp(known.max()),
    )
    return after, len(whole) - (0 if before is None else len(before)), changed


def _merged(
    old: pd.DataFrame, new: pd.DataFrame, name: str, revisions: Revisions, now: Moment | None
) -> tuple[pd.DataFrame, int]:
    """Rows of both, and how many rows of ``old`` have other values in ``new``."""
    import pandas as pd

    fields = [c for c in dict.fromkeys([*old.columns, *new.columns]) if c not in KEY]
    both = pd.concat([old.assign(_new=False), new.assign(_new=True)], ignore_index=True)
    both = both.sort_values(KEY, kind="stable", ignore_index=True)
    first = np.flatnonzero(both.duplicated(KEY, keep="last").to_numpy())
    keep = np.ones(len(both), bool)
    keep[first + 1] = False
    differs = np.zeros(len(first), bool)
    for field in fields:
        values = both[field].to_numpy(np.float32, copy=True)
        a, b = values[first], values[first + 1]
        other = np.isfinite(a) & np.isfinite(b) & (a != b)
        if other.any() and revisions == "error":
            row = both.iloc[int(first[np.flatnonzero(other)[0]])]
            raise StoreError(
                f"{int(other.sum())} stored rows have another {field}; the first is {row['instrument']} "
                f"{row['time']}",
                where=f"table {name}",
                remedy="write with revisions='revise' to keep what was known then, or 'replace' to forget it",
            )
        differs |= other
        # under 'revise' the stored value stays, and the new one is a row of its own
        taken = np.isfinite(b) if revisions == "replace" else ~np.isfinite(a)
        values[first] = np.where(taken, b, a)
        both[field] = values
    extra = both.iloc[first[differs] + 1]
    whole = both[keep]
    if revisions == "revise" and len(extra):
        if now is None:
            raise StoreError(
                "rows were revised, and nobody said when",
                where=f"table {name}",
                remedy="give now= (the present time)",
            )
        news = _news(whole, new.merge(extra[_DESCRIBED].drop_duplicates(), on=_DESCRIBED), fields)
        told = pd.Timestamp(moment(now)).tz_localize("UTC")
        whole = pd.concat([whole, news.assign(**{AVAILABLE: told})], ignore_index=True)
    whole = whole.drop(columns="_new").sort_values(KEY, kind="stable", ignore_index=True)
    return whole[["time", AVAILABLE, "instrument", *fields]], int(differs.sum())


def _news(held: pd.DataFrame, again: pd.DataFrame, fields: list[str]) -> pd.DataFrame:
    """Of rows that came again, those whose newest revision says something else than the newest that is held.

    What came again as an older revision is no news: it is there already, and newer ones have replaced it.
    """
    latest = again.drop_duplicates(_DESCRIBED, keep="last")  # canonical rows are in order of availability
    newest = held.sort_values(KEY).groupby(_DESCRIBED, sort=False).last().reset_index()
    known = latest.merge(newest, on=_DESCRIBED, how="left", suffixes=("", "_known"))
    news = np.zeros(len(known), bool)
    for field in fields:
        if field in latest.columns:
            a, b = (known[name].to_numpy(np.float32) for name in (field, f"{field}_known"))
            news |= np.isfinite(a) & (a != b)
    return latest[news]


def read(table: Table, store: Path) -> pd.DataFrame:
    """All rows of a table, sorted by instrument, time and availability.

    Raises:
        StoreError: a file is damaged.
    """
    import pandas as pd

    parts = [read_parquet(part, store).to_pandas() for part in table.years.values()]
    whole = pd.concat(parts, ignore_index=True)
    whole["instrument"] = whole["instrument"].astype(object)
    for name in table.columns:
        if name not in whole.columns:
            whole[name] = np.float32(np.nan)
    whole = whole[["time", AVAILABLE, "instrument", *table.columns]]
    ordered: pd.DataFrame = whole.sort_values(KEY, kind="stable", ignore_index=True)
    return ordered


def _write(part: pd.DataFrame, store: Path, name: str, year: str, before: Partition | None) -> Partition:
    import pandas as pd
    import pyarrow as pa

    codes, ids = pd.factorize(part["instrument"], sort=True)
    # as with candles: an empty column is no column, so that equal rows have equal files
    values = {c: part[c].to_numpy() for c in part.columns if c not in KEY and part[c].notna().any()}
    stamps = [part[c].dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64) for c in KEY[1:]]
    told = digest([str(n) for n in ids], codes.astype(np.int32), stamps, values)
    if before is not None and before.content == told:
        return before
    table = pa.Table.from_pandas(part[["time", AVAILABLE, "instrument", *values]], preserve_index=False)
    return write_parquet(table, told, store, f"tables/{name}", year)
