"""Operators that read another instrument, such as the market leader."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.expr.node import Kind, Name, Operator, Series, Type


def _kept(node: ChangeInstrument | Mask) -> Type:
    return Type.FLOAT32 if node.x.type is Type.BOOL else node.x.type


@dataclass(frozen=True, eq=False, repr=False)
class ChangeInstrument(Operator):
    """The expression as it stands for another instrument: ``ChangeInstrument('BTC_USDT', $close)``."""

    instrument: Name
    x: Series
    kind = Kind.INSTRUMENT

    def _type(self) -> Type:
        return _kept(self)


@dataclass(frozen=True, eq=False, repr=False)
class Mask(Operator):
    """qlib's older spelling of `ChangeInstrument`, arguments the other way round."""

    x: Series
    instrument: Name
    kind = Kind.INSTRUMENT

    def _type(self) -> Type:
        return _kept(self)
