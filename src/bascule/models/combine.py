"""Factors combined to one signal with weights that follow the market (AlphaForge's second stage, arXiv
2406.18394).

1. Each row of each factor, and of the label, is ranked among its members, centred and scaled to unit length;
   a missing value is neutral (0). The product of two such rows is their rank correlation.
2. Rows are taken in blocks on an absolute time grid. Before a block, ICs and correlations of the factors are
   summed over the blocks of the window behind it, but only those whose labels had ended by then: a label of
   row t ends at the open of t + 1 + h.
3. Factors are chosen by |IC| or |ICIR|, strongest first; one that is too much like a chosen one is left out.
4. Their weights come from ridge or lasso regression of label on factors (by their mean correlations), or are
   their ICs, their ICIRs, or their signs alone.
5. With regimes, sums are kept for each state of the market apart (trend × volatility, `evaluate.regimes`);
   the ICs of a state are drawn towards those of all states, the more the fewer rows it has.
6. The block's signal is the weighted sum of its factor rows. Nothing of the block itself, or after it, is in
   its weights.

With ``refit: false`` weights are learned once and kept: the static combination that all this is compared
with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bascule.core import ConfigError, DataError, Panel, Progress, Settings, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import ic_series, regimes, row_ranks

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
STATES = 4
UNKNOWN = -1


class CombineSettings(Settings):
    """How factors are chosen and weighted."""

    method: Literal["ridge", "lasso", "ic", "icir", "equal"] = Field(
        default="ridge", description="where weights come from"
    )
    window_days: float | None = Field(
        default=30.0, gt=0, description="history behind the weights; None: all of it (expanding)"
    )
    every_bars: int = Field(default=24, ge=1, description="rows between two choices of weights")
    most: int = Field(default=10, ge=1, description="most factors at a time")
    score: Literal["ic", "icir"] = Field(default="icir", description="what factors are chosen by")
    min_ic: float = Field(default=0.0, ge=0, lt=1, description="smallest |mean IC| of a chosen factor")
    max_correlation: float = Field(
        default=0.7, gt=0, le=1, description="largest |mean correlation| of two chosen factors"
    )
    penalty: float = Field(
        default=0.1,
        ge=0,
        description="ridge: added to the diagonal of correlations; lasso: share of the top IC",
    )
    by_regime: bool = Field(default=False, description="weights for each state of the market")
    regime_days: float = Field(default=30.0, gt=0, description="trailing window of trend and volatility")
    regime_rows: float = Field(
        default=500.0, gt=0, description="rows of a state at which it counts as much as all states together"
    )
    refit: bool = Field(default=True, description="false: weights are learned once, from the first window")

    @model_validator(mode="after")
    def _learned_from_something(self) -> Self:
        if not self.refit and self.window_days is None:
            raise ValueError("refit: false learns from the first window: give window_days")
        return self


@dataclass(frozen=True, eq=False)
class Combination:
    """A combined signal.

    Attributes:
        values: float32 ``[T, N]``, NaN outside members and where no chosen factor is known.
        weights: weights by block ``[K, F]``, those of the block's first state; 0 = not chosen.
        starts: first row of each block ``[K]``.
        names: of the factors ``[F]``.
    """

    values: FloatArray
    weights: Float64Array
    starts: IntArray
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Sums:
    """What is known of some rows: by state ``count [S]``, ``ic, square [S, F]``; of all ``like [F, F]``."""

    count: Float64Array
    ic: Float64Array
    square: Float64Array
    like: FloatArray

    @classmethod
    def nothing(cls, factors: int) -> _Sums:
        """Of no rows."""
        shape = (STATES + 1, factors)
        return cls(
            np.zeros(STATES + 1), np.zeros(shape), np.zeros(shape), np.zeros((factors,) * 2, np.float32)
        )

    def add(self, other: _Sums) -> None:
        """Take in what is known of other rows."""
        self.count[:] += other.count
        self.ic[:] += other.ic
        self.square[:] += other.square
        self.like[:] += other.like


def market_states(panel: Panel, days: float = 30.0) -> NDArray[np.int8]:
    """State of the market at each row ``[T]``: 0 calm bull, 1 calm bear, 2 wild bull, 3 wild bear, −1
    unknown.

    Args:
        panel: gives closes and members.
        days: trailing window of trend and volatility.
    """
    parts = regimes(panel, days)
    states = 2 * parts["wild"].astype(np.int8) + parts["bear"].astype(np.int8)
    known = (parts["bull"] | parts["bear"]) & (parts["calm"] | parts["wild"])
    return np.where(known, states, UNKNOWN).astype(np.int8)


def combine(
    values: FloatArray,
    names: Sequence[str],
    label: FloatArray,
    panel: Panel,
    *,
    horizon: int,
    settings: CombineSettings | None = None,
    states: NDArray[np.int8] | None = None,
    progress: Progress = silent,
) -> Combination:
    """Combine factors row by row, each block with weights of what was known before it.

    Args:
        values: factors ``[F, T, N]`` (may be memory-mapped).
        names: their names.
        label: raw forward returns ``[T, N]`` over ``horizon`` bars.
        panel: gives time axis and members.
        horizon: bars of the label.
        settings: choice and weights.
        states: with ``by_regime``: state of each row ``[T]``, 0 … 3 or −1, known at the row; default
            `market_states`.
        progress: told after every block.

    Raises:
        DataError: shapes do not fit.
        ConfigError: the window is shorter than the label.
    """
    chosen = settings or CombineSettings()
    if values.ndim != 3 or values.shape[1:] != panel.shape or label.shape != panel.shape:
        raise DataError(
            f"values {list(values.shape)} and label {list(label.shape)} do not fit panel {list(panel.shape)}",
            where="combine",
            remedy="pass factors [F, T, N] and a label [T, N] of this panel",
        )
    if len(names) != len(values):
        raise DataError(
            f"{len(names)} names for {len(values)} factors", where="combine", remedy="name each factor"
        )
    window = len(panel.time) if chosen.window_days is None else panel.timeframe.bars(chosen.window_days)
    if window < chosen.every_bars or window <= horizon:
        raise ConfigError(
            f"a window of {window} bars for labels of {horizon} and blocks of {chosen.every_bars}",
            where="combine.window_days",
            remedy="lengthen window_days",
        )
    if chosen.by_regime:
        state = market_states(panel, chosen.regime_days) if states is None else states
    else:
        state = np.full(len(panel.time), UNKNOWN, np.int8)
    return _run(values, tuple(names), label, panel, horizon, window, chosen, state, progress)


def _run(
    values: FloatArray,
    names: tuple[str, ...],
    label: FloatArray,
    panel: Panel,
    horizon: int,
    window: int,
    settings: CombineSettings,
    state: NDArray[np.int8],
    progress: Progress,
) -> Combination:
    edges = _blocks(panel, settings.every_bars)
    members = panel.members
    out = np.full(panel.shape, np.nan, np.float32)
    memory = _Memory(edges, horizon, window, len(values), expanding=settings.window_days is None)
    weights = np.zeros((STATES + 1, len(values)))
    kept = np.zeros((len(edges) - 1, len(values)))
    learned = False
    for k, (first, last) in enumerate(pairwise(edges)):
        if settings.refit or (not learned and first - horizon - window >= 0):
            past = memory.before(int(first))
            if past is not None:
                weights = _weights(past, settings)
                # a window that lies mostly before the universe begins teaches too little to keep it
                learned = bool(past.count.sum() >= 0.5 * window)
        cut = slice(int(first), int(last))
        unit, there = _unit(np.asarray(values[:, cut]), members[cut])
        for row_state in np.unique(state[cut]):
            rows = np.flatnonzero(state[cut] == row_state)
            out[first + rows] = _signal(unit[:, rows], there[:, rows], weights[row_state])
        kept[k] = weights[state[first]]
        aim, _ = _unit(label[None, cut], members[cut])
        memory.take(_summed(unit, aim[0], state[cut]))
        progress(k + 1, len(edges) - 1, "")
    return Combination(out, kept, edges[:-1], names)


class _Memory:
    """Sums of blocks, given out only when the labels of all their rows have ended."""

    def __init__(self, edges: IntArray, horizon: int, window: int, factors: int, *, expanding: bool) -> None:
        self._edges, self._horizon, self._window = edges, horizon, window
        self._factors, self._expanding = factors, expanding
        self._blocks: list[_Sums | None] = []
        self._total = _Sums.nothing(factors)
        self._done = 0

    def take(self, block: _Sums) -> None:
        """The next block's sums."""
        self._blocks.append(block)

    def before(self, first: int) -> _Sums | None:
        """Sums over the window behind row ``first``, None if it holds no whole block."""
        # rows up to first − 1 − h have labels that ended by the close of row first
        end = int(np.searchsorted(self._edges, first - self._horizon, side="right")) - 1
        begin = int(np.searchsorted(self._edges, first - self._horizon - self._window))
        if self._expanding:
            begin, total = 0, self._total
            fresh = range(self._done, end)
            self._done = max(self._done, end)
        else:
            total = _Sums.nothing(self._factors)
            fresh = range(max(begin, 0), end)
        for k in fresh:
            block = self._blocks[k]
            assert block is not None
            total.add(block)
        for k in range(self._done if self._expanding else begin):
            if k < len(self._blocks):
                self._blocks[k] = None
        return total if end > begin else None


