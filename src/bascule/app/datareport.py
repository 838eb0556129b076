"""The health of market data as one page: what is wrong, who is in quarantine, where candles are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bascule import __version__
from bascule.app.figures import ALPHA
from bascule.app.page import Card, Figure, Page, Section, Table
from bascule.core import Timeframe
from bascule.data.issues import Severity

if TYPE_CHECKING:
    import pandas as pd

    from bascule.data.health import HealthReport

_SHOWN = 120  # rows of the coverage figure: with more nobody can read a name
_HEAD = ("severity", "finding", "instruments", "count", "first", "last", "example")


def health_page(title: str, report: HealthReport, frame: pd.DataFrame, timeframe: Timeframe) -> Page:
    """The page of a health report.

    Args:
        title: what was looked at.
        report: what was found.
        frame: the candles that were looked at (canonical long frame).
        timeframe: their length.
    """
    count = {level: sum(issue.severity is level for issue in report.issues) for level in Severity}
    cards = [
        Card("candles", f"{report.rows:,}"),
        Card("instruments", f"{report.instruments:,}"),
        Card("missing candles", f"{report.missing:,}"),
        Card("errors · warnings", f"{count[Severity.ERROR]:,} · {count[Severity.WARNING]:,}"),
    ]
    return Page(
        title=f"Health of {title}",
        subtitle=f"{timeframe} candles, {report.first} to {report.last}",
        warnings=_warnings(report),
        cards=cards,
        sections=[
            Section("Findings", _NOTE, tables=[_summary(report), _issues(report)]),
            Section("Quarantine", _QUARANTINE, tables=[_quarantine(report)]),
            Section("Coverage", _COVERAGE, [Figure("Candles by month", coverage(frame, timeframe))]),
        ],
        footer=f"Bascule {__version__}",
    )


_NOTE = (
    "Errors are what no market can do: the store refuses them. Warnings may be errors of the source; the "
    "rest is good to know. Thresholds are settings (data.health)."
)
_QUARANTINE = "Instruments that are untradable at the end of these data, until their next candles are clean."
_COVERAGE = "The share of each month's candles that are there, between an instrument's first and last candle."


def _warnings(report: HealthReport) -> list[str]:
    kinds = sorted({issue.name for issue in report.errors})
    if not kinds:
        return []
    return [f"The store refuses these candles: {', '.join(kinds)}. Mend the source, or allow a repair."]


def _summary(report: HealthReport) -> Table:
    rows = [
        [
            one["severity"],
            one["name"],
            str(one["instruments"]),
            f"{one['count']:,}",
            one["first"],
            one["last"],
            one["example"],
        ]
        for one in report.summary()
    ]
    return Table(_HEAD, rows, "By kind", words=True)


def _issues(report: HealthReport) -> Table:
    rows = [
        [i.severity.name.lower(), i.name, i.instrument, f"{i.count:,}", i.first, i.last, i.example]
        for i in report.issues
    ]
    head = ("severity", "finding", "instrument", "count", "first", "last", "example")
    return Table(head, rows, f"All {len(rows):,} findings, by kind and instrument", folded=True, words=True)


def _quarantine(report: HealthReport) -> Table:
    rows = [[name, ", ".join(kinds)] for name, kinds in report.quarantine.items()]
    return Table(("instrument", "because of"), rows or [["none", ""]], words=True)


def coverage(frame: pd.DataFrame, timeframe: Timeframe) -> Any:
    """Share of candles by instrument and month, as a heat map; the instruments with most holes if many."""
    import pandas as pd
    import plotly.graph_objects as go

    months = frame["time"].dt.tz_localize(None).to_numpy("datetime64[M]")
    table = pd.crosstab(frame["instrument"], months)
    spans = frame.groupby("instrument")["time"].agg(["min", "max"]).loc[table.index]
    first = spans["min"].dt.tz_localize(None).to_numpy("datetime64[ns]")[:, None]
    last = spans["max"].dt.tz_localize(None).to_numpy("datetime64[ns]")[:, None] + timeframe.delta
    opened = table.columns.to_numpy().astype("datetime64[M]")
    low = np.maximum(opened.astype("datetime64[ns]"), first)
    high = np.minimum((opened + 1).astype("datetime64[ns]"), last)
    due = np.maximum((high - low) / timeframe.delta, 0)
    share = np.where(due > 0, table.to_numpy() / np.maximum(due, 1), np.nan)
    worst = np.argsort(np.nanmean(share, axis=1), kind="stable")[:_SHOWN]
    order = np.sort(worst)
    figure = go.Figure(
        go.Heatmap(
            z=share[order],
            x=[str(month) for month in opened],
            y=[str(name) for name in table.index[order]],
            zmin=min(0.9, float(np.nanmin(share))),
            zmax=1,
            colorscale=[[0, "#d97706"], [1, ALPHA]],
            hovertemplate="%{y} %{x}: %{z:.2%}<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        height=max(240, 14 * len(order) + 80),
        margin={"l": 96, "r": 18, "t": 14, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Inter, system-ui, sans-serif", "size": 11, "color": "#64748b"},
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False, type="category")
    return figure
