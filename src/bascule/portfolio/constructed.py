"""Target weights by construction, the same in research, backtest and live.

An optimised portfolio remembers: its risk forecasts average over the past, and its limits on trades refer to
what was held. A live bot has a window of candles and no past. So everything here looks back over a finite
window, and starts afresh at fixed places of an absolute time grid:

1. Rebalances are the rows whose candle number since 1970 is divisible by ``every``; between two of them the
   weights are held, except of what is no member in a row.
2. Exposures, factor returns and specific returns of a row come from that row's own finite windows
   (`risk.exposures`, `risk.factor_returns`).
3. The covariances after a rebalance's row are estimated from the last ``history_days`` of those returns and
   nothing older (`window_model`): exponential weights start anew at each rebalance.
4. `construct` finds the weights. Where costs or limits refer to what is held (``stateful``), rebalances form
   epochs of ``memory``. The weights of an epoch follow a chain that began one epoch earlier, from nothing and
   without limits on trades: at least ``memory`` rebalances lie between that beginning and a weight that is
   used. Within an epoch each rebalance trades from the weights before it, and the limits hold exactly. At the
   border of two epochs the chain changes, and with it what is still left of its beginning.
5. Where limits on trades contradict the others, because a member had to be sold, they give way at that
   rebalance; where the others contradict each other, the weights before are kept. Both are logged.
6. The whole is shrunk by the market's risk at the rebalance, as weights by rank are (``risk_scaling``).

Row t uses rows t − `lookback` … t, and gives the same bits in every window that covers them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Panel, Progress, Timeframe, UniverseError, silent
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import Float64Array, IntArray
from bascule.portfolio.construct import Construction, ConstructionSettings, construct, scenarios
from bascule.portfolio.rounding import toward_zero
from bascule.risk import (
    CrossSections,
    Exposures,
    FactorModel,
    FactorModelSettings,
    RiskModel,
    close_returns,
    exposures,
    factor_returns,
    last_covariance,
    specific_variances,
)
from bascule.risk.style import catalogue, choose
from bascule.risk.windows import value_traded

_log = logging.getLogger(__name__)


class ConstructedSettings(ConstructionSettings):
    """How a recipe's target weights are optimised: objective, limits, costs, and the windows behind them."""

    every: int = Field(default=24, ge=1, le=10_000, description="candles between two rebalances")
    memory: int = Field(
        default=7,
        ge=1,
        le=1_000,
        description="rebalances after which a beginning from nothing is forgotten, where costs or limits on "
        "trades need the weights before",
    )
    history_days: float = Field(
        default=30.0, gt=0, le=3_650, description="window of returns that risk is estimated from"
    )
    min_members: int = Field(
        default=5, ge=1, description="fewest members with an alpha for a rebalance to hold anything"
    )
    risk: FactorModelSettings = Field(
        default=FactorModelSettings(), description="exposures, covariances and specific risk"
    )

    @property
    def stateful(self) -> bool:
        """True if weights depend on the weights before."""
        limits = self.limits
        trades = limits.turnover is not None or limits.trade_share is not None
        return trades or self.cost > 0.0 or self.impact > 0.0

    def free(self) -> ConstructedSettings:
        """The same without costs and limits of trades, for a beginning from nothing."""
        return self.loose().model_copy(update={"cost": 0.0, "impact": 0.0})

    def loose(self) -> ConstructedSettings:
        """The same without limits of trades."""
        unbound = self.limits.model_copy(update={"turnover": None, "trade_share": None})
        return self.model_copy(update={"limits": unbound})


@dataclass(frozen=True, eq=False)
class Parts:
    """What all rebalances of a panel share, one row a candle.

    Attributes:
        exposures: at each close.
        returns: close-to-close ``[T, N]``.
        sections: regressions of each row's returns on the exposures of the row before.
        volume: value traded a day, mean of the weights' window, in the quote currency ``[T, N]``.
        timeframe: of the panel.
    """

    exposures: Exposures
    returns: Float64Array
    sections: CrossSections
    volume: Float64Array
    timeframe: Timeframe


def lookback(settings: ConstructedSettings, timeframe: Timeframe, fields: frozenset[str]) -> int:
    """Candles before a row that its weights need, given its alphas and members.

    Args:
        settings: of the construction.
        timeframe: of the candles.
        fields: fields that candles have where it is computed live.

    Raises:
        ConfigError: a risk factor needs another field, or all history.
    """
    # one more: a return needs the exposures of the candle before
    return chain(settings) + _history(settings, timeframe) + _exposed(settings, timeframe, fields) + 1


