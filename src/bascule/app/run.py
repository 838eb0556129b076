"""What the stages of a run share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from bascule import evaluate, signals
from bascule.app.config import RunConfig
from bascule.app.console import bar
from bascule.app.sources import synthetic
from bascule.app.stage import Runner
from bascule.app.trials import UNKNOWN, Generated, Tries
from bascule.core import Panel, Progress
from bascule.core.panel import FloatArray
from bascule.data.store import Store
from bascule.data.synthetic import is_synthetic


@dataclass
class Run:
    """What the stages share. Heavy parts are made on first use: a resumed run makes only what it needs."""

    config: RunConfig
    recipe: signals.SignalSpec
    console: Console
    runner: Runner[Run] | None = None

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """A progress bar."""
        return bar(title)

    def folder(self, stage: str) -> Path:
        """Folder of a finished stage."""
        assert self.runner is not None
        return self.runner.outcomes[stage].folder

    def facts(self, stage: str) -> dict[str, Any]:
        """Facts of a finished stage."""
        assert self.runner is not None
        return self.runner.outcomes[stage].facts

    @cached_property
    def store(self) -> Store:
        """The run's store."""
        return Store.open(self.folder("data") / "store")

    @cached_property
    def panel(self) -> Panel:
        """The whole prepared panel under the universe."""
        return signals.with_members(self.store.panel(self.recipe.bar), self.recipe)

    @cached_property
    def values(self) -> FloatArray:
        """Factor values ``[F, T, N]``."""
        with self.progress("Factor values") as progress:
            return signals.features(self.panel, self.recipe, progress=progress)

    @cached_property
    def synthetic(self) -> Generated | None:
        """Of a generated market its settings, or `trials.UNKNOWN`; None = real candles."""
        found = synthetic(self.config)
        return found or (UNKNOWN if is_synthetic(self.store.instruments(self.recipe.bar)) else None)

    def label(self, horizon: int) -> FloatArray:
        """Forward returns, after funding if that is what the model learns ``[T, N]``."""
        return evaluate.forward_return(self.panel, horizon, funding=self.config.model.funding)

    @cached_property
    def tries(self) -> Tries:
        """The trials on this run's market, counted in its ledger."""
        return Tries.on(self.config.ledger_file, self.synthetic)

    @property
    def trials(self) -> int:
        """How many different trials ever touched the days of this run, its own among them."""
        data = self.facts("data")
        return self.tries.count(data["first"], data["last"])

    def forget_values(self) -> None:
        """Give the factor values' memory back (158 factors of 64 coins over four years of hours: 1.6 GB)."""
        self.__dict__.pop("values", None)
