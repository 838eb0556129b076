"""From expressions to a plan: what is computed, in which order, over which rows, and when it is let go.

1. Parse and rewrite (`rewrite`); equal subexpressions of the whole set are one node from here on.
2. Cut into stages. An operator over all history (a window of 0) needs its operand over all rows, so the
   operand ends a stage, and what the operator gives enters the next one as a field would. All else needs a
   bounded number of bars and is computed block of rows by block of rows.
3. Order each stage, children first, and gather the nodes that one kernel computes together (`families`).
4. Go backwards over the steps to find which rows around a block each node is needed for (`Span`). A shift is
   no work at all: its operand is needed for other rows.
5. Note after which step a value is used for the last time, so that the executor frees it.

Look-back and look-ahead of the plan are the rows of history and future that its fields are needed for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bascule.core import ExpressionError
from bascule.engine.families import family, group
from bascule.engine.rewrite import rewritten
from bascule.expr import MAX_DEPTH, Constant, Field, Kind, Node, field_names, parse, walk

Dialect = Literal["bascule", "qlib"]


@dataclass(frozen=True)
class Span:
    """Rows for which a node is needed, around the rows of a block.

    Attributes:
        back: rows before its first row (negative: it starts later).
        ahead: rows after its last row (negative: it ends earlier).
    """

    back: int = 0
    ahead: int = 0

    def union(self, other: Span) -> Span:
        """The rows of both."""
        return Span(max(self.back, other.back), max(self.ahead, other.ahead))


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        family: which kernel.
        nodes: what it gives.
        operands: what it takes, each once, constants left out.
        frees: values that no later step needs; outputs are handed over as soon as they are there.
    """

    family: str
    nodes: tuple[Node, ...]
    operands: tuple[Node, ...]
    frees: tuple[Node, ...]


@dataclass(frozen=True)
class Stage:
    """Steps that run block by block.

    Attributes:
        outputs: nodes that are wanted over all rows.
        steps: in order.
        spans: rows for which each node is needed.
        expands: nodes over all history, computed from the outputs when the stage is done.
    """

    outputs: tuple[Node, ...]
    steps: tuple[Step, ...]
    spans: Mapping[Node, Span]
    expands: tuple[Node, ...]


@dataclass(frozen=True)
class Graph:
    """What a plan computes from what.

    Attributes:
        families: kernel of each node.
        edges: operand and what is made of it.
        outputs: what was asked for.
    """

    families: Mapping[Node, str]
    edges: tuple[tuple[Node, Node], ...]
    outputs: frozenset[Node]

    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        number = {node: f"n{index}" for index, node in enumerate(self.families)}
        lines = [
            "digraph plan {",
            "  rankdir=LR;",
            '  node [shape=box, style=rounded, fontname="monospace"];',
        ]
        for node, kind in self.families.items():
            text = str(node).replace("\\", "\\\\").replace('"', '\\"')
            border = ", peripheries=2" if node in self.outputs else ""
            lines.append(f'  {number[node]} [label="{text}\\n{kind}"{border}];')
        lines += [f"  {number[operand]} -> {number[made]};" for operand, made in self.edges]
        return "\n".join([*lines, "}"])


@dataclass(frozen=True)
class Plan:
    """How a set of expressions is evaluated.

    Attributes:
        texts: canonical text of each expression, in the order asked for.
        nodes: the expressions after rewriting, in the same order.
        fields: names of the panel's fields that are read, without ``$``, sorted.
        lookback: bars of history before row t that its values need; None = all of it.
        lookahead: bars after row t that its values need; 0 for everything that may be a factor.
        stages: the work.
        dialect: what to do where qlib's own rule is unsound (see `bascule.engine`).
    """

    texts: tuple[str, ...]
    nodes: tuple[Node, ...]
    fields: tuple[str, ...]
    lookback: int | None
    lookahead: int
    stages: tuple[Stage, ...]
    dialect: Dialect

    def explain(self) -> str:
        """The plan as text, for people."""
        history = "all history" if self.lookback is None else f"{self.lookback} bars of history"
        lines = [
            f"{len(self.texts)} expressions over {', '.join('$' + f for f in self.fields)}; "
            f"needs {history}, {self.lookahead} bars of future; dialect {self.dialect}"
        ]
        for number, stage in enumerate(self.stages, 1):
            count = sum(len(step.nodes) for step in stage.steps)
            lines.append(f"stage {number}: {count} values in {len(stage.steps)} steps")
            for step in stage.steps:
                span = stage.spans[step.nodes[0]]
                rows = f"[{-span.back}, {span.ahead:+}]" if span != Span() else "[0]"
                lines.append(f"  {step.family:<10} rows {rows:<10} {'; '.join(map(str, step.nodes))}")
            lines.extend(f"  over all history: {node}" for node in stage.expands)
        return "\n".join(lines)

    def graph(self) -> Graph:
        """The plan as a graph: what is computed from what."""
        members: dict[Node, str] = {}
        for stage in self.stages:
            for step in stage.steps:
                members.update(dict.fromkeys(step.nodes, step.family))
            members.update(dict.fromkeys(stage.expands, "all history"))
        edges = [
            (child, node)
            for node, kind in members.items()
            if kind != "load" or node.kind is not Kind.LEAF
            for child in dict.fromkeys(node.children)
            if not isinstance(child, Constant)
        ]
        return Graph(members, tuple(edges), frozenset(self.nodes))


