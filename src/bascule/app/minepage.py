"""The HTML page of one search, or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bascule import __version__
from bascule.app import figures
from bascule.app.candles import Candles
from bascule.app.mining import Plan, table
from bascule.app.page import SYNTHETIC, Card, Cell, Figure, Page, Section, Table, Tone
from bascule.miners import Judgement, Look


def page(judgements: Sequence[Judgement], plans: Sequence[Plan], held: Candles) -> Page:
    """What was found, how it was searched, and whether it stands."""
    single = len(judgements) == 1
    sections = [_curves(judgements, plans), _test(judgements, plans)]
    if not single:
        head, rows = table(judgements)
        seeds = [[f"{row[0]} (seed {plan.seed})", *row[1:]] for row, plan in zip(rows, plans, strict=True)]
        sections.insert(0, Section("Side by side", tables=[Table(head, seeds, words=False)]))
    for judged, plan in zip(judgements, plans, strict=True):
        sections.append(_pool(judged, plan))
    names = ", ".join(dict.fromkeys(one.search.name for one in judgements))
    split = plans[0].split
    return Page(
        title=f"Mined by {names}",
        subtitle=(
            f"{held.source}: {held.panel.shape[1]} instruments, {held.panel.timeframe} candles; label of "
            f"{split.horizon} candles; {split.train:.0%} of the rows searched, {split.valid:.0%} selected "
            "on, the rest tested once"
        ),
        cards=_cards(judgements[0]) if single else _group_cards(judgements),
        sections=sections,
        warnings=[] if held.synthetic is None else [SYNTHETIC],
        footer=f"Bascule {__version__} · {held.source}",
    )


def _cards(judged: Judgement) -> list[Card]:
    tone: Tone = "good" if judged.found else "bad"
    found = judged.search
    return [
        Card("IC of the pool, test", f"{judged.ic.mean:+.4f}", tone),
        Card(f"Newey-West t (luck reaches {judged.threshold:.1f})", f"{judged.ic.t:+.1f}", tone),
        Card("rank IC, test", f"{judged.rank_ic.mean:+.4f}"),
        Card("IC, valid (chosen with it)", f"{judged.valid:.4f}", "faint"),
        Card("IC promised in train", f"{found.looks[-1].train if found.looks else math.nan:.4f}", "faint"),
        Card("trials", f"{found.trials:,}"),
        Card("CPU seconds", f"{found.cpu_seconds:,.0f}"),
        Card("factors that stand alone", f"{sum(m.stands for m in judged.members)} of {len(judged.members)}"),
    ]


def _group_cards(judgements: Sequence[Judgement]) -> list[Card]:
    best = max(judgements, key=lambda one: one.valid)
    return [
        Card("chosen by the valid part", best.search.name),
        Card("its IC, test", f"{best.ic.mean:+.4f}", "good" if best.found else "bad"),
        Card(f"its t (luck reaches {best.threshold:.1f})", f"{best.ic.t:+.1f}"),
        Card("searches that stand", f"{sum(one.found for one in judgements)} of {len(judgements)}"),
        Card("trials in all", f"{sum(one.search.trials for one in judgements):,}"),
    ]


def _named(judgements: Sequence[Judgement], plans: Sequence[Plan]) -> list[tuple[str, Judgement]]:
    several = len({plan.seed for plan in plans}) > 1
    return [
        (f"{one.search.name}, seed {plan.seed}" if several else one.search.name, one)
        for one, plan in zip(judgements, plans, strict=True)
    ]


def _curves(judgements: Sequence[Judgement], plans: Sequence[Plan]) -> Section:
    def drawn(x: str, y: str, at: Callable[[Look], float], value: Callable[[Look], float]) -> Any:
        named = _named(judgements, plans)
        curves = {
            name: ([at(k) for k in one.search.looks], [value(k) for k in one.search.looks])
            for name, one in named
        }
        return figures.lines(curves, x=x, y=y)

    valid, tried = "IC of the pool, valid part", "proposals"
    promised = "IC that its own pool promises"
    return Section(
        "Learning curves",
        "Searchers see the train part only. The valid part has its say in which factors make up the pool, so "
        "its IC there is flattered.",
        [
            Figure("By proposals", drawn(tried, valid, lambda k: k.proposals, lambda k: k.valid)),
            Figure("By time", drawn("CPU seconds", valid, lambda k: k.cpu_seconds, lambda k: k.valid)),
            Figure(
                "On the train part",
                drawn(tried, promised, lambda k: k.proposals, lambda k: k.train),
            ),
            Figure(
                "Size of the pool",
                drawn(tried, "factors in the pool", lambda k: k.proposals, lambda k: k.members),
            ),
        ],
    )


def _test(judgements: Sequence[Judgement], plans: Sequence[Plan]) -> Section:
    curves: dict[str, tuple[Sequence[Any], Sequence[float]]] = {}
    for name, one in _named(judgements, plans):
        total = np.nancumsum(one.series)
        at = np.unique(np.linspace(0, len(total) - 1, min(len(total), figures.MAX_POINTS)).astype(int))
        curves[name] = (at.tolist(), total[at].tolist())
    return Section(
        "On the test part",
        "Rows that nothing was chosen on; every look at them is counted.",
        [
            Figure(
                "Running sum of the pool's IC",
                figures.lines(curves, x="row of the test part", y="sum of ICs"),
                True,
            )
        ],
    )


def _pool(judged: Judgement, plan: Plan) -> Section:
    rows: list[list[str | Cell]] = [
        [
            m.text, f"{m.weight:+.3f}", f"{m.train:+.4f}", f"{m.test.mean:+.4f}", f"{m.test.t:+.1f}",
            Cell("stands", "good") if m.stands else Cell("–", "faint"),
        ]
        for m in sorted(judged.members, key=lambda m: -abs(m.weight))
    ]  # fmt: skip
    head = ["factor", "weight", "IC train", "IC test", "t test", "alone"]
    title = f"The pool of {judged.search.name}, seed {plan.seed}"
    note = (
        "A factor stands alone where its IC on the test part has the sign it had in training and is "
        "significant among the pool's factors (Benjamini-Hochberg, 5 %)."
    )
    return Section(title, note, tables=[Table(head, rows)])
