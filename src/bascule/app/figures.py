"""The pictures of a run's report. Each takes plain series or frames and returns one plotly figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

ALPHA, RISK, MUTED, GOOD, BAD = "#0f8b8d", "#d97706", "#8a94a6", "#15803d", "#c2410c"
PALETTE = (ALPHA, RISK, "#475da7", "#8a94a6")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_POINTS = 2_000  # a curve with more points than this is thinned: nobody can see them, everybody loads them


def styled(height: int = 320, **layout: Any) -> Any:
    """A figure without traces in the style of the reports, with further settings of its ``layout``."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": "rgba(138,148,166,.22)",
        "zerolinecolor": "rgba(138,148,166,.55)",
        "automargin": True,
    }
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 56, "r": 18, "t": 14, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Inter, system-ui, sans-serif", "size": 13, "color": "#64748b"},
        colorway=list(PALETTE),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
        xaxis=dict(axis),
        yaxis=dict(axis),
        bargap=0.25,
    )
    figure.update_layout(**layout)
    return figure


def blank(height: int) -> Any:
    """A `styled` figure whose points tell of themselves alone."""
    return styled(height=height, hovermode="closest")


def thin(series: pd.Series[Any]) -> pd.Series[Any]:
    """At most `MAX_POINTS` evenly spaced points of a curve, the last one always among them."""
    if len(series) <= MAX_POINTS:
        return series
    keep = np.unique(np.linspace(0, len(series) - 1, MAX_POINTS).round().astype(int))
    return series.iloc[keep]


def ic_bars(names: Sequence[str], values: Sequence[float], errors: Sequence[float]) -> Any:
    """Mean rank IC of factors with two standard errors (Newey-West) on both sides."""
    import plotly.graph_objects as go

    figure = styled(height=max(260, 22 * len(names) + 70), hovermode="closest")
    figure.add_trace(
        go.Bar(
            y=list(names)[::-1],
            x=list(values)[::-1],
            orientation="h",
            error_x={"type": "data", "array": [2 * e for e in errors][::-1], "color": MUTED, "thickness": 1},
            marker_color=[ALPHA if v >= 0 else RISK for v in list(values)[::-1]],
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="mean rank IC (± 2 standard errors)", tickformat=".3f")
    return figure


def cumulative_ic(ic: pd.Series[Any], rank_ic: pd.Series[Any]) -> Any:
    """Running sums of the per-candle IC and rank IC."""
    import plotly.graph_objects as go

    figure = styled()
    for series, label in ((ic, "IC"), (rank_ic, "rank IC")):
        curve = thin(series.dropna().cumsum())
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=label, mode="lines", line={"width": 2}))
    figure.update_yaxes(title="cumulative sum")
    return figure


def monthly_ic(rank_ic: pd.Series[Any]) -> Any:
    """Mean rank IC by calendar month."""
    import plotly.graph_objects as go

    known = rank_ic.dropna()
    months = known.groupby(pd.DatetimeIndex(known.index).strftime("%Y-%m")).mean()
    figure = styled()
    colors = [ALPHA if v >= 0 else RISK for v in months]
    figure.add_trace(go.Bar(x=months.index, y=months, marker_color=colors, name="rank IC"))
    figure.update_yaxes(title="mean rank IC", tickformat=".3f")
    figure.update_xaxes(type="category")
    return figure


def decay(horizons: Sequence[int], curves: Mapping[str, Sequence[float]], unit: str) -> Any:
    """IC measures against the label's horizon in candles."""
    import plotly.graph_objects as go

    figure = styled()
    for label, values in curves.items():
        figure.add_trace(
            go.Scatter(x=list(horizons), y=list(values), name=label, mode="lines+markers", line={"width": 2})
        )
    figure.update_xaxes(
        title=f"horizon ({unit} candles)",
        type="log",
        tickvals=list(horizons),
        ticktext=[str(h) for h in horizons],
    )
    figure.update_yaxes(title="mean over candles", tickformat=".3f", rangemode="tozero")
    return figure


