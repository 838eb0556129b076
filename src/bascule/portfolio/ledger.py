"""The arithmetic of `simulation.py`: all bars of all segments between trades, without a loop over bars.

Step t goes from the open of row t + 1 to that of row t + 2. A trade of row s opens a segment. With a unit of
equity paid in after costs, positions are w·P[t + 2]/P[s + 1] at the end of step t, so that

1. cash + positions, funding and interest so far give the equity at the end of every step, per unit paid in;
2. drifted weights at the end of the last step give turnover and costs of the next trade;
3. liquidation or ruin of a step fixes what is left for the rest of its segment (the only loop: over them);
4. equity is a cumulative product over segments, times 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.rows import Float64Array

_CELLS = 1 << 18  # of one block of steps: it stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Book:
    """Prices and rates of a simulation.

    Attributes:
        price: opens, filled ``[T, N]``; NaN before the first.
        cost: of a unit traded.
        fills: prices of the trades of each row ``[T, N]``, NaN = the next open.
        funding: rates settled at the open of each row ``[T, N]``, NaN = none.
        worst: lows and highs ``[T, N]``, for liquidation.
        borrow: interest a bar.
        maintenance: margin, share of gross positions.
        fee: of a liquidation, share of gross positions.
    """

    price: Float64Array
    cost: float
    fills: FloatArray | None
    funding: FloatArray | None
    worst: tuple[FloatArray, FloatArray] | None
    borrow: float
    maintenance: float
    fee: float


@dataclass(frozen=True, eq=False)
class Ledger:
    """Per step ``[steps]``, shares of the equity at its beginning; ``equity`` ``[steps + 1]``."""

    equity: Float64Array
    costs: Float64Array
    turnover: Float64Array
    exposure: Float64Array
    funding: Float64Array
    interest: Float64Array
    liquidated: BoolArray


class _Steps:
    """What blocks of steps fill in, per unit paid into each segment ``[steps]``."""

    def __init__(self, count: int) -> None:
        self.moved = np.zeros(count)  # positions at the end − cost of buying them
        self.gross = np.zeros(count)
        self.funding = np.zeros(count)
        self.interest = np.zeros(count)
        self.bottom = np.full(count, np.inf)  # equity at the worst prices, before funding and interest
        self.bottom_gross = np.zeros(count)
        # of trades: turnover from drifted, from nothing, gross bought, and what fills cost
        self.turnover = np.zeros(count)
        self.bought = np.zeros(count)
        self.slipped = np.zeros(count)
        self.slipped_flat = np.zeros(count)


def run(weights: FloatArray, starts: NDArray[np.int64], book: Book) -> Ledger:
    """Simulate.

    Args:
        weights: targets ``[T, N]``.
        starts: rows whose weights are traded, ascending, below T − 2.
        book: prices and rates.
    """
    count = len(book.price) - 2
    steps = _Steps(count)
    first = int(starts[0]) if len(starts) else count
    segment = np.zeros(count, np.int64)
    segment[starts] = 1
    segment = np.cumsum(segment) - 1  # −1 before the first trade
    width = max(1, book.price.shape[1])
    size = max(1, _CELLS // width)
    carried = np.zeros(width)
    for begin in range(first, count, size):
        stop = min(begin + size, count)
        carried = _block(weights, starts, segment, begin, stop, book, steps, carried)
    return _join(starts, segment, first, book, steps)


def _block(
    weights: FloatArray,
    starts: NDArray[np.int64],
    segment: NDArray[np.int64],
    begin: int,
    stop: int,
    book: Book,
    steps: _Steps,
    carried: Float64Array,
) -> Float64Array:
    """Steps ``begin … stop − 1``; returns the positions at the end of the last, per unit paid in."""
    cut = slice(begin, stop)
    opened = starts[segment[cut]]
    plain = bool(opened[0] == begin) and len(np.unique(opened)) == stop - begin  # a trade in every step
    rows: slice | NDArray[np.int64] = slice(begin, stop) if plain else opened
    after: slice | NDArray[np.int64] = slice(begin + 1, stop + 1) if plain else opened + 1
    base = book.price[after]
    held = weights[rows].astype(np.float64)
    np.copyto(held, 0.0, where=~(np.isfinite(held) & np.isfinite(base)))
    later = book.price[begin + 2 : stop + 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = held * (later / base)
    np.copyto(value, 0.0, where=held == 0.0)
    total = held.sum(axis=1)
    steps.moved[cut] = value.sum(axis=1) - total
    steps.gross[cut] = np.abs(value).sum(axis=1)
    if book.funding is not None:
        rate = np.nan_to_num(book.funding[begin + 2 : stop + 2])
        steps.funding[cut] = np.einsum("tn,tn->t", value, rate)
    if book.borrow > 0.0:
        short = 0.5 * (steps.gross[cut] - value.sum(axis=1))
        steps.interest[cut] = book.borrow * (short + np.maximum(total - 1.0, 0.0))
    if book.worst is not None:
        _worst(held, base, total, begin, stop, book, steps)
    _trades(held, value, starts, segment, begin, stop, book, steps, carried)
    last: Float64Array = value[-1].copy()
    return last


def _worst(
    held: Float64Array,
    base: Float64Array,
    total: Float64Array,
    begin: int,
    stop: int,
    book: Book,
    steps: _Steps,
) -> None:
    """Equity and positions at the worst prices of each step's candle."""
    assert book.worst is not None
    cut = slice(begin, stop)
    low, high = (side[begin + 1 : stop + 1] for side in book.worst)
    extreme = np.where(held >= 0.0, low, high)
    opened = book.price[begin + 1 : stop + 1]
    extreme = np.where(np.isfinite(extreme), extreme, opened)  # no candle: nothing can be closed
    with np.errstate(invalid="ignore", divide="ignore"):
        bad = held * (extreme / base)
    np.copyto(bad, 0.0, where=held == 0.0)
    steps.bottom[cut] = 1.0 - total + bad.sum(axis=1)
    steps.bottom_gross[cut] = np.abs(bad).sum(axis=1)


