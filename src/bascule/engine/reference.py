"""The reference executor's table: family → NumPy kernel (`KERNELS`).

Every entry takes the step and a `Block` and gives the values of the step's nodes for the rows of their span.
What it gives is what the compiled core (`native`) is tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from bascule.core import DataError
from bascule.core.panel import BoolArray
from bascule.engine.across import across
from bascule.engine.own import own
from bascule.engine.plan import Dialect, Step
from bascule.expr import Constant, Kind, Node, OwnOperator, Type
from bascule.expr.elementwise import Comparison, If, Logical, Power, Sign
from bascule.expr.instrument import ChangeInstrument
from bascule.expr.pair import Cov
from bascule.expr.rolling import Mean, Med, Quantile, Std, Sum, TrimMean, TSMadZ, Var, Winsorize
from bascule.expr.shift import Ref
from bascule.expr.trend import Resi, Rsquare, Slope
from bascule.expr.weighted import EMA
from bascule.kernels import elementwise, extremes, linear, moments, order, pairs, shape, sums
from bascule.kernels.window import Ages, Cells

# qlib calls a window constant below these: a standard deviation, and pandas' variance for shapes
QLIB_DEVIATION = 2e-5
PANDAS_VARIANCE = 1e-14
_DTYPES = {Type.BOOL: np.bool_, Type.FLOAT32: np.float32, Type.FLOAT64: np.float64}


class Block(Protocol):
    """What a kernel may ask of the executor while one block of rows is computed."""

    dialect: Dialect
    width: int

    def rows(self, node: Node) -> tuple[int, int]:
        """First and past-the-last row for which ``node`` is needed."""

    def upto(self, operand: Node, stop: int) -> Cells:
        """All rows at hand of an operand that end before ``stop``, as computed (maybe boolean)."""

    def floats(self, operand: Node, stop: int) -> Cells:
        """The same as floats; a boolean is NaN where the instrument had not started."""

    def between(self, operand: Node, start: int, stop: int) -> Cells:
        """Exactly these rows of an operand, as computed."""

    def shifted(self, operand: Node, start: int, stop: int) -> Cells:
        """Exactly these rows as floats, NaN for rows outside of the panel."""

    def ages(self, start: int, stop: int) -> Ages:
        """Bars since each instrument's first one, negative before it."""

    def masked(self, values: Cells, start: int) -> Cells:
        """Floats with NaN before each instrument's first bar."""

    def members(self, start: int, stop: int) -> BoolArray:
        """The universe."""

    def load(self, node: Node, start: int, stop: int) -> Cells:
        """Rows of a field or of a stored node."""

    def column(self, instrument: str) -> int:
        """Where an instrument stands."""


Values = dict[Node, Cells]
Kernel = Callable[[Step, Block], Values]


def run(step: Step, block: Block) -> Values:
    """The values of one step."""
    start, stop = block.rows(step.nodes[0])
    if start == stop:  # a shift asks for rows before the panel's first only
        return {node: np.empty((0, block.width), _DTYPES[node.type]) for node in step.nodes}
    return KERNELS[step.family](step, block)


# -- single cells ----------------------------------------------------------------------------------


