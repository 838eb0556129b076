"""The pictures of factor tear sheets and comparisons, in the style of `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bascule.app import figures
from bascule.app.figures import ALPHA, MUTED, RISK, styled, thin
from bascule.evaluate import Colour, Decay, Pool, Sheet, Verdict

COLOURS: dict[Colour, str] = {"green": "#16a34a", "amber": RISK, "red": "#dc2626", "unknown": MUTED}
WORDS: dict[Colour, str] = {"green": "met", "amber": "half", "red": "missed", "unknown": "not measured"}


def verdicts(lines: Sequence[Verdict]) -> Any:
    """How much of each target is reached; the target is the line at 100 %, the figures stand at the right."""
    import plotly.graph_objects as go

    figure = styled(hovermode="closest")
    names = [line.measure for line in lines][::-1]
    reached = [min(abs(line.value) / line.target, 2.0) if np.isfinite(line.value) else 0.0 for line in lines]
    colours = [COLOURS[line.colour] for line in lines]
    figure.add_trace(
        go.Bar(
            y=names,
            x=reached[::-1],
            orientation="h",
            width=0.5,
            marker_color=colours[::-1],
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    for line, colour in zip(lines, colours, strict=True):
        value = f"{abs(line.value):.3g}" if np.isfinite(line.value) else "–"
        figure.add_annotation(
            x=1.0,
            xref="paper",
            y=line.measure,
            text=f"<b>{value}</b> of {line.target:g}  {WORDS[line.colour]}",
            font={"color": colour, "size": 13},
            showarrow=False,
            xanchor="right",
        )
    figure.add_shape(
        type="line", x0=1, x1=1, y0=0, y1=1, yref="paper", line={"color": MUTED, "dash": "dash", "width": 1.4}
    )
    figure.update_xaxes(
        title="share of the target", tickformat=".0%", range=[0, 2.05], domain=[0, 0.66], dtick=0.5
    )
    figure.update_yaxes(ticksuffix="  ", showgrid=False)
    return figure


def tally(counts: Mapping[str, Mapping[Colour, int]]) -> Any:
    """Share of the factors that meet each target."""
    import plotly.graph_objects as go

    figure = styled(hovermode="closest", barmode="stack")
    names = list(counts)[::-1]
    for colour, word in WORDS.items():
        numbers = [counts[name][colour] for name in names]
        total = [max(1, sum(counts[name].values())) for name in names]
        figure.add_trace(
            go.Bar(
                y=names,
                x=[n / t for n, t in zip(numbers, total, strict=True)],
                orientation="h",
                width=0.55,
                name=word,
                marker_color=COLOURS[colour],
                text=[str(n) if n else "" for n in numbers],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": "white"},
                hovertemplate="%{y}: %{text} " + word + "<extra></extra>",
            )
        )
    figure.update_xaxes(title="share of the factors, out of sample", tickformat=".0%", range=[0, 1.0])
    figure.update_yaxes(ticksuffix="  ", showgrid=False)
    figure.update_layout(legend={"traceorder": "normal"})
    return figure


def pooled(pool: Pool, verdict: Verdict) -> Any:
    """IC and rank IC of the pool in sample and out of it, beside the target of the IC."""
    import plotly.graph_objects as go

    figure = styled(hovermode="closest", barmode="group")
    for label, part, colour in (
        ("in sample, where its weights are from", pool.inside, MUTED),
        ("out of sample", pool.outside, ALPHA),
    ):
        means = [part.ic.mean, part.rank_ic.mean]
        figure.add_trace(
            go.Bar(
                x=["IC", "rank IC"],
                y=means,
                name=label,
                marker_color=colour,
                text=[f"{m:.3f}" for m in means],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": "white", "size": 14},
            )
        )
    line = {"color": COLOURS[verdict.colour], "dash": "dash", "width": 2}
    figure.add_shape(type="line", x0=-0.5, x1=0.5, y0=verdict.target, y1=verdict.target, line=line)
    figure.update_yaxes(title="mean", tickformat=".2f", rangemode="tozero")
    return figure


def cumulative(index: pd.DatetimeIndex, sheet: Sheet) -> Any:
    """Running sums of IC and rank IC; what lies in sample is shaded."""
    import plotly.graph_objects as go

    figure = styled()
    for series, label in ((sheet.rank_ic, "rank IC"), (sheet.ic, "IC")):
        curve = thin(pd.Series(series, index).dropna().cumsum())
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=label, mode="lines", line={"width": 2}))
    figure.add_vrect(
        x0=index[0],
        x1=index[sheet.split],
        fillcolor="rgba(138,148,166,.16)",
        line_width=0,
        layer="below",
        annotation_text="in sample",
        annotation_position="top left",
        annotation_font={"size": 11},
    )
    figure.update_yaxes(title="cumulative sum")
    return figure


def months(index: pd.DatetimeIndex, sheet: Sheet) -> Any:
    """Mean rank IC by month in hundredths, years downwards; bold: out of sample."""
    first = index[sheet.split]

    def text(value: float, year: int, month: int) -> str:
        shown = f"{100 * value:+.1f}"
        return f"<b>{shown}</b>" if (year, month) >= (first.year, first.month) else shown

    return figures.months(pd.Series(sheet.rank_ic, index).dropna(), text)


def decay(found: Decay, unit: str) -> Any:
    """Cumulative and marginal rank IC by horizon with two standard errors."""
    import plotly.graph_objects as go

    figure = styled()
    for label, parts, colour in (
        ("return over the horizon", found.cumulative, MUTED),
        ("return of the last stretch only", found.marginal, ALPHA),
    ):
        errors = [2 * abs(p.mean / p.t) if p.t else 0.0 for p in parts]
        figure.add_trace(
            go.Scatter(
                x=list(found.horizons),
                y=[p.mean for p in parts],
                error_y={"type": "data", "array": errors, "color": colour, "thickness": 1},
                name=label,
                mode="lines+markers",
                line={"width": 2, "color": colour},
            )
        )
    ticks = list(found.horizons)
    figure.update_xaxes(
        title=f"horizon ({unit} candles)", type="log", tickvals=ticks, ticktext=[str(h) for h in ticks]
    )
    figure.update_yaxes(title="rank IC ± 2 standard errors", tickformat=".3f")
    return figure


def quantile_curves(index: pd.DatetimeIndex, sheet: Sheet) -> Any:
    """Sum of each quantile's return over the mean of all, out of sample, before cost."""
    import plotly.graph_objects as go

    series = sheet.quantiles.series / sheet.horizon
    excess = pd.DataFrame(series - series.mean(axis=1, keepdims=True), index[sheet.split :]).dropna()
    figure = styled()
    last = max(1, series.shape[1] - 1)
    for number in range(series.shape[1]):
        curve = thin(excess[number].cumsum())
        style = {"width": 2 if number in (0, last) else 1.2, "color": _between(number / last)}
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=f"Q{number + 1}", mode="lines", line=style))
    figure.update_yaxes(title="sum of excess returns", tickformat=".0%")
    return figure