def quantiles(returns: Sequence[float], horizon: str) -> Any:
    """Mean forward return of each alpha quantile, in basis points over the cross-section's mean."""
    import plotly.graph_objects as go

    values = [10_000 * v for v in returns]
    figure = styled(hovermode="closest")
    figure.add_trace(
        go.Bar(
            x=[f"Q{i + 1}" for i in range(len(values))],
            y=values,
            marker_color=[ALPHA if v >= 0 else RISK for v in values],
            text=[f"{v:.1f}" for v in values],
            textposition="outside",
            cliponaxis=False,
        )
    )
    figure.update_xaxes(title="quantile, low to high")
    figure.update_yaxes(title=f"excess bp over {horizon}")
    return figure


def equity(curves: Mapping[str, pd.Series[Any]]) -> Any:
    """Wealth from 1 (log scale) above, drawdown below."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    template = styled(height=470)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.06)
    figure.update_layout(template.layout)
    for (label, series), color in zip(curves.items(), PALETTE, strict=False):
        wealth = series / series.iloc[0]
        fall = wealth / wealth.cummax() - 1
        width = 2.4 if color == ALPHA else 1.3
        style = {"color": color, "width": width}
        curve, low = thin(wealth), thin(fall)
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=label, line=style, legendgroup=label), 1, 1)
        figure.add_trace(
            go.Scatter(x=low.index, y=low, name=label, line=style, legendgroup=label, showlegend=False), 2, 1
        )
    grid = "rgba(138,148,166,.22)"
    figure.update_yaxes(type="log", title="wealth (log)", gridcolor=grid, row=1, col=1)
    figure.update_yaxes(title="drawdown", tickformat=".0%", gridcolor=grid, row=2, col=1)
    figure.update_xaxes(gridcolor=grid)
    return figure


def month_table(equity_curve: pd.Series[Any]) -> Any:
    """Returns by month as a heat map, years downwards."""
    month_end = equity_curve.resample("ME").last()
    first = pd.Series([equity_curve.iloc[0]], index=[equity_curve.index[0]])
    returns = pd.concat([first, month_end]).pct_change().iloc[1:]
    return months(returns, lambda value, year, month: f"{value:+.1%}")


def months(series: pd.Series[Any], text: Callable[[float, int, int], str]) -> Any:
    """Means by calendar month, years downwards, each cell with its ``text`` of (value, year, month)."""
    when = pd.DatetimeIndex(series.index)
    table = series.groupby([when.year, when.month]).mean().unstack().reindex(columns=range(1, 13))
    values = table.to_numpy(float)
    shown = [
        ["" if np.isnan(v) else text(v, int(year), month) for month, v in enumerate(row, 1)]
        for year, row in zip(table.index, values, strict=True)
    ]
    figure = styled(height=120 + 40 * len(table), hovermode="closest")
    limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    figure.add_trace(heat(values, MONTHS, [str(year) for year in table.index], limit, shown))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def heat(
    values: Any,
    x: Sequence[str],
    y: Sequence[str],
    limit: float,
    text: Sequence[Sequence[str]] | None = None,
) -> Any:
    """A heat map between ``-limit`` and ``limit``; a scale stands beside it where cells have no text."""
    import plotly.graph_objects as go

    gap = 2 if len(x) <= 60 else 0
    return go.Heatmap(
        z=values,
        x=list(x),
        y=list(y),
        zmin=-limit,
        zmax=limit,
        colorscale=[[0, RISK], [0.5, "rgba(138,148,166,.10)"], [1, ALPHA]],
        text=text,
        texttemplate="%{text}" if text else None,
        textfont={"size": 11},
        showscale=text is None,
        hovertemplate="%{y} %{x}: " + ("%{text}" if text else "%{z:.3f}") + "<extra></extra>",
        xgap=gap,
        ygap=gap,
    )


def trade_returns(profits: Sequence[float]) -> Any:
    """Histogram of closed trades' net returns."""
    import plotly.graph_objects as go

    values = np.asarray(profits, float)
    clip = np.nanpercentile(np.abs(values), 99) if len(values) else 1.0
    figure = styled(hovermode="closest")
    figure.add_trace(
        go.Histogram(x=np.clip(values, -clip, clip), nbinsx=60, marker_color=ALPHA, name="trades")
    )
    figure.update_xaxes(title="net return of a trade (clipped at the 99th percentile)", tickformat=".1%")
    figure.update_yaxes(title="trades")
    return figure


