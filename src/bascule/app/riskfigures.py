"""The pictures of risk reports, in the style of `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bascule.app.figures import ALPHA, BAD, MUTED, PALETTE, RISK, styled, thin
from bascule.evaluate.rows import Float64Array

COLOURS = (*PALETTE, "#7c3aed", "#be185d", "#4d7c0f", "#b45309", "#1e40af", "#0891b2", "#6d28d9", "#9f1239")


def factor_wealth(returns: pd.DataFrame) -> Any:
    """Cumulative returns of the factors, one line each."""
    import plotly.graph_objects as go

    figure = styled(height=380)
    for name, colour in zip(returns.columns, COLOURS, strict=False):
        curve = thin(returns[name].fillna(0.0).cumsum())
        figure.add_trace(
            go.Scatter(x=curve.index, y=curve, name=name, mode="lines", line={"width": 1.7, "color": colour})
        )
    figure.update_yaxes(title="sum of returns", tickformat=".0%")
    return figure


def volatilities(forecasts: pd.DataFrame) -> Any:
    """Forecast volatility of each factor, annualised."""
    import plotly.graph_objects as go

    figure = styled(height=380)
    for name, colour in zip(forecasts.columns, COLOURS, strict=False):
        curve = thin(forecasts[name].dropna())
        figure.add_trace(
            go.Scatter(x=curve.index, y=curve, name=name, mode="lines", line={"width": 1.5, "color": colour})
        )
    figure.update_yaxes(title="a year", tickformat=".0%", rangemode="tozero")
    return figure


def shares(parts: dict[str, float]) -> Any:
    """Shares of a portfolio's variance."""
    import plotly.graph_objects as go

    names, values = list(parts)[::-1], list(parts.values())[::-1]
    figure = styled(height=max(240, 26 * len(names) + 60), hovermode="closest")
    colours = [
        MUTED if name == "specific" else ALPHA if v >= 0 else RISK
        for name, v in zip(names, values, strict=True)
    ]
    figure.add_trace(
        go.Bar(
            y=names,
            x=values,
            orientation="h",
            marker_color=colours,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    figure.update_xaxes(title="share of variance", tickformat=".0%")
    return figure


def exposure_map(instruments: Sequence[str], factors: Sequence[str], values: Float64Array) -> Any:
    """Exposures of instruments ``[N, K]`` as a heat map."""
    import plotly.graph_objects as go

    figure = styled(height=max(320, 15 * len(instruments) + 90), hovermode="closest")
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=list(factors),
            y=list(instruments),
            zmin=-3,
            zmax=3,
            colorscale=[[0, RISK], [0.5, "rgba(138,148,166,.10)"], [1, ALPHA]],
            colorbar={"thickness": 10, "len": 0.5},
            hovertemplate="%{y} %{x}: %{z:.2f}<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont={"size": 11})
    figure.update_xaxes(side="top", showgrid=False)
    return figure


def losses(names: Sequence[str], values: Sequence[float]) -> Any:
    """Loss of a portfolio in each scenario."""
    import plotly.graph_objects as go

    figure = styled(height=max(260, 30 * len(names) + 60), hovermode="closest")
    figure.add_trace(
        go.Bar(
            y=list(names)[::-1],
            x=[-v for v in values][::-1],
            orientation="h",
            marker_color=[BAD if v > 0 else ALPHA for v in values][::-1],
            text=[f"{-v:+.1%}" for v in values][::-1],
            textposition="auto",
            hovertemplate="%{y}: %{x:+.1%}<extra></extra>",
        )
    )
    figure.update_xaxes(title="change of equity", tickformat=".0%")
    return figure


def value_at_risk(returns: pd.Series[Any], var: pd.Series[Any], es: pd.Series[Any]) -> Any:
    """Daily returns, the VaR that was forecast for them, and the days that went beyond."""
    import plotly.graph_objects as go

    figure = styled(height=380, hovermode="closest")
    beyond = returns[(-returns > var) & var.notna()]
    bars = thin(returns)
    figure.add_trace(go.Bar(x=bars.index, y=bars, name="return", marker_color="rgba(138,148,166,.55)"))
    for series, label, colour, dash in (
        (-var, "VaR", RISK, "solid"),
        (-es, "expected shortfall", BAD, "dot"),
    ):
        curve = thin(series.dropna())
        figure.add_trace(
            go.Scatter(
                x=curve.index,
                y=curve,
                name=label,
                mode="lines",
                line={"color": colour, "width": 1.5, "dash": dash},
            )
        )
    mark = {"color": BAD, "size": 7, "symbol": "x"}
    figure.add_trace(go.Scatter(x=beyond.index, y=beyond, name="beyond VaR", mode="markers", marker=mark))
    figure.update_yaxes(tickformat=".0%")
    return figure


def correlations(names: Sequence[str], covariance: Float64Array) -> Any:
    """Correlations of factor returns."""
    import plotly.graph_objects as go

    deviation = np.sqrt(np.diag(covariance))
    values = covariance / np.outer(deviation, deviation)
    figure = styled(height=max(300, 34 * len(names) + 90), hovermode="closest")
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=list(names),
            y=list(names),
            zmin=-1,
            zmax=1,
            colorscale=[[0, RISK], [0.5, "rgba(138,148,166,.10)"], [1, ALPHA]],
            text=[[f"{v:.2f}" for v in line] for line in values],
            texttemplate="%{text}",
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False)
    return figure
