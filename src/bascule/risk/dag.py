"""A causal graph of a factor, its controls and returns: which controls help, and which deceive.

1. A DAG is read from YAML (`Dag.read`); arrows are ``cause -> effect``.
2. `roles`: each other node is classed by the paths between treatment and outcome (Pearl 2009, "Causality",
   ch. 1 and 3). *Mediator*: on a directed path, or an effect of one. *Confounder*: on an open path that
   enters the treatment. *Collider*: conditioning on it alone opens a path that was closed, or it is an
   effect of the outcome. *Neutral*: none of these. Some are two things at once (the middle of a butterfly).
3. `adjustment_sets`: the smallest sets of observed controls that close every non-causal path and touch no
   causal one (Shpitser, VanderWeele & Robins 2010, "On the validity of covariate adjustment").
4. `problems`: what is wrong with a given set of controls.

Conditioning on a collider can raise R² while it ruins the coefficient: the 'factor mirage' of López de
Prado (2023, "Causal Factor Investing").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bascule.core import ConfigError, Settings, yaml_mapping
from bascule.risk.extra import require

Role = Literal["mediator", "confounder", "collider", "neutral"]
_ARROW = re.compile(r"\s*([A-Za-z_]\w*)\s*->\s*([A-Za-z_]\w*)\s*")
MOST_PATHS = 20_000


class DagSettings(Settings):
    """A graph as it is written."""

    treatment: str = Field(description="the factor whose effect is asked for")
    outcome: str = Field(description="what it is to explain, e.g. the forward return")
    edges: tuple[str, ...] = Field(min_length=1, description="arrows: cause -> effect")
    unobserved: tuple[str, ...] = Field(default=(), description="nodes without data: no controls")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a set of controls.

    Attributes:
        kind: ``collider``, ``mediator`` or ``open`` (a back door is left open).
        node: the control at fault, empty for ``open``.
        text: the path, in words.
    """

    kind: Literal["collider", "mediator", "open"]
    node: str
    text: str


