"""Bases of a user's own operators. What they are handed makes most mistakes impossible.

1. The text, its check, its look-back and its place in plans follow from the class, as for built-in operators.
2. `RollingOperator` and `PairOperator` see one window per cell and nothing else, so they cannot look ahead,
   and a stretch of history gives the same numbers as all of it. `ElementOperator` sees single cells.
   `CrossOperator` sees rows in which all but the members is NaN.
3. The engine computes them in float64, with NumPy, in arrays of one layout (`bascule.engine.own`).

::

    class Efficiency(RollingOperator):
        \"""Kaufman's efficiency ratio of the last n bars.\"""

        def values(self, x):  # [cells, n], oldest first
            return np.abs(x[:, -1] - x[:, 0]) / np.abs(np.diff(x)).sum(axis=1)

Further arguments are annotated fields, after those of the base: ``q: Number``, ``by: Series``. Further series
are handed to `values` in their order. `bascule.testing` tries an operator by the laws that the built-in ones
keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from bascule.core import ExpressionError
from bascule.expr.node import Kind, Node, Operator, Series, Type, Window, Windows, signature

Float64 = NDArray[np.float64]


@dataclass_transform(frozen_default=True, eq_default=False)
class OwnOperator(Operator):
    """Base of the four bases. Subclasses are dataclasses without being told so."""

    base: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ != __name__:
            cls.base = False
        # a user who forgets eq=False would lose the nodes' own equality
        dataclass(frozen=True, eq=False, repr=False)(cls)

    def _type(self) -> Type:
        return Type.FLOAT64

    def values(self, *operands: Any, **others: Any) -> Any:  # so that any number of operands overrides it
        """The operator's values; what it is handed is told by its base."""
        raise NotImplementedError(type(self).__name__)

    def __reduce__(self) -> tuple[object, ...]:
        # by text: the class may live in a file that another process must load first
        from bascule.expr.parser import parse

        return parse, (str(self),)


class ElementOperator(OwnOperator):
    """Single cells: `values` is handed ``[cells]`` for each series, and gives ``[cells]``."""

    x: Series
    kind = Kind.ELEMENT


class RollingOperator(OwnOperator):
    """The last n bars: `values` is handed ``[cells, n]``, oldest first, and gives ``[cells]``.

    NaN stands for what was not traded, or lies before the first row.
    """

    x: Series
    n: Window
    kind = Kind.ROLLING
    windows = Windows(zero=False)

    @property
    def back(self) -> int:
        """The window without its last bar."""
        return self.n - 1


class PairOperator(OwnOperator):
    """The last n bars of two series: `values` is handed two ``[cells, n]``, and gives ``[cells]``."""

    x: Series
    y: Series
    n: Window
    kind = Kind.PAIR
    windows = Windows(zero=False)

    @property
    def back(self) -> int:
        """The window without its last bar."""
        return self.n - 1


class CrossOperator(OwnOperator):
    """The instruments of a row: `values` is handed ``[rows, N]``, and gives ``[rows, N]``.

    Who is no member of the universe, or has no finite value, is NaN in what it is handed and in what it
    gives.
    """

    x: Series
    kind = Kind.CROSS


def accept(name: str, part: Any, folder: Path) -> type[Operator]:
    """An extension's operator, if it is fit for the language.

    Raises:
        ExpressionError: it is none, lacks a rule or a word on what it does.
    """
    if not (isinstance(part, type) and issubclass(part, OwnOperator)) or part.base:
        bases = "ElementOperator, RollingOperator, PairOperator or CrossOperator"
        raise ExpressionError("it is no class of an own operator", remedy=f"derive a class from {bases}")
    chosen: type[OwnOperator] = part
    if chosen.values is OwnOperator.values:
        raise ExpressionError("it has no method values", remedy="define values(self, x)")
    # without one, a dataclass shows its signature
    if not (chosen.__doc__ or "").strip() or str(chosen.__doc__).startswith(f"{name}("):
        raise ExpressionError("it does not say what it computes", remedy="write a docstring of one line")
    try:
        signature(chosen)
    except (NameError, TypeError, AttributeError) as error:
        raise ExpressionError(
            f"its arguments cannot be read: {error}",
            remedy="annotate them with Series, Window, Number or Name of bascule.expr",
        ) from None
    if chosen.kind not in (Kind.ELEMENT, Kind.ROLLING, Kind.PAIR, Kind.CROSS):
        raise ExpressionError(f"its kind is {chosen.kind}", remedy="leave kind as the base has it")
    for rule in ("back", "ahead", "_type", "__init_subclass__"):
        home = next(c for c in chosen.__mro__ if rule in vars(c))
        if home.__module__ != __name__ and home is not Node and home is not Operator:
            raise ExpressionError(f"it changes the rule {rule}", remedy="leave it as the base has it")
    return chosen
