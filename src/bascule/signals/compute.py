"""Panel to signals: the one computation behind research, backtest and live.

Both research and the live bot call `features`, let models turn them into raw alphas ``[T, N]``, and call
`finish`. Every step is either row-wise or looks back over a finite window, so a window of history that covers
`lookback` gives the same bits as the whole history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError, Panel, Progress, Timeframe, extensions, silent
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import row_sums
from bascule.signals.frame import SignalFrame
from bascule.signals.spec import FactorText, SignalSpec

if TYPE_CHECKING:
    from bascule.engine import Plan
    from bascule.risk import RiskScores

# what can be read from an exchange's candles, and what `data.prepare` derives from them
LIVE_FIELDS = frozenset({"open", "high", "low", "close", "volume", "vwap"})


@dataclass(frozen=True, eq=False)
class Group:
    """The factors of one timeframe.

    Attributes:
        timeframe: of the candles that they are computed on.
        index: their places among the recipe's factors.
        plan: the compiled texts.
    """

    timeframe: Timeframe
    index: tuple[int, ...]
    plan: Plan


def groups(spec: SignalSpec) -> tuple[Group, ...]:
    """The compiled factors by timeframe, shortest first.

    Raises:
        ConfigError: a factor looks ahead, or needs all history and so cannot be computed live.
        ExpressionError: a factor is not of the language.
    """
    places: dict[Timeframe, list[int]] = {}
    for place, factor in enumerate(spec.factors):
        bar = spec.bar if factor.timeframe is None else Timeframe.parse(factor.timeframe)
        places.setdefault(bar, []).append(place)
    found = []
    for bar, index in sorted(places.items()):
        chosen = [spec.factors[i] for i in index]
        compiled = _compiled(tuple(factor.text for factor in chosen), extensions.generation())
        if compiled.lookahead or compiled.lookback is None:
            _name_the_bad(chosen)
        found.append(Group(bar, tuple(index), compiled))
    return tuple(found)


@lru_cache(maxsize=16)
def _compiled(texts: tuple[str, ...], generation: int) -> Plan:
    """The plan of these texts. Kept: to compile 158 of them took half as long as a live candle's features.

    ``generation``: of the loaded extensions, whose operators the texts may name.
    """
    from bascule import engine

    return engine.compile(list(texts))


def _name_the_bad(factors: Sequence[FactorText]) -> None:
    from bascule import engine

    for factor in factors:
        single = engine.compile([factor.text])
        if single.lookahead or single.lookback is None:
            rule = "reads the future" if single.lookahead else "needs all history: it cannot be computed live"
            raise ConfigError(
                f"factor {factor.text!r} {rule}",
                where=f"factors.{factor.name}",
                remedy="use finite windows that end at the current bar",
            )


def fields(spec: SignalSpec) -> frozenset[str]:
    """Fields that the factors read."""
    return frozenset(name for group in groups(spec) for name in group.plan.fields)


def _reach(spec: SignalSpec) -> int:
    """Bars of history before a row that its factors need."""
    from bascule.models.timeframes import bars_before

    needed = 0
    for group in groups(spec):
        own = group.plan.lookback
        assert own is not None
        same = group.timeframe == spec.bar
        needed = max(needed, own if same else bars_before(own, group.timeframe, spec.bar))
    return needed


def lookback(spec: SignalSpec) -> int:
    """Bars of history before a row that its signals need."""
    from bascule import risk
    from bascule.data import universe
    from bascule.portfolio import constructed

    # cross-sectional operators read the universe at every row that a factor reaches back to
    members = universe.lookback(spec.universe, spec.bar)
    rows = max(_reach(spec) + spec.smoothing - 1, risk.lookback(spec.risk, spec.bar))
    if (construction := spec.portfolio.construction) is None:
        return members + rows
    # earlier rebalances need the signals of their own rows, and all of them a history of risk
    history = constructed.lookback(construction, spec.bar, LIVE_FIELDS)
    return members + max(constructed.chain(construction) + rows, history)


def unavailable_live(spec: SignalSpec) -> tuple[str, ...]:
    """Fields that the factors read but an exchange's candles do not give; empty = can be computed live."""
    read = set(fields(spec))
    missing = read - LIVE_FIELDS
    if spec.vwap == "quote" and "vwap" in read:
        missing.add("vwap (of quote volume)")
    return tuple(sorted(missing))


