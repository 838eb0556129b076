"""What a portfolio loses when it gets rough: crises that were, and shocks that were not yet.

- ``replay``: today's weights through the candles of a past crisis, at its worst close. Instruments without
  candles then (listed later) move by their beta to the leader; if the panel does not reach back, all do,
  with the leader's fall that is on record.
- ``shock``: the leader falls by so much; others follow by their beta.
- ``correlation``: every coin moves by so many of its own daily deviations together, whichever way hurts.
- ``venue``: a venue stops; a share of what lies there is lost.
- ``depeg``: the quote coin falls; cash and, for futures, all margin are in it.
- ``funding``: longs pay (or shorts, whichever the portfolio is) a rate every 8 hours for some days.

Betas to the leader are measured over the last 60 days of the panel up to the model's time, shrunk to 1;
without a panel they are the risk model's, which are lower: there a part of the leader's moves is its own.

Positions are not changed on the way. Losses are shares of equity, positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import ConfigError, Panel, Settings, UniverseError, moment
from bascule.evaluate.rows import Float64Array
from bascule.risk.model import RiskModel, close_returns
from bascule.risk.rolling import rolling_betas, shrink
from bascule.risk.style import leader as leader_of

_BETA_DAYS, _PRIOR = 60.0, 0.5
Kind = Literal["replay", "shock", "correlation", "venue", "depeg", "funding"]


class Scenario(Settings):
    """One scenario; which keys it needs depends on its kind (see the module)."""

    name: str = Field(description="how reports call it")
    kind: Kind = Field(description="what happens")
    start: str | None = Field(default=None, description="replay: close before the crisis, UTC")
    end: str | None = Field(default=None, description="replay: last close looked at, UTC")
    move: float | None = Field(
        default=None, gt=-1, lt=5, description="shock: the leader's move; replay: its fall on record"
    )
    deviations: float = Field(default=3.0, gt=0, description="correlation: daily deviations")
    venue: str | None = Field(default=None, description="venue: which, none = the one that holds most")
    share: float = Field(default=1.0, gt=0, le=1, description="venue, depeg: part of the value that is lost")
    rate: float = Field(default=0.003, gt=0, le=0.1, description="funding: rate every 8 hours")
    days: float = Field(default=3.0, gt=0, le=365, description="funding: for how long")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "replay" and (self.start is None or self.end is None):
            raise ValueError("a replay needs start and end")
        if self.kind == "shock" and self.move is None:
            raise ValueError("a shock needs a move")
        return self


# the leader's falls are of Binance's BTC/USDT hourly closes, from start to the lowest within the window
SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="March 2020", kind="replay", start="2020-03-11T23:00", end="2020-03-13T23:00", move=-0.479),
    Scenario(name="May 2021", kind="replay", start="2021-05-17T23:00", end="2021-05-20T23:00", move=-0.191),
    Scenario(
        name="LUNA, May 2022", kind="replay", start="2022-05-04T23:00", end="2022-05-14T23:00", move=-0.317
    ),
    Scenario(
        name="FTX, November 2022",
        kind="replay",
        start="2022-11-05T23:00",
        end="2022-11-11T23:00",
        move=-0.260,
    ),
    Scenario(name="BTC −30 % in a day", kind="shock", move=-0.3),
    Scenario(name="correlations go to 1", kind="correlation"),
    Scenario(name="a venue stops", kind="venue"),
    Scenario(name="the stablecoin loses 10 %", kind="depeg", share=0.1),
    Scenario(name="funding of 0.3 % for 3 days", kind="funding"),
)


@dataclass(frozen=True)
class Loss:
    """What a scenario does.

    Attributes:
        name: of the scenario.
        kind: of it.
        loss: share of equity, positive; a gain is negative.
        worst: instruments that lose most, and how much of equity, up to 5.
        proxied: positions (share of gross) that moved by beta for want of candles.
        note: what was assumed.
    """

    name: str
    kind: str
    loss: float
    worst: tuple[tuple[str, float], ...]
    proxied: float
    note: str


@dataclass(frozen=True, eq=False)
class Position:
    """What scenarios are applied to.

    Attributes:
        model: risk model of the instruments.
        weights: shares of equity ``[N]``.
        leader: instrument that leads; None = bitcoin, or, without it, the equal-weighted market of the model.
        venues: instrument → venue; others lie at "exchange".
        margined: True for futures: all equity is margin in the quote coin; False for spot.
        betas: to the leader ``[N]``, where they are known already.
    """

    model: RiskModel
    weights: Float64Array
    leader: str | None = None
    venues: Mapping[str, str] | None = None
    margined: bool = False
    betas: Float64Array | None = None


def stress(
    position: Position, scenarios: Sequence[Scenario] = SCENARIOS, *, panel: Panel | None = None
) -> tuple[Loss, ...]:
    """Losses of a portfolio, one a scenario.

    Args:
        position: the portfolio.
        scenarios: which; default the crises and shocks that ship.
        panel: candles to replay crises from.

    Raises:
        UniverseError: weights do not fit the model, or the leader is not in it.
    """
    if (
        position.weights.shape != (len(position.model.instruments),)
        or not np.isfinite(position.weights).all()
    ):
        raise UniverseError(
            f"weights {list(position.weights.shape)} must be finite, one for each of the model's "
            f"{len(position.model.instruments)} instruments",
            where="risk.stress",
        )
    betas = position.betas if position.betas is not None else position_betas(position, panel)
    return tuple(_apply(one, position, betas, panel) for one in scenarios)


def position_betas(position: Position, panel: Panel | None) -> Float64Array:
    """Betas to the leader: measured where the panel allows it, else the risk model's ``[N]``."""
    betas = leader_betas(position.model, position.leader)
    if panel is None:
        return betas
    measured = _measured(panel, position)
    return np.where(np.isfinite(measured), measured, betas)


