"""Tear sheets: one page, or one terminal table, about factors; and comparisons of many.

1. `measure` computes the factors and their sheets (`bascule.evaluate.sheet`), and with two or more factors
   what only shows side by side: correlations, groups, the pool, control of multiple tests, overfitting.
2. `terminal` prints a table; `tearpage.py` lays all of it out as one self-contained HTML page.

Everything that is judged is out of sample; what is in sample is labelled so and gets no colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table as Terminal

from bascule import cluster, engine, evaluate
from bascule.app.page import number
from bascule.cluster import Executor
from bascule.core import Panel, Progress, silent
from bascule.evaluate import Sheet, SheetSettings, Verdict
from bascule.factors import Factor

STYLES = {"green": "green", "amber": "yellow", "red": "red", "unknown": "dim"}


@dataclass(frozen=True, eq=False)
class Together:
    """What shows only side by side; ``None`` stands in `Measurement` for a single factor.

    Attributes:
        correlation: mean rank correlations ``[F, F]``, in sample.
        groups: number of each factor's group.
        pool: the linear combination, fitted in sample, measured out of sample.
        verdict: of the pool, out of sample.
        contributions: what the pool loses out of sample without each factor.
        kept: significant out of sample after Benjamini-Hochberg.
        adjusted: adjusted p-values.
        overfitting: probability that picking the best in sample was luck (CSCV); NaN if it cannot be told.
    """

    correlation: Any
    groups: Sequence[int]
    pool: evaluate.Pool
    verdict: Verdict
    contributions: dict[str, float]
    kept: Sequence[bool]
    adjusted: Sequence[float]
    overfitting: float


@dataclass(frozen=True, eq=False)
class Measurement:
    """Factors, their sheets, and the panel's axis."""

    factors: tuple[Factor, ...]
    sheets: tuple[Sheet, ...]
    together: Together | None
    panel: Panel
    settings: SheetSettings
    source: str
    trials: int


