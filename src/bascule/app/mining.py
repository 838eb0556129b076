"""Searches for factors as a user starts them: from names and options to files.

A search's folder holds `state.npz` (to go on from), and when it is done `factors.yaml` (a catalogue that any
other command reads: `bascule factor report FOLDER/factors.yaml`), `result.json` (lineage and figures) and
`report.html`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bascule import __version__
from bascule.app.candles import Candles
from bascule.app.trials import Tries
from bascule.cluster import Executor
from bascule.core import ConfigError, Progress, files, silent
from bascule.evaluate import Ledger
from bascule.miners import (
    Grammar,
    GrammarSettings,
    Judgement,
    Miner,
    Problem,
    Searcher,
    SearcherKind,
    SearchSettings,
    SplitSettings,
    open_test,
    searcher,
)


@dataclass(frozen=True)
class Plan:
    """What to search with.

    Attributes:
        searcher: one of `miners.SEARCHERS`.
        seed: of all randomness.
        split: rows and label.
        grammar: which texts.
        search: how long.
        options: settings of the searcher itself.
        llm: settings of a language model, for the searchers that can ask one; empty = none.
    """

    searcher: str
    seed: int
    split: SplitSettings
    grammar: GrammarSettings
    search: SearchSettings
    options: dict[str, Any] = field(default_factory=dict)
    llm: dict[str, Any] = field(default_factory=dict)


def searcher_of(plan: Plan, grammar: Grammar, problem: Problem | None = None) -> Searcher | None:
    """The searcher of a plan; without a problem only what can be told of it beforehand is checked.

    Raises:
        ConfigError: there is none of that name, a setting is wrong, or a package is not installed.
    """
    kind = searcher(plan.searcher)
    settings = kind.read(plan.options, plan.searcher)
    asked = _language(kind, plan, grammar)
    if problem is None:
        return None
    return kind.build(grammar, plan.seed, problem.train, settings, **asked)


def _language(kind: SearcherKind, plan: Plan, grammar: Grammar) -> dict[str, Any]:
    """The argument that a language model becomes."""
    if not plan.llm:
        return {}
    if kind.llm is None:
        raise ConfigError(
            f"{plan.searcher} asks no language model", where="llm", remedy="leave llm.… away, or use mcts"
        )
    from bascule.miners.searchers.language import LanguageModel, LanguageProposer, LanguageSettings

    model = LanguageModel(LanguageSettings.read(plan.llm, where="llm"))
    return {"model": model} if kind.llm == "model" else {"proposer": LanguageProposer(model, grammar)}


def search(
    plan: Plan,
    held: Candles,
    folder: Path,
    progress: Progress = silent,
    *,
    executor: Executor | None = None,
) -> Judgement:
    """Search, judge, write the results; goes on where a killed search of the folder stood.

    Raises:
        ConfigError: the grammar names fields that the candles do not have, or a part has too few rows.
        StoreError: the folder holds another search, or a damaged one.
    """
    known = [name for name in plan.grammar.fields if name in held.panel.fields]
    if "fields" in plan.grammar.model_fields_set and len(known) < len(plan.grammar.fields):
        raise ConfigError(
            f"the candles do not have all of {', '.join(plan.grammar.fields)}",
            where="grammar.fields",
            remedy=f"fields at hand: {', '.join(held.panel.fields)}",
        )
    grammar = Grammar(plan.grammar.model_copy(update={"fields": tuple(known)}))
    problem = Problem.of(held.panel, plan.split)
    tries = Tries.on(held.ledger, held.synthetic)
    ledger, now = Ledger(tries.ledger), datetime.now(UTC)
    searcher = searcher_of(plan, grammar, problem)
    assert searcher is not None
    miner = Miner(
        problem,
        searcher,
        grammar,
        plan.search,
        folder=folder,
        ledger=ledger,
        data=tries.market,
        executor=executor,
        recipe={"seed": plan.seed, "options": plan.options},
    )
    found = miner.run(progress, now=now)
    judged = open_test(found, problem, ledger=ledger, data=tries.market, now=now)
    write(judged, plan, held, problem, folder)
    return judged


def write(judged: Judgement, plan: Plan, held: Candles, problem: Problem, folder: Path) -> None:
    """The catalogue and the figures of one search."""
    search_, days = judged.search, _days(problem, held)
    since, until = days["train"]
    lineage = (
        f"mined by {search_.name}, seed {plan.seed}, on {held.source} {since} to {until}, "
        f"{search_.trials} trials, Bascule {__version__}"
    )
    factors = [
        {
            "name": f"{search_.name}_{plan.seed}_{number:02d}".replace("-", "_"),
            "text": member.text,
            "family": "mined",
            "source": lineage,
            "note": f"IC {member.train:+.4f} in training, {member.test.mean:+.4f} in test "
            f"(t {member.test.t:+.1f})",
            "horizon": plan.split.horizon,
            "tags": ["mined", search_.name, *(["stands"] if member.stands else [])],
        }
        for number, member in enumerate(judged.members, 1)
    ]
    files.write_json(folder / "result.json", {**told(judged, plan, held), "days": days})
    with files.atomic_file(folder / "factors.yaml") as aside:
        text = yaml.safe_dump({"factors": factors}, sort_keys=False, allow_unicode=True, width=110)
        aside.write_text(text, "utf-8")


def told(judged: Judgement, plan: Plan, held: Candles) -> dict[str, Any]:
    """A search and its judgement as JSON."""
    found = judged.search
    return {
        "searcher": found.name,
        "seed": plan.seed,
        "data": held.source,
        "split": plan.split.model_dump(mode="json"),
        "grammar": plan.grammar.model_dump(mode="json"),
        "settings": plan.search.model_dump(mode="json"),
        "proposals": found.proposals,
        "trials": found.trials,
        "refused": found.refused,
        "cpu_seconds": round(found.cpu_seconds, 2),
        "valid_ic": _finite(judged.valid),
        "test": {"ic": _plain(judged.ic), "rank_ic": _plain(judged.rank_ic)},
        "looks": judged.looks,
        "threshold": judged.threshold,
        "found": judged.found,
        "members": [
            {"text": m.text, "weight": m.weight, "train": m.train, "test": _plain(m.test), "stands": m.stands}
            for m in judged.members
        ],
        "curve": [{k: _finite(v) for k, v in asdict(look).items()} for look in found.looks],
    }


def _plain(summary: Any) -> dict[str, float | None]:
    return {key: _finite(value) for key, value in asdict(summary).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _days(problem: Problem, held: Candles) -> dict[str, tuple[str, str]]:
    """First and last day of each part."""
    found = {}
    for part in (problem.train, problem.valid, problem.test()):
        days = part.panel.time.astype("datetime64[D]")
        found[part.name] = (str(days[part.first]), str(days[-1]))
    return found


def table(judgements: Sequence[Judgement]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a comparison, one search a row."""
    head = ["searcher", "trials", "CPU s", "size", "train", "valid", "test", "t", "rank", "verdict"]
    rows = []
    for one in judgements:
        found = one.search
        train = found.looks[-1].train if found.looks else math.nan
        rows.append(
            [
                found.name, f"{found.trials:,}", f"{found.cpu_seconds:.0f}", str(len(one.members)),
                f"{train:.4f}", f"{one.valid:.4f}", f"{one.ic.mean:+.4f}", f"{one.ic.t:+.1f}",
                f"{one.rank_ic.mean:+.4f}", "stands" if one.found else f"t < {one.threshold:.1f}",
            ]
        )  # fmt: skip
    return head, rows