def _blocks(panel: Panel, every: int) -> IntArray:
    """Row numbers at which blocks of ``every`` bars begin on an absolute grid, and the end."""
    tick = panel.time.astype(np.int64) // panel.timeframe.delta.astype(np.int64)
    inner = np.flatnonzero(tick % every == 0)
    return np.unique(np.concatenate([[0], inner, [len(tick)]])).astype(np.int64)


def _unit(values: FloatArray, members: BoolArray) -> tuple[Float64Array, BoolArray]:
    """Ranked, centred rows of unit length ``[F, R, N]``, 0 where missing; and where there was a value."""
    count, rows, width = values.shape
    flat = values.reshape(-1, width)
    mask = np.broadcast_to(members, values.shape).reshape(-1, width)
    ranks = row_ranks(flat, mask)
    there = np.isfinite(ranks)
    number = there.sum(axis=1, keepdims=True)
    centred = np.where(there, ranks - (number + 1) / 2.0, 0.0)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0.0)
    return unit.reshape(count, rows, width), there.reshape(count, rows, width)


def _summed(unit: Float64Array, aim: Float64Array, state: NDArray[np.int8]) -> _Sums:
    count = len(unit)
    found = _Sums.nothing(count)
    labelled = (aim != 0.0).any(axis=1)
    for one in np.unique(state):
        rows = np.flatnonzero((state == one) & labelled)
        if not len(rows):
            continue
        part = unit[:, rows]
        ic = np.einsum("frn,rn->fr", part, aim[rows])
        flat = part.reshape(count, -1)
        found.count[one] = len(rows)
        found.ic[one] = ic.sum(axis=1)
        found.square[one] = (ic**2).sum(axis=1)
        found.like[:] += (flat @ flat.T).astype(np.float32)
    return found


