"""The effect of a factor on returns by regression on panels, and how much it can bear.

Data are arrays ``[T, N]`` (or ``[T]``); a cell counts where all used ones are finite. Means of each row are
taken out where ``within`` is set, so that instruments are compared with each other. Standard errors are
robust to correlation across instruments and over ``lags`` rows (Driscoll & Kraay 1998): labels of h bars
need h − 1.

Refuters: a placebo (the treatment shuffled within its rows), a random common cause (a control of noise),
subsets of rows, and block permutation of time (the outcome moved by blocks). Sensitivity: the robustness
value of Cinelli & Hazlett (2020): the share of what is left of treatment and outcome that an unseen
confounder would have to explain to bring the effect to 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError
from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array

Data = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Effect:
    """A coefficient with its evidence.

    Attributes:
        controls: what was held fixed.
        coefficient: change of the outcome for 1 of the treatment.
        error: robust standard error.
        t: coefficient / error.
        r2: of the regression.
        count: cells.
        robustness: share that an unseen confounder must explain of both sides to undo it.
    """

    controls: tuple[str, ...]
    coefficient: float
    error: float
    t: float
    r2: float
    count: int
    robustness: float


@dataclass(frozen=True)
class Refutation:
    """One attempt to refute an effect.

    Attributes:
        name: of the refuter.
        expected: what the coefficient should be there.
        mean: what it is, over repeats.
        spread: deviation over repeats.
        passed: whether the effect stood.
    """

    name: str
    expected: float
    mean: float
    spread: float
    passed: bool


@dataclass(frozen=True)
class Stable:
    """One effect in several slices.

    Attributes:
        effects: slice → effect.
        q_p_value: Cochran's test that they are one (small = they differ); slices are taken as independent.
        same_sign: share of slices with the sign of the weighted mean.
    """

    effects: dict[str, Effect]
    q_p_value: float
    same_sign: float


@dataclass(frozen=True, eq=False)
class Sample:
    """Cells ready for regressions.

    Attributes:
        columns: outcome, treatment, controls ``[cells, 2 + c]``.
        rows: row of each cell ``[cells]``, ascending.
        names: of the controls.
        total: rows of the data.
    """

    columns: Float64Array
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    total: int

    def where(self, keep: BoolArray) -> Sample:
        """Some of the cells."""
        return Sample(self.columns[keep], self.rows[keep], self.names, self.total)


def sample(
    data: Data,
    treatment: str,
    outcome: str,
    controls: Sequence[str],
    *,
    within: bool = True,
    mask: BoolArray | None = None,
) -> Sample:
    """Cells in which all are known.

    Raises:
        DataError: a name is not among the data, shapes differ, or fewer than 20 cells are left.
    """
    names = (outcome, treatment, *controls)
    missing = [name for name in names if name not in data]
    if missing:
        raise DataError(
            f"no data for {missing[0]!r}", where="causal", remedy=f"at hand: {', '.join(sorted(data))}"
        )
    arrays = [np.asarray(data[name], np.float64) for name in names]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim not in (1, 2):
        raise DataError(
            f"shapes differ: {', '.join(f'{n} {list(a.shape)}' for n, a in zip(names, arrays, strict=True))}",
            where="causal",
        )
    stacked = np.stack([array.reshape(len(array), -1) for array in arrays], axis=-1)
    good: BoolArray = np.asarray(np.isfinite(stacked).all(axis=-1))
    if mask is not None:
        good &= mask.reshape(good.shape)
    if within and stacked.shape[1] > 1:
        good &= (good.sum(axis=1) > 1)[:, None]
        count = np.maximum(good.sum(axis=1), 1)[:, None]
        filled = np.where(good[:, :, None], stacked, 0.0)
        stacked = filled - (filled.sum(axis=1) / count)[:, None, :]
    rows = np.nonzero(good)[0]
    if len(rows) < max(20, len(names) + 2):
        raise DataError(
            f"{len(rows)} cells in which {', '.join(names)} are all known",
            where="causal",
            remedy="use a longer history or fewer controls",
        )
    return Sample(stacked[good], rows, tuple(controls), len(good))


def estimate(cells: Sample, lags: int) -> Effect:
    """Least squares with Driscoll-Kraay errors."""
    y = cells.columns[:, 0]
    x = np.column_stack([np.ones(len(y)), cells.columns[:, 1:]])
    gram = np.linalg.pinv(x.T @ x, hermitian=True)
    slopes = gram @ (x.T @ y)
    residual = y - x @ slopes
    scores = np.zeros((cells.total, x.shape[1]))
    np.add.at(scores, cells.rows, x * residual[:, None])
    meat = scores.T @ scores
    for lag in range(1, min(lags, cells.total - 1) + 1):
        crossed = scores[lag:].T @ scores[:-lag]
        meat += (1.0 - lag / (lags + 1.0)) * (crossed + crossed.T)
    variance = float((gram @ meat @ gram)[1, 1])
    total = float(((y - y.mean()) ** 2).sum())
    left = float((residual**2).sum())
    coefficient, error = float(slopes[1]), math.sqrt(max(variance, 0.0))
    free = len(y) - x.shape[1]
    return Effect(
        cells.names,
        coefficient,
        error,
        coefficient / error if error > 0.0 else math.nan,
        1.0 - left / total if total > 0.0 else math.nan,
        len(y),
        _robustness(coefficient, gram[1, 1], left, free),
    )


def _robustness(coefficient: float, spread: float, left: float, free: int) -> float:
    """Cinelli & Hazlett (2020), eq. 18, with q = 1, from the classical t."""
    if free <= 0 or left <= 0.0 or spread <= 0.0:
        return math.nan
    f = abs(coefficient) / math.sqrt(left / free * spread) / math.sqrt(free)
    return 0.5 * (math.sqrt(f**4 + 4.0 * f**2) - f**2)


def refute(
    cells: Sample, lags: int, *, repeats: int = 20, block: int = 24, seed: int = 0
) -> tuple[Refutation, ...]:
    """All refuters on one effect.

    Args:
        cells: the regression's cells.
        lags: as in `estimate`.
        repeats: of each refuter.
        block: rows that stay together when time is permuted.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    real = estimate(cells, lags)

    def again(change: Any) -> Float64Array:
        return np.array([estimate(change(), lags).coefficient for _ in range(repeats)])

    def placebo() -> Sample:
        columns = cells.columns.copy()
        order = np.lexsort((random.random(len(cells.rows)), cells.rows))
        columns[:, 1] = columns[order, 1]
        if len(np.unique(cells.rows)) == len(cells.rows):  # one series: over time
            columns[:, 1] = random.permutation(cells.columns[:, 1])
        return Sample(columns, cells.rows, cells.names, cells.total)

    def common() -> Sample:
        noise = random.standard_normal((len(cells.rows), 1))
        columns = np.hstack([cells.columns, noise])
        return Sample(columns, cells.rows, (*cells.names, "noise"), cells.total)

    def subset() -> Sample:
        chosen = random.random(cells.total) < 0.7
        return cells.where(chosen[cells.rows])

    null = again(placebo)
    moved = _permuted(cells, lags, repeats, block, random)
    shared, parts = again(common), again(subset)
    found = []
    for name, values in (("placebo treatment", null), ("block permutation of time", moved)):
        # the effect must lie outside of what chance gives, and chance must be centred
        spread = float(values.std(ddof=1))
        stood = abs(real.coefficient - values.mean()) > 3.0 * spread
        centred = abs(values.mean()) <= 4.0 * spread / math.sqrt(repeats) + 1e-12 * abs(real.coefficient)
        found.append(Refutation(name, 0.0, float(values.mean()), spread, bool(stood and centred)))
    for name, values in (("random common cause", shared), ("subsets of 70 % of rows", parts)):
        near = abs(values.mean() - real.coefficient) <= max(real.error, 1e-12 * abs(real.coefficient))
        same = bool((np.sign(values) == np.sign(real.coefficient)).mean() >= 0.9)
        found.append(
            Refutation(
                name, real.coefficient, float(values.mean()), float(values.std(ddof=1)), bool(near and same)
            )
        )
    return tuple(found)


