"""Are the parameters that a walk chose more than luck? They should stay, and their neighbours should do well.

All is measured in ranks: in each fold the epochs' losses are ranked, 0 the best and 1 the worst, since losses
of different windows have different scales; parameters are put on [0, 1] by the range that was tried.

1. *Drift*: mean absolute move of the chosen value from fold to fold, as a share of the range. Values drawn
   at random would move by 1/3 on average.
2. *Neighbourhood*: mean rank of the epochs nearest to the chosen one, itself left out. On a plateau it is
   near 0, around a lucky peak near 1/2.
3. *Sensitivity*: how far the median rank differs between the best and the worst of a parameter's ranges of
   values, all folds together. Below what luck alone exceeds in one of twenty cases (the studentised range of
   so many medians) the parameter has no effect that lasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bascule.bridge.freqtrade.hyperopt.outcomes import Epoch, Outcome
from bascule.core import DataError
from bascule.evaluate.rows import Float64Array

BINS = 6
NEIGHBOURS = 0.15  # share of the epochs that count as near
_LEAST = 5  # ranks that a bin needs to have a median
CALM, WILD = 0.2, 1 / 3
PLATEAU, PEAK = 0.3, 0.45
Verdict = Literal["stable", "doubtful", "unstable", "no lasting effect"]


@dataclass(frozen=True, eq=False)
class Parameter:
    """One numeric parameter over all folds.

    Attributes:
        name: of the strategy.
        low: smallest value tried.
        high: largest value tried.
        chosen: value of each fold's choice ``[folds]``, NaN where there was none.
        good: quartiles of the values of each fold's best tenth ``[folds, 2]``.
        edges: of the bins ``[BINS + 1]``.
        ranks: median rank of the epochs of each bin, all folds together ``[BINS]``, NaN where too few.
        drift: see the module; NaN for fewer than two choices.
        sensitivity: see the module; NaN where fewer than two bins are known.
        luck: what sensitivity must exceed.
    """

    name: str
    low: float
    high: float
    chosen: Float64Array
    good: Float64Array
    edges: Float64Array
    ranks: Float64Array
    drift: float
    sensitivity: float
    luck: float

    @property
    def verdict(self) -> Verdict:
        """In a word."""
        if not self.sensitivity > self.luck:
            return "no lasting effect"
        if self.drift <= CALM:
            return "stable"
        return "doubtful" if self.drift < WILD or math.isnan(self.drift) else "unstable"


@dataclass(frozen=True, eq=False)
class Stability:
    """All parameters of a walk.

    Attributes:
        parameters: in the order of their sensitivity.
        neighbourhood: of each fold's choice ``[folds]``, NaN where there was none.
    """

    parameters: tuple[Parameter, ...]
    neighbourhood: Float64Array

    @property
    def verdict(self) -> str:
        """Of the neighbourhoods: ``plateau``, ``slope`` or ``peak``; ``unknown`` without a choice."""
        known = self.neighbourhood[np.isfinite(self.neighbourhood)]
        if not len(known):
            return "unknown"
        mean = float(known.mean())
        return "plateau" if mean < PLATEAU else "peak" if mean > PEAK else "slope"


def stability(outcomes: Sequence[Outcome]) -> Stability:
    """Measure a walk.

    Raises:
        DataError: no numeric parameter was tried with more than one value.
    """
    epochs = [one.epochs for one in outcomes]
    ranks = [_ranks([epoch.loss for epoch in part]) for part in epochs]
    names = [name for name in dict.fromkeys(n for part in epochs for e in part for n in e.params) if name]
    found, scaled = [], []
    for name in names:
        values = [np.array([_value(epoch, name) for epoch in part]) for part in epochs]
        every = np.concatenate(values) if values else np.empty(0)
        low, high = (np.nanmin(every), np.nanmax(every)) if np.isfinite(every).any() else (np.nan, np.nan)
        if not high > low:
            continue
        found.append(_parameter(name, float(low), float(high), values, ranks, outcomes))
        scaled.append([(part - low) / (high - low) for part in values])
    if not found:
        raise DataError(
            "no numeric parameter was tried with more than one value",
            where="stability",
            remedy="optimise more epochs, or other spaces",
        )
    near = [
        _neighbourhood(np.stack([parts[k] for parts in scaled], axis=1), ranks[k], one.best)
        for k, one in enumerate(outcomes)
    ]
    order = sorted(found, key=lambda one: -one.sensitivity if math.isfinite(one.sensitivity) else 0.0)
    return Stability(tuple(order), np.array(near))


def _value(epoch: Epoch, name: str) -> float:
    value = epoch.params.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _ranks(losses: Sequence[float]) -> Float64Array:
    """0 (best) … 1 (worst); equal losses share their mean rank."""
    values = np.asarray(losses, np.float64)
    if len(values) < 2:
        return np.zeros(len(values))
    order = np.searchsorted(np.sort(values), values, side="left")
    after = np.searchsorted(np.sort(values), values, side="right") - 1
    shared: Float64Array = (order + after) / 2 / (len(values) - 1)
    return shared


def _parameter(
    name: str,
    low: float,
    high: float,
    values: Sequence[Float64Array],
    ranks: Sequence[Float64Array],
    outcomes: Sequence[Outcome],
) -> Parameter:
    chosen = np.array(
        [part[one.best] if one.best >= 0 else np.nan for part, one in zip(values, outcomes, strict=True)]
    )
    good = np.full((len(outcomes), 2), np.nan)
    for k, (part, rank) in enumerate(zip(values, ranks, strict=True)):
        best = part[rank <= 0.1]
        if np.isfinite(best).any():
            good[k] = np.nanquantile(best, (0.25, 0.75))
    edges = np.linspace(low, high, BINS + 1)
    every, each = np.concatenate(values), np.concatenate(ranks)
    place = np.clip(np.searchsorted(edges, every, side="right") - 1, 0, BINS - 1)
    medians, counts = np.full(BINS, np.nan), []
    for index in range(BINS):
        inside = each[(place == index) & np.isfinite(every)]
        if len(inside) >= _LEAST:
            medians[index] = np.median(inside)
            counts.append(len(inside))
    known = medians[np.isfinite(medians)]
    moves = np.abs(np.diff(chosen[np.isfinite(chosen)]))
    return Parameter(
        name,
        low,
        high,
        chosen,
        good,
        edges,
        medians,
        float(moves.mean() / (high - low)) if len(moves) else math.nan,
        float(known.max() - known.min()) if len(known) > 1 else math.nan,
        _luck(counts),
    )


def _luck(counts: Sequence[int]) -> float:
    """Range of medians of uniform ranks that is exceeded in one of twenty cases."""
    if len(counts) < 2:
        return math.nan
    from scipy.stats import studentized_range

    error = 0.5 / math.sqrt(len(counts) / sum(1 / n for n in counts))  # of the median of uniform values
    return float(studentized_range.ppf(0.95, len(counts), np.inf)) * error


def _neighbourhood(points: Float64Array, ranks: Float64Array, best: int) -> float:
    """Mean rank of the epochs nearest to the best, itself and its repetitions left out."""
    if best < 0:
        return math.nan
    whole = np.nan_to_num(points)
    distance = np.sqrt(((whole - whole[best]) ** 2).mean(axis=1))
    others = np.flatnonzero(distance > 0)
    if not len(others):
        return math.nan
    count = max(1, round(NEIGHBOURS * len(ranks)))
    return float(ranks[others[np.argsort(distance[others], kind="stable")[:count]]].mean())
