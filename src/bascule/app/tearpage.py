"""The HTML pages of `tearsheet`: one factor in full, or many side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bascule import __version__, evaluate
from bascule.app.page import SYNTHETIC, Card, Cell, Figure, Page, Section, Table, Tone, number
from bascule.app.tearsheet import Measurement, plural, split_day
from bascule.core import Panel
from bascule.evaluate import Colour, Sheet
from bascule.factors import Factor

if TYPE_CHECKING:
    import pandas as pd

TONES: dict[Colour, Tone] = {"green": "good", "amber": "fair", "red": "bad", "unknown": "faint"}
MOST_BARS, MOST_ROWS, SIDE_BY_SIDE = 30, 60, 25


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
        f"{days[-1]}; out of sample from {split_day(found)}; label of "
        f"{plural(found.settings.horizon, 'candle')}; {plural(found.trials, 'trial')} on these days so far"
    )


def _warnings(found: Measurement) -> list[str]:
    said = []
    if found.source.startswith("synthetic"):
        said.append(SYNTHETIC)
    turned = [s.name for s in found.sheets if s.sign * s.outside.rank_ic.mean < 0]
    if turned:
        shown = ", ".join(turned[:6]) + (" …" if len(turned) > 6 else "")
        said.append(f"The sign of the rank IC turned out of sample: {shown}.")
    return said


def _cards(sheet: Sheet, found: Measurement) -> list[Card]:
    outside = sheet.outside
    tone = {line.measure: TONES[line.colour] for line in sheet.verdicts}
    low, high = (f"{end:+.3f}" for end in (sheet.interval.low, sheet.interval.high))
    return [
        Card("rank IC, out of sample", number(outside.rank_ic.mean, "+.4f"), tone["|rank IC|"]),
        Card("IC, out of sample", number(outside.ic.mean, "+.4f"), tone["|IC|"]),
        Card(f"Newey-West t (luck reaches {sheet.luck:.1f})", number(outside.rank_ic.t, "+.1f"), tone["|t|"]),
        Card(*_half_life(sheet)[::-1], tone["half-life (days)"]),
        Card("long-short a year, after cost", number(sheet.yearly, "+.0%")),
        Card("deflated Sharpe", number(sheet.deflated_sharpe, ".2f")),
        Card(f"{sheet.interval.level:.0%} interval of the rank IC", f"{low} … {high}"),
        Card("rank ICIR per candle", number(outside.rank_ic.ir, "+.3f")),
        Card("rank IC in sample", number(sheet.inside.rank_ic.mean, "+.4f"), "faint"),
        Card("capacity", _money(sheet.capacity)),
        Card("turnover of ranks a candle", number(sheet.turnover, ".3f")),
        Card("coverage", number(outside.coverage, ".0%")),
    ]


def _half_life(sheet: Sheet) -> tuple[str, str]:
    """The half-life, and what it is."""
    half, days = sheet.decay, sheet.timeframe.seconds / 86_400
    if not half.identified:
        return "–", f"no half-life: {half.reason}"
    shown = f"{sheet.half_life_days:.1f} d"
    if math.isnan(half.low):
        return shown, "half-life"
    high = "∞" if math.isinf(half.high) else f"{half.high * days:.1f}"
    return shown, f"half-life ({half.low * days:.1f} to {high})"


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
    lookback = "all history" if factor.lookback is None else plural(factor.lookback, "candle")
    about = ". ".join(
        part
        for part in (
            factor.note[:1].upper() + factor.note[1:],
            f"{factor.family.capitalize()}; {factor.source}",
            f"Reads {', '.join('$' + name for name in factor.inputs)} and {lookback}",
        )
        if part
    )
    lasts = " ".join(part for part in _half_life(sheet) if part != "–")
    excess = sheet.quantiles.mean - sheet.quantiles.mean.mean()
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
                Figure(f"Decay: {lasts}", tearfigures.decay(sheet.decay, unit)),
            ],
            [_split_table(sheet)],
            code=factor.text,
            code_title="the factor's text",
            code_open=True,
        ),
        Section(
            f"{title}What it earns",
            "Quantiles and long-short book out of sample, rebalanced once a horizon, cost "
            f"{found.settings.cost:g} a unit traded.",
            [
                Figure("Return by quantile", figures.quantiles(excess, f"{sheet.horizon} candles")),
                Figure("Quantiles over time, before cost", tearfigures.quantile_curves(index, sheet)),
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
    best = max(found.sheets, key=lambda s: abs(s.inside.rank_ic.t) if s.inside.rank_ic.n else 0.0)
    cards = [
        Card("factors", f"{len(found.sheets)}"),
        Card(f"best in sample: {best.name}", number(best.inside.rank_ic.mean, "+.4f"), "faint"),
        Card("the same out of sample", number(best.outside.rank_ic.mean, "+.4f")),
    ]
    together = found.together
    if together is not None:
        pool, verdict = together.pool.outside, together.verdict
        cards += [
            Card("significant after control", f"{sum(together.kept)} of {len(found.sheets)}"),
            Card(
                f"pool IC, out of sample (target {verdict.target:g})",
                number(verdict.value, "+.4f"),
                TONES[verdict.colour],
            ),
            Card(f"pool rank IC (t {number(pool.rank_ic.t, '.1f')})", number(pool.rank_ic.mean, "+.4f")),
            Card("groups of alike factors", f"{max(together.groups) + 1}"),
            Card("probability of overfitting", number(together.overfitting, ".0%")),
        ]
    return cards


def _comparison(found: Measurement) -> list[Section]:
    from bascule.app import figures, tearfigures

    together, sheets = found.together, found.sheets
    assert together is not None
    names = [s.name for s in sheets]
    order = sorted(range(len(names)), key=lambda i: -abs(_or_zero(sheets[i].outside.rank_ic.t)))
    shown = sorted(order[:MOST_BARS], key=lambda i: -_or_zero(sheets[i].outside.rank_ic.mean))
    bars, wide = [sheets[i].outside.rank_ic for i in shown], len(names) > SIDE_BY_SIDE
    errors = [abs(b.mean / b.t) if b.t and not math.isnan(b.t) else 0.0 for b in bars]
    verdict, word = together.verdict, tearfigures.WORDS[together.verdict.colour]
    pool = f"All in one pool: IC {number(verdict.value, '.3f')} of {verdict.target:g}, {word}"
    strongest = f"Rank IC, the {MOST_BARS} with the largest |t|" if len(names) > MOST_BARS else "Rank IC"
    return [
        Section(
            "Verdict",
            "Out of sample. The pool is the best linear combination in sample; its weights know nothing of "
            "later rows.",
            [
                Figure("Targets", tearfigures.tally(evaluate.tally([s.verdicts for s in sheets]))),
                Figure(pool, tearfigures.pooled(together.pool, verdict)),
            ],
        ),
        Section(
            "Side by side",
            "Out of sample, in the order of |t|; coloured by target. Significant: adjusted p below 0.05 "
            f"(Benjamini-Hochberg). In {found.trials:,} trials luck alone reaches |t| = {sheets[0].luck:.1f} "
            "once in twenty cases.",
            [
                Figure(strongest, figures.ic_bars([names[i] for i in shown], [b.mean for b in bars], errors)),
                Figure(
                    "Found in sample, left out of sample",
                    tearfigures.scatter(
                        names,
                        [s.inside.rank_ic.mean for s in sheets],
                        [s.outside.rank_ic.mean for s in sheets],
                        together.kept,
                        rows=len(shown),
                    ),
                ),
            ],
            [_comparison_table(found, order)],
        ),
        Section(
            "Alike, and together",
            "Correlations are of cross-sectional ranks in sample. Contributions are what the pool's rank IC "
            "out of sample loses without a factor.",
            [
                Figure(
                    "Marginal contribution to the pool",
                    tearfigures.contributions(together.contributions),
                    wide=wide,
                ),
                Figure(
                    "Correlation, alike ones side by side",
                    tearfigures.correlations(names, together.correlation, together.groups),
                    wide=wide,
                ),
            ],
        ),
    ]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _comparison_table(found: Measurement, order: Sequence[int]) -> Table:
    together = found.together
    assert together is not None
    rows: list[list[str | Cell]] = []
    for i in order:
        sheet = found.sheets[i]
        outside = sheet.outside
        tone = {line.measure: TONES[line.colour] for line in sheet.verdicts}
        rows.append(
            [
                sheet.name,
                Cell(number(sheet.inside.rank_ic.mean, "+.4f"), "faint"),
                Cell(number(outside.ic.mean, "+.4f"), tone["|IC|"]),
                Cell(number(outside.rank_ic.mean, "+.4f"), tone["|rank IC|"]),
                Cell(number(outside.rank_ic.t, "+.1f"), tone["|t|"]),
                Cell(number(together.adjusted[i], ".3f"), "" if together.kept[i] else "faint"),
                Cell(number(sheet.half_life_days, ".1f"), tone["half-life (days)"]),
                number(sheet.turnover, ".2f"),
                number(sheet.yearly, "+.0%"),
                number(sheet.deflated_sharpe, ".2f"),
                _money(sheet.capacity),
                f"{together.groups[i] + 1}",
            ]
        )
    head = (
        "factor", "in sample", "IC", "rank IC", "t", "adjusted p", "half-life d", "turnover", "net a year",
        "DSR", "capacity", "group",
    )  # fmt: skip
    title = f"All {len(rows)} factors" if len(rows) > MOST_ROWS else ""
    return Table(head, rows, title, folded=bool(title))


def _index(panel: Panel) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(panel.time, name="time")
