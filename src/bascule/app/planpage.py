"""A plan as a picture: fields on the left, what is made of them to the right, shared parts drawn once."""

from __future__ import annotations

from typing import Any

from bascule import __version__
from bascule.app import figures
from bascule.app.page import Card, Figure, Page, Section
from bascule.engine import Graph, Plan
from bascule.expr import Node

MOST = 160  # nodes that are still a picture
LONGEST = 34  # characters of a text in its box


def page(plan: Plan) -> Page:
    """The page of a plan."""
    graph = plan.graph()
    steps = sum(len(stage.steps) for stage in plan.stages)
    history = "all" if plan.lookback is None else f"{plan.lookback:,} candles"
    sections = [Section("Step by step", code=plan.explain(), code_title="the plan as text", code_open=True)]
    if len(graph.families) <= MOST:
        note = "A box with a strong border was asked for; what several boxes need is computed once."
        sections.insert(0, Section("What is made of what", note, [Figure("", drawing(graph), wide=True)]))
    return Page(
        title="How a plan computes",
        subtitle=f"over {', '.join('$' + name for name in plan.fields)}",
        cards=[
            Card("expressions", str(len(plan.texts))),
            Card("values", str(len(graph.families))),
            Card("kernel calls", str(steps)),
            Card("history", history),
        ],
        sections=sections,
        footer=f"Bascule {__version__}",
    )


def drawing(graph: Graph) -> Any:
    """Nodes in columns by depth, with arrows from operands to what is made of them."""
    places = _places(graph)
    columns = max(x for x, _ in places.values()) + 1
    tallest = max(y for _, y in places.values()) + 1
    figure = figures.blank(height=max(220, int(54 * tallest + 60)))
    for operand, made in graph.edges:
        (x0, y0), (x1, y1) = places[operand], places[made]
        figure.add_annotation(
            x=x1, y=y1, ax=x0, ay=y0, xref="x", yref="y", axref="x", ayref="y", text="", showarrow=True,
            arrowhead=2, arrowsize=0.9, arrowwidth=1, arrowcolor=figures.MUTED,
            startstandoff=_half(operand), standoff=_half(made),
        )  # fmt: skip
    for node, (x, y) in places.items():
        asked = node in graph.outputs
        figure.add_annotation(
            x=x, y=y, text=_label(node), hovertext=f"{node} · {graph.families[node]}", showarrow=False,
            bordercolor=figures.ALPHA if asked else figures.MUTED, borderwidth=2 if asked else 1, borderpad=5,
            bgcolor="rgba(138,148,166,.12)", font={"size": 11},
        )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.6, columns - 0.4])
    figure.update_yaxes(visible=False, range=[tallest - 0.4, -0.6])
    return figure


def _label(node: Node) -> str:
    text = str(node)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _half(node: Node) -> float:
    """About half the width of a node's box in pixels."""
    return 3.1 * len(_label(node)) + 10


def _places(graph: Graph) -> dict[Node, tuple[float, float]]:
    """Column and row of each node."""
    column: dict[Node, int] = {}
    for node in graph.families:  # operands come before what is made of them
        below = [column[operand] for operand, made in graph.edges if made == node and operand in column]
        column[node] = 1 + max(below, default=-1)
    counts: dict[int, int] = {}
    tallest = max(list(column.values()).count(x) for x in column.values())
    places = {}
    for node, x in column.items():
        here = list(column.values()).count(x)
        places[node] = (float(x), counts.get(x, 0) * tallest / here + (tallest / here - 1) / 2)
        counts[x] = counts.get(x, 0) + 1
    return places
