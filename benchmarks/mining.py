"""Searching for factors: how fast candidates are judged, and what searchers find with the same budget.

    python benchmarks/mining.py --alphagen FOLDER              # evaluations against AlphaGen's evaluator
    python benchmarks/mining.py --sections searchers --seeds 5 --proposals 4000 --searchers random,evolution,qfr
    python benchmarks/mining.py --sections libraries --searchers evolution --data STORE_OR_PARQUET --horizon 24
    python benchmarks/mining.py --sections searchers --data STORE_OR_PARQUET --horizon 24

1. *Evaluations*: value, IC, and correlation with a pool of ten, of the 200 random formulae of `formulae.py`, on
   100 instruments × 17,520 hours, one thread. As a search does it: correlations by sketches (every so many rows);
   and over all rows. Members are evaluated once, outside of the clock, on both sides.
2. *Searchers*: each on the same rows with the same number of proposals; test IC of the pool that the valid part
   chose, share of what the planted formulae reach on the same rows, and CPU seconds, learning included. Means
   over seeds with standard errors.
3. *Libraries*: a mined pool against pools of Alpha158 and Alpha101, all chosen and weighted by the same rule from
   the same rows (`miners.selection`), on the same test rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import contenders
import formulae
import numpy as np

import engine as harness
from bascule import engine, factors
from bascule.app.candles import Candles, read
from bascule.app.mining import Plan, searcher_of
from bascule.core import Panel
from bascule.evaluate import deflated_threshold
from bascule.expr import parse
from bascule.miners import (
    SEARCHERS,
    EvaluationSettings,
    Evaluator,
    Grammar,
    GrammarSettings,
    Judgement,
    Miner,
    Part,
    Pool,
    PoolSettings,
    Problem,
    Search,
    SearchSettings,
    Selector,
    SplitSettings,
    open_test,
    pool_ic,
)
from bascule.miners.sketches import Sketches

MEMBERS = 10


def evaluations(path: Path, alphagen: Path | None, repeats: int) -> None:
    """CPU seconds a candidate."""
    panel = contenders.panel(100, 17_520)
    label = formulae.labels(panel)
    texts, theirs_texts = formulae.read(path)
    part = Part("train", panel, label[0], 0, 6, 5)
    took = []
    for _ in range(repeats):
        evaluator = Evaluator(part, EvaluationSettings(screen=1.0, threads=1))
        sketches = Sketches(part)
        sketches.threads = 1
        members = [score.text for score in evaluator.evaluate([parse(text) for text in texts[:MEMBERS]])]
        sketches.learn(members)
        evaluator = Evaluator(part, EvaluationSettings(screen=1.0, threads=1))
        begin = formulae.cpu_seconds()
        for start in range(0, len(texts), formulae.BATCH):
            nodes = [parse(text) for text in texts[start : start + formulae.BATCH]]
            scores = evaluator.evaluate(nodes)
            sketches.correlations([score.text for score in scores], members)
        took.append(formulae.cpu_seconds() - begin)
    mine = min(took) / len(texts)
    exact = _exact(part, texts)
    print(f"\nvalue + IC + correlation with {MEMBERS} members, 100 x 17,520, 1 thread")
    print(f"bascule   {mine * 1e3:8.1f} CPU ms a candidate, {60 / mine:6.0f} a core-minute (by sketches)")
    print(f"bascule   {exact * 1e3:8.1f} CPU ms a candidate, {60 / exact:6.0f} a core-minute (over all rows)")
    if alphagen is None:
        return
    peer = formulae.AlphaGen(alphagen, panel, label)
    held = [peer.values(text) for text in theirs_texts[:MEMBERS]]
    begin = formulae.cpu_seconds()
    some = theirs_texts[::4]
    for text in some:
        values = peer.values(text)
        peer.ic(values)
        for member in held:
            peer.mutual_ic(values, member)
    theirs = (formulae.cpu_seconds() - begin) / len(some)
    print(
        f"AlphaGen  {theirs * 1e3:8.1f} CPU ms a candidate ({len(some)} of them): {theirs / mine:.1f} x ours"
    )


def _exact(part: Part, texts: list[str]) -> float:
    """The same with correlations over all rows, of which the sketches' are an estimate."""
    evaluator = Evaluator(part, EvaluationSettings(screen=1.0, threads=1))
    members = [evaluator.values(text) for text in texts[:MEMBERS]]
    begin = formulae.cpu_seconds()
    some = texts[::4]
    for start in range(0, len(some), formulae.BATCH):
        scores = evaluator.evaluate([parse(text) for text in some[start : start + formulae.BATCH]])
        evaluator.mutual([score.text for score in scores], members)
    return (formulae.cpu_seconds() - begin) / len(some)


def oracle(problem: Problem, part: Part) -> float:
    """What the planted formulae reach on a part, fitted on the train part."""
    from bascule.data.planted import PLANTED

    evaluator, pool = Evaluator(problem.train, EvaluationSettings(screen=1.0)), Pool(PoolSettings(least_t=0))
    for alpha in PLANTED:
        score = evaluator.evaluate([parse(alpha.text)])[0]
        pool.add(score, evaluator.mutual([score.text], pool.values)[0], evaluator.values(score.text))
    return float(np.nanmean(pool_ic(pool.texts, pool.weights, part)))


