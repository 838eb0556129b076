"""The searchers by name, and how one is made. A user's own come from extensions (`core.extensions`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bascule.core import ConfigError, Registry, Settings
from bascule.miners.contract import Searcher
from bascule.miners.grammar import Grammar
from bascule.miners.problem import Part

_METHODS = ("propose", "observe", "state", "restore", "statistics")


@dataclass(frozen=True)
class SearcherKind:
    """How a searcher is built; its module is imported when it is asked for, because some need torch.

    Attributes:
        module: in `bascule.miners.searchers`; "" = it is a class of an extension.
        searcher: the class, or its name in the module.
        settings: its settings, or their name, if it has any.
        about: one line for people.
        part: it looks at values on the train part, too.
        llm: the argument that a language model becomes: the model itself, or a proposer that asks it.
    """

    module: str
    searcher: Any
    settings: Any
    about: str
    part: bool = False
    llm: Literal["model", "proposer"] | None = None

    def _of(self, name: Any) -> Any:
        if not self.module:
            return name
        return getattr(importlib.import_module(f"bascule.miners.searchers.{self.module}"), name)

    def read(self, options: Mapping[str, Any], name: str) -> list[Settings]:
        """The searcher's settings out of plain values, as arguments: one, or none where it has none.

        Raises:
            ConfigError: a setting is wrong, or there are none to set.
        """
        self._of(self.searcher)  # a package that it needs is missed now
        if self.settings is not None:
            return [self._of(self.settings).read(options, where=name)]
        if options:
            raise ConfigError(f"{name} has no settings", where="mine", remedy="leave searcher.… away")
        return []

    def build(
        self, grammar: Grammar, seed: int, part: Part, settings: list[Settings], **more: Any
    ) -> Searcher:
        """The searcher.

        Args:
            grammar: of what it proposes.
            seed: of all randomness.
            part: the train part, for those that look at values.
            settings: of `read`.
            more: the language model, for those that can ask one.
        """
        given = [part, *settings] if self.part else settings
        found: Searcher = self._of(self.searcher)(grammar, seed, *given, **more)
        return found


def _accept(name: str, part: Any, folder: Path) -> SearcherKind:
    """An extension's searcher: a class as `Searcher` says.

    It may have the class attributes ``settings``, a subclass of `Settings` whose object becomes the last
    argument, and ``part`` = True, to be handed the train part after the seed.
    """
    if not isinstance(part, type):
        raise ConfigError("it is no class", remedy="give a class with the methods of bascule.miners.Searcher")
    lacking = [method for method in _METHODS if not callable(getattr(part, method, None))]
    if lacking:
        raise ConfigError(
            f"it has no method {lacking[0]}",
            remedy="see bascule.miners.Searcher; RandomSearch is the shortest",
        )
    if getattr(part, "name", None) != name:
        raise ConfigError(
            f"its name is {getattr(part, 'name', None)!r}", remedy=f"write name = {name!r} into the class"
        )
    settings = getattr(part, "settings", None)
    if settings is not None and not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise ConfigError(
            "its settings are no class of Settings", remedy="derive them from bascule.core.Settings"
        )
    about = (part.__doc__ or "").strip().partition("\n")[0]
    if not about:
        raise ConfigError("it does not say how it searches", remedy="write a docstring of one line")
    return SearcherKind("", part, settings, about, bool(getattr(part, "part", False)))


_BUILT_IN: dict[str, SearcherKind] = {
    "random": SearcherKind("uniform", "RandomSearch", None, "typed random draws, the yardstick"),
    "evolution": SearcherKind(
        "evolution", "Evolution", "EvolutionSettings", "typed genetic programming", True
    ),
    "qfr": SearcherKind(
        "reinforce", "Reinforce", "ReinforceSettings", "QuantFactor REINFORCE (arXiv 2409.05144)"
    ),
    "ppo": SearcherKind("ppo", "PPO", "PPOSettings", "AlphaGen's PPO (arXiv 2306.12964)"),
    "gflownet": SearcherKind("gflownet", "GFlowNet", "GFlowNetSettings", "GFlowNet, trajectory balance"),
    "alphaforge": SearcherKind(
        "alphaforge", "AlphaForge", "AlphaForgeSettings", "AlphaForge (arXiv 2406.18394)"
    ),
    "mcts": SearcherKind(
        "mcts", "TreeSearch", "TreeSettings", "tree search, LLM optional (arXiv 2505.11122)", True, "proposer"
    ),
    "programs": SearcherKind(
        "programs", "ProgramSearch", "ProgramSettings", "AlphaEvolve's programs (arXiv 2103.16196)", True
    ),
    "hypotheses": SearcherKind(
        "hypotheses", "HypothesisLoop", "HypothesisSettings",
        "hypothesis loop, LLM optional (arXiv 2505.15155)", llm="model",
    ),
}  # fmt: skip
SEARCHERS: Registry[SearcherKind] = Registry("searchers", _BUILT_IN, _accept)


def searcher(name: str) -> SearcherKind:
    """Look a searcher up.

    Raises:
        ConfigError: there is none of that name.
    """
    found = SEARCHERS.get(name)
    if found is None:
        raise ConfigError(
            f"there is no searcher {name!r}", where="mine", remedy=f"one of {', '.join(SEARCHERS)}"
        )
    return found