def risk_over_time(score: pd.Series[Any], limit: float) -> Any:
    """Portfolio-level risk score and the limit above which nothing new is bought."""
    import plotly.graph_objects as go

    curve = thin(score.dropna())
    figure = styled(height=240)
    figure.add_trace(
        go.Scatter(
            x=curve.index,
            y=curve,
            name="portfolio risk",
            line={"color": RISK, "width": 1.4},
            fill="tozeroy",
            fillcolor="rgba(217,119,6,.15)",
        )
    )
    figure.add_hline(y=limit, line={"color": MUTED, "dash": "dash", "width": 1})
    figure.update_yaxes(title="risk score", range=[0, 1.02])
    return figure


def breadth(members: pd.Series[Any], listed: pd.Series[Any]) -> Any:
    """How many instruments traded, and how many of them were in the universe."""
    import plotly.graph_objects as go

    figure = styled(height=240)
    for series, label, color in ((listed, "traded", MUTED), (members, "in the universe", ALPHA)):
        curve = thin(series)
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=label, line={"color": color, "width": 1.6}))
    figure.update_yaxes(title="instruments", rangemode="tozero")
    return figure


def importance(names: Sequence[str], shares: Sequence[float]) -> Any:
    """Share of the models' total gain by factor, averaged over folds."""
    import plotly.graph_objects as go

    figure = styled(height=max(220, 20 * len(names) + 60), hovermode="closest")
    figure.add_trace(go.Bar(y=list(names)[::-1], x=list(shares)[::-1], orientation="h", marker_color=ALPHA))
    figure.update_xaxes(title="share of gain", tickformat=".1%")
    return figure


def windows(spans: Sequence[Mapping[str, str]]) -> Any:
    """Train, valid and test windows of each fold (keys ``fold, part, start, end``), as bars over time."""
    import plotly.graph_objects as go

    figure = styled(height=max(260, 9 * len({span["fold"] for span in spans}) + 90), hovermode="closest")
    for part, color in (("train", "#8a94a6"), ("valid", RISK), ("test", ALPHA)):
        chosen = [span for span in spans if span["part"] == part]
        starts = pd.to_datetime([span["start"] for span in chosen])
        lengths = pd.to_datetime([span["end"] for span in chosen]) - starts
        figure.add_trace(
            go.Bar(
                y=[span["fold"] for span in chosen],
                base=starts.strftime("%Y-%m-%d"),
                x=lengths / pd.Timedelta("1ms"),
                orientation="h",
                marker_color=color,
                name=part,
                hovertext=[f"{span['start']} – {span['end']}" for span in chosen],
                hovertemplate="%{y}: %{hovertext}<extra>" + part + "</extra>",
            )
        )
    figure.update_layout(barmode="overlay", bargap=0.3)
    figure.update_xaxes(type="date")
    figure.update_yaxes(type="category", autorange="reversed", nticks=12, showgrid=False)
    return figure


def lines(curves: Mapping[str, tuple[Sequence[Any], Sequence[float]]], *, x: str, y: str) -> Any:
    """Curves of any x by name."""
    import plotly.graph_objects as go

    figure = styled(hovermode="closest")
    for name, (at, values) in curves.items():
        figure.add_trace(go.Scatter(x=list(at), y=list(values), name=name, mode="lines"))
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure
