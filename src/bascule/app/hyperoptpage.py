"""A walk of hyper-optimisation as one page: out of sample, and how far its parameters can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bascule import __version__
from bascule.app.figures import ALPHA, MUTED, RISK, blank
from bascule.app.page import Card, Cell, Figure, Page, Section, Table, Tone, number
from bascule.bridge.freqtrade.hyperopt import Parameter, Stability, WalkForward, stability
from bascule.bridge.freqtrade.hyperopt.stability import PEAK, PLATEAU
from bascule.evaluate import SharpeStatistics

_YEAR = math.sqrt(365.0)
_TONES: dict[str, Tone] = {
    "stable": "good",
    "doubtful": "fair",
    "unstable": "bad",
    "no lasting effect": "faint",
    "plateau": "good",
    "slope": "fair",
    "peak": "bad",
}
_OUT = (
    "Each window was optimised on the candles before it, and traded by freqtrade with what was found and "
    "with the strategy's own parameters. Only these figures are out of sample; all are after costs."
)
_STABLE = (
    "Drift is the mean move of the chosen value from fold to fold, as a share of the range tried (chosen at "
    "random: a third). A neighbourhood of rank 0 is a plateau of good values, one of 0.5 a lucky peak. "
    "Sensitivity is the difference in median rank between the best and the worst range of values; below "
    "luck the parameter has no effect that lasts, and is better left alone."
)


def walk_page(title: str, found: WalkForward) -> Page:
    """The page of a walk.

    Args:
        title: what was optimised.
        found: the walk.

    Raises:
        DataError: no parameter was tried with more than one value.
    """
    stable = stability(found.outcomes)
    table = found.returns()
    chosen, own = (_sharpe(table[name].to_numpy(np.float64)) for name in ("chosen", "own"))
    deflated = found.deflated()
    without = sum(one.chosen is None for one in found.outcomes)
    warnings = []
    if without:
        warnings.append(f"{without} of {len(found.outcomes)} folds had no epoch with enough trades.")
    cards = [
        Card("folds", str(len(found.outcomes))),
        Card("trials counted", f"{found.trials:,}"),
        Card("Sharpe out of sample", number(chosen, ".2f"), "good" if chosen > max(own, 0.0) else "bad"),
        Card("own parameters", number(own, ".2f")),
        Card("deflated Sharpe", number(deflated, ".1%"), "good" if deflated > 0.95 else "bad"),
        Card("neighbourhood", stable.verdict, _TONES.get(stable.verdict, "")),
    ]
    settings = found.settings
    return Page(
        title=title,
        subtitle=f"{settings.loss}, {settings.epochs} epochs a fold, {settings.train_days} days to optimise "
        f"on, {settings.test_days} to test on",
        cards=cards,
        warnings=warnings,
        sections=[
            Section("Out of sample", _OUT, [Figure("Wealth", _wealth(found), wide=True)], [_folds(found)]),
            Section(
                "Stability",
                _STABLE,
                [Figure("Neighbourhood of the choice", _neighbours(stable))],
                [_parameters(stable.parameters)],
            ),
            Section(
                "Parameters",
                "Left: the chosen value of each fold, with the middle half of its best tenth. Right: median "
                "rank of the losses by value, 0 is best; lines are the choices.",
                [figure for one in stable.parameters for figure in _figures(one, found)],
            ),
        ],
        footer=f"Bascule {__version__}",
    )


def _sharpe(returns: Any) -> float:
    return SharpeStatistics.of(returns).sharpe * _YEAR


def _wealth(found: WalkForward) -> Any:
    import plotly.graph_objects as go

    figure = blank(300)
    table = (1.0 + found.returns()).cumprod()
    for name, label, color in (("chosen", "optimised", ALPHA), ("own", "own parameters", MUTED)):
        figure.add_trace(
            go.Scatter(x=table.index, y=table[name], name=label, line={"color": color, "width": 2})
        )
    for one in found.outcomes[1:]:
        edge = str(one.fold.test[0])[:10]
        figure.add_vline(x=edge, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(title="wealth, 1 at the start")
    return figure


def _neighbours(stable: Stability) -> Any:
    import plotly.graph_objects as go

    figure = blank(260)
    names = [f"fold {k + 1}" for k in range(len(stable.neighbourhood))]
    figure.add_trace(go.Bar(x=names, y=stable.neighbourhood, marker_color=ALPHA, name="mean rank"))
    for level, color in ((PLATEAU, ALPHA), (PEAK, RISK)):
        figure.add_hline(y=level, line={"color": color, "dash": "dash", "width": 1})
    figure.update_yaxes(title="mean rank near the choice", range=[0, 1])
    return figure


def _figures(one: Parameter, found: WalkForward) -> list[Figure]:
    import plotly.graph_objects as go

    starts = [str(outcome.fold.test[0])[:10] for outcome in found.outcomes]
    path = blank(240)
    middle = one.good.mean(axis=1)
    path.add_trace(
        go.Scatter(
            x=starts,
            y=middle,
            mode="markers",
            marker={"size": 1, "color": MUTED},
            error_y={"type": "data", "array": one.good[:, 1] - middle, "color": MUTED, "thickness": 6},
            name="best tenth",
        )
    )
    path.add_trace(
        go.Scatter(x=starts, y=one.chosen, mode="lines+markers", name="chosen", line={"color": ALPHA})
    )
    room = 0.05 * (one.high - one.low)
    path.update_yaxes(range=[one.low - room, one.high + room])
    path.update_xaxes(type="category")
    ranks = blank(240)
    centres = (one.edges[1:] + one.edges[:-1]) / 2
    ranks.add_trace(
        go.Bar(
            x=centres, y=one.ranks, width=0.92 * np.diff(one.edges), marker_color=ALPHA, name="median rank"
        )
    )
    for value in one.chosen[np.isfinite(one.chosen)]:
        ranks.add_vline(x=value, line={"color": RISK, "width": 1})
    ranks.update_yaxes(title="median rank", range=[0, 1])
    return [Figure(f"{one.name}: chosen", path), Figure(f"{one.name}: what is good", ranks)]


def _folds(found: WalkForward) -> Table:
    rows = []
    for row in found.table().to_dict("records"):
        better = row["profit_total tested"] - row["profit_total own"]
        rows.append(
            [
                row["optimised on"],
                row["tested on"],
                f"{row['trials']:,}",
                number(row["profit in sample"], "+.2%"),
                Cell(number(row["profit_total tested"], "+.2%"), "good" if better > 0 else "bad"),
                number(row["profit_total own"], "+.2%"),
                number(row["sharpe tested"], ".2f"),
                number(row["sharpe own"], ".2f"),
                number(row["trades"], ",.0f"),
            ]
        )
    head = (
        "optimised on", "tested on", "trials", "profit in sample", "profit tested", "own parameters",
        "Sharpe tested", "own parameters", "trades",
    )  # fmt: skip
    return Table(head, rows, "Folds")


def _parameters(parameters: Sequence[Parameter]) -> Table:
    rows: list[list[str | Cell]] = [
        [
            one.name,
            Cell(one.verdict, _TONES[one.verdict]),
            number(one.drift, ".2f"),
            number(one.sensitivity, ".2f"),
            number(one.luck, ".2f"),
            f"{one.low:.3g} … {one.high:.3g}",
            number(float(np.nanmedian(one.chosen)) if np.isfinite(one.chosen).any() else math.nan, ".3g"),
        ]
        for one in parameters
    ]
    head = ("parameter", "verdict", "drift", "sensitivity", "luck", "range tried", "median choice")
    return Table(head, rows, "Parameters")