def leader_betas(model: RiskModel, leader: str | None) -> Float64Array:
    """Expected move of each instrument for a move of 1 of the leader ``[N]``; 1 for the leader itself."""
    n = len(model.instruments)
    leader = leader or leader_of(model.instruments)
    if leader is None:
        return model.betas(np.full(n, 1.0 / n))
    unit = np.zeros(n)
    if leader not in model.instruments:
        raise UniverseError(
            f"the leader {leader} is not in the risk model",
            where="risk.stress",
            remedy=f"choose one of {', '.join(model.instruments[:8])}, …",
        )
    unit[model.instruments.index(leader)] = 1.0
    return model.betas(unit)


def _measured(panel: Panel, position: Position) -> Float64Array:
    """Betas to the leader over the last days before the model's time ``[N]``; NaN where there are too few."""
    names = position.model.instruments
    lead = position.leader or leader_of(panel.instruments)
    last = int(np.searchsorted(panel.time, position.model.time, side="right"))
    window = min(panel.timeframe.bars(_BETA_DAYS), last - 1)
    if lead is None or lead not in panel.instruments or window < 30:
        return np.full(len(names), np.nan)
    returns = close_returns(panel.rows(last - window - 1, last))[1:]
    column = returns[:, [panel.instruments.index(lead)]]
    known = [name for name in names if name in panel.instruments]
    found = rolling_betas(returns[:, [panel.instruments.index(name) for name in known]], column, window)
    drawn = shrink(found, np.ones(1), np.full(1, _PRIOR)).betas[0, -1]
    given = dict(zip(known, drawn, strict=True))
    return np.array([1.0 if name == lead else given.get(name, np.nan) for name in names])


def _apply(scenario: Scenario, position: Position, betas: Float64Array, panel: Panel | None) -> Loss:
    if scenario.kind == "replay":
        return _replay(scenario, position, betas, panel)
    if scenario.kind == "shock":
        move = scenario.move or 0.0
        # nothing falls by more than all of it
        note = f"the leader moves {move:+.0%}, others by beta"
        return _loss(scenario, position, position.weights * np.maximum(betas * move, -1.0), note)
    if scenario.kind == "correlation":
        model = position.model
        spread = ((model.exposures @ model.root()) ** 2).sum(axis=1) + model.specific_variance
        daily = np.sqrt(spread * model.bars_a_year / 365.0) * scenario.deviations
        pnl = position.weights * daily
        pnl = np.maximum(pnl, -np.abs(position.weights)) * (-1.0 if pnl.sum() > 0.0 else 1.0)
        return _loss(
            scenario, position, pnl, f"all move {scenario.deviations:g} daily deviations the wrong way"
        )
    if scenario.kind == "venue":
        return _venue(scenario, position)
    if scenario.kind == "depeg":
        held = 1.0 if position.margined else max(0.0, 1.0 - float(position.weights.sum()))
        note = f"{held:.0%} of equity is in the quote coin"
        return Loss(scenario.name, scenario.kind, held * scenario.share, (), 0.0, note)
    times = scenario.days * 3.0
    pnl = position.weights * scenario.rate * times
    pnl = -pnl if pnl.sum() > 0.0 else pnl
    note = f"{scenario.rate:.2%} every 8 hours for {scenario.days:g} days"
    return _loss(scenario, position, pnl, note)


