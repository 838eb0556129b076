"""All searchers on planted markets, at equal evaluations and at equal CPU time, with intervals over markets.

    python benchmarks/searchers.py run RESULTS.jsonl --markets 101-108 --alphagen FOLDER
    python benchmarks/searchers.py table RESULTS.jsonl

1. A market a seed: 30 instruments × 365 days of hours with four planted formulae, made with that seed, which is the
   searcher's seed as well. Train, valid and test rows as in `miners.problem`; label of 12 candles.
2. Each searcher runs once a market, on one thread, for so many CPU seconds, learning included, with a pool of ten.
   AlphaGen's own PPO and GP (`rivals.py`) run on the same rows for `--rival-share` times as long.
3. At each look the pool that the valid part would choose by then is remembered. Its test IC is computed when the
   search is over, off the clock; no searcher and no choice sees it.
4. Each finished search is one line of RESULTS, at once; what is there already is not run again.
5. `table`: test IC at CPU seconds and at numbers of evaluations, mean over markets with a bootstrap interval (95 %,
   markets drawn with replacement), share of what the planted formulae reach (weights fitted in train), and paired
   differences: each searcher against others on the same markets.

Evaluations: texts proposed (what was known already counts) for ours, formulae valued for AlphaGen's.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mining import oracle
from numpy.typing import NDArray
from rivals import KINDS, Rivals

import engine as harness
from bascule.app.mining import Plan, searcher_of
from bascule.core import Panel
from bascule.data.prepare import prepare
from bascule.data.synthetic import SyntheticSettings, generate
from bascule.miners import (
    SEARCHERS,
    EvaluationSettings,
    Grammar,
    GrammarSettings,
    Miner,
    Part,
    Problem,
    SearchSettings,
    SplitSettings,
    pool_ic,
)

Row = dict[str, Any]
# options of a searcher by another name: plain genetic programming as a baseline on our own evaluator
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain-gp": ("evolution", {"hierarchy": [], "diversity": None, "own": 1.0, "fresh": 0.0}),
}
HORIZON, DAYS = 12, 365


@cache
def market(seed: int) -> Problem:
    """The rows that searches of this seed run on."""
    made = generate(SyntheticSettings(seed=seed, days=DAYS))
    return Problem.of(prepare(Panel.from_long(made.frame, made.timeframe)), SplitSettings(horizon=HORIZON))


def ours(name: str, seed: int, problem: Problem, arguments: argparse.Namespace) -> list[Row]:
    """Learning curve of one of our searchers."""
    kind, options = VARIANTS.get(name, (name, {}))
    settings = SearchSettings(
        proposals=10_000_000, cpu_seconds=arguments.cpu_seconds, evaluation=EvaluationSettings(threads=1)
    )
    grammar = Grammar(GrammarSettings())
    searcher = searcher_of(
        Plan(kind, seed, problem.settings, grammar.settings, settings, options), grammar, problem
    )
    assert searcher is not None
    miner = Miner(problem, searcher, grammar, settings)
    seen: list[tuple[Row, list[str], list[float]]] = []

    def look(done: int, total: int, note: str = "") -> None:
        search = miner.search
        if len(search.looks) > len(seen):
            last = search.looks[-1]
            row = {
                "cpu": last.cpu_seconds,
                "evaluations": last.proposals,
                "train": last.train,
                "valid": search.best,
            }
            seen.append((row, search.texts, search.weights))

    miner.run(look)
    return _judged(seen, lambda texts, weights: _mean_ic(texts, weights, problem.test()))


def _mean_ic(texts: list[str], weights: list[float], part: Part) -> float:
    series = pool_ic(texts, np.array(weights), part)
    return float(np.nanmean(series)) if np.isfinite(series).any() else math.nan


def _judged(
    seen: Sequence[tuple[Row, list[str], list[float]]], judge: Callable[[list[str], list[float]], float]
) -> list[Row]:
    """With test ICs; a pool that stayed the best is judged once."""
    rows, last, value = [], None, math.nan
    for row, texts, weights in seen:
        if (texts, weights) != last:
            last, value = (texts, weights), judge(texts, weights) if texts else math.nan
        rows.append({**row, "test": value})
    return rows


def theirs(name: str, seed: int, problem: Problem, arguments: argparse.Namespace) -> list[Row]:
    """Learning curve of one of AlphaGen's: the valid part chooses among its pools as among ours."""
    settings = GrammarSettings()
    windows = tuple(sorted({*settings.windows, *settings.lags}))
    rival = Rivals(arguments.alphagen, problem.train, windows)
    limit = arguments.cpu_seconds * arguments.rival_share
    rows: list[Row] = []
    best, test, last = -math.inf, math.nan, None
    for one in rival.search(name, seed, limit, limit / 12):
        key = ([str(e) for e in one.expressions], one.weights)
        if one.expressions and key != last:
            last, valid = key, rival.ic(one, problem.valid)
            if valid > best:
                best, test = valid, rival.ic(one, problem.test())
        rows.append({"cpu": one.cpu, "evaluations": one.evaluations, "valid": best, "test": test})
    return rows


