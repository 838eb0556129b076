"""Floor 4: searching for factors, on one fast and honest evaluator.

1. `dimensions.py`, `grammar.py`: typed texts without unit, as tokens and as trees; `canonical.py`: their
   identity.
2. `problem.py`: train, valid and test rows; who sees what.
3. `evaluator.py`: scores in batches, cached and counted; `pool.py`: weights and what one more factor adds;
   `combination.py`: the pool's signal.
4. `contract.py`: what a searcher is; `searchers/`: the ways of searching, by name in `registry.py`, with
   `trees.py` and `sketches.py` to change and compare texts; `search.py`: the loop, its budget, its state on
   disk; `selection.py`: the pool that comes of it.
5. `verdict.py`: the test part, opened once, deflated by all that ever touched it.
"""

from bascule.miners.canonical import canonical
from bascule.miners.combination import combined, pool_ic
from bascule.miners.contract import Outcome, Searcher
from bascule.miners.dimensions import RATIO, Dimension, dimension
from bascule.miners.evaluator import EvaluationSettings, Evaluator, Score
from bascule.miners.grammar import Action, Derivation, Grammar, GrammarSettings
from bascule.miners.pool import Pool, PoolSettings
from bascule.miners.problem import Part, Problem, SplitSettings
from bascule.miners.registry import SEARCHERS, SearcherKind, searcher
from bascule.miners.search import Look, Miner, Search, SearchSettings
from bascule.miners.selection import Selection, SelectionSettings, Selector
from bascule.miners.verdict import Judgement, Member, open_test

__all__ = [
    "RATIO",
    "SEARCHERS",
    "Action",
    "Derivation",
    "Dimension",
    "EvaluationSettings",
    "Evaluator",
    "Grammar",
    "GrammarSettings",
    "Judgement",
    "Look",
    "Member",
    "Miner",
    "Outcome",
    "Part",
    "Pool",
    "PoolSettings",
    "Problem",
    "Score",
    "Search",
    "SearchSettings",
    "Searcher",
    "SearcherKind",
    "Selection",
    "SelectionSettings",
    "Selector",
    "SplitSettings",
    "canonical",
    "combined",
    "dimension",
    "open_test",
    "pool_ic",
    "searcher",
]
