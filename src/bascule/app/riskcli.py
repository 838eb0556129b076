"""``bascule risk …``: exposures, the factor model, what a portfolio can lose, causal checks, construction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bascule.app import riskinputs as inputs
from bascule.app.command import Commands, answer
from bascule.app.console import bar
from bascule.app.options import Data, End, Frame, Start, Top
from bascule.app.page import number
from bascule.app.yamlfile import read_settings

if TYPE_CHECKING:
    from bascule.app.riskreport import RiskReport
    from bascule.core import Panel
    from bascule.portfolio import Construction
    from bascule.risk import CausalReport, Effect

risk_app = Commands()

Weights = Annotated[
    Path | None, typer.Option(help="portfolio: YAML with a line NAME: share of equity; default equal weights")
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="write the page of the whole report to this file", rich_help_panel="Output"),
]


@risk_app.command("exposures", example="bascule risk exposures --data runs/demo/store")
def exposures(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    show: Annotated[int, typer.Option(min=1, help="instruments named at each end of a factor")] = 3,
) -> None:
    """Show exposures to risk factors: who stands where, and which factors these data cannot give."""
    import numpy as np

    from bascule import risk

    panel, source = _panel(data, timeframe, start, end, top)
    with bar("Exposures") as progress:
        progress(0, 1, "")
        found = risk.exposures(panel)
    rows = np.flatnonzero(found.counted.any(axis=1))
    last = int(rows[-1])
    table = Table("factor", "family", "coverage", "highest", "lowest", box=None)
    coverage, told = found.coverage(), []
    for k, name in enumerate(found.names[1:], 1):
        values = found.values[k, last]
        order = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")
        order = order[: int(np.isfinite(values).sum())]
        ends = [
            ", ".join(f"{panel.instruments[n]} {values[n]:+.1f}" for n in part)
            for part in (order[:show], order[::-1][:show])
        ]
        table.add_row(name, found.families[k], f"{coverage[name]:.0%}", *ends)
        scores = {panel.instruments[n]: float(values[n]) for n in order}
        told.append(
            {"factor": name, "family": found.families[k], "coverage": coverage[name], "exposures": scores}
        )
    answer(
        {"source": source, "at": panel.time[last], "factors": told, "left_out": found.left_out},
        f"{source}, after the close of {panel.time[last]}",
        table,
        *(f"left out: {one.name}: {one.reason}" for one in found.left_out),
    )


@risk_app.command("model", example="bascule risk model --data runs/demo/store --html risk.html")
def model(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    html: Html = None,
) -> None:
    """Fit the factor model: factors, R², how right its forecasts were; with --html the whole report."""
    found = _report(data, timeframe, (start, end), top, weights)
    table = Table(
        "factor", "mean a year", "volatility", "t", "|t| > 2", "VIF", "stability", "share now", box=None
    )
    parts = found.now.contributions(found.weights)
    for line in found.lines:
        figures = (line.mean, line.volatility, line.t, line.significant, line.vif, line.stability)
        forms = ("+.0%", ".0%", "+.1f", ".0%", ".2f", ".2f")
        cells = [number(v, f) for v, f in zip(figures, forms, strict=True)]
        table.add_row(line.name, *cells, number(parts.get(line.name, float("nan")), ".1%"))
    share, bias = found.share, found.bias
    answer(
        {
            "source": found.source,
            "factors": found.lines,
            "shares": parts,
            **share,
            "bias": bias,
            "page": html,
        },
        table,
        f"R² {number(share['r2'], '.1%')}, specific share {number(share['specific'], '.1%')}; bias of the "
        f"portfolio's forecasts {number(bias.bias, '.3f')} (right: {number(bias.low, '.3f')} to "
        f"{number(bias.high, '.3f')}), QLIKE {number(bias.qlike, '.3f')}",
        *_write(found, html),
    )


@risk_app.command("var", example="bascule risk var --data runs/demo/store --level 0.975")
def var(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    method: Annotated[str, typer.Option(help="historical, parametric or filtered")] = "filtered",
    level: Annotated[float, typer.Option(help="confidence, e.g. 0.99")] = 0.99,
    window: Annotated[int, typer.Option(help="days of the quantile")] = 250,
    html: Html = None,
) -> None:
    """Measure value at risk and expected shortfall of a day, with their backtests."""
    from bascule.risk import TailSettings

    settings = TailSettings.read({"method": method, "level": level, "window": window}, where="options")
    found = _report(data, timeframe, (start, end), top, weights, settings)
    told = found.coverage
    value, beyond = float(found.tail.var[-1]), float(found.tail.es[-1])
    if told is None:
        backtest = f"no backtest: fewer than {window} days of history"
    else:
        verdict = "within" if told.good else "OUTSIDE"
        backtest = (
            f"{told.hits} losses beyond it in {told.count} days, {verdict} Kupiec's {told.band[0]} to "
            f"{told.band[1]}; independence p = {number(told.independence_p, '.3f')}"
        )
    answer(
        {
            "source": found.source,
            "level": level,
            "var": value,
            "expected_shortfall": beyond,
            "backtest": told,
            "good": None if told is None else told.good,
            "page": html,
        },
        f"VaR {level:.0%} {number(value, '.2%')}, expected shortfall {number(beyond, '.2%')} of equity "
        "over the next day",
        backtest,
        *_write(found, html),
    )


@risk_app.command("stress", example="bascule risk stress --data runs/demo/store")
def stress(
    data: Data = None,
    timeframe: Frame = "1h",
    start: Start = None,
    end: End = None,
    top: Top = None,
    weights: Weights = None,
    html: Html = None,
) -> None:
    """Show what past crises and new shocks do to a portfolio."""
    found = _report(data, timeframe, (start, end), top, weights)
    table = Table("scenario", "equity", "worst position", "moved by beta", "note", box=None)
    for one in found.losses:
        worst = f"{one.worst[0][0]} {-one.worst[0][1]:+.1%}" if one.worst else "–"
        table.add_row(one.name, f"{-one.loss:+.1%}", worst, f"{one.proxied:.0%}", one.note)
    told = {"source": found.source, "scenarios": found.losses, "page": html}
    answer(told, table, *_write(found, html))


@risk_app.command("causal", example="bascule risk causal examples/causal.yaml --controls size,beta")
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
    """Check a cause: roles of controls, adjustment sets, the effect, and attempts to refute it.

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
    with bar("Causal check") as progress:
        progress(0, 1, f"{repeats} repeats")
        found = risk.causal_check(dag, arrays, settings, controls=given, slices=slices)
    answer(
        {
            "source": source,
            "candles": panel.shape[0],
            "roles": found.roles,
            "sets": found.sets,
            "problems": [one.text for one in found.problems],
            "effects": {"naive": found.naive, "adjusted": found.adjusted, "yours": found.given},
            "refutations": [{**vars(one), "passed": one.passed} for one in found.refutations],
            "slices": {
                kind: {"same_sign": one.same_sign, "count": len(one.effects), "q_p_value": one.q_p_value}
                for kind, one in found.slices.items()
            },
        },
        *_causes(found),
        f"{source}, {panel.shape[0]:,} candles",
    )