@dataclass(frozen=True)
class Dag:
    """A directed acyclic graph with a treatment and an outcome."""

    treatment: str
    outcome: str
    edges: tuple[tuple[str, str], ...]
    unobserved: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: DagSettings, *, where: str = "dag") -> Dag:
        """Check a written graph.

        Raises:
            ConfigError: an arrow is malformed, the graph has a cycle, or a node is missing.
        """
        edges = []
        for text in settings.edges:
            match = _ARROW.fullmatch(text)
            if not match:
                raise ConfigError(
                    f"{text!r} is not an arrow", where=where, remedy="write cause -> effect, one arrow a line"
                )
            edges.append((match[1], match[2]))
        found = cls(settings.treatment, settings.outcome, tuple(edges), settings.unobserved)
        found._check(where)
        return found

    @classmethod
    def read(cls, path: Path) -> Dag:
        """Read a YAML file with ``treatment``, ``outcome``, ``edges`` and, if any, ``unobserved``.

        Raises:
            ConfigError: the file cannot be read, or holds no graph.
        """
        content = yaml_mapping(path, remedy="write treatment, outcome, edges")
        return cls.of(DagSettings.read(content, where=str(path)), where=str(path))

    def _check(self, where: str) -> None:
        nx = require("networkx", purpose="the causal checks")
        if not nx.is_directed_acyclic_graph(self.graph):
            cycle = " -> ".join(edge[0] for edge in nx.find_cycle(self.graph))
            raise ConfigError(f"a cycle: {cycle}", where=where, remedy="a cause cannot be its own effect")
        for role, node in (("treatment", self.treatment), ("outcome", self.outcome)):
            if node not in self.graph or node in self.unobserved:
                raise ConfigError(
                    f"the {role} {node!r} is not an observed node", where=where, remedy="give it an arrow"
                )
        foreign = [node for node in self.unobserved if node not in self.graph]
        if self.treatment == self.outcome or foreign:
            raise ConfigError(
                f"unknown unobserved node {foreign[0]!r}"
                if foreign
                else "treatment and outcome are the same",
                where=where,
            )

    @cached_property
    def graph(self) -> Any:
        """As a networkx graph."""
        graph = require("networkx", purpose="the causal checks").DiGraph()
        graph.add_edges_from(self.edges)
        return graph

    @property
    def controls(self) -> tuple[str, ...]:
        """Observed nodes besides treatment and outcome, sorted."""
        others = set(self.graph) - {self.treatment, self.outcome, *self.unobserved}
        return tuple(sorted(others))

    # -- paths -------------------------------------------------------------------------------------

    def paths(self) -> Iterator[tuple[str, ...]]:
        """All simple paths between treatment and outcome, arrows either way.

        Raises:
            ConfigError: there are too many.
        """
        nx = require("networkx", purpose="the causal checks")
        for count, path in enumerate(
            nx.all_simple_paths(self.graph.to_undirected(), self.treatment, self.outcome)
        ):
            if count >= MOST_PATHS:
                raise ConfigError(
                    f"more than {MOST_PATHS} paths", where="dag", remedy="leave out nodes that do not matter"
                )
            yield tuple(path)

    def causal(self, path: tuple[str, ...]) -> bool:
        """Whether all arrows of a path point at the outcome."""
        return all(self.graph.has_edge(a, b) for a, b in pairwise(path))

    def colliders(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Inner nodes that both neighbours point at."""
        triples = zip(path, path[1:], path[2:], strict=False)
        return tuple(b for a, b, c in triples if self.graph.has_edge(a, b) and self.graph.has_edge(c, b))

    def open(self, path: tuple[str, ...], given: Collection[str]) -> bool:
        """Whether association flows along a path when ``given`` is held fixed."""
        colliders = self.colliders(path)
        if any(node in given for node in path[1:-1] if node not in colliders):
            return False
        return all(node in given or self.below(node) & set(given) for node in colliders)

    def below(self, node: str) -> set[str]:
        """All effects of a node, direct and indirect."""
        found: set[str] = require("networkx", purpose="the causal checks").descendants(self.graph, node)
        return found

    def text(self, path: tuple[str, ...]) -> str:
        """A path with its arrows."""
        parts = [path[0]]
        for a, b in pairwise(path):
            parts.append(f"{'->' if self.graph.has_edge(a, b) else '<-'} {b}")
        return " ".join(parts)

    # -- roles and sets ----------------------------------------------------------------------------

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """Nodes on causal paths behind the treatment, and all their effects: never to be controlled for."""
        found = {self.outcome} | self.below(self.outcome)
        for path in self.paths():
            if self.causal(path):
                for node in path[1:]:
                    found |= {node} | self.below(node)
        return frozenset(found)

    def roles(self) -> dict[str, tuple[Role, ...]]:
        """What each other node is; unobserved ones too."""
        paths = list(self.paths())
        found: dict[str, tuple[Role, ...]] = {}
        for node in sorted(set(self.graph) - {self.treatment, self.outcome}):
            roles: list[Role] = []
            effects = self.below(self.outcome)
            if node in self.forbidden and node not in effects:
                roles.append("mediator")
            closed = [path for path in paths if not self.causal(path)]
            if any(self.open(path, ()) and node in path for path in closed):
                roles.append("confounder")
            if node in effects or any(not self.open(p, ()) and self.open(p, (node,)) for p in closed):
                roles.append("collider")
            found[node] = tuple(roles) or ("neutral",)
        return found

    def valid(self, controls: Collection[str]) -> bool:
        """Whether a set of controls gives the total effect (the adjustment criterion)."""
        if set(controls) & (self.forbidden | {self.treatment} | set(self.unobserved)):
            return False
        nx = require("networkx", purpose="the causal checks")
        back = self.graph.copy()
        # the back-door graph: without the arrows that begin causal paths
        first = {path[1] for path in self.paths() if self.causal(path)}
        back.remove_edges_from([(self.treatment, node) for node in first])
        result: bool = nx.is_d_separator(back, {self.treatment}, {self.outcome}, set(controls))
        return result

    def adjustment_sets(self, most: int = 20) -> tuple[tuple[str, ...], ...]:
        """Minimal valid sets of observed controls, smallest first, at most ``most``; none = not identifiable.

        Minimal: without any one of its members a set is not valid any more.
        """
        able = [node for node in self.controls if node not in self.forbidden]
        found: list[tuple[str, ...]] = []
        for size in range(len(able) + 1):
            for chosen in combinations(able, size):
                if any(set(one) <= set(chosen) for one in found):
                    continue
                if self.valid(chosen):
                    found.append(chosen)
                    if len(found) >= most:
                        return tuple(found)
        return tuple(found)

    def problems(self, controls: Collection[str]) -> tuple[Problem, ...]:
        """What is wrong with a set of controls, worst first; empty = it gives the total effect.

        Raises:
            ConfigError: a control is not an observed node.
        """
        unknown = [node for node in controls if node not in self.controls]
        if unknown:
            raise ConfigError(
                f"{unknown[0]!r} is not an observed control of the graph",
                where="dag",
                remedy=f"controls: {', '.join(self.controls)}",
            )
        found: list[Problem] = []
        effects = self.below(self.outcome)
        for node in controls:
            if node in effects:
                found.append(Problem("collider", node, f"{node} is an effect of {self.outcome}"))
            elif node in self.forbidden:
                found.append(
                    Problem("mediator", node, f"{node} carries part of the effect, or follows from it")
                )
        for path in self.paths():
            if self.causal(path) or not self.open(path, controls):
                continue
            opened = [c for c in self.colliders(path) if c in controls or self.below(c) & set(controls)]
            if not opened:
                found.append(Problem("open", "", f"{self.text(path)} is open: a confounder is missing"))
                continue
            blame = next(z for z in controls if z in opened or any(z in self.below(c) for c in opened))
            found.append(Problem("collider", blame, f"controlling for {blame} opens {self.text(path)}"))
        order = {"collider": 0, "mediator": 1, "open": 2}
        return tuple(sorted(found, key=lambda one: order[one.kind]))