def _replay(scenario: Scenario, position: Position, betas: Float64Array, panel: Panel | None) -> Loss:
    moves, when = _moves(scenario, position.model.instruments, panel)
    fall = scenario.move
    if moves is not None and panel is not None:
        lead = position.leader or leader_of(panel.instruments)
        if lead is not None and lead in panel.instruments:
            own, _ = _moves(scenario, (lead,), panel)
            if own is not None and np.isfinite(own).all():
                fall = None
                path = own[:, 0]
    if moves is None or fall is not None:
        if fall is None:
            raise ConfigError(
                f"{scenario.name}: the candles do not reach back, and no move of the leader is given",
                where="risk.stress",
                remedy="give the scenario a move",
            )
        path = np.linspace(0.0, fall, 2 if moves is None else len(moves))
    followed = np.maximum(path[:, None] * betas[None, :], -1.0)
    known = np.zeros(len(betas), bool) if moves is None else np.asarray(np.isfinite(moves).all(axis=0))
    moves = followed if moves is None else np.where(known, moves, followed)
    held = position.weights * moves
    low = int(np.argmin(held.sum(axis=1)))
    gross = float(np.abs(position.weights).sum())
    proxied = float(np.abs(position.weights[~known]).sum()) / gross if gross > 0.0 else 0.0
    note = f"worst at {when[low]}" if len(when) else "by beta: no candles of that time"
    return _loss(scenario, position, held[low], note, proxied)


def _moves(
    scenario: Scenario, instruments: Sequence[str], panel: Panel | None
) -> tuple[Float64Array | None, list[str]]:
    """Returns since the scenario's start at each later close ``[t, N]``, NaN for what had no close then."""
    if panel is None or scenario.start is None or scenario.end is None:
        return None, []
    opened = panel.time + panel.timeframe.delta  # closes
    start, end = moment(scenario.start), moment(scenario.end)
    first = int(np.searchsorted(opened, start, side="right")) - 1
    last = int(np.searchsorted(opened, end, side="right")) - 1
    if first < 0 or opened[-1] < end or last <= first:
        return None, []
    close = panel["close"][first : last + 1].astype(np.float64)
    rows = np.arange(len(close))[:, None]
    # an instrument that trades no more keeps its last price
    seen = np.maximum.accumulate(np.where(np.isfinite(close), rows, 0), axis=0)
    filled = np.take_along_axis(close, seen, axis=0)
    columns = [panel.instruments.index(name) if name in panel.instruments else -1 for name in instruments]
    moves = filled[1:] / filled[0] - 1.0
    picked = np.where(np.array(columns) >= 0, moves[:, columns], np.nan)
    return picked, [str(t)[:16] for t in opened[first + 1 : last + 1]]


def _venue(scenario: Scenario, position: Position) -> Loss:
    venues = position.venues or {}
    sizes: dict[str, float] = {}
    for name, weight in zip(position.model.instruments, position.weights, strict=True):
        venue = venues.get(name, "exchange")
        sizes[venue] = sizes.get(venue, 0.0) + abs(float(weight))
    gross = sum(sizes.values())
    venue = scenario.venue or max(sizes, key=lambda one: sizes[one])
    # cash and margin lie where the positions are, in proportion
    part = sizes.get(venue, 0.0) / gross if gross > 0.0 else 1.0
    note = f"{venue} holds {part:.0%} of equity"
    return Loss(scenario.name, scenario.kind, part * scenario.share, (), 0.0, note)


def _loss(scenario: Scenario, position: Position, pnl: Float64Array, note: str, proxied: float = 0.0) -> Loss:
    order = np.argsort(pnl, kind="stable")[:5]
    worst = tuple((position.model.instruments[n], float(-pnl[n])) for n in order if pnl[n] < 0.0)
    return Loss(scenario.name, scenario.kind, float(-pnl.sum()), worst, proxied, note)