def _causes(found: CausalReport) -> list[Table | str]:
    """What a causal check found, for people."""
    table = Table("node", "role", box=None)
    for name, roles in found.roles.items():
        table.add_row(name, " and ".join(roles))
    sets = "; ".join("{" + ", ".join(one) + "}" for one in found.sets)
    shown: list[Table | str] = [
        table,
        f"minimal adjustment sets: {sets or 'none can be had from these data'}",
        *(f"your controls: {one.text}" for one in found.problems),
    ]
    effects = Table("effect", "controls", "coefficient", "error", "t", "R²", "robustness", box=None)
    for label, effect in (("naive", found.naive), ("adjusted", found.adjusted), ("yours", found.given)):
        if effect is not None:
            effects.add_row(label, *_effect(effect))
    shown.append(effects)
    for attack in found.refutations:
        verdict = "stood" if attack.passed else "FELL"
        figures = f"{attack.mean:+.3g} ± {attack.spread:.2g} against {attack.expected:+.3g}"
        shown.append(f"{attack.name}: {figures}: {verdict}")
    for kind, steady in found.slices.items():
        shown.append(
            f"{kind}: {steady.same_sign:.0%} of {len(steady.effects)} slices have its sign; "
            f"one effect for all: p = {number(steady.q_p_value, '.3f')}"
        )
    return shown


@risk_app.command(
    "construct",
    example="bascule risk construct --data runs/demo/store --alpha '-($close/Ref($close,24)-1)' --out w.csv",
)
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
    """Construct a portfolio after the last candle: weights, risk, and the limits that hold it back."""
    import numpy as np

    from bascule import portfolio, risk

    chosen = read_settings(portfolio.ConstructionSettings, settings)
    panel, source = _panel(data, timeframe, start, end, top)
    with bar("Risk model") as progress:
        progress(0, 1, "")
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
    exposures_ = ", ".join(f"{name} {value:+.2f}" for name, value in found.exposures.items())
    if out is not None:
        _write_weights(found, out)
    told = {name: value for name, value in vars(found).items() if name not in ("instruments", "weights")}
    weights = dict(zip(found.instruments, found.weights, strict=True))
    answer(
        {"source": source, "objective": chosen.objective, "weights": weights, **told, "file": out},
        table,
        f"{chosen.objective} of {source}: volatility {found.volatility:.1%} a year, turnover "
        f"{found.turnover:.2f}, cost {found.cost:.3%}; exposures: {exposures_}",
        *([f"held back by: {'; '.join(found.binding)}"] if found.binding else []),
        *([] if out is None else [f"weights: {out}"]),
    )


def _write_weights(found: Construction, path: Path) -> None:
    from bascule.core import files

    lines = [f"{name},{w:.10g}" for name, w in zip(found.instruments, found.weights, strict=True)]
    with files.atomic_file(path) as aside:
        aside.write_text("\n".join(["instrument,weight", *lines]) + "\n", "utf-8")


def _panel(
    data: Path | None, timeframe: str, start: str | None, end: str | None, top: int | None
) -> tuple[Panel, str]:
    from bascule.app.candles import read
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
    with bar("Risk model") as progress:
        progress(0, 1, "")
        return measure(panel, source, given, settings=settings)


def _write(found: RiskReport, html: Path | None) -> list[str]:
    """Write the page, if one is asked for; what to say of it."""
    if html is None:
        return []
    from bascule.app.riskreport import risk_page

    risk_page(found).write(html)
    return [f"page: {html}"]


def _effect(effect: Effect) -> list[str]:
    figures = (effect.coefficient, effect.error, effect.t, effect.r2, effect.robustness)
    forms = ("+.4g", ".2g", "+.1f", ".2%", ".2%")
    cells = [number(v, f) for v, f in zip(figures, forms, strict=True)]
    return [", ".join(effect.controls) or "none", *cells]