def with_members(panel: Panel, spec: SignalSpec) -> Panel:
    """The panel under the spec's universe."""
    from bascule.data import universe

    return panel.with_universe(universe.membership(panel, spec.universe))


def features(panel: Panel, spec: SignalSpec, *, first: int = 0, progress: Progress = silent) -> FloatArray:
    """Factor values of a prepared panel; those of longer candles appear in the row that closes the candle.

    Args:
        panel: candles.
        spec: the recipe.
        first: the first row that is wanted; rows before it are history.
        progress: told as the engine advances.

    Returns:
        float32 ``[F, T - first, N]`` in the order of ``spec.factors``, after ``spec.processors``; NaN outside
        the universe.
    """
    from bascule import engine
    from bascule.factors.processors import process
    from bascule.models.timeframes import coarse, join

    ranged = with_members(panel, spec)
    found = groups(spec)
    start = 0
    if len(found) == 1 and found[0].timeframe == spec.bar:
        back = found[0].plan.lookback
        if back is not None and not spec.processors:  # the universe may look back further than the factors
            start = max(0, first - back)
            ranged = ranged.rows(start, None)
        values = engine.evaluate(found[0].plan, ranged, progress=progress)
    else:
        values = np.full((len(spec.factors), *panel.shape), np.nan, np.float32)
        for group in found:
            if group.timeframe == spec.bar:
                part = engine.evaluate(group.plan, ranged, progress=progress)
            else:
                slow = coarse(ranged, group.timeframe)
                part = engine.evaluate(group.plan, slow, progress=progress)
                part = join(part, slow.time, group.timeframe, ranged)
            values[list(group.index)] = part
    inside = ranged.members
    for one in values:
        one[~inside] = np.nan
    return process(values, ranged, spec.processors, spec.universe)[:, first - start :]


def finish(
    panel: Panel,
    raw: FloatArray,
    spec: SignalSpec,
    *,
    model_id: NDArray[np.str_] | None = None,
    first: int = 0,
    progress: Progress = silent,
) -> SignalFrame:
    """From the models' raw outputs to signals.

    1. Outside the universe there is no alpha; inside it is the mean of the last ``smoothing`` outputs.
    2. Ranks are over the row; a row with fewer than ``breadth`` alphas has none.
    3. Expected return follows Grinold's rule, skill · volatility · score (Grinold and Kahn, Active Portfolio
       Management, 2nd ed., ch. 10), over the horizon.
    4. Risk scores and stops follow from risk, row by row. So do target weights from rank and risk; or they
       are optimised from the expected returns (``spec.portfolio.construction``).

    Args:
        panel: prepared panel ``[T, N]``.
        raw: model outputs ``[T, N]``, NaN where there is none.
        spec: the recipe.
        model_id: the model behind each row ``[T]``; default one unnamed model wherever there is an output.
        first: rows before this one are not asked for: constructed weights, which cost time, may stay 0 there.
        progress: told about portfolios constructed.
    """
    from bascule import risk

    ranged = with_members(panel, spec)
    inside = ranged.members
    alpha = smooth(np.where(inside, raw, np.nan).astype(np.float32), spec.smoothing)
    enough = np.isfinite(alpha).sum(axis=1) >= spec.breadth
    alpha[~enough] = np.nan
    ranks = rank_rows(alpha)
    scores = risk.compute(ranged, spec.risk)
    expected = expected_return(alpha, scores.volatility, spec)
    if model_id is None:
        model_id = np.where(np.isfinite(raw).any(axis=1), "model", "")
    return SignalFrame(
        timeframe=panel.timeframe,
        time=panel.time,
        instruments=panel.instruments,
        alpha=alpha,
        alpha_rank=ranks,
        expected_return=expected,
        risk_score=scores.score,
        target_weight=_weights(ranged, ranks, expected, scores, spec, first, progress),
        stop_distance=stop_distance(scores, spec),
        portfolio_risk=scores.portfolio,
        regime=scores.regime,
        model_id=model_id,
    )


