"""``bascule risk …``: exposures, the factor model, what a portfolio can lose, causal checks, construction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bascule.app import riskinputs as inputs
from bascule.app.candles import read

if TYPE_CHECKING:
    from bascule.app.riskreport import RiskReport
    from bascule.core import Panel
    from bascule.risk import Effect

risk_app = typer.Typer(help="Risk: factors, losses, causes, portfolios.", no_args_is_help=True)
console = Console()

Data = Annotated[
    Path | None,
    typer.Option(help="a store's folder, a run's YAML, or a parquet/CSV panel; default: synthetic market"),
]
Frame = Annotated[str, typer.Option("--timeframe", help="candle length of a store or panel")]
Start = Annotated[str | None, typer.Option(help="first day used, UTC")]
End = Annotated[str | None, typer.Option(help="first day not used any more, UTC")]
Top = Annotated[int | None, typer.Option(help="universe: this many by traded value of 30 days; default all")]
Weights = Annotated[
    Path | None, typer.Option(help="portfolio: YAML with a line NAME: share of equity; default equal weights")
]
Html = Annotated[Path | None, typer.Option("--html", help="write the page of the whole report to this file")]


@risk_app.command("exposures")
def exposures(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    show: Annotated[int, typer.Option(help="instruments named at each end of a factor")] = 3,
) -> None:
    """Exposures to risk factors: who stands where, and which factors these data cannot give."""
    import numpy as np

    from bascule import risk

    panel, source = _panel(data, timeframe, start, end, top)
    found = risk.exposures(panel)
    rows = np.flatnonzero(found.counted.any(axis=1))
    last = int(rows[-1])
    table = Table("factor", "family", "coverage", "highest", "lowest", box=None)
    coverage = found.coverage()
    for k, name in enumerate(found.names[1:], 1):
        values = found.values[k, last]
        order = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")
        order = order[: int(np.isfinite(values).sum())]
        ends = [
            ", ".join(f"{panel.instruments[n]} {values[n]:+.1f}" for n in part)
            for part in (order[:show], order[::-1][:show])
        ]
        table.add_row(name, found.families[k], f"{coverage[name]:.0%}", *ends)
    console.print(f"{source}, after the close of {panel.time[last]}", highlight=False)
    console.print(table)
    for one in found.left_out:
        console.print(f"left out: {one.name}: {one.reason}", highlight=False, markup=False)


@risk_app.command("model")
def model(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    html: Html = None,
) -> None:
    """The factor model: factors, R², how right its forecasts were; with --html the whole report."""
    found = _report(data, timeframe, (start, end), top, weights)
    table = Table(
        "factor", "mean a year", "volatility", "t", "|t| > 2", "VIF", "stability", "share now", box=None
    )
    parts = found.now.contributions(found.weights)
    for line in found.lines:
        figures = (line.mean, line.volatility, line.t, line.significant, line.vif, line.stability)
        forms = ("+.0%", ".0%", "+.1f", ".0%", ".2f", ".2f")
        cells = [_number(v, f) for v, f in zip(figures, forms, strict=True)]
        table.add_row(line.name, *cells, _number(parts.get(line.name, float("nan")), ".1%"))
    console.print(table)
    share, bias = found.share, found.bias
    console.print(
        f"R² {_number(share['r2'], '.1%')}, specific share {_number(share['specific'], '.1%')}; bias of the "
        f"portfolio's forecasts {_number(bias.bias, '.3f')} (right: {_number(bias.low, '.3f')} to "
        f"{_number(bias.high, '.3f')}), QLIKE {_number(bias.qlike, '.3f')}",
        highlight=False,
        soft_wrap=True,
    )
    _write(found, html)


@risk_app.command("var")
def var(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    method: Annotated[str, typer.Option(help="historical, parametric or filtered")] = "filtered",
    level: Annotated[float, typer.Option(help="confidence")] = 0.99,
    window: Annotated[int, typer.Option(help="days of the quantile")] = 250,
    html: Html = None,
) -> None:
    """Value at risk and expected shortfall of a day, with their backtests."""
    from bascule.risk import TailSettings

    settings = TailSettings.read({"method": method, "level": level, "window": window}, where="options")
    found = _report(data, timeframe, (start, end), top, weights, settings)
    told = found.coverage
    console.print(
        f"VaR {level:.0%} {_number(float(found.tail.var[-1]), '.2%')}, expected shortfall "
        f"{_number(float(found.tail.es[-1]), '.2%')} of equity over the next day",
        highlight=False,
    )
    if told is None:
        console.print(f"no backtest: fewer than {window} days of history", highlight=False)
    else:
        verdict = "within" if told.good else "OUTSIDE"
        console.print(
            f"{told.hits} losses beyond it in {told.count} days, {verdict} Kupiec's {told.band[0]} to "
            f"{told.band[1]}; independence p = {_number(told.independence_p, '.3f')}",
            highlight=False,
            soft_wrap=True,
        )
    _write(found, html)


@risk_app.command("stress")
def stress(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    html: Html = None,
) -> None:
    """What past crises and new shocks do to a portfolio."""
    found = _report(data, timeframe, (start, end), top, weights)
    table = Table("scenario", "equity", "worst position", "moved by beta", "note", box=None)
    for one in found.losses:
        worst = f"{one.worst[0][0]} {-one.worst[0][1]:+.1%}" if one.worst else "–"
        table.add_row(one.name, f"{-one.loss:+.1%}", worst, f"{one.proxied:.0%}", one.note)
    console.print(table)
    _write(found, html)


@risk_app.command("causal")
def causal(
    graph: Annotated[
        Path, typer.Argument(help="YAML: treatment, outcome, edges, unobserved, data (node: text)")
    ],
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    controls: Annotated[
        str | None, typer.Option(help="what your model controls for, separated by commas; '' = nothing")
    ] = None,
    horizon: Annotated[int, typer.Option(help="candles of the return, if the outcome has no text")] = 24,
    repeats: Annotated[int, typer.Option(help="of each attempt to refute")] = 20,
    override: Annotated[bool, typer.Option("--override", help="estimate even with a collider")] = False,
) -> None:
    """Roles of controls, adjustment sets, the effect with and without them, and attempts to refute it.

    The file's ``data`` gives a factor text for each node; an outcome without one is the forward return.
    """
    from bascule import risk

    dag, texts = inputs.graph_and_texts(graph)
    given = None if controls is None else [name.strip() for name in controls.split(",") if name.strip()]
    if given is not None:
        risk.check_controls(dag, given, override=override)
    panel, source = _panel(data, timeframe, start, end, top)
    arrays, slices = inputs.nodes(panel, dag, texts, horizon)
    values = {"lags": max(horizon - 1, 1), "repeats": repeats, "block": panel.timeframe.bars(7.0)}
    settings = risk.CausalSettings.read({**values, "override": override}, where="options")
    found = risk.causal_check(dag, arrays, settings, controls=given, slices=slices)
    table = Table("node", "role", box=None)
    for name, roles in found.roles.items():
        table.add_row(name, " and ".join(roles))
    console.print(table)
    sets = "; ".join("{" + ", ".join(one) + "}" for one in found.sets)
    console.print(f"minimal adjustment sets: {sets or 'none can be had from these data'}", highlight=False)
    for one in found.problems:
        console.print(f"your controls: {one.text}", highlight=False)
    effects = Table("effect", "controls", "coefficient", "error", "t", "R²", "robustness", box=None)
    for label, effect in (("naive", found.naive), ("adjusted", found.adjusted), ("yours", found.given)):
        if effect is not None:
            effects.add_row(label, *_effect(effect))
    console.print(effects)
    for attack in found.refutations:
        verdict = "stood" if attack.passed else "FELL"
        figures = f"{attack.mean:+.3g} ± {attack.spread:.2g} against {attack.expected:+.3g}"
        console.print(f"{attack.name}: {figures}: {verdict}", highlight=False)
    for kind, steady in found.slices.items():
        console.print(
            f"{kind}: {steady.same_sign:.0%} of {len(steady.effects)} slices have its sign; "
            f"one effect for all: p = {_number(steady.q_p_value, '.3f')}",
            highlight=False,
        )
    console.print(f"{source}, {panel.shape[0]:,} candles", highlight=False)


@risk_app.command("construct")
def construct(
    settings: Annotated[
        Path | None, typer.Argument(help="YAML of the construction: objective, limits, costs")
    ] = None,
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    alpha: Annotated[
        str | None, typer.Option(help="factor text that ranks instruments; without it: minimum variance")
    ] = None,
    ic: Annotated[
        float, typer.Option(help="how much the alpha is believed: its information coefficient")
    ] = 0.03,
    views: Annotated[Path | None, typer.Option(help="YAML of views on factor premia")] = None,
    current: Annotated[Path | None, typer.Option(help="weights held now: YAML NAME: share of equity")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="write the weights to this CSV")] = None,
) -> None:
    """One portfolio after the last candle: weights, risk, and the limits that hold it back."""
    import numpy as np

    from bascule import portfolio, risk

    chosen = portfolio.ConstructionSettings()
    if settings is not None:
        chosen = portfolio.ConstructionSettings.read(inputs.mapping(settings), where=str(settings))
    panel, source = _panel(data, timeframe, start, end, top)
    fitted = risk.fit(panel)
    now = fitted.at(len(fitted.time) - 1)
    expected = None if alpha is None else inputs.expected_returns(panel, now, alpha, ic)
    if views is not None:
        expected, now = inputs.believed(now, expected, views, ic)
    if expected is None and chosen.objective == "mean_variance":
        chosen = chosen.model_copy(update={"objective": "min_variance"})
    index = [panel.instruments.index(name) for name in now.instruments]
    day = panel.timeframe.bars(1.0)
    dollars = np.nan_to_num((panel["close"][-day:, index] * panel["volume"][-day:, index]).astype(np.float64))
    held = None if current is None else inputs.weights_of(current, now.instruments)
    draws = portfolio.scenarios(fitted, len(fitted.time) - 1, 2000) if chosen.objective == "cvar" else None
    found = portfolio.construct(
        now, chosen, alpha=expected, current=held, volume=dollars.sum(axis=0), scenarios=draws
    )
    table = Table("instrument", "weight", box=None)
    for n in np.argsort(-np.abs(found.weights), kind="stable"):
        if found.weights[n] != 0.0:
            table.add_row(found.instruments[n], f"{found.weights[n]:+.2%}")
    console.print(table)
    exposures_ = ", ".join(f"{name} {value:+.2f}" for name, value in found.exposures.items())
    console.print(
        f"{chosen.objective} of {source}: volatility {found.volatility:.1%} a year, turnover "
        f"{found.turnover:.2f}, cost {found.cost:.3%}; exposures: {exposures_}",
        highlight=False,
        soft_wrap=True,
    )
    if found.binding:
        console.print(f"held back by: {'; '.join(found.binding)}", highlight=False, soft_wrap=True)
    if out is not None:
        from bascule.core import files

        lines = [f"{name},{w:.10g}" for name, w in zip(found.instruments, found.weights, strict=True)]
        with files.atomic_file(out) as aside:
            aside.write_text("\n".join(["instrument,weight", *lines]) + "\n", "utf-8")
        console.print(f"weights: {out}", highlight=False, soft_wrap=True)


def _panel(
    data: Path | None, timeframe: str, start: str | None, end: str | None, top: int | None
) -> tuple[Panel, str]:
    from bascule.risk import with_liquidations

    found = read(data, timeframe, start, end, top=top)
    panel = found.panel
    if "open_interest" in panel.fields and "liquidation_size" not in panel.fields:
        panel = with_liquidations(panel)
    return panel, found.source


def _report(
    data: Path | None,
    timeframe: str,
    window: tuple[str | None, str | None],
    top: int | None,
    weights: Path | None,
    settings: Any = None,
) -> RiskReport:
    from bascule.app.riskreport import measure

    panel, source = _panel(data, timeframe, *window, top)
    given = None if weights is None else inputs.shares(weights)
    return measure(panel, source, given, settings=settings)


def _write(found: RiskReport, html: Path | None) -> None:
    if html is None:
        return
    from bascule.app.riskreport import risk_page

    risk_page(found).write(html)
    console.print(f"page: {html}", highlight=False, soft_wrap=True)


def _effect(effect: Effect) -> list[str]:
    figures = (effect.coefficient, effect.error, effect.t, effect.r2, effect.robustness)
    forms = ("+.4g", ".2g", "+.1f", ".2%", ".2%")
    cells = [_number(v, f) for v, f in zip(figures, forms, strict=True)]
    return [", ".join(effect.controls) or "none", *cells]


def _number(value: float, form: str) -> str:
    return "–" if value != value else f"{value:{form}}"
