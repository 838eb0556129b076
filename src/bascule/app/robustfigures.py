"""The pictures of a robustness report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bascule.app.figures import ALPHA, MUTED, RISK, blank, heat
from bascule.evaluate.rows import Float64Array


def cost_map(fees: Sequence[float], slippages: Sequence[float], totals: Sequence[Sequence[float]]) -> Any:
    """Return over the period by fee (down) and slippage (across), assumed costs or not."""
    values = np.array(totals, np.float64)
    limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    text = [["" if np.isnan(v) else f"{v:+.0%}" for v in row] for row in values]
    figure = blank(110 + 34 * len(fees))
    figure.add_trace(
        heat(values, [f"{s:.3%}" for s in slippages], [f"{f:.3%}" for f in fees], max(limit, 1e-9), text)
    )
    figure.update_xaxes(title="slippage a side", type="category", showgrid=False)
    figure.update_yaxes(title="fee a side", type="category", autorange="reversed", showgrid=False)
    return figure


def dots(names: Sequence[str], values: Sequence[float], mark: float, *, title: str, form: str = ".2f") -> Any:
    """One dot a scenario, and a line at the base."""
    import plotly.graph_objects as go

    figure = blank(max(220, 20 * len(names) + 80))
    colours = [ALPHA if v >= 0.5 * mark else RISK for v in values]
    figure.add_trace(
        go.Scatter(
            x=list(values)[::-1],
            y=list(names)[::-1],
            mode="markers",
            marker={"color": colours[::-1], "size": 9},
            hovertemplate="%{y}: %{x:" + form + "}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vline(x=mark, line={"color": MUTED, "dash": "dash", "width": 1})
    figure.add_vline(x=0, line={"color": MUTED, "width": 1})
    figure.update_xaxes(title=title, tickformat=form)
    figure.update_yaxes(type="category")
    return figure


def spread(
    values: Sequence[float] | Float64Array, mark: float, *, title: str, form: str, y: str = "histories"
) -> Any:
    """Histogram of resampled values and a line at the real one."""
    import plotly.graph_objects as go

    figure = blank(300)
    figure.add_trace(
        go.Histogram(
            x=np.asarray(values), nbinsx=60 if len(values) > 500 else 24, marker_color=ALPHA, showlegend=False
        )
    )
    figure.add_vline(x=mark, line={"color": RISK, "dash": "dash", "width": 2})
    figure.update_xaxes(title=title, tickformat=form)
    figure.update_yaxes(title=y)
    return figure


def parts(names: Sequence[str], totals: Sequence[float], shares: Sequence[float]) -> Any:
    """Return in each part of the period; the label says how much of the time it is."""
    import plotly.graph_objects as go

    figure = blank(320)
    figure.add_trace(
        go.Bar(
            x=list(names),
            y=list(totals),
            marker_color=[ALPHA if v >= 0 else RISK for v in totals],
            text=[f"{v:+.1%}" for v in totals],
            textposition="outside",
            cliponaxis=False,
            customdata=list(shares),
            hovertemplate="%{x}: %{y:+.1%}, %{customdata:.0%} of the time<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="return", tickformat=".0%")
    return figure


def quantiles(values: Float64Array) -> list[float]:
    """5th, 50th and 95th percentile."""
    return [float(np.quantile(values, q)) for q in (0.05, 0.5, 0.95)]
