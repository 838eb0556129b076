"""What a kind of model must be able to do.

A kind wraps one of qlib's own model classes and says how its result is kept in an open, native form (never a
pickle), so that what a file holds is read as data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError, Panel
from bascule.core.panel import FloatArray
from bascule.models.samples import Samples

Predict = Callable[[FloatArray], NDArray[np.float64]]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a model learns from, and how.

    Attributes:
        panel: gives the axes of the samples.
        train: samples learned from.
        valid: samples that stop the learning.
        weights: weight of each sample of train and of valid, or None = all alike.
        steps: times that each feature is there for: ``F = steps · features``, see `sequence.py`.
        seed: of every random choice.
        threads: of training; 0 = the library's default.
        gpu: use a CUDA device if there is one.
    """

    panel: Panel
    train: Samples
    valid: Samples
    weights: tuple[FloatArray, FloatArray] | None
    steps: int
    seed: int
    threads: int
    gpu: bool

    @property
    def width(self) -> int:
        """Number of feature columns F."""
        return int(self.train.features.shape[1])

    def names(self) -> list[str]:
        """Column names for qlib: places, since libraries refuse some of the characters in real names."""
        return [f"x{f}" for f in range(self.width)]


class Kind(ABC):
    """One kind of model. Users' own come from extensions; `bascule.testing` tries them.

    Attributes:
        name: unique name: qlib's class name, with ``_ts`` where qlib has a second class of that name.
        prefix: short form for model ids, ``lgb`` in ``lgb-2021-01``.
        module: qlib's module path; "" = it wraps no class of qlib.
        cls: qlib's class.
        parameters: names that a user may set; some libraries ignore a misspelt one in silence.
        complete: True if the model cannot take missing values and needs features compared within each time.
        relational: True if a prediction depends on the other instruments of the same time.
        weighted: True if it takes sample weights.
        warm: True if it can go on from a stored model.
        extra: Bascule's extra that brings its library, or "".
        packages: distributions whose versions are written beside the model.
    """

    name: str
    prefix: str
    module: str = ""
    cls: str = ""
    parameters: frozenset[str]
    complete: bool = True
    relational: bool = False
    weighted: bool = False
    warm: bool = False
    extra: str = ""
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "numpy")

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """By name, if it is of an extension: another process must load that first."""
        from bascule.models.registry import KINDS, kind

        if KINDS.owner(self.name) is not None and KINDS[self.name] is self:
            return kind, (self.name,)
        return super().__reduce_ex__(protocol)

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse unknown parameters.

        Raises:
            ConfigError: the first one, with the nearest known name.
        """
        for name in params:
            if name not in self.parameters:
                near = get_close_matches(name, self.parameters, n=1)
                known = ", ".join(sorted(self.parameters)) or "none"
                raise ConfigError(
                    f"{self.name} has no parameter {name!r} to set",
                    where=f"model.params.{name}",
                    remedy=f"did you mean {near[0]!r}?" if near else f"known: {known}",
                )

    def fits(self, width: int, steps: int) -> None:
        """Refuse numbers of features that the model cannot take.

        Raises:
            ConfigError: ``width`` feature columns cannot be cut into ``steps`` times.
        """
        if width % steps:
            raise ConfigError(
                f"{width} features are not a whole number of times {steps} steps",
                where="model.steps",
                remedy="give each feature for every step (models.sequence), oldest first",
            )

    @abstractmethod
    def defaults(self, samples: int) -> dict[str, Any]:
        """Default parameters for so many training samples; the user's go on top."""

    @abstractmethod
    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        """Train qlib's model; ``start``: the file of a stored model to go on from."""

    @abstractmethod
    def save(self, model: Any, folder: Path) -> str:
        """Write the fitted model into a folder, return the file's name."""

    @abstractmethod
    def load(self, path: Path) -> Predict:
        """That file → a function features ``[n, F]`` → predictions ``[n]`` (one time's, if relational)."""

    def importance(self, model: Any) -> Sequence[float] | None:
        """Weight of each feature ``[F]`` (gain, or |coefficient|), summing to 1; None: it has none."""
        return None

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array] | None:
        """That file → features ``[n, F]`` → additive parts of each prediction ``[n, F + 1]``, last the base.

        None where there is no exact way.
        """
        return None


def shares(weights: NDArray[Any]) -> list[float]:
    """Absolute weights as shares of 1 (all 0 where nothing weighs)."""
    total = float(np.abs(weights).sum())
    return [float(abs(w)) / total if total else 0.0 for w in weights]
