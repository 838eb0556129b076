"""Charts as data: what the page's script draws with ECharts, in the colours of the page's theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Kind = Literal["line", "bar", "barh", "heat"]
Format = Literal["number", "percent", "ic"]


def line(
    x: Sequence[Any], series: Mapping[str, Sequence[float | None]], *, format_: Format = "number",
    log: bool = False, area: bool = False, kind: Literal["category", "value"] = "category",
    x_name: str = "", zoom: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Lines over common x."""
    return {
        "kind": "line", "x": list(x), "series": [{"name": k, "values": list(v)} for k, v in series.items()],
        "format": format_, "log": log, "area": area, "xKind": kind, "xName": x_name, "zoom": zoom,
    }  # fmt: skip


def bars(
    names: Sequence[str], values: Sequence[float | None], *, format_: Format = "number", flat: bool = False
) -> dict[str, Any]:
    """Bars, coloured by sign; ``flat`` lays them on their side."""
    kind = "barh" if flat else "bar"
    series = [{"name": "", "values": list(values)}]
    return {"kind": kind, "x": list(names), "series": series, "format": format_}


def heat(
    columns: Sequence[str], rows: Sequence[str], values: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    """A map of values, diverging around 0."""
    cells = [[c, r, values[r][c]] for r in range(len(rows)) for c in range(len(columns))]
    return {"kind": "heat", "x": list(columns), "y": list(rows), "cells": cells, "format": "number"}