def run(arguments: argparse.Namespace) -> None:
    """All that is missing, market by market."""
    file: Path = arguments.results
    done = {(row["searcher"], row["market"]) for row in _read(file)} if file.exists() else set()
    names = [name for name in arguments.searchers.split(",") if name]
    if arguments.alphagen is not None:
        names += KINDS
    for seed in _markets(arguments.markets):
        todo = [name for name in names if (name, seed) not in done]
        if not todo:
            continue
        problem = market(seed)
        ceiling = oracle(problem, problem.test())
        for name in todo:
            curve = (theirs if name in KINDS else ours)(name, seed, problem, arguments)
            line = {"searcher": name, "market": seed, "oracle": ceiling, "curve": curve}
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            print(
                f"{name:14} market {seed}: test {curve[-1]['test']:.4f} of {ceiling:.4f}, "
                f"{curve[-1]['evaluations']:,} evaluations, {curve[-1]['cpu']:.0f} CPU s",
                flush=True,
            )
        market.cache_clear()


def _markets(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _read(*files: Path) -> list[Row]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line]


# -- tables ------------------------------------------------------------------------------------------


def at(curve: Sequence[Row], key: str, limit: float) -> float:
    """Test IC of the pool that was chosen when the budget ran out; 0 = no pool yet; NaN = not run so far."""
    before = [row for row in curve if row[key] <= limit * 1.02]
    if not before:
        return 0.0
    if curve[-1][key] < limit * 0.9:
        return math.nan
    return float(np.nan_to_num(before[-1]["test"]))


Floats = NDArray[np.float64]


def interval(
    values: Floats, statistic: Callable[[Floats], Floats], draws: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap of a statistic of rows ``[markets, ...]``, markets drawn together."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(statistic(values[rows]), [0.025, 0.975])
    return float(low), float(high)


def table(arguments: argparse.Namespace) -> None:
    """Print what the results say."""
    lines = _read(*arguments.results)
    names = list(dict.fromkeys(line["searcher"] for line in lines))
    curves = {(line["searcher"], line["market"]): line for line in lines}
    for key, limits in (
        ("cpu", [float(x) for x in arguments.at_cpu.split(",")]),
        ("evaluations", [float(x) for x in arguments.at_evaluations.split(",")]),
    ):
        for limit in limits:
            print(f"\nat {limit:g} {key}")
            found: dict[str, dict[int, float]] = {}
            for name in names:
                values = {m: at(line["curve"], key, limit) for (n, m), line in curves.items() if n == name}
                found[name] = {m: value for m, value in values.items() if not math.isnan(value)}
            for name in sorted(names, key=lambda n: -float(np.mean(list(found[n].values()) or [-1.0]))):
                if found[name]:
                    _line(name, found[name], curves)
            for one, other in (pair.split(":") for pair in arguments.pairs.split(",")):
                if found.get(one) and found.get(other):
                    _pair(one, other, found)


def _line(name: str, values: dict[int, float], curves: dict[tuple[str, int], Row]) -> None:
    test = np.array(list(values.values()))
    best = np.array([curves[name, market_]["oracle"] for market_ in values])
    low, high = interval(test, lambda rows: rows.mean(1))
    share = interval(np.stack([test, best], 1), lambda rows: rows[..., 0].mean(1) / rows[..., 1].mean(1))
    print(
        f"{name:14} {test.mean():7.4f}  [{low:.4f}, {high:.4f}]  of oracle {test.mean() / best.mean():4.0%} "
        f"[{share[0]:.0%}, {share[1]:.0%}]  {len(test)} markets"
    )


def _pair(one: str, other: str, found: dict[str, dict[int, float]]) -> None:
    """Paired on the markets that both ran on: difference, and ratio of the means."""
    both = sorted(found[one].keys() & found[other].keys())
    if len(both) < 2:
        return
    pairs = np.array([(found[one][m], found[other][m]) for m in both])
    gap = pairs[:, 0] - pairs[:, 1]
    low, high = interval(gap, lambda rows: rows.mean(1))
    with np.errstate(all="ignore"):
        ratio = pairs[:, 0].mean() / pairs[:, 1].mean()
        span = interval(pairs, lambda rows: rows[..., 0].mean(1) / rows[..., 1].mean(1))
    told = f"{ratio - 1:+.0%} [{span[0] - 1:+.0%}, {span[1] - 1:+.0%}]" if pairs[:, 1].mean() > 0.002 else "-"
    print(f"  {one} - {other}: {gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]; {told}; {len(both)} markets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument("results", type=Path)
    runner.add_argument("--markets", default="101-108", help="seeds, such as 101-108")
    runner.add_argument("--searchers", default=",".join([*SEARCHERS, *VARIANTS]))
    runner.add_argument("--alphagen", type=Path, help="folder of AlphaGen's repository")
    runner.add_argument("--cpu-seconds", type=float, default=20)
    runner.add_argument(
        "--rival-share", type=float, default=3, help="so many times as long for AlphaGen's own"
    )
    runner.set_defaults(work=run)
    teller = commands.add_parser("table")
    teller.add_argument("results", type=Path, nargs="+")
    teller.add_argument("--at-cpu", default="5,10,20,60")
    teller.add_argument("--at-evaluations", default="500,1000,2000")
    teller.add_argument(
        "--pairs",
        default="evolution:alphagen-ppo,evolution:alphagen-gp,evolution:ppo,evolution:plain-gp,evolution:random,qfr:ppo",
    )
    teller.set_defaults(work=table)
    arguments = parser.parse_args()
    print(harness.machine())
    arguments.work(arguments)


if __name__ == "__main__":
    sys.exit(main())