def _trades(
    held: Float64Array,
    value: Float64Array,
    starts: NDArray[np.int64],
    segment: NDArray[np.int64],
    begin: int,
    stop: int,
    book: Book,
    steps: _Steps,
    carried: Float64Array,
) -> None:
    """Turnover of the trades of this block, from what was held before, per unit of equity then."""
    at = np.flatnonzero(starts[segment[begin:stop]] == np.arange(begin, stop))
    if not len(at):
        return
    index = begin + at
    wanted = held[at]
    # what the step before ended with
    before = np.empty_like(wanted)
    inner = at > 0
    before[inner] = value[at[inner] - 1]
    if not inner.all():
        before[~inner] = carried
    steps.bought[index] = np.abs(wanted).sum(axis=1)
    ends = _equity_before(index, starts, segment, steps, book)
    share = np.where(ends > 0.0, ends, 1.0)[:, None]
    change = wanted - before / share
    steps.turnover[index] = np.abs(change).sum(axis=1)
    if book.fills is not None:
        price = book.price[index + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = book.fills[index] / price - 1.0
        gap = np.where(np.isfinite(gap), gap, 0.0)
        steps.slipped[index] = (change * gap).sum(axis=1)
        steps.slipped_flat[index] = (wanted * gap).sum(axis=1)


def _equity_before(
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    segment: NDArray[np.int64],
    steps: _Steps,
    book: Book,
) -> Float64Array:
    """Equity per unit paid into the segment that ends before each trade; 1 before the first."""
    ends = np.ones(len(index))
    known = (index > 0) & (segment[index - 1] >= 0)
    last = index[known] - 1
    ends[known] = 1.0 + steps.moved[last]
    if book.funding is not None or book.borrow > 0.0:
        paid = np.concatenate([[0.0], np.cumsum(steps.funding + steps.interest)])
        ends[known] -= paid[last + 1] - paid[starts[segment[last]]]
    return ends


def _join(
    starts: NDArray[np.int64], segment: NDArray[np.int64], first: int, book: Book, steps: _Steps
) -> Ledger:
    """From units paid in to equity."""
    count = len(segment)
    starts = starts[starts < count]
    ends = np.append(starts[1:], count)  # one past the last step of each segment
    paid = np.concatenate([[0.0], np.cumsum(steps.funding + steps.interest)])
    begun = np.zeros(count, np.int64)
    begun[first:] = starts[segment[first:]]
    inside = np.arange(count) >= first
    whole = np.where(inside, 1.0 + steps.moved - (paid[1:] - paid[begun]), 1.0)
    gross, turnover, slipped = steps.gross, steps.turnover, steps.slipped
    funding, interest = steps.funding.copy(), steps.interest.copy()
    liquidated = np.zeros(count, bool)
    bottom = steps.bottom - np.where(inside, paid[:-1] - paid[begun], 0.0)
    forced = inside & (steps.bottom_gross > 0.0) & (bottom <= book.maintenance * steps.bottom_gross)
    for t in np.flatnonzero(inside & ((whole <= 0.0) | forced)):
        if liquidated[begun[t] : t].any() or (whole[begun[t] : t] <= 0.0).any():
            continue  # the segment was over already
        rest = slice(t, int(ends[segment[t]]))
        left = bottom[t] - book.fee * steps.bottom_gross[t] if forced[t] else 0.0
        liquidated[t] = forced[t]
        whole[rest] = max(0.0, left)
        gross[rest] = funding[rest] = interest[rest] = 0.0
        if rest.stop < count:
            turnover[rest.stop] = steps.bought[rest.stop]
            slipped[rest.stop] = steps.slipped_flat[rest.stop]
    costs = np.minimum(1.0, book.cost * turnover + slipped)
    equity = np.ones(count + 1)
    if len(starts):
        multiple = (1.0 - costs[starts]) * whole[ends - 1]
        opening = np.concatenate([[1.0], np.cumprod(multiple)[:-1]])
        put_in = opening * (1.0 - costs[starts])
        equity[first + 1 :] = put_in[segment[first:]] * whole[first:]
    alive = np.logical_and.accumulate(equity[:-1] > 0.0)
    equity[1:][~alive] = 0.0
    return Ledger(
        equity,
        np.where(alive, costs, 0.0),
        np.where(alive, turnover, 0.0),
        _exposure(starts, steps, gross, whole) * alive,
        _share(funding, whole, starts) * alive,
        _share(interest, whole, starts) * alive,
        liquidated & alive,
    )


def _exposure(
    starts: NDArray[np.int64], steps: _Steps, gross: Float64Array, whole: Float64Array
) -> Float64Array:
    """Σ|w| at the beginning of each step, after trading."""
    result = np.zeros(len(whole))
    result[1:] = np.divide(gross[:-1], whole[:-1], out=np.zeros(len(whole) - 1), where=whole[:-1] > 0.0)
    result[starts] = steps.bought[starts]
    return result


def _share(part: Float64Array, whole: Float64Array, starts: NDArray[np.int64]) -> Float64Array:
    """Payments as shares of the equity at the beginning of each step."""
    before = np.ones(len(whole))
    before[1:] = whole[:-1]
    before[starts] = 1.0
    return np.divide(part, before, out=np.zeros(len(whole)), where=before > 0.0)
