"""The risk of a portfolio as one page: its factors, what it can lose, and whether the forecasts were
right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bascule import __version__, risk
from bascule.app import riskfigures
from bascule.app.page import Card, Figure, Page, Section, Table, number
from bascule.evaluate.rows import Float64Array

if TYPE_CHECKING:
    import pandas as pd

    from bascule.core import Panel

_SHOWN = 60  # instruments of the exposure map


@dataclass(frozen=True, eq=False)
class RiskReport:
    """Everything about one portfolio.

    Attributes:
        source: what to call the data.
        panel: the candles.
        model: fitted factor model.
        now: risk model of the last row.
        weights: shares of equity ``[N]`` of ``now``.
        lines: reports on factors.
        share: R² and specific share.
        bias: of the portfolio's forecasts over a day.
        days: daily returns that today's weights would have had.
        tail: VaR of them.
        coverage: of that VaR, None if the history is too short.
        losses: stress scenarios.
        settings: of the VaR.
    """

    source: str
    panel: Panel
    model: risk.FactorModel
    now: risk.RiskModel
    weights: Float64Array
    lines: tuple[risk.FactorReport, ...]
    share: dict[str, float]
    bias: risk.BiasReport
    days: pd.Series[float]
    tail: risk.Tail
    coverage: risk.Coverage | None
    losses: tuple[risk.Loss, ...]
    settings: risk.TailSettings


def measure(
    panel: Panel,
    source: str,
    weights: dict[str, float] | None = None,
    *,
    model: risk.FactorModel | None = None,
    settings: risk.TailSettings | None = None,
    leader: str | None = None,
) -> RiskReport:
    """Fit the model and measure a portfolio with it.

    Args:
        panel: prepared candles.
        source: what to call them.
        weights: shares of equity by store id; None = equal weights of the last row's members.
        model: a model of this panel that is fitted already.
        settings: of the VaR of daily returns.
        leader: of the stress scenarios.

    Raises:
        UniverseError: a weight is on an instrument that the model does not know, or the panel is too small.
    """
    settings = settings or risk.TailSettings(window=250)
    invented = source.startswith("synthetic")
    model = model or risk.fit(panel)
    now = model.at(len(model.time) - 1)
    held = _held(now, weights)
    path = np.zeros(panel.shape)
    index = [panel.instruments.index(name) for name in now.instruments]
    path[:, index] = held
    days = daily(panel, now.instruments, held)
    values = np.asarray(days, np.float64)
    tail = risk.tail_risk(values, settings)
    hits = tail.hits(values)
    return RiskReport(
        source,
        panel,
        model,
        now,
        held,
        risk.factor_reports(model),
        risk.explained(model),
        risk.bias(model, path, horizon=panel.timeframe.bars(1.0)),
        days,
        tail,
        risk.coverage(hits, settings.level) if len(hits) else None,
        # an invented market has no crises of its own: there all move by beta
        risk.stress(risk.Position(now, held, leader), panel=None if invented else panel),
        settings,
    )


def _held(now: risk.RiskModel, weights: dict[str, float] | None) -> Float64Array:
    if weights is None:
        return np.full(len(now.instruments), 1.0 / len(now.instruments))
    held = np.zeros(len(now.instruments))
    now.select(list(weights))  # one clear error for a name that is not there
    for name, weight in weights.items():
        held[now.instruments.index(name)] = weight
    return held


def daily(panel: Panel, instruments: Sequence[str], weights: Float64Array) -> pd.Series[float]:
    """Returns of whole UTC days that these weights would have had; a coin without a close counts 0."""
    import pandas as pd

    step = panel.timeframe.bars_a_day
    closes = panel.time + panel.timeframe.delta
    last = np.flatnonzero((closes.astype(np.int64) % (86_400 * 10**9)) == 0)
    index = [panel.instruments.index(name) for name in instruments]
    close = panel["close"][:, index].astype(np.float64)
    rows = np.arange(len(close))[:, None]
    seen = np.maximum.accumulate(np.where(np.isfinite(close), rows, -1), axis=0)
    # a price of more than a day ago is no price
    fresh = (seen >= 0) & (rows - seen < max(step, 1))
    price = np.where(fresh, np.take_along_axis(close, np.maximum(seen, 0), axis=0), np.nan)[last]
    with np.errstate(invalid="ignore"):
        moves = price[1:] / price[:-1] - 1.0
    values = risk.portfolio_history(weights, moves)
    return pd.Series(values, pd.DatetimeIndex(panel.time[last[1:]]).floor("D"), dtype=float)


def risk_page(found: RiskReport) -> Page:
    """The page."""
    day = str(found.now.time.astype("datetime64[m]"))
    warnings = []
    if found.source.startswith("synthetic"):
        warnings.append("Synthetic market: nothing here says anything about a real one.")
    if found.model.exposures.left_out:
        names = ", ".join(one.name for one in found.model.exposures.left_out)
        warnings.append(f"Risk factors that these data cannot give: {names}. The reasons stand below.")
    return Page(
        title="Risk",
        subtitle=f"{found.source}: {len(found.now.instruments)} instruments after the close of {day}; "
        f"{found.panel.timeframe} candles, {len(found.model.time):,} rows",
        warnings=warnings,
        cards=_cards(found),
        sections=[_portfolio(found), _losses(found), _var(found), _factors(found), _exposures(found)],
        footer=f"Bascule {__version__} · {found.source}",
    )


def _cards(found: RiskReport) -> list[Card]:
    worst = max(found.losses, key=lambda one: one.loss)
    var = found.tail.var[-1]
    return [
        Card("volatility a year, forecast", f"{found.now.volatility(found.weights):.0%}"),
        Card(f"VaR {found.settings.level:.0%} of a day", number(float(var), ".1%")),
        Card(f"worst scenario: {worst.name}", f"{-worst.loss:+.0%}"),
        Card("bias of the forecasts, 1 = right", number(found.bias.bias, ".2f")),
    ]


def _portfolio(found: RiskReport) -> Section:
    held = found.now.factor_exposures(found.weights)
    parts = found.now.contributions(found.weights)
    rows = [[name, f"{held.get(name, float('nan')):+.2f}", f"{part:.1%}"] for name, part in parts.items()]
    rows[-1][1] = "–"
    note = (
        "Exposure: the sum of weight times exposure. Share: of the forecast variance; factors that offset "
        "each other have a negative one."
    )
    return Section(
        "The portfolio",
        note,
        [Figure("Where its variance comes from", riskfigures.shares(parts))],
        [Table(("factor", "exposure", "share of variance"), rows)],
    )


def _losses(found: RiskReport) -> Section:
    rows = [
        [
            one.name,
            _signed(-one.loss),
            ", ".join(f"{name.split('_')[0]} {_signed(-loss)}" for name, loss in one.worst[:3]) or "–",
            f"{one.proxied:.0%}",
            one.note,
        ]
        for one in found.losses
    ]
    figure = riskfigures.losses([one.name for one in found.losses], [one.loss for one in found.losses])
    head = ("scenario", "equity", "worst positions", "moved by beta", "note")
    return Section(
        "Stress", _STRESS, [Figure("What is left of equity", figure)], [Table(head, rows, texts=(2, 4))]
    )


def _signed(share: float) -> str:
    """A change in per cent; nothing is +0.0%, not -0.0%."""
    return f"{round(share, 3) + 0.0:+.1%}"


_STRESS = (
    "Past crises at their worst close, with today's weights; and shocks that were not yet. Instruments "
    "without candles at that time move by their beta to the leader."
)


def _var(found: RiskReport) -> Section:
    import pandas as pd

    series = [pd.Series(v, found.days.index).shift(1) for v in (found.tail.var, found.tail.es)]
    told = found.coverage
    rows = []
    if told is not None:
        rows = [
            ["forecasts", f"{told.count:,}"],
            ["losses beyond VaR", f"{told.hits} (expected {told.expected:.1f})"],
            ["Kupiec accepts, at 5 %", f"{told.band[0]} to {told.band[1]}"],
            ["p-value, number (Kupiec)", number(told.kupiec_p, ".3f")],
            ["p-value, independence (Christoffersen)", number(told.independence_p, ".3f")],
        ]
    note = (
        f"{found.settings.method.capitalize()} VaR at {found.settings.level:.0%} of daily returns that "
        "today's weights would have had, each forecast with what was known the day before."
    )
    figure = riskfigures.value_at_risk(found.days, *series)
    return Section(
        "Value at risk", note, [Figure("Returns and forecasts", figure)], [Table(("backtest", ""), rows)]
    )


def _factors(found: RiskReport) -> Section:
    import pandas as pd

    model, when = found.model, pd.DatetimeIndex(found.model.time)
    returns = pd.DataFrame(model.sections.returns, when, list(model.names))
    own = np.diagonal(model.factor_covariance, axis1=1, axis2=2)
    forecast = pd.DataFrame(np.sqrt(own * model.timeframe.bars_a_year), when, list(model.names))
    rows = [
        [
            line.name,
            line.family,
            number(line.mean, "+.0%"),
            number(line.volatility, ".0%"),
            number(line.t, "+.1f"),
            number(line.significant, ".0%"),
            number(line.vif, ".2f"),
            number(line.stability, ".2f"),
            number(line.coverage, ".0%"),
        ]
        for line in found.lines
    ]
    head = ("factor", "family", "mean", "volatility", "t", "|t| > 2", "VIF", "stability", "coverage")
    left = [[one.name, one.reason] for one in model.exposures.left_out]
    share = found.share
    note = (
        f"Factor returns of regressions on every candle; mean R² {number(share['r2'], '.0%')}, specific "
        f"share of all variance {number(share['specific'], '.0%')}. |t| > 2: share of candles in which a "
        "factor matters; 5 % is chance. Stability: of exposures over 30 days."
    )
    return Section(
        "Factors",
        note,
        [
            Figure("Cumulative factor returns", riskfigures.factor_wealth(returns)),
            Figure("Forecast volatility", riskfigures.volatilities(forecast)),
            Figure(
                "Correlations, now", riskfigures.correlations(found.now.names, found.now.factor_covariance)
            ),
        ],
        [
            Table(head, rows, texts=(1,)),
            *([Table(("left out", "because"), left, words=True)] if left else []),
        ],
    )


def _exposures(found: RiskReport) -> Section:
    order = np.argsort(-np.abs(found.weights), kind="stable")[:_SHOWN]
    names = [found.now.instruments[n] for n in order]
    styles = [k for k, name in enumerate(found.now.names) if name != "market"]
    values = found.now.exposures[order][:, styles]
    picture = riskfigures.exposure_map(names, [found.now.names[k] for k in styles], values)
    note = "In deviations of the cross-section, the largest positions first."
    return Section("Exposures", note, [Figure("Exposures, now", picture)])
