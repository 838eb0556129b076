"""A robustness report as one page: verdicts first, then the figures behind each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bascule import __version__
from bascule.app import figures, robustfigures
from bascule.app.page import Card, Cell, Figure, Page, Section, Table, Tone, number
from bascule.bridge.freqtrade.robust import TITLES

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.robust import Cell as Scenario
    from bascule.bridge.freqtrade.robust import Outcome, Report, Slice

TONES: dict[Outcome, Tone] = {"passes": "good", "fragile": "fair", "fails": "bad", "unknown": "faint"}
_DRAWN = "draw "  # names of scenarios with all parameters drawn at once


def robust_page(report: Report, *, source: str, trade: TradeSettings, synthetic: bool) -> Page:
    """The page.

    Args:
        report: what a study found.
        source: what to call the candles.
        trade: the assumed costs.
        synthetic: the candles are of an invented market.
    """
    warnings = []
    if synthetic:
        warnings.append("Synthetic market: nothing here says anything about a real one.")
    if report.base.total is not None and report.base.total <= 0:
        warnings.append("The base loses after costs: there is nothing that could be robust.")
    return Page(
        title="Robustness",
        subtitle=f"{source}, {report.first} to {report.last} UTC; all figures after {trade.fee:.3%} fee and "
        f"{trade.slippage:.3%} slippage a side, unless a scenario says otherwise",
        warnings=warnings,
        cards=_cards(report),
        sections=[
            _verdicts(report),
            _base(report),
            _parts(report),
            _costs(report),
            _parameters(report),
            _timing(report),
            _histories(report),
            *([_freqtrade(report)] if report.points else []),
            _all(report),
        ],
        footer=f"Bascule {__version__} · bundle {report.bundle}",
    )


def _cards(report: Report) -> list[Card]:
    base = report.base
    counts = [sum(1 for one in report.verdicts if one.outcome == name) for name in TONES]
    return [
        Card("overall: the worst verdict", report.outcome, TONES[report.outcome]),
        Card("tests: pass, fragile, fail, unknown", " · ".join(str(one) for one in counts)),
        Card("return of the base, after costs", number(_float(base.total), "+.1%")),
        Card("Sharpe ratio of the base", number(_float(base.sharpe), ".2f")),
        Card("largest fall of the base", number(_float(base.max_drawdown), ".1%")),
        Card("scenarios run", f"{report.scenarios:,}"),
        Card("trials on this window before", f"{report.trials:,}"),
        Card("Sharpe ratio is real with probability", number(_float(report.deflated), ".0%")),
    ]


def _verdicts(report: Report) -> Section:
    rows: list[list[str | Cell]] = [
        [one.test, Cell(one.outcome, TONES[one.outcome]), one.reason] for one in report.verdicts
    ]
    note = "Passes, fragile or fails, each against two limits that the settings hold. Unknown is not a pass."
    return Section("Verdicts", note, tables=[Table(("test", "verdict", "why"), rows, words=True)])


def _base(report: Report) -> Section:
    note = (
        "The bundle's out-of-sample signals under the strategy's own rules, in the vectorised simulator: "
        f"{report.base.trades:,} closed trades, {number(_float(report.base.turnover), '.2f')} of the equity "
        "traded a day."
    )
    curve = Figure("Wealth and drawdown, after costs", figures.equity({"base": report.equity}), wide=True)
    return Section("The base", note, [curve])


def _parts(report: Report) -> Section:
    found = [
        Figure(title, robustfigures.parts(*_columns(parts)))
        for title, parts in (("By market regime", report.regimes), ("By quarter", report.quarters))
        if parts
    ]
    note = (
        "Regimes are those that the risk scores knew at each candle: the level of the market's risk, and "
        "whether it rose or fell over the trend window. A regime of less than 3 % of the time is left out."
    )
    return Section("Regimes and quarters", note, found)


def _columns(parts: Sequence[Slice]) -> tuple[list[str], list[float], list[float]]:
    return [one.name for one in parts], [one.total for one in parts], [one.share for one in parts]


def _costs(report: Report) -> Section:
    cells = report.of("costs")
    fees = sorted({float(one.scenario["fee"]) for one in cells})
    slippages = sorted({float(one.scenario["slippage"]) for one in cells})
    value = {(float(c.scenario["fee"]), float(c.scenario["slippage"])): _float(c.total) for c in cells}
    totals = [[value.get((fee, slip), float("nan")) for slip in slippages] for fee in fees]
    picture = robustfigures.cost_map(fees, slippages, totals)
    return Section("Costs", "Return over the whole period.", [Figure("Fee and slippage", picture, wide=True)])


def _parameters(report: Report) -> Section:
    cells = [one for one in report.of("parameters") if one.sharpe is not None]
    alone = [one for one in cells if not one.name.startswith(_DRAWN)]
    drawn = [_float(one.sharpe) for one in cells if one.name.startswith(_DRAWN)]
    mark = _float(report.base.sharpe)
    found = [Figure("One parameter moved", _dots(alone, mark), wide=True)]
    if drawn:
        picture = robustfigures.spread(drawn, mark, title="Sharpe ratio", form=".1f", y="parameter sets")
        found.append(Figure("All parameters drawn at once (line: base)", picture, wide=True))
    note = "A strategy on a plateau keeps most of its Sharpe ratio when its parameters are a little off."
    return Section("Parameters", note, found)


def _timing(report: Report) -> Section:
    mark = _float(report.base.sharpe)
    found = [
        Figure(title, _dots(cells, mark))
        for title, test in (
            ("Signals come late", "delay"),
            ("Begun later", "start"),
            ("An instrument left out", "instruments"),
        )
        if (cells := [one for one in report.of(test) if one.sharpe is not None])
    ]
    return Section("Delay, start, instruments", "Sharpe ratio after costs; dashed: the base.", found)


def _dots(cells: Sequence[Scenario], mark: float) -> object:
    names = [one.name for one in cells]
    return robustfigures.dots(names, [_float(one.sharpe) for one in cells], mark, title="Sharpe ratio")


def _histories(report: Report) -> Section:
    found = report.histories
    if found is None:
        return Section("Trade histories", "Too few trades to resample.")
    note = (
        f"{len(found.total):,} histories of {found.trades:,} trades ({report.resampled}), put together from "
        f"random stretches of {found.block:.1f} trades on average. {found.loss_probability:.1%} lose. "
        f"Without its best {found.best} trades the real history makes {found.without_best:+.1%}."
    )
    names = ("total return", "largest fall")
    rows = [
        [name, *(f"{q:+.1%}" for q in robustfigures.quantiles(values))]
        for name, values in zip(names, (found.total, found.drawdown), strict=True)
    ]
    return Section(
        "Trade histories",
        note,
        [
            Figure("Total return", robustfigures.spread(found.total, 0.0, title="return", form=".0%")),
            Figure(
                "Largest fall",
                robustfigures.spread(
                    found.drawdown, _float(report.base.max_drawdown), title="fall (line: base)", form=".0%"
                ),
            ),
        ],
        [Table(("", "5 %", "50 %", "95 %"), rows)],
    )


def _freqtrade(report: Report) -> Section:
    base = report.base
    rows = [["simulator: base", *_figures(base)]]
    rows += [[f"freqtrade: {TITLES[one.name]}", *_figures(one)] for one in report.points]
    note = (
        "The simulator knows nothing of minimum order sizes and order types; freqtrade does. Both mark to "
        "market, and both figures are after costs."
    )
    return Section("The real freqtrade", note, tables=[Table(_HEAD, rows)])


_HEAD = ("scenario", "return", "CAGR", "Sharpe", "largest fall", "trades")


def _figures(one: object) -> list[str]:
    forms = {"total": "+.1%", "cagr": "+.1%", "sharpe": ".2f", "max_drawdown": ".1%"}
    cells = [number(_float(getattr(one, name)), form) for name, form in forms.items()]
    return [*cells, f"{getattr(one, 'trades'):,}"]  # noqa: B009


def _all(report: Report) -> Section:
    rows = [[f"{one.test}: {one.name}", *_figures(one)] for one in report.cells]
    return Section("All scenarios", tables=[Table(_HEAD, rows, title=f"{len(rows)} scenarios", folded=True)])


def _float(value: float | None) -> float:
    return float("nan") if value is None else value
