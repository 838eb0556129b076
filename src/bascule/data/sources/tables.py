"""Small tables that a user maintains by hand (CSV, UTF-8, ``#`` begins a comment line), checked column by
column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bascule.core import DataError

if TYPE_CHECKING:
    import pandas as pd

Check = Literal["time", "text", "positive", "non-negative", "share"]


_TINY = float(np.nextafter(0.0, 1.0))
_LARGEST = float(np.finfo(np.float64).max)
_RANGES: dict[str, tuple[float, float, str]] = {
    "positive": (_TINY, _LARGEST, "a number above 0"),
    "non-negative": (0.0, _LARGEST, "0 or more"),
    "share": (0.0, 1.0, "a number between 0 and 1"),
}


def read_table(
    path: Path, required: Mapping[str, Check], optional: Mapping[str, Check] | None = None
) -> pd.DataFrame:
    """The table, with times as UTC datetimes and numbers as float64.

    Args:
        path: the file.
        required: column → what its cells must be; empty cells are refused.
        optional: likewise, but the column or its cells may be missing (NaT, NaN).

    Raises:
        DataError: the first problem with its line and column.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError("there is no such file", where=str(path), remedy="check the path")
    try:
        table = pd.read_csv(path, dtype=str, comment="#", skipinitialspace=True, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"not a CSV table: {error}", where=str(path), remedy="write UTF-8, one header line, commas"
        ) from error
    checks = {**required, **(optional or {})}
    unknown = [str(c) for c in table.columns if c not in checks]
    missing = [c for c in required if c not in table.columns]
    if unknown or missing:
        what = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(
            unknown
        )
        raise DataError(
            f"wrong columns: {'; '.join(what)}",
            where=str(path),
            remedy=f"the columns are {', '.join(required)}"
            + (f", and perhaps {', '.join(optional)}" if optional else ""),
        )
    for name, check in checks.items():
        if name in table.columns:
            table[name] = _column(table[name], check, name in required, f"{path}: {name}")
    return table


def _column(cells: pd.Series, check: Check, required: bool, where: str) -> pd.Series:
    import pandas as pd

    blank = cells.isna() | (cells.str.strip() == "")
    if required and blank.any():
        raise DataError(
            f"row {_row(blank)} is empty", where=where, remedy="fill it in, or leave the whole row out"
        )
    if check == "text":
        return cells.str.strip()
    read: pd.Series[Any]
    if check == "time":
        read = pd.to_datetime(cells.where(~blank), utc=True, errors="coerce", format="ISO8601")
        wrong, rule = read.isna() & ~blank, "a date such as 2024-01-31 or 2024-01-31T12:00Z"
    else:
        number = pd.to_numeric(cells.where(~blank), errors="coerce").astype(float)
        low, high, rule = _RANGES[check]
        wrong = ~((number >= low) & (number <= high)) & ~blank
        read = number
    if wrong.any():
        bad = cells[wrong].iloc[0]
        raise DataError(f"row {_row(wrong)} has {bad!r}", where=where, remedy=f"write {rule}")
    return read


def _row(wrong: pd.Series) -> int:
    """Number of the first such row, the first below the header being 1."""
    return int(np.flatnonzero(wrong.to_numpy())[0]) + 1
