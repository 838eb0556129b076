"""Limits of a portfolio as named linear constraints, and which of them contradict each other.

Variables are z = [w, t, g]: weights, traded |w − w₀| and held |w|, each ``[N]``; t and g are bounded from
below by the values that they stand for, so limits on sums of them are limits on turnover and leverage.

`conflicts` finds a smallest contradicting set by a deletion filter (Chinneck 2008, "Feasibility and
Infeasibility in Optimization", ch. 6): a limit without which the rest is still infeasible is not needed in
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import ConfigError, DataError, Settings
from bascule.evaluate.rows import Float64Array
from bascule.risk import RiskModel


class LimitSettings(Settings):
    """What a portfolio may hold. Weights are shares of equity."""

    side: Literal["long", "long_short"] = Field(default="long", description="long only, or both sides")
    net: tuple[float, float] | None = Field(
        default=None,
        description="least and most sum of weights; default (1, 1) for long, none for long_short",
    )
    dollar_neutral: bool = Field(default=False, description="weights add to 0 (long_short)")
    beta_neutral: bool = Field(default=False, description="no beta on the market portfolio (long_short)")
    gross: float = Field(default=1.0, gt=0, le=20, description="largest sum of |weights|: the leverage")
    max_weight: float = Field(default=0.2, gt=0, le=5, description="largest |weight| of one instrument")
    exposures: Mapping[str, tuple[float, float]] = Field(
        default={}, description="least and most exposure of the portfolio to a factor"
    )
    turnover: float | None = Field(default=None, ge=0, description="largest sum of |trades| (L1, both sides)")
    capital: float | None = Field(default=None, gt=0, description="equity in the quote currency")
    position_share: float | None = Field(
        default=None, gt=0, le=10, description="largest position as a share of a day's value traded"
    )
    trade_share: float | None = Field(
        default=None, gt=0, le=1, description="largest trade as a share of a day's value traded"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.side == "long" and (self.dollar_neutral or self.beta_neutral):
            raise ValueError("a neutral portfolio needs side: long_short")
        if self.capital is None and (self.position_share is not None or self.trade_share is not None):
            raise ValueError("shares of the value traded need capital")
        for name, (low, high) in [("net", self.net or (0.0, 0.0)), *self.exposures.items()]:
            if low > high:
                raise ValueError(f"{name}: {low} is above {high}")
        return self


@dataclass(frozen=True, eq=False)
class Limit:
    """low ≤ A·z ≤ high, under one name.

    Attributes:
        label: what the user wrote, e.g. ``max_weight = 0.2``.
        matrix: sparse A ``[rows, 3N]``.
        low: ``[rows]``, −inf = none.
        high: ``[rows]``.
    """

    label: str
    matrix: Any
    low: Float64Array
    high: Float64Array


@dataclass(frozen=True, eq=False)
class Inputs:
    """What limits refer to, all ``[N]``.

    Attributes:
        current: weights held now.
        market: weights of the market portfolio, for betas.
        volume: value traded a day, in the quote currency; None = not known.
    """

    current: Float64Array
    market: Float64Array
    volume: Float64Array | None


def limits(model: RiskModel, settings: LimitSettings, given: Inputs) -> tuple[Limit, ...]:
    """All limits of the settings.

    Raises:
        ConfigError: a limit is on an unknown factor.
        DataError: a limit needs the value traded, which is not given.
    """
    from scipy import sparse

    n = len(model.instruments)
    none = sparse.csr_array((n, n))
    eye = sparse.eye_array(n, format="csr")

    def box(label: str, low: Float64Array | float, high: Float64Array | float) -> Limit:
        spread = np.ones(n)
        return Limit(label, sparse.hstack([eye, none, none], format="csr"), low * spread, high * spread)

    def row(label: str, w: Float64Array, low: float, high: float, part: int = 0) -> Limit:
        full = np.zeros((1, 3 * n))
        full[0, part * n : (part + 1) * n] = w
        return Limit(label, sparse.csr_array(full), np.array([low]), np.array([high]))

    ones = np.ones(n)
    found: list[Limit] = []
    if settings.side == "long":
        found.append(box("side = long", 0.0, np.inf))
    found.append(box(f"max_weight = {settings.max_weight:g}", -settings.max_weight, settings.max_weight))
    net = settings.net or ((1.0, 1.0) if settings.side == "long" else None)
    if net is not None:
        found.append(row(f"net = {net[0]:g} … {net[1]:g}", ones, *net))
    if settings.dollar_neutral:
        found.append(row("dollar_neutral", ones, 0.0, 0.0))
    if settings.beta_neutral:
        found.append(row("beta_neutral", model.betas(given.market), 0.0, 0.0))
    found.append(row(f"gross = {settings.gross:g}", ones, -np.inf, settings.gross, part=2))
    for name, (low, high) in settings.exposures.items():
        if name not in model.names:
            raise ConfigError(
                f"a limit on the unknown factor {name!r}",
                where="exposures",
                remedy=f"factors of the model: {', '.join(model.names)}",
            )
        label = f"exposure to {name} = {low:g} … {high:g}"
        found.append(row(label, model.exposures[:, model.names.index(name)], low, high))
    if settings.turnover is not None:
        found.append(row(f"turnover = {settings.turnover:g}", ones, -np.inf, settings.turnover, part=1))
    for key, share in (("position_share", settings.position_share), ("trade_share", settings.trade_share)):
        if share is None:
            continue
        if given.volume is None:
            raise DataError(
                "the value traded is not given", where=key, remedy="pass volume, or drop the limit"
            )
        room = share * np.nan_to_num(given.volume) / (settings.capital or 1.0)
        centre = given.current if key == "trade_share" else 0.0
        found.append(box(f"{key} = {share:g}", centre - room, centre + room))
    return tuple(found)


def definitions(current: Float64Array) -> tuple[Any, Float64Array]:
    """The rows that make t ≥ |w − w₀| and g ≥ |w|: G·z ≤ h."""
    from scipy import sparse

    n = len(current)
    eye, none = sparse.eye_array(n, format="csr"), sparse.csr_array((n, n))
    rows = [[eye, -eye, none], [-eye, -eye, none], [eye, none, -eye], [-eye, none, -eye]]
    right = np.concatenate([current, -current, np.zeros(2 * n)])
    return sparse.vstack([sparse.hstack(row) for row in rows], format="csr"), right


def conflicts(chosen: Sequence[Limit], current: Float64Array) -> tuple[str, ...]:
    """Labels of a smallest set of limits that no portfolio meets; empty where one meets all."""
    kept = list(chosen)
    if _feasible(kept, current):
        return ()
    for limit in chosen:
        rest = [one for one in kept if one is not limit]
        if not _feasible(rest, current):
            kept = rest
    return tuple(limit.label for limit in kept)


def infeasible(labels: Sequence[str], count: int) -> ConfigError:
    """The error that names the limits."""
    return ConfigError(
        f"no portfolio of these {count} instruments meets all of: {'; '.join(labels)}",
        where="portfolio.limits",
        remedy="loosen one of them",
    )


def _feasible(chosen: Sequence[Limit], current: Float64Array) -> bool:
    from scipy import sparse
    from scipy.optimize import linprog

    g, h = definitions(current)
    blocks, right = [g], [h]
    for limit in chosen:
        for matrix, bound in ((limit.matrix, limit.high), (-limit.matrix, -limit.low)):
            good = np.isfinite(bound)
            if good.any():
                blocks.append(matrix[np.flatnonzero(good)])
                right.append(bound[good])
    n = len(current)
    bounds = [(None, None)] * n + [(0.0, None)] * (2 * n)
    stacked = sparse.vstack(blocks, format="csc")
    found = linprog(np.zeros(3 * n), A_ub=stacked, b_ub=np.concatenate(right), bounds=bounds, method="highs")
    return int(found.status) != 2
