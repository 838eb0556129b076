"""The last check before orders go out: target weights against hard limits.

1. Targets that are not finite are blocked: the position stays as it is.
2. Weights beyond ``max_weight`` and trades beyond ``trade_share`` of a day's volume are trimmed to it.
3. Limits of the whole (gross, net, volatility, VaR, stress, exposures): if the targets pass, they go. Else
   trades are split into those that reduce positions and those that build them; the former go in full and
   the latter as far as the limits let them, all in the same proportion (found by bisection: each limit is
   convex).
4. Where even that breaks a limit further than the present portfolio does, nothing is traded.

With ``mode: block`` nothing is trimmed: an order over a limit is not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, Panel, Settings, UniverseError
from bascule.evaluate.rows import Float64Array
from bascule.risk.model import RiskModel
from bascule.risk.stress import SCENARIOS, Position, Scenario, position_betas, stress

_STEPS = 40
MARKET_SCENARIOS = tuple(one for one in SCENARIOS if one.kind not in ("venue", "depeg"))


class PreTradeSettings(Settings):
    """Hard limits. Weights are shares of equity; none = no such limit."""

    mode: Literal["trim", "block"] = Field(default="trim", description="what happens to orders over a limit")
    max_weight: float | None = Field(default=0.25, gt=0, description="largest |weight| of one instrument")
    gross: float | None = Field(default=1.0, gt=0, description="largest sum of |weights|")
    net: float | None = Field(default=None, ge=0, description="largest |sum of weights|")
    volatility: float | None = Field(
        default=None, gt=0, description="largest forecast volatility, annualised"
    )
    var: float | None = Field(default=None, gt=0, description="largest value at risk over a day")
    level: float = Field(default=0.99, gt=0.5, lt=1, description="confidence of the VaR")
    tail: float = Field(
        default=1.25, ge=1, description="VaR in units of the normal one: crypto's tails are fatter"
    )
    stress: float | None = Field(default=None, gt=0, description="largest loss in any scenario")
    exposures: Mapping[str, float] = Field(default={}, description="largest |exposure| to a factor")
    capital: float | None = Field(default=None, gt=0, description="equity in the quote currency")
    trade_share: float | None = Field(
        default=None, gt=0, le=1, description="largest trade over a day's volume"
    )


@dataclass(frozen=True)
class Action:
    """What was done to an order (``instrument``) or to all that build positions (``portfolio``)."""

    instrument: str
    limit: str
    wanted: float
    allowed: float

    @property
    def blocked(self) -> bool:
        """Whether nothing of it was left."""
        return self.allowed == 0.0 and self.wanted != 0.0


@dataclass(frozen=True, eq=False)
class PreTrade:
    """The verdict.

    Attributes:
        weights: what may be traded to ``[N]``.
        actions: what was trimmed or blocked and why; trades as shares of equity.
    """

    weights: Float64Array
    actions: tuple[Action, ...]

    @property
    def passed(self) -> bool:
        """Whether all orders go as they were wanted."""
        return not self.actions


def check_orders(
    model: RiskModel,
    current: Float64Array,
    target: Float64Array,
    settings: PreTradeSettings | None = None,
    *,
    volume: Float64Array | None = None,
    leader: str | None = None,
    scenarios: Sequence[Scenario] = MARKET_SCENARIOS,
    panel: Panel | None = None,
) -> PreTrade:
    """Trim or block orders.

    Args:
        model: risk model of the instruments ``[N]``.
        current: weights held ``[N]``.
        target: weights wanted ``[N]``.
        settings: limits.
        volume: value traded a day ``[N]``, for ``trade_share``.
        leader: of the stress scenarios.
        scenarios: for the ``stress`` limit; default crises and shocks of prices: what a stopped venue takes
            does not depend on the orders.
        panel: candles to replay crises from.

    Raises:
        ConfigError: a limit names an unknown factor, or lacks what it needs.
        UniverseError: shapes do not fit.
    """
    settings = settings or PreTradeSettings()
    n = len(model.instruments)
    if current.shape != (n,) or target.shape != (n,) or not np.isfinite(current).all():
        raise UniverseError(
            f"current {list(current.shape)} and target {list(target.shape)} must be [{n}], current finite",
            where="risk.check_orders",
        )
    actions: list[Action] = []
    wanted = _single(model, current, target, settings, volume, actions)
    measures = _measures(model, settings, leader, scenarios, panel)
    over = [name for name, limit, measure in measures if measure(wanted) > limit * (1.0 + 1e-9)]
    if over:
        wanted = _whole(current, wanted, settings, measures, over, actions)
    return PreTrade(wanted, tuple(actions))


def _single(
    model: RiskModel,
    current: Float64Array,
    target: Float64Array,
    settings: PreTradeSettings,
    volume: Float64Array | None,
    actions: list[Action],
) -> Float64Array:
    """Limits of one instrument at a time."""
    if settings.trade_share is not None and (volume is None or settings.capital is None):
        raise ConfigError("trade_share needs volume and capital", where="risk.pretrade", remedy="give both")
    bad = ~np.isfinite(target)
    wanted = np.where(bad, current, target)
    for n in np.flatnonzero(bad):
        actions.append(Action(model.instruments[n], "target is not a number", float("nan"), 0.0))

    def cap(name: str, allowed: Float64Array) -> Float64Array:
        over = np.abs(allowed - wanted) > 1e-12
        if settings.mode == "block":
            allowed = np.where(over, current, wanted)
        for n in np.flatnonzero(over):
            trades = (float(wanted[n] - current[n]), float(allowed[n] - current[n]))
            actions.append(Action(model.instruments[n], name, *trades))
        return allowed

    if settings.max_weight is not None:
        # a position that is too large already may shrink in steps
        room = np.maximum(
            settings.max_weight, np.where(np.abs(wanted) <= np.abs(current), np.abs(wanted), 0.0)
        )
        wanted = cap(f"max_weight = {settings.max_weight:g}", np.clip(wanted, -room, room))
    if settings.trade_share is not None and volume is not None and settings.capital is not None:
        most = settings.trade_share * np.nan_to_num(volume) / settings.capital
        trimmed = np.clip(wanted, current - most, current + most)
        wanted = cap(f"trade_share = {settings.trade_share:g}", trimmed)
    return wanted


Measure = tuple[str, float, Callable[[Float64Array], float]]


def _measures(
    model: RiskModel,
    settings: PreTradeSettings,
    leader: str | None,
    scenarios: Sequence[Scenario],
    panel: Panel | None,
) -> list[Measure]:
    """Name, limit and function of each limit of the whole."""
    from scipy.stats import norm

    found: list[Measure] = []
    if settings.gross is not None:
        found.append((f"gross = {settings.gross:g}", settings.gross, lambda w: float(np.abs(w).sum())))
    if settings.net is not None:
        found.append((f"net = {settings.net:g}", settings.net, lambda w: abs(float(w.sum()))))
    if settings.volatility is not None:
        found.append((f"volatility = {settings.volatility:g}", settings.volatility, model.volatility))
    if settings.var is not None:
        factor = float(norm.ppf(settings.level)) * settings.tail / np.sqrt(365.0)
        found.append((f"var = {settings.var:g}", settings.var, lambda w: model.volatility(w) * factor))
    if settings.stress is not None:
        betas = position_betas(Position(model, np.zeros(len(model.instruments)), leader), panel)

        def worst(w: Float64Array) -> float:
            position = Position(model, w, leader, betas=betas)
            return max(loss.loss for loss in stress(position, scenarios, panel=panel))

        found.append((f"stress = {settings.stress:g}", settings.stress, worst))
    for name, limit in settings.exposures.items():
        if name not in model.names:
            raise ConfigError(
                f"a limit on the unknown factor {name!r}",
                where="risk.pretrade",
                remedy=f"factors of the model: {', '.join(model.names)}",
            )
        column = model.exposures[:, model.names.index(name)]
        found.append((f"exposure to {name} = {limit:g}", limit, _exposure(column)))
    return found


def _exposure(column: Float64Array) -> Callable[[Float64Array], float]:
    return lambda w: abs(float(column @ w))


def _whole(
    current: Float64Array,
    wanted: Float64Array,
    settings: PreTradeSettings,
    measures: list[Measure],
    over: list[str],
    actions: list[Action],
) -> Float64Array:
    """Reduce fully, build as far as the limits let."""
    base = np.clip(wanted, np.minimum(current, 0.0), np.maximum(current, 0.0))
    build = wanted - base
    total = float(np.abs(build).sum())
    before = [measure(current) for _, _, measure in measures]

    def fine(w: Float64Array) -> bool:
        pairs = zip(measures, before, strict=True)
        return all(measure(w) <= max(limit, was) * (1.0 + 1e-9) for (_, limit, measure), was in pairs)

    name = "; ".join(over)
    if not fine(base):
        # what reduces single positions may unhedge the whole
        actions.append(Action("portfolio", name, float(np.abs(wanted - current).sum()), 0.0))
        return current.copy()
    low, high = 0.0, 1.0
    if fine(wanted):
        low = 1.0  # over a limit, but less than now
    elif settings.mode == "trim":
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if fine(base + middle * build) else (low, middle)
    if low < 1.0:
        actions.append(Action("portfolio", name, total, low * total))
    return base + low * build