def chain(settings: ConstructedSettings) -> int:
    """Candles before a row at which alphas and members still matter to its weights."""
    return (2 * settings.memory if settings.stateful else 1) * settings.every - 1


def _history(settings: ConstructedSettings, timeframe: Timeframe) -> int:
    return max(2, timeframe.bars(settings.history_days))


def _exposed(settings: ConstructedSettings, timeframe: Timeframe, fields: frozenset[str]) -> int:
    """Candles before a row that its exposures and weights need."""
    from bascule import engine

    empty = Panel(
        timeframe,
        np.empty(0, "datetime64[ns]"),
        (),
        {name: np.empty((0, 0), np.float32) for name in fields},
        np.empty(0, "datetime64[ns]"),
    )
    wanted = settings.risk.exposures
    chosen, left = choose((*catalogue(), *wanted.extra), fields, wanted.factors, empty)
    asked = {*(wanted.factors or ()), *(style.name for style in wanted.extra)}
    for one in left:
        if one.name in asked:
            raise ConfigError(
                f"risk factor {one.name!r}: {one.reason}, and a live bot has only candles",
                where="portfolio.construction.risk.exposures",
                remedy="leave it out",
            )
    needed = 0
    for style, factor in chosen:
        back = engine.compile([factor.text]).lookback
        if back is None:
            raise ConfigError(
                f"risk factor {style.name!r} needs all history",
                where="portfolio.construction.risk.exposures",
                remedy="use finite windows",
            )
        needed = max(needed, back)
    return max(needed, timeframe.bars(wanted.weight_days) - 1)


def constructed_weights(
    panel: Panel,
    alpha: FloatArray,
    budget: Float64Array,
    settings: ConstructedSettings,
    fields: frozenset[str],
    *,
    first: int = 0,
    progress: Progress = silent,
) -> FloatArray:
    """Target weights as shares of equity, float32 ``[T, N]``; 0 = no position, negative = short.

    Args:
        panel: prepared, with its universe.
        alpha: expected return per candle ``[T, N]``; NaN = nothing may be held.
        budget: share of the optimised weights that the market's risk leaves, in [0, 1] ``[T]``.
        settings: objective, limits and windows.
        fields: fields of the panel that may be read, so that a store with more gives no other numbers.
        first: rows before this one are not asked for: theirs may stay 0.
        progress: told about rebalances done.
    """
    result = np.zeros(panel.shape)
    grid = panel.time.astype(np.int64) // panel.timeframe.delta.astype(np.int64)
    wanted = np.flatnonzero((grid % settings.every == 0) & np.isfinite(alpha).any(axis=1))
    parts = _parts(panel, settings, fields) if len(wanted) else None
    if parts is None:
        return result.astype(np.float32)
    ready = _history(settings, panel.timeframe) - 1
    wanted = wanted[wanted >= ready]
    number = grid // settings.every
    chosen: dict[int, Float64Array] = {}
    views: dict[int, _View | None] = {}
    asked = number[min(first, len(number) - 1)]
    for epoch in _epochs(wanted, number, int(asked), settings):
        # risk at a rebalance is the same in both epochs that go through it
        views = {row: view for row, view in views.items() if row in epoch.rows}
        weights: Float64Array | None = None
        for row in epoch.rows:
            if row not in views:
                views[row] = _view(panel, parts, alpha[row], row, settings)
            used = settings if weights is not None or not settings.stateful else settings.free()
            weights = _rebalance(parts, alpha[row], row, weights, views[row], used)
            if row >= epoch.first:
                chosen[row] = weights
                progress(len(chosen), len(wanted), "portfolios")
    for row, weights in chosen.items():
        result[number == number[row]] = weights * budget[row]
    # what is no member, or has no alpha, in a row has no weight in it
    result[~(panel.members & np.isfinite(alpha))] = 0.0
    return toward_zero(result)


@dataclass(frozen=True)
class _Epoch:
    """Rebalances that are done in a row from nothing; the weights of those before ``first`` are not used."""

    rows: tuple[int, ...]
    first: int