def _load(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    start, stop = block.rows(node)
    return {node: block.load(node, start, stop)}


def _element(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    start, stop = block.rows(node)
    name = type(node).__name__
    if isinstance(node, If):
        condition = block.between(node.condition, start, stop)
        left, right = (_as(side, node.type, block, start, stop) for side in (node.left, node.right))
        chosen = elementwise.choose(condition, left, right, nan_is_true=block.dialect == "qlib")
        return {node: chosen if chosen.dtype == np.bool_ else block.masked(chosen, start)}
    if name in elementwise.UNARY:
        x = _as(node.children[0], node.type, block, start, stop)
        if isinstance(node, Sign):  # of float64 too it is that of the value in float32
            x = x.astype(np.float32, copy=False)
        return {node: elementwise.UNARY[name](x)}
    function = elementwise.BINARY[name]
    left, right = node.children
    if isinstance(node, Comparison | Logical):
        return {node: function(*_compared(left, right, block, start, stop))}
    values = function(_as(left, node.type, block, start, stop), _as(right, node.type, block, start, stop))
    # a missing base to the power of 0 is 1
    return {node: block.masked(values, start) if isinstance(node, Power) else values}


def _as(operand: Node, wanted: Type, block: Block, start: int, stop: int) -> Any:
    """An operand of arithmetic: a number takes the precision of the result, a boolean becomes float."""
    dtype = _DTYPES[wanted]
    if isinstance(operand, Constant):
        return dtype(operand.value)
    if wanted is Type.BOOL:
        return block.between(operand, start, stop)
    values = block.shifted(operand, start, stop)
    return values.astype(dtype, copy=False) if operand.type is Type.BOOL else values


def _compared(left: Node, right: Node, block: Block, start: int, stop: int) -> tuple[Any, Any]:
    """Both sides of a comparison; a number takes the precision of the other side."""
    if isinstance(left, Constant):
        right_values, left_value = _compared(right, left, block, start, stop)
        return left_value, right_values
    values = block.between(left, start, stop)
    if isinstance(right, Constant):
        wide = left.type is Type.BOOL or left.type is Type.FLOAT64
        return values, np.float64(right.value) if wide else np.float32(right.value)
    return values, block.between(right, start, stop)


def _shift(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, Ref)
    start, stop = block.rows(node)
    values = block.shifted(node.x, start - node.n, stop - node.n)
    return {node: block.masked(values, start) if node.n < 0 else values}


def _instrument(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, ChangeInstrument)
    start, stop = block.rows(node)
    values = block.shifted(node.x, start, stop)
    column = block.column(node.instrument)
    return {node: np.ascontiguousarray(np.broadcast_to(values[:, [column]], values.shape))}


def _cross(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    start, stop = block.rows(node)
    members = block.members(start, stop)
    x = block.shifted(node.children[0], start, stop)
    return {node: across(node, x, members, lambda operand: block.shifted(operand, start, stop))}


# -- rolling ---------------------------------------------------------------------------------------


def _windows(step: Step) -> list[int]:
    return sorted({node.n for node in step.nodes})  # type: ignore[attr-defined]


def _operand(step: Step, block: Block) -> tuple[Cells, int, int, int]:
    """The operand with its history, how many rows to give, and which they are."""
    start, stop = block.rows(step.nodes[0])
    return block.floats(step.operands[0], stop), stop - start, start, stop


def _sums(step: Step, block: Block) -> Values:
    x, rows, _, _ = _operand(step, block)
    found = sums.sums(x, _windows(step), rows)
    values: Values = {}
    for node in step.nodes:
        assert isinstance(node, Sum | Mean)
        values[node] = (sums.total if isinstance(node, Sum) else sums.mean)(*found[node.n])
    return values


def _counts(step: Step, block: Block) -> Values:
    x, rows, start, _ = _operand(step, block)
    found = sums.counts(x, _windows(step), rows)
    return {node: block.masked(found[node.args[1]], start) for node in step.nodes}


def _moments(step: Step, block: Block) -> Values:
    x, rows, _, _ = _operand(step, block)
    floor = QLIB_DEVIATION if block.dialect == "qlib" else None
    windows = _windows(step)
    trend = [node for node in step.nodes if isinstance(node, Slope | Rsquare | Resi)]
    found: dict[int, Any] = (moments.lines if trend else moments.moments)(x, windows, rows)
    values: Values = {}
    for node in step.nodes:
        state = found[node.args[1]]
        match node:
            case Var():
                values[node] = moments.variance(state)
            case Std():
                values[node] = moments.deviation(state)
            case Slope():
                values[node] = moments.slope(state)
            case Rsquare():
                values[node] = moments.rsquare(state, floor)
            case Resi():
                values[node] = moments.residual(state, x[len(x) - rows :])
    return values


def _per_window(kernel: Callable[..., dict[int, Any]], **extra: Any) -> Kernel:
    """A kernel that gives one array for each window."""

    def call(step: Step, block: Block) -> Values:
        x, rows, _, _ = _operand(step, block)
        found = kernel(x, _windows(step), rows, **extra)
        return {node: found[node.args[1]] for node in step.nodes}

    return call


def _placed(kernel: Callable[..., dict[int, Any]]) -> Kernel:
    """A kernel that needs to know how long an instrument has been listed."""

    def call(step: Step, block: Block) -> Values:
        x, rows, start, stop = _operand(step, block)
        found = kernel(x, _windows(step), rows, block.ages(start, stop))
        return {node: found[node.args[1]] for node in step.nodes}

    return call


def _shaped(kernel: Callable[..., dict[int, Any]]) -> Kernel:
    def call(step: Step, block: Block) -> Values:
        x, rows, _, _ = _operand(step, block)
        floor = PANDAS_VARIANCE if block.dialect == "qlib" else None
        found = kernel(x, _windows(step), rows, floor)
        return {node: found[node.args[1]] for node in step.nodes}

    return call


def _level(node: Node) -> float:
    assert isinstance(node, Med | Quantile)
    return node.q if isinstance(node, Quantile) else 0.5


def _quantiles(step: Step, block: Block) -> Values:
    x, rows, _, _ = _operand(step, block)
    levels = sorted({_level(node) for node in step.nodes})
    found = order.quantiles(x, _windows(step)[0], levels, rows)
    return {node: found[_level(node)] for node in step.nodes}


def _winsorized(step: Step, block: Block) -> Values:
    x, rows, _, _ = _operand(step, block)
    values: Values = {}
    for node in step.nodes:
        assert isinstance(node, Winsorize)
        values[node] = order.winsorized(x, node.n, node.q, rows)
    return values


def _trimmed(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, TrimMean)
    x, rows, _, _ = _operand(step, block)
    return {node: order.trimmed_mean(x, node.n, node.q, rows)}


def _madz(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, TSMadZ)
    x, rows, _, _ = _operand(step, block)
    return {node: order.mad_zscores(x, node.n, rows)}


def _ewm(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, EMA)
    x, rows, _, _ = _operand(step, block)
    return {node: sums.ewm(x, max(node.ratio, 0.0), (node.back or 0) + 1, rows)}


def _wma(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    x, rows, start, stop = _operand(step, block)
    return {node: linear.wma(x, node.args[1], rows, block.ages(start, stop))}


def _decay(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    x, rows, _, _ = _operand(step, block)
    return {node: linear.decay(x, node.args[1], rows)}


def _pairs(step: Step, block: Block) -> Values:
    start, stop = block.rows(step.nodes[0])
    rows, windows = stop - start, _windows(step)
    left, right = (block.floats(child, stop) for child in step.nodes[0].children)
    found = pairs.pairs(left, right, windows, rows)
    values: Values = {}
    own = None
    for node in step.nodes:
        n = node.args[2]
        if isinstance(node, Cov):
            values[node] = pairs.covariance(found[n])
        elif block.dialect == "qlib":
            own = own or [moments.moments(side, windows, rows) for side in (left, right)]
            values[node] = pairs.correlation_above(found[n], own[0][n], own[1][n], QLIB_DEVIATION)
        else:
            values[node] = pairs.correlation(found[n])
    return values


# -- a user's own ----------------------------------------------------------------------------------


def _own(step: Step, block: Block) -> Values:
    node = step.nodes[0]
    assert isinstance(node, OwnOperator)
    start, stop = block.rows(node)
    if node.kind in (Kind.ROLLING, Kind.PAIR):
        values = own(node, [block.floats(child, stop) for child in node.children], stop - start)
    else:
        given = [block.shifted(child, start, stop) for child in node.children]
        values = own(node, given, stop - start, block.members(start, stop))
    return {node: block.masked(values, start)}


KERNELS: dict[str, Kernel] = {
    "load": _load,
    "element": _element,
    "shift": _shift,
    "instrument": _instrument,
    "cross": _cross,
    "own": _own,
    "sums": _sums,
    "counts": _counts,
    "moments": _moments,
    "maxima": _per_window(extremes.maxima),
    "minima": _per_window(extremes.minima),
    "argmaxima": _placed(extremes.argmaxima),
    "argminima": _placed(extremes.argminima),
    "ranks": _per_window(order.ranks),
    "mads": _per_window(shape.mads),
    "skews": _shaped(shape.skews),
    "kurts": _shaped(shape.kurts),
    "quantiles": _quantiles,
    "winsorized": _winsorized,
    "trimmed": _trimmed,
    "madz": _madz,
    "ewm": _ewm,
    "wma": _wma,
    "decay": _decay,
    "pairs": _pairs,
}


def unknown_instrument(name: str, instruments: tuple[str, ...]) -> DataError:
    """The error of an expression that reads an instrument which is not in the panel."""
    return DataError(
        f"instrument {name!r} is not in the panel",
        where="ChangeInstrument",
        remedy=f"add it; the panel holds {len(instruments)}: {', '.join(instruments[:8])}, …",
    )
