"""Operators that look at another bar of the same instrument."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.expr.node import Kind, Operator, Series, Type, Window, Windows


@dataclass(frozen=True, eq=False, repr=False)
class _Shift(Operator):
    x: Series
    n: Window
    kind = Kind.SHIFT
    windows = Windows(negative=True)

    def _type(self) -> Type:
        return Type.FLOAT32 if self.x.type is Type.BOOL else self.x.type


class Ref(_Shift):
    """The value N bars ago; N < 0: in the future (labels only); N = 0: the first value of all history."""

    @property
    def back(self) -> int | None:
        return self.n if self.n else None

    @property
    def ahead(self) -> int:
        return -self.n


class Delta(_Shift):
    """The change since N bars ago; N < 0: until a future bar (labels only); N = 0: since the first value."""

    @property
    def back(self) -> int | None:
        return max(self.n, 0) if self.n else None

    @property
    def ahead(self) -> int:
        return max(-self.n, 0)