def searchers(held: Candles, arguments: argparse.Namespace) -> None:
    """A table, one searcher a row."""
    split = SplitSettings(horizon=arguments.horizon)
    problem = Problem.of(held.panel, split)
    fields = tuple(name for name in GrammarSettings().fields if name in held.panel.fields)
    grammar = Grammar(GrammarSettings(fields=fields))
    best = oracle(problem, problem.test()) if held.synthetic is not None else None
    rows, width = held.panel.shape
    print(
        f"\n{held.source}, {width} x {rows}, label {split.horizon}, {arguments.proposals} proposals, {arguments.seeds} seeds"
    )
    if best is not None:
        print(f"planted formulae, weights fitted in train: test IC {best:.4f}")
    print(
        f"{'searcher':12} {'train':>8} {'valid':>8} {'test IC':>8} {'+-':>7} {'t':>6} {'of oracle':>9} {'trials':>7} {'CPU s':>7}"
    )
    for name in arguments.searchers.split(","):
        found: list[dict[str, Any]] = []
        for seed in range(arguments.seeds):
            settings = SearchSettings(proposals=arguments.proposals, cpu_seconds=arguments.cpu_seconds)
            plan = Plan(name, seed, split, grammar.settings, settings)
            searcher = searcher_of(plan, grammar, problem)
            assert searcher is not None
            search = Miner(problem, searcher, grammar, settings).run()
            judged = open_test(search, problem)
            found.append(
                {
                    "train": search.looks[-1].train, "valid": judged.valid, "test": judged.ic.mean,
                    "t": judged.ic.t, "trials": search.trials, "cpu": search.cpu_seconds,
                }
            )  # fmt: skip
        of = {key: mean(one[key] for one in found) for key in found[0]}
        error = stdev(one["test"] for one in found) / len(found) ** 0.5 if len(found) > 1 else float("nan")
        share = f"{of['test'] / best:9.0%}" if best else " " * 9
        print(
            f"{name:12} {of['train']:8.4f} {of['valid']:8.4f} {of['test']:8.4f} {error:7.4f} {of['t']:6.1f} {share} "
            f"{of['trials']:7.0f} {of['cpu']:7.1f}",
            flush=True,
        )


def libraries(held: Candles, arguments: argparse.Namespace) -> None:
    """A pool of each library, and a mined one, on the test part."""
    split = SplitSettings(horizon=arguments.horizon)
    problem = Problem.of(held.panel, split)
    fields = tuple(name for name in GrammarSettings().fields if name in held.panel.fields)
    grammar = Grammar(GrammarSettings(fields=fields))
    settings = SearchSettings(proposals=arguments.proposals)
    part = problem.test()
    first, last = (str(part.panel.time[row].astype("datetime64[D]")) for row in (part.first, -1))
    print(
        f"\n{held.source}, {held.panel.shape[1]} x {held.panel.shape[0]}, label {split.horizon}, test {first} to {last}"
    )
    print(f"{'pool':14} {'size':>5} {'tried':>6} {'IC':>8} {'t':>6} {'rank IC':>8} {'rank t':>7}  deflated")
    for name in ("alpha158", "alpha101"):
        nodes = [parse(factor.text) for factor in factors.library(name) if _known(factor.text, held.panel)]
        scores = Evaluator(problem.train, settings.evaluation).evaluate(nodes)
        unique = list({score.text: score for score in scores}.values())
        chosen = Selector(problem, settings.selection, settings.pool.size, settings.evaluation).select(unique)
        found = Search(name, chosen.texts, list(chosen.weights), list(chosen.scores), trials=len(unique))
        _told(open_test(found, problem), len(unique))
    for seed in range(arguments.seeds):
        plan = Plan(arguments.searchers, seed, split, grammar.settings, settings)
        searcher = searcher_of(plan, grammar, problem)
        assert searcher is not None
        found = Miner(problem, searcher, grammar, settings).run()
        found.name = f"{found.name} {seed}"
        _told(open_test(found, problem), found.trials)


def _known(text: str, panel: Panel) -> bool:
    """Whether a panel has the fields of a factor, which looks back at some rows only."""
    plan = engine.compile([text])
    return set(plan.fields) <= set(panel.fields) and plan.lookback is not None


def _told(judged: Judgement, tried: int) -> None:
    """One line; the bar is that of the best of all that was tried, as if all had been tried on these rows."""
    ic, rank, bar = judged.ic, judged.rank_ic, deflated_threshold(max(tried, 1))
    stands = "stands" if ic.t > bar else "does not stand"
    print(
        f"{judged.search.name:14} {len(judged.members):5} {tried:6} {ic.mean:8.4f} {ic.t:6.1f} {rank.mean:8.4f} "
        f"{rank.t:7.1f}  {stands} against t {bar:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sections", default="evaluations,searchers")
    shared = Path(__file__).resolve().parents[2] / "shared" / "bench"
    parser.add_argument("--formulae", type=Path, default=shared / "alphagen_expressions.txt")
    parser.add_argument("--alphagen", type=Path, help="folder of AlphaGen's repository")
    parser.add_argument("--searchers", default=",".join(SEARCHERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--proposals", type=int, default=2000)
    parser.add_argument("--cpu-seconds", type=float, help="a budget of time instead")
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument(
        "--data", type=Path, help="a store, a run's YAML or a panel; default: synthetic market"
    )
    parser.add_argument("--timeframe", default="1h")
    parser.add_argument("--start")
    parser.add_argument("--end")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(harness.machine())
    if "evaluations" in arguments.sections and arguments.formulae.is_file():
        evaluations(arguments.formulae, arguments.alphagen, arguments.repeats)
    if "libraries" in arguments.sections:
        libraries(read(arguments.data, arguments.timeframe, arguments.start, arguments.end), arguments)
    if "searchers" in arguments.sections:
        begin = time.perf_counter()
        searchers(read(arguments.data, arguments.timeframe, arguments.start, arguments.end), arguments)
        print(f"wall {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