def _between(share: float) -> str:
    """A colour between that of the lowest quantile and that of the highest."""
    ends = ((217, 119, 6), (138, 148, 166), (15, 139, 141))
    low, high = (ends[0], ends[1]) if share < 0.5 else (ends[1], ends[2])
    place = 2 * share if share < 0.5 else 2 * share - 1
    mixed = (round(a + (b - a) * place) for a, b in zip(low, high, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def long_short(index: pd.DatetimeIndex, sheet: Sheet) -> Any:
    """Sum of the long-short returns before and after cost, out of sample, in the in-sample direction."""
    import plotly.graph_objects as go

    before, after = (pd.Series(one / sheet.horizon, index[sheet.split :]) for one in sheet.book)
    figure = styled()
    for series, label, colour in ((before, "before cost", MUTED), (after, "after cost", ALPHA)):
        curve = thin(series.dropna().cumsum())
        style = {"width": 2, "color": colour}
        figure.add_trace(go.Scatter(x=curve.index, y=curve, name=label, mode="lines", line=style))
    figure.update_yaxes(title="sum of returns", tickformat=".0%")
    return figure


def parts(table: pd.DataFrame, *, colour: Sequence[str] | None = None) -> Any:
    """Rank IC of each part with two standard errors."""
    import plotly.graph_objects as go

    values, many = table["ic"].to_numpy(float), len(table) > 12
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = 2 * np.abs(values / table["t"].to_numpy(float))
    figure = styled(height=300, hovermode="closest")
    figure.add_trace(
        go.Bar(
            x=[str(name).removesuffix("h") if many else str(name) for name in table.index],
            y=values,
            error_y={"type": "data", "array": np.nan_to_num(errors), "color": "#64748b", "thickness": 1},
            marker_color=colour or [ALPHA if v >= 0 else RISK for v in values],
            customdata=table["n"],
            hovertemplate="%{x}: %{y:.4f}, %{customdata:,} rows<extra></extra>",
        )
    )
    figure.update_xaxes(type="category", tickangle=0, tickfont={"size": 11 if many else 13})
    figure.update_yaxes(title="mean rank IC", tickformat=".3f")
    return figure


def autocorrelation(values: dict[int, float], unit: str) -> Any:
    """Rank autocorrelation by lag."""
    import plotly.graph_objects as go

    figure = styled()
    lags = list(values)
    figure.add_trace(
        go.Scatter(x=lags, y=list(values.values()), mode="lines+markers", line={"color": ALPHA, "width": 2})
    )
    figure.update_xaxes(
        title=f"lag ({unit} candles)", type="log", tickvals=lags, ticktext=[str(v) for v in lags]
    )
    figure.update_yaxes(title="rank autocorrelation", range=[min(-0.05, *values.values()), 1.02])
    return figure


def _square(names: int) -> int:
    """Height of a picture with a line for each of so many names."""
    return max(340, min(1000, 110 + 22 * names))


def correlations(names: Sequence[str], matrix: Any, groups: Sequence[int]) -> Any:
    """Mean cross-sectional rank correlation, members of one group side by side."""
    order = np.lexsort((np.arange(len(names)), np.asarray(groups)))
    ordered = [names[i] for i in order]
    figure = styled(height=_square(len(names)), hovermode="closest")
    figure.add_trace(figures.heat(np.asarray(matrix)[np.ix_(order, order)], ordered, ordered, 1.0))
    axis = {"showgrid": False, "dtick": 1, "tickfont": {"size": 10}, "showticklabels": len(names) <= 60}
    figure.update_yaxes(autorange="reversed", **axis)
    figure.update_xaxes(tickangle=-60, **axis)
    return figure


def scatter(
    names: Sequence[str],
    inside: Sequence[float],
    outside: Sequence[float],
    kept: Sequence[bool],
    *,
    rows: int,
) -> Any:
    """In-sample against out-of-sample rank IC, as tall as so many bars: what was found, what was left."""
    import plotly.graph_objects as go

    figure = styled(height=max(260, 22 * rows + 70), hovermode="closest")
    for chosen, label, colour in (
        (True, "significant after control", ALPHA),
        (False, "not significant", MUTED),
    ):
        index = [i for i, k in enumerate(kept) if bool(k) is chosen]
        figure.add_trace(
            go.Scatter(
                x=[inside[i] for i in index],
                y=[outside[i] for i in index],
                text=[names[i] for i in index],
                mode="markers",
                marker={"size": 9, "color": colour, "opacity": 0.8},
                name=label,
                hovertemplate="%{text}: %{x:.4f} in, %{y:.4f} out<extra></extra>",
            )
        )
    known = [abs(v) for v in (*inside, *outside) if np.isfinite(v)]
    edge = 1.1 * max(known, default=0.1)
    line = {"color": MUTED, "dash": "dot", "width": 1}
    figure.add_trace(
        go.Scatter(
            x=[-edge, edge], y=[-edge, edge], mode="lines", line=line, showlegend=False, hoverinfo="skip"
        )
    )
    figure.update_xaxes(title="rank IC in sample", tickformat=".3f")
    figure.update_yaxes(title="rank IC out of sample", tickformat=".3f")
    return figure


def contributions(values: dict[str, float], top: int = 25) -> Any:
    """What the pool loses without each factor."""
    import plotly.graph_objects as go

    largest = sorted(values.items(), key=lambda item: -abs(item[1]))[:top]
    chosen = sorted(largest, key=lambda item: item[1])
    figure = styled(height=_square(min(len(values), top)), hovermode="closest")
    figure.add_trace(
        go.Bar(
            y=[name for name, _ in chosen],
            x=[value for _, value in chosen],
            orientation="h",
            marker_color=[ALPHA if value >= 0 else RISK for _, value in chosen],
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="loss of the pool's out-of-sample rank IC without it", tickformat=".4f")
    return figure