def _weights(past: _Sums, settings: CombineSettings) -> Float64Array:
    """Weights by state ``[S + 1, F]``, the last row for rows of unknown state."""
    count, ic, square = past.count, past.ic, past.square
    like = past.like.astype(np.float64)
    total = count.sum()
    result = np.zeros((STATES + 1, ic.shape[1]))
    if total < 2:
        return result
    size = np.sqrt(np.maximum(np.diag(like), 1e-12))
    alike = like / size[:, None] / size[None, :]
    pooled, spread = ic.sum(axis=0) / total, square.sum(axis=0) / total
    result[:] = _solve(pooled, spread, alike, settings)
    if settings.by_regime:
        for state in range(STATES):
            rows = count[state]
            share = rows / (rows + settings.regime_rows)
            own = ic[state] / max(rows, 1.0)
            own_square = square[state] / max(rows, 1.0)
            mean = share * own + (1.0 - share) * pooled
            result[state] = _solve(mean, share * own_square + (1.0 - share) * spread, alike, settings)
    return result


def _solve(
    mean: Float64Array, square: Float64Array, alike: Float64Array, settings: CombineSettings
) -> Float64Array:
    """Choose factors and weigh them by mean IC, mean squared IC and mean correlations."""
    deviation = np.sqrt(np.maximum(square - mean**2, 1e-12))
    score = np.abs(mean if settings.score == "ic" else mean / deviation)
    score[(np.abs(mean) < settings.min_ic) | (np.abs(mean) < 1e-12)] = 0.0
    chosen: list[int] = []
    for f in np.argsort(-score, kind="stable"):
        if score[f] <= 0.0 or len(chosen) == settings.most:
            break
        if not chosen or np.abs(alike[f, chosen]).max() <= settings.max_correlation:
            chosen.append(int(f))
    weights = np.zeros(len(mean))
    if not chosen:
        return weights
    target = mean[chosen]
    if settings.method == "ridge":
        part = alike[np.ix_(chosen, chosen)] + settings.penalty * np.eye(len(chosen))
        weights[chosen] = np.linalg.solve(part, target)
    elif settings.method == "lasso":
        weights[chosen] = _lasso(alike[np.ix_(chosen, chosen)], target, settings.penalty)
    elif settings.method == "ic":
        weights[chosen] = target
    elif settings.method == "icir":
        weights[chosen] = target / deviation[chosen]
    else:
        weights[chosen] = np.sign(target)
    scaled: Float64Array = weights / max(float(np.abs(weights).sum()), 1e-300)
    return scaled