def measure(
    factors: Sequence[Factor],
    panel: Panel,
    settings: SheetSettings,
    *,
    source: str,
    trials: int,
    venues: Mapping[str, Panel] | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Compute factors and measure them.

    Args:
        factors: whose inputs are all in the panel.
        panel: prepared, with members.
        settings: what to measure.
        source: where the data came from, for the page.
        trials: tries on the out-of-sample window so far, these included.
        venues: other venues, on whose candles the factors are computed and judged too.
        executor: where the factors are measured, a few at a time; default: here, one after the other.
        progress: told as the work advances.
    """
    texts, others = [f.text for f in factors], dict(venues or {})
    values = engine.evaluate(texts, panel, progress=progress)
    elsewhere = [engine.evaluate(texts, other) for other in others.values()]
    yardstick = evaluate.Yardstick(panel, settings, venues={source: panel, **others} if others else None)
    spread = executor or cluster.connect(workers=1)
    # workers prepare labels once a part: few parts, but enough to keep all of them busy
    parts = np.array_split(
        np.arange(len(factors)), len(factors) if spread.workers == 1 else 4 * spread.workers
    )
    tasks = {factors[part[-1]].name: (part.tolist(), trials) for part in parts if len(part)}
    shared = {
        "yardstick": yardstick,
        "names": [f.name for f in factors],
        "values": values,
        "elsewhere": elsewhere,
    }
    sheets = [
        one for part in spread.map(_sheets, tasks, shared=shared, progress=progress).values() for one in part
    ]
    together = _together(factors, values, sheets, panel, settings) if len(factors) > 1 else None
    return Measurement(tuple(factors), tuple(sheets), together, panel, settings, source, trials)


def _sheets(task: tuple[Sequence[int], int], shared: Mapping[str, Any]) -> list[Sheet]:
    """Sheets of the factors with these numbers."""
    numbers, trials = task
    return [
        shared["yardstick"].measure(
            shared["names"][index],
            shared["values"][index],
            trials=trials,
            elsewhere=[of_venue[index] for of_venue in shared["elsewhere"]],
        )
        for index in numbers
    ]


def _together(
    factors: Sequence[Factor], values: Any, sheets: Sequence[Sheet], panel: Panel, settings: SheetSettings
) -> Together:
    split, horizon = sheets[0].split, settings.horizon
    end = split - horizon - 1
    fit = evaluate.Sample.of(values[:, :end], panel.rows(0, end), horizon)
    test = evaluate.Sample.of(values[:, split:], panel.rows(split, None), horizon)
    names = [f.name for f in factors]
    correlation, pool = fit.correlation(), evaluate.pool(fit, test)
    tests = evaluate.benjamini_hochberg(evaluate.p_values([s.outside.rank_ic.t for s in sheets]))
    return Together(
        correlation=correlation,
        groups=evaluate.clusters(correlation).tolist(),
        pool=pool,
        verdict=evaluate.judge_pool(pool.outside, settings.targets),
        contributions=evaluate.contributions(fit, test, names),
        kept=tests.kept.tolist(),
        adjusted=tests.adjusted.tolist(),
        overfitting=_overfitting(sheets, panel),
    )


def _overfitting(sheets: Sequence[Sheet], panel: Panel) -> float:
    """PBO over daily mean rank ICs in sample, each factor in both directions, as a search would try them."""
    bars = panel.timeframe.bars_a_day
    inside = np.stack([s.rank_ic[: s.split - s.horizon - 1] for s in sheets], axis=1)
    days = len(inside) // bars
    if days < 32:
        return math.nan
    cut = inside[: days * bars].reshape(days, bars, -1)
    known = np.isfinite(cut)
    count = known.sum(axis=1)
    daily = np.where(known, cut, 0.0).sum(axis=1) / np.maximum(count, 1)
    daily[count == 0] = np.nan
    varies = np.nanstd(daily[:, (count > 0).any(axis=0)], axis=0) > 0
    if not varies.any():
        return math.nan
    return evaluate.overfitting(np.concatenate([daily, -daily], axis=1), 12).probability


# -- terminal ------------------------------------------------------------------------------------------


def terminal(found: Measurement) -> Terminal:
    """One line a factor: in sample dimmed, out of sample in the verdict's colours."""
    label = plural(found.settings.horizon, "candle")
    title = f"rank IC (rIC) over {label}; out of sample from {split_day(found)}"
    table = Terminal(title=title, box=None, title_justify="left", title_style="dim", collapse_padding=True)
    table.add_column("factor", no_wrap=True)
    for head in ("in rIC", "out IC", "out rIC", "t", "half-life", "turn", "net/yr", "DSR", "real"):
        table.add_column(head, justify="right", no_wrap=True)
    for index, sheet in enumerate(found.sheets):
        colours = {line.measure: STYLES[line.colour] for line in sheet.verdicts}
        kept = found.together.kept[index] if found.together else abs(sheet.outside.rank_ic.t) > sheet.luck
        days = sheet.half_life_days
        table.add_row(
            sheet.name,
            f"[dim]{number(sheet.inside.rank_ic.mean, '+.3f')}[/]",
            _styled(number(sheet.outside.ic.mean, "+.3f"), colours["|IC|"]),
            _styled(number(sheet.outside.rank_ic.mean, "+.3f"), colours["|rank IC|"]),
            _styled(number(sheet.outside.rank_ic.t, "+.1f"), colours["|t|"]),
            _styled("–" if math.isnan(days) else f"{days:.1f} d", colours["half-life (days)"]),
            number(sheet.turnover, ".2f"),
            number(sheet.yearly, "+.0%"),
            number(sheet.deflated_sharpe, ".2f"),
            "yes" if kept else "[dim]no[/]",
        )
    return table


def told(found: Measurement) -> dict[str, Any]:
    """The figures of `terminal` and `verdict_lines`, for programs."""
    factors = []
    for index, (factor, sheet) in enumerate(zip(found.factors, found.sheets, strict=True)):
        kept = found.together.kept[index] if found.together else abs(sheet.outside.rank_ic.t) > sheet.luck
        factors.append(
            {
                "name": sheet.name,
                "text": factor.text,
                "in_sample": {"ic": sheet.inside.ic, "rank_ic": sheet.inside.rank_ic},
                "out_of_sample": {"ic": sheet.outside.ic, "rank_ic": sheet.outside.rank_ic},
                "half_life_days": sheet.half_life_days,
                "turnover": sheet.turnover,
                "net_a_year": sheet.yearly,
                "deflated_sharpe": sheet.deflated_sharpe,
                "real": bool(kept),
                "verdicts": {line.measure: line.colour for line in sheet.verdicts},
            }
        )
    document = {
        "source": found.source,
        "horizon": found.settings.horizon,
        "split": split_day(found),
        "trials": found.trials,
        "factors": factors,
    }
    if found.together is not None:
        pool = found.together.pool.outside
        document |= {"pool": {"ic": pool.ic, "rank_ic": pool.rank_ic}}
        document |= {"overfitting": found.together.overfitting}
    return document


def verdict_lines(found: Measurement) -> list[str]:
    """What the table does not say: ICs by venue; targets met by how many, the pool, overfitting."""
    lines = [
        f"{sheet.name} by venue, on the cells that all have: "
        + ", ".join(
            f"{name} {number(ic, '+.3f')} (t {number(t, '.1f')})"
            for name, ic, t in zip(venues.index, venues["ic"], venues["t"], strict=True)
        )
        for sheet in found.sheets
        if (venues := sheet.parts.get("venue")) is not None
    ]
    if found.together is None:
        return lines
    targets = ", ".join(
        f"{measure} {counts['green']}"
        for measure, counts in evaluate.tally([sheet.verdicts for sheet in found.sheets]).items()
    )
    pool, verdict = found.together.pool.outside, found.together.verdict
    value = _styled(number(verdict.value, "+.4f"), STYLES[verdict.colour])
    ranks = f"rank IC {number(pool.rank_ic.mean, '+.4f')}, t {number(pool.rank_ic.t, '.1f')}"
    return [
        *lines,
        f"targets met out of sample, of {len(found.sheets)}: {targets}",
        f"pool IC out of sample {value} of {verdict.target:g} ({ranks}); "
        f"overfitting {number(found.together.overfitting, '.0%')}",
    ]


def _styled(text: str, style: str) -> str:
    return f"[{style}]{text}[/]"


def plural(count: int, thing: str) -> str:
    """``1 trial``, ``2,000 trials``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def split_day(found: Measurement) -> str:
    """First out-of-sample day."""
    return str(found.panel.time[found.sheets[0].split].astype("datetime64[D]"))