def _permuted(
    cells: Sample, lags: int, repeats: int, block: int, random: np.random.Generator
) -> Float64Array:
    """Coefficients when the outcome is taken from another time, blocks of rows staying together."""
    count = -(-cells.total // block)
    found = np.empty(repeats)
    starts = np.searchsorted(cells.rows, np.arange(cells.total + 1))
    for r in range(repeats):
        order = np.concatenate([np.arange(b * block, (b + 1) * block) for b in _deranged(count, random)])
        order = order[order < cells.total]
        columns = cells.columns.copy()
        for row, other in enumerate(order):
            here, there = slice(starts[row], starts[row + 1]), slice(starts[other], starts[other + 1])
            size, had = here.stop - here.start, there.stop - there.start
            if size and had:
                columns[here, 0] = np.resize(cells.columns[there, 0], size)
            elif size:
                columns[here, 0] = 0.0
        found[r] = estimate(Sample(columns, cells.rows, cells.names, cells.total), lags).coefficient
    return found


def _deranged(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A permutation that leaves nothing in its place: what stays would carry the effect."""
    while True:
        order = random.permutation(count)
        if count < 2 or not (order == np.arange(count)).any():
            return order


def stable(
    data: Data,
    treatment: str,
    outcome: str,
    controls: Sequence[str],
    slices: Mapping[str, BoolArray],
    *,
    lags: int,
    within: bool = True,
) -> Stable:
    """The effect in each slice: coins, periods, venues.

    Args:
        slices: name → mask of the data's shape; slices with too few cells are left out.
        data, treatment, outcome, controls, lags, within: as in `sample` and `estimate`.

    Raises:
        DataError: no slice has enough cells.
    """
    from scipy.stats import chi2

    found: dict[str, Effect] = {}
    for name, mask in slices.items():
        try:
            cells = sample(data, treatment, outcome, controls, within=within, mask=mask)
        except DataError:
            continue  # too few cells: said by its absence
        found[name] = estimate(cells, lags)
    good = [one for one in found.values() if one.error > 0.0]
    if not good:
        raise DataError("no slice has enough cells", where="causal.stable", remedy="use larger slices")
    values = np.array([one.coefficient for one in good])
    weights = np.array([one.error**-2 for one in good])
    mean = float((values * weights).sum() / weights.sum())
    q = float((weights * (values - mean) ** 2).sum())
    p = float(chi2.sf(q, len(good) - 1)) if len(good) > 1 else math.nan
    return Stable(found, p, float((np.sign(values) == np.sign(mean)).mean()))