def _lasso(alike: Float64Array, target: Float64Array, penalty: float) -> Float64Array:
    """½ wᵀRw − wᵀc + λ‖w‖₁ by coordinate descent; λ is ``penalty`` times the largest |c|."""
    bound = penalty * np.abs(target).max()
    weights = np.zeros(len(target))
    for _ in range(200):
        before = weights.copy()
        for i in range(len(target)):
            rest = target[i] - alike[i] @ weights + alike[i, i] * weights[i]
            weights[i] = np.sign(rest) * max(abs(rest) - bound, 0.0) / alike[i, i]
        if np.abs(weights - before).max() < 1e-12:
            break
    return weights


def _signal(unit: Float64Array, there: BoolArray, weights: Float64Array) -> FloatArray:
    """Weighted sum, factor by factor: the bits of a row do not depend on the rows beside it."""
    total = np.zeros(unit.shape[1:])
    known = np.zeros(unit.shape[1:], bool)
    for f in np.flatnonzero(weights):
        total += weights[f] * unit[f]
        known |= there[f]
    return np.where(known, total, np.nan).astype(np.float32)


def recovery(
    signal: FloatArray, label: FloatArray, panel: Panel, row: int, *, bars: int, share: float = 0.5
) -> int | None:
    """Bars from a break at ``row`` until the signal is as good as before, or nearly.

    Good again is the first row from which the mean rank IC of the next ``bars`` rows reaches ``share`` of the
    mean before the break. None if it never does; 0 for a signal that does not suffer.

    Args:
        signal: ``[T, N]``.
        label: forward returns ``[T, N]``.
        panel: gives members.
        row: first row after the break.
        bars: rows averaged.
        share: of the mean rank IC before the break.
    """
    series = ic_series(signal, label, panel.members, rank=True)
    before, after = series[:row], series[row:]
    known = np.isfinite(after)
    if len(after) < bars or not np.isfinite(before).any():
        return None
    total = np.concatenate([[0.0], np.cumsum(np.where(known, after, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    mean = (total[bars:] - total[:-bars]) / np.maximum(count[bars:] - count[:-bars], 1)
    good = np.flatnonzero(mean >= share * float(np.nanmean(before)))
    return int(good[0]) if len(good) else None