def _epochs(
    wanted: IntArray, number: IntArray, asked: int, settings: ConstructedSettings
) -> Iterator[_Epoch]:
    """Those that lead to rebalances of number ``asked`` and later."""
    if not settings.stateful:
        yield from (_Epoch((int(row),), int(row)) for row in wanted[number[wanted] >= asked])
        return
    which = number[wanted] // settings.memory
    for one in np.unique(which):
        mine = wanted[which == one]
        used = mine[number[mine] >= asked]
        if len(used):
            before = wanted[which == one - 1]
            yield _Epoch(tuple(int(row) for row in (*before, *mine)), int(used[0]))


def _parts(panel: Panel, settings: ConstructedSettings, fields: frozenset[str]) -> Parts | None:
    """What the rebalances share; None where the universe is too small for exposures in every row."""
    candles = replace(panel, fields={name: v for name, v in panel.fields.items() if name in fields})
    try:
        found = exposures(candles, settings.risk.exposures)
    except UniverseError:
        return None
    returns = close_returns(candles)
    bars = panel.timeframe.bars(settings.risk.exposures.weight_days)
    volume = value_traded(candles, bars) * (panel.timeframe.bars_a_day / bars)
    return Parts(found, returns, factor_returns(found, returns), volume, panel.timeframe)


def window_model(parts: Parts, row: int, settings: ConstructedSettings) -> FactorModel:
    """The factor model of the last ``history_days`` of rows up to ``row``; only its last row is forecast."""
    cut = slice(row + 1 - _history(settings, parts.timeframe), row + 1)
    seen, sections, risk = parts.exposures, parts.sections, settings.risk
    window = replace(seen, time=seen.time[cut], values=seen.values[:, cut], weights=seen.weights[cut])
    shocks = CrossSections(
        sections.returns[cut],
        sections.errors[cut],
        sections.residuals[cut],
        sections.r2[cut],
        sections.count[cut],
    )
    rows, k = shocks.returns.shape
    covariance = np.full((rows, k, k), np.nan)
    covariance[-1] = last_covariance(shocks.returns, parts.timeframe, risk.covariance)
    specific = specific_variances(
        shocks.residuals, window.weights, window.counted, parts.timeframe, risk.specific
    )
    return FactorModel(window, parts.timeframe, parts.returns[cut], shocks, covariance, specific)


@dataclass(frozen=True, eq=False)
class _View:
    """What is known of risk at a rebalance: the model, its columns in the panel, joint returns for a CVaR."""

    model: RiskModel
    columns: IntArray
    draws: Float64Array | None


def _view(
    panel: Panel, parts: Parts, alpha: FloatArray, row: int, settings: ConstructedSettings
) -> _View | None:
    """Of the members with an alpha; None where nothing may be held."""
    inside = panel.members[row] & np.isfinite(alpha)
    breadth = max(settings.min_members, settings.risk.exposures.min_breadth)
    if (inside & parts.exposures.counted[row]).sum() < breadth:
        return None
    model = window_model(parts, row, settings)
    last = len(model.time) - 1
    try:
        now = model.at(last)
        draws = scenarios(model, last, last + 1) if settings.objective == "cvar" else None
    except (UniverseError, DataError):
        return None  # too few returns yet
    columns = np.array([panel.instruments.index(name) for name in now.instruments])
    kept = np.flatnonzero(inside[columns])
    if len(kept) < settings.min_members:
        return None
    chosen = now.select([now.instruments[i] for i in kept])
    return _View(chosen, columns[kept], None if draws is None else draws[:, kept])


def _rebalance(
    parts: Parts,
    alpha: FloatArray,
    row: int,
    before: Float64Array | None,
    view: _View | None,
    settings: ConstructedSettings,
) -> Float64Array:
    """Weights after the close of ``row``, over all instruments of the panel ``[N]``."""
    result = np.zeros(len(alpha))
    if view is None:
        return result
    columns = view.columns
    current = np.zeros(len(columns)) if before is None else before[columns]

    def made(used: ConstructedSettings) -> Construction:
        return construct(
            view.model,
            used,
            alpha=alpha[columns].astype(np.float64),
            current=current,
            volume=parts.volume[row, columns],
            scenarios=view.draws,
        )

    when = parts.exposures.time[row]
    try:
        try:
            result[columns] = made(settings).weights
        except ConfigError as error:
            if settings.loose() == settings:
                raise
            _log.warning("%s: limits of trades give way: %s", when, error.message)
            result[columns] = made(settings.loose()).weights
    except (ConfigError, DataError) as error:
        _log.warning("%s: the weights before are kept: %s", when, error.message)
        result[columns] = current
    return result