def _weights(
    panel: Panel,
    ranks: FloatArray,
    expected: FloatArray,
    scores: RiskScores,
    spec: SignalSpec,
    first: int,
    progress: Progress,
) -> FloatArray:
    from bascule.portfolio import constructed_weights, target_weights

    settings = spec.portfolio
    if settings.construction is None:
        return target_weights(ranks, scores, panel.members, settings)
    alpha = expected / np.float32(spec.horizon)
    # what has a rank but no volatility yet has no expected return: it may be held, for its risk alone
    alpha = np.where(np.isfinite(ranks) & ~np.isfinite(alpha), np.float32(0.0), alpha)
    budget = settings.budget(scores.portfolio)
    return constructed_weights(
        panel, alpha, budget, settings.construction, LIVE_FIELDS, first=first, progress=progress
    )


def rank_rows(values: FloatArray) -> FloatArray:
    """Rank of each value in its row, scaled to [0, 1]; ties share their mean rank; NaN stays NaN.

    A single value in a row is in its middle (0.5).
    """
    from bascule.evaluate import row_ranks

    ranks = row_ranks(values)
    count = np.isfinite(ranks).sum(axis=1, keepdims=True)
    scaled = np.where(count > 1, (ranks - 1) / np.maximum(count - 1, 1), ranks - 0.5)
    return scaled.astype(np.float32)


def smooth(values: FloatArray, bars: int) -> FloatArray:
    """Mean of the finite values among the last ``bars`` rows; NaN where the row itself is NaN ``[T, N]``."""
    total = np.zeros(values.shape, np.float64)
    count = np.zeros(values.shape, np.int32)
    # oldest first, one addition at a time: the same bits whatever the number of rows
    for lag in range(min(bars, len(values)) - 1, -1, -1):
        past = values[: len(values) - lag]
        known = np.isfinite(past)
        total[lag:] += np.where(known, past, 0)
        count[lag:] += known
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    mean[~np.isfinite(values)] = np.nan
    return mean


def expected_return(alpha: FloatArray, volatility: FloatArray, spec: SignalSpec) -> FloatArray:
    """skill · volatility over the horizon · cross-sectional z-score of alpha ``[T, N]``."""
    known = np.isfinite(alpha)
    count = np.maximum(known.sum(axis=1), 1)[:, None]
    filled = np.where(known, alpha, 0).astype(np.float64)
    centred = np.where(known, filled - row_sums(filled)[:, None] / count, 0)
    deviation = np.sqrt(row_sums(centred**2)[:, None] / count)
    score = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    result: FloatArray = (spec.skill * volatility * np.sqrt(_years(spec)) * score).astype(np.float32)
    result[~known] = np.nan
    return result


def stop_distance(scores: RiskScores, spec: SignalSpec) -> FloatArray:
    """Distance of the stop from the entry price, fraction of it ``[T, N]``; formula in `StopSettings`."""
    stop = spec.stop
    score = np.where(np.isfinite(scores.score), scores.score, 1.0)
    multiple = stop.calm + (stop.stressed - stop.calm) * score
    distance = multiple * scores.volatility * np.sqrt(_years(spec))
    known: FloatArray = np.where(np.isfinite(distance), distance, stop.cap).astype(np.float32)
    return np.clip(known, np.float32(stop.floor), np.float32(stop.cap))


def _years(spec: SignalSpec) -> float:
    return spec.horizon / spec.bar.bars_a_year
