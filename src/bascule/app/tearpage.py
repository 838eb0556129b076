"""The HTML pages of `tearsheet`: one factor in full, or many side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bascule import __version__, evaluate
from bascule.app.page import Card, Figure, Page, Section, Table
from bascule.app.tearsheet import Measurement, half_life_days, number, split_day, turnover, yearly
from bascule.core import Panel
from bascule.evaluate import Sheet
from bascule.factors import Factor

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"green": "✔ met", "amber": "~ half", "red": "✘ missed", "unknown": "–"}


def page(found: Measurement) -> Page:
    """The tear sheet: with several factors a comparison first, then each in full."""
    first = found.sheets[0]
    single = len(found.sheets) == 1
    sections = [] if single else _comparison(found)
    for factor, sheet in zip(found.factors, found.sheets, strict=True):
        sections += _sections(factor, sheet, found)
    return Page(
        title=first.name if single else f"{len(found.sheets)} factors",
        subtitle=_subtitle(found),
        cards=_cards(first, found) if single else _group_cards(found),
        sections=sections,
        warnings=_warnings(found),
        footer=f"Bascule {__version__} · {found.source}",
    )


def comparison_page(found: Measurement) -> Page:
    """Factors side by side, without the full sheets."""
    return Page(
        title=f"{len(found.sheets)} factors compared",
        subtitle=_subtitle(found),
        cards=_group_cards(found),
        sections=_comparison(found),
        warnings=_warnings(found),
        footer=f"Bascule {__version__} · {found.source}",
    )


def _subtitle(found: Measurement) -> str:
    days = found.panel.time.astype("datetime64[D]")
    return (
        f"{found.source}: {found.panel.shape[1]} instruments, {found.panel.timeframe} candles, {days[0]} to "
        f"{days[-1]}; out of sample from {split_day(found)}; label of {found.settings.horizon} candles; "
        f"{found.trials:,} {'trial' if found.trials == 1 else 'trials'} on these days so far"
    )


def _warnings(found: Measurement) -> list[str]:
    said = []
    if found.source.startswith("synthetic"):
        said.append(
            "Synthetic market: these candles were generated, with formulas planted in them that can be "
            "found. Nothing here says anything about a real market."
        )
    turned = [s.name for s in found.sheets if s.sign * s.outside.rank_ic.mean < 0]
    if turned:
        shown = ", ".join(turned[:6]) + (" …" if len(turned) > 6 else "")
        said.append(f"The sign of the rank IC turned out of sample: {shown}.")
    return said


def _cards(sheet: Sheet, found: Measurement) -> list[Card]:
    outside, days = sheet.outside, found.panel.timeframe.seconds / 86_400
    half = sheet.decay
    half_text = f"{half.half_life * days:.1f} d" if half.identified else "–"
    if half.identified and not math.isnan(half.low):
        high = "∞" if math.isinf(half.high) else f"{half.high * days:.1f}"
        half_text += f" ({half.low * days:.1f} – {high})"
    return [
        Card("rank IC, out of sample", number(outside.rank_ic.mean, "+.4f")),
        Card(
            f"{sheet.interval.level:.0%} interval", f"{sheet.interval.low:+.3f} … {sheet.interval.high:+.3f}"
        ),
        Card(f"t (luck reaches {sheet.luck:.1f})", number(outside.rank_ic.t, "+.1f")),
        Card("IC", number(outside.ic.mean, "+.4f")),
        Card("rank ICIR per candle", number(outside.rank_ic.ir, "+.3f")),
        Card("half-life", half_text),
        Card("long-short a year, net", number(yearly(sheet, found.panel), "+.0%")),
        Card("deflated Sharpe", number(sheet.deflated_sharpe, ".2f")),
        Card("turnover a candle", number(turnover(sheet), ".2f")),
        Card("coverage", number(outside.coverage, ".0%")),
        Card("capacity", _money(sheet.capacity)),
        Card("rank IC in sample", number(sheet.inside.rank_ic.mean, "+.4f")),
    ]


def _money(value: float) -> str:
    if math.isnan(value):
        return "–"
    for unit, size in (("bn", 1e9), ("m", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def _sections(factor: Factor, sheet: Sheet, found: Measurement) -> list[Section]:
    from bascule.app import figures, tearfigures

    index, unit = _index(found.panel), str(found.panel.timeframe)
    lookback = "all history" if factor.lookback is None else f"{factor.lookback} candles"
    about = ". ".join(
        part
        for part in (
            factor.note[:1].upper() + factor.note[1:],
            f"{factor.family.capitalize()}; {factor.source}",
            f"Reads {', '.join('$' + name for name in factor.inputs)} and {lookback}",
        )
        if part
    )
    excess = sheet.quantiles.mean - sheet.quantiles.mean.mean()
    reason = "" if sheet.decay.identified else f" No half-life: {sheet.decay.reason}."
    parts = sheet.parts
    first = found.panel.time[sheet.split].astype("datetime64[Y]").astype(int) + 1970
    shades = ["#8a94a6" if int(year) < first else "#0f8b8d" for year in parts["year"].index]
    slices = [
        Figure("By regime (trailing 30 days)", tearfigures.parts(parts["regime"])),
        Figure("By liquidity tier (richest first)", tearfigures.parts(parts["tier"])),
        Figure("By year (grey: begins in sample)", tearfigures.parts(parts["year"], colour=shades)),
    ]
    if "hour" in parts:
        slices.append(Figure("By hour of the day (UTC)", tearfigures.parts(parts["hour"])))
    if "venue" in parts:
        slices.append(Figure("By venue, on the cells that all have", tearfigures.parts(parts["venue"])))
    title = "" if len(found.sheets) == 1 else f"{sheet.name} · "
    return [
        Section(
            f"{title}Verdict and foresight",
            f"{about}. Verdicts use out-of-sample rows only.",
            [
                Figure("Against the targets", tearfigures.verdicts(sheet.verdicts)),
                Figure("Cumulative IC", tearfigures.cumulative(index, sheet)),
                Figure("Rank IC × 100 by month (bold: out of sample)", tearfigures.months(index, sheet)),
                Figure("Decay", tearfigures.decay(sheet.decay, unit)),
            ],
            [_split_table(sheet)],
            code=factor.text,
            code_title="the factor's text",
        ),
        Section(
            f"{title}What it earns",
            "Quantiles and long-short book out of sample, rebalanced once a horizon, cost "
            f"{found.settings.cost:g} a unit traded.{reason}",
            [
                Figure("Return by quantile", figures.quantiles(excess, f"{sheet.horizon} candles")),
                Figure("Long-short", tearfigures.long_short(index, sheet)),
                Figure("Rank autocorrelation", tearfigures.autocorrelation(sheet.autocorrelation, unit)),
            ],
        ),
        Section(f"{title}Where it works", "Rank IC, out of sample but for the years.", slices),
    ]


def _split_table(sheet: Sheet) -> Table:
    rows = [
        (
            name,
            number(part.ic.mean, "+.4f"),
            number(part.ic.t, "+.1f"),
            number(part.rank_ic.mean, "+.4f"),
            number(part.rank_ic.ir, "+.3f"),
            number(part.rank_ic.t, "+.1f"),
            number(part.rank_ic.hit_rate, ".0%"),
            f"{part.rank_ic.n:,}",
        )
        for name, part in (("in sample (not judged)", sheet.inside), ("out of sample", sheet.outside))
    ]
    return Table(("", "IC", "t", "rank IC", "ICIR", "t", "hit rate", "candles"), rows)


def _group_cards(found: Measurement) -> list[Card]:
    together = found.together
    best = max(found.sheets, key=lambda s: abs(s.inside.rank_ic.t) if s.inside.rank_ic.n else 0.0)
    cards = [
        Card("factors", f"{len(found.sheets)}"),
        Card(f"best in sample: {best.name}", number(best.inside.rank_ic.mean, "+.4f")),
        Card("… out of sample", number(best.outside.rank_ic.mean, "+.4f")),
    ]
    if together is not None:
        pool = together.pool.outside
        cards += [
            Card("significant after control", f"{sum(together.kept)} of {len(found.sheets)}"),
            Card(
                f"pool IC, out of sample (target {together.verdict.target:g})",
                f"{number(together.verdict.value, '+.4f')} {MARKS[together.verdict.colour]}",
            ),
            Card(
                "pool rank IC (t)", f"{number(pool.rank_ic.mean, '+.4f')} ({number(pool.rank_ic.t, '.1f')})"
            ),
            Card("groups of alike factors", f"{max(together.groups) + 1}"),
            Card("probability of overfitting", number(together.overfitting, ".0%")),
        ]
    return cards


def _comparison(found: Measurement) -> list[Section]:
    from bascule.app import figures, tearfigures

    names = [s.name for s in found.sheets]
    together = found.together
    assert together is not None
    order = sorted(range(len(names)), key=lambda i: -abs(_or_zero(found.sheets[i].outside.rank_ic.t)))
    shown = order[:30]
    bars = [found.sheets[i].outside.rank_ic for i in shown]
    errors = [abs(b.mean / b.t) if b.t and not math.isnan(b.t) else 0.0 for b in bars]
    luck = found.sheets[0].luck
    return [
        Section(
            "Side by side",
            "Out of sample. Significant: false discoveries below 5 % (Benjamini-Hochberg). In "
            f"{found.trials:,} trials luck alone reaches |t| = {luck:.1f} once in twenty cases.",
            [
                Figure(
                    "Rank IC out of sample",
                    figures.ic_bars([names[i] for i in shown], [b.mean for b in bars], errors),
                ),
                Figure(
                    "Found in sample, left out of sample",
                    tearfigures.scatter(
                        names,
                        [s.inside.rank_ic.mean for s in found.sheets],
                        [s.outside.rank_ic.mean for s in found.sheets],
                        together.kept,
                    ),
                ),
            ],
            [_comparison_table(found, order)],
        ),
        Section(
            "Alike, and together",
            "Correlations are of cross-sectional ranks in sample. The pool's weights are fitted in sample; "
            "its IC and what it loses without a factor are measured out of sample.",
            [
                Figure("Correlation", tearfigures.correlations(names, together.correlation, together.groups)),
                Figure("Marginal contribution", tearfigures.contributions(together.contributions)),
            ],
        ),
    ]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _comparison_table(found: Measurement, order: Sequence[int]) -> Table:
    together = found.together
    assert together is not None
    rows = []
    for i in order:
        sheet = found.sheets[i]
        outside = sheet.outside
        rows.append(
            (
                sheet.name,
                number(sheet.inside.rank_ic.mean, "+.4f"),
                number(outside.ic.mean, "+.4f"),
                number(outside.rank_ic.mean, "+.4f"),
                number(outside.rank_ic.t, "+.1f"),
                number(together.adjusted[i], ".3f"),
                "yes" if together.kept[i] else "no",
                number(half_life_days(sheet, found.panel), ".1f"),
                number(turnover(sheet), ".2f"),
                number(yearly(sheet, found.panel), "+.0%"),
                number(sheet.deflated_sharpe, ".2f"),
                _money(sheet.capacity),
                f"{together.groups[i] + 1}",
                MARKS[evaluate.overall(sheet.verdicts)],
            )
        )
    head = (
        "factor", "rank IC in sample", "IC", "rank IC", "t", "adjusted p", "significant", "half-life d",
        "turnover", "net a year", "DSR", "capacity", "group", "targets",
    )  # fmt: skip
    return Table(head, rows)


def _index(panel: Panel) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(panel.time, name="time")