def compile(expressions: str | Node | Sequence[str | Node], *, dialect: Dialect = "bascule") -> Plan:
    """Plan the evaluation of factor texts or nodes.

    Args:
        expressions: one or more.
        dialect: ``"bascule"`` or ``"qlib"``.

    Raises:
        ExpressionError: a text is not of the language, a node is nested too deep, or there is none.
    """
    if isinstance(expressions, str | Node):
        expressions = [expressions]
    if not expressions:
        raise ExpressionError("no expressions to plan", where="engine", remedy="give at least one")
    if dialect not in ("bascule", "qlib"):
        raise ExpressionError(f"unknown dialect {dialect!r}", where="engine", remedy="bascule or qlib")
    asked = tuple(parse(item) if isinstance(item, str) else item for item in expressions)
    for node in asked:
        if node.depth > MAX_DEPTH:
            message = f"an expression is nested {node.depth} levels deep, more than {MAX_DEPTH}"
            raise ExpressionError(message, where="engine", remedy="simplify it")
    known: dict[Node, Node] = {}
    nodes = tuple(rewritten(node, known) for node in asked)
    stages = _stages(nodes)
    reach = Span(-(10**9), -(10**9))
    for stage in stages:
        for node, span in stage.spans.items():
            if isinstance(node, Field):
                reach = reach.union(span)
    return Plan(
        texts=tuple(str(node) for node in asked),
        nodes=nodes,
        fields=tuple(sorted({name for node in nodes for name in field_names(node)})),
        lookback=None if len(stages) > 1 else max(0, reach.back),
        lookahead=max(0, reach.ahead),
        stages=stages,
        dialect=dialect,
    )


def _ordered(roots: Iterable[Node], leaves: set[Node]) -> list[Node]:
    """All distinct nodes below ``roots``, children first, not going below ``leaves``."""
    seen: set[Node] = set()
    order: list[Node] = []
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if node in seen or isinstance(node, Constant):
                continue
            if expanded:
                seen.add(node)
                order.append(node)
            else:
                stack.append((node, True))
                if node not in leaves:
                    stack.extend((child, False) for child in reversed(node.children))
    return order


def _stages(roots: tuple[Node, ...]) -> tuple[Stage, ...]:
    """One stage for each level of nesting of nodes over all history, then the last one for the outputs."""
    levels: dict[Node, int] = {}
    for root in roots:
        for node in walk(root):
            below = max((levels[child] for child in node.children), default=0)
            levels[node] = below + (1 if node.back is None else 0)
    stages = []
    done: set[Node] = set()
    for level in range(1, max(levels[root] for root in roots) + 1):
        expands = tuple(n for n in levels if n.back is None and levels[n] == level)
        operands = tuple(dict.fromkeys(child for node in expands for child in node.children))
        stages.append(_stage(operands, done, expands))
        done |= set(expands)
    stages.append(_stage(roots, done, ()))
    return tuple(stages)


def _stage(outputs: tuple[Node, ...], stored: set[Node], expands: tuple[Node, ...]) -> Stage:
    groups: dict[tuple[object, ...], list[Node]] = {}
    for node in _ordered(outputs, stored):
        key = ("load", node) if node in stored or node.kind is Kind.LEAF else group(node)
        groups.setdefault(key, []).append(node)
    calls = []
    for key, nodes in groups.items():
        name = "load" if key[0] == "load" else family(nodes[0])
        below = () if name == "load" else tuple(c for n in nodes for c in n.children)
        operands = tuple(dict.fromkeys(c for c in below if not isinstance(c, Constant)))
        calls.append((name, tuple(nodes), operands))
    spans = _spans(calls, outputs)
    last: dict[Node, int] = {}
    for index, (_, made, operands) in enumerate(calls):
        last.update(dict.fromkeys((*made, *operands), index))
    steps = [
        Step(name, made, operands, tuple(n for n in dict.fromkeys((*made, *operands)) if last[n] == index))
        for index, (name, made, operands) in enumerate(calls)
    ]
    return Stage(outputs, tuple(steps), spans, expands)


def _spans(
    calls: list[tuple[str, tuple[Node, ...], tuple[Node, ...]]], outputs: tuple[Node, ...]
) -> dict[Node, Span]:
    """Rows for which each node is needed; nodes of one call share them."""
    needed: dict[Node, Span] = dict.fromkeys(outputs, Span())
    spans: dict[Node, Span] = {}
    for name, nodes, operands in reversed(calls):
        span = needed[nodes[0]]
        for node in nodes[1:]:
            span = span.union(needed[node])
        back, ahead = 0, 0
        if name != "load":
            back = max(node.back or 0 for node in nodes)
            ahead = max(node.ahead for node in nodes)
        below = Span(span.back + back, span.ahead + ahead)
        for node in nodes:
            spans[node] = span
        for operand in operands:
            needed[operand] = needed[operand].union(below) if operand in needed else below
    return spans
