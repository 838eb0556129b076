"""Pool, evaluator and loop: right numbers, nothing of the future, resumable."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bascule import engine
from bascule.core import ConfigError, StoreError
from bascule.evaluate import Ledger, ic_series
from bascule.expr import Node, parse
from bascule.miners import (
    EvaluationSettings,
    Evaluator,
    Grammar,
    GrammarSettings,
    Miner,
    Pool,
    PoolSettings,
    Problem,
    SearchSettings,
    SplitSettings,
    pool_ic,
)
from bascule.miners.searchers.uniform import RandomSearch
from tests.miners.markets import panel, problem

GRAMMAR = Grammar(GrammarSettings(windows=(5, 10, 24), lags=(1, 5), length=8))
TEXTS = ("$close/Ref($close,5)", "$volume/Mean($volume,10)", "Rank($close,24)", "Std($close,10)/$close")


def settings(proposals: int = 96, **others: object) -> SearchSettings:
    return SearchSettings.model_validate({"proposals": proposals, "batch": 16, "look_every": 2, **others})


def test_parts_are_apart_and_hold_only_their_own_returns() -> None:
    market = panel(planted=0.3)
    cut = Problem.of(market, SplitSettings(horizon=4, embargo=10))
    a, b = 450, 675
    assert np.flatnonzero(np.isfinite(cut.train.label).any(1)).max() == a - 4 - 2
    seen = np.flatnonzero(np.isfinite(cut.valid.label).any(1))
    assert (seen.min(), seen.max()) == (a + 10, b - 4 - 2)
    seen = np.flatnonzero(np.isfinite(cut.test().label).any(1))
    assert (seen.min(), seen.max()) == (b + 10, 900 - 4 - 2)
    # nothing after a part is even there
    assert cut.train.panel.shape[0] == a
    assert cut.valid.panel.shape[0] == b


def test_what_comes_after_a_part_does_not_change_it() -> None:
    market = panel(planted=0.3)
    later = np.arange(900)[:, None] >= 450
    changed = {name: np.where(later, values * 3 + 1, values) for name, values in market.fields.items()}
    other = market.with_fields(**changed)
    one, two = Problem.of(market).train, Problem.of(other).train
    np.testing.assert_array_equal(one.label, two.label)
    nodes = [parse(text) for text in TEXTS]
    assert Evaluator(one).evaluate(nodes) == Evaluator(two).evaluate(nodes)


def test_too_few_rows_are_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="fewer than 20 rows"):
        Problem.of(panel().rows(0, 60), SplitSettings(horizon=12))


def test_scores_are_the_ic_of_the_part() -> None:
    part = problem().train
    scores = Evaluator(part, EvaluationSettings(screen=1.0)).evaluate([parse(text) for text in TEXTS])
    for text, score in zip(TEXTS, scores, strict=True):
        values = engine.evaluate([text], part.panel)[0]
        series = ic_series(values, part.label, np.isfinite(part.label))
        labelled = np.isfinite(part.label).sum(axis=1) >= part.min_breadth
        assert score.ic == pytest.approx(np.nansum(series) / labelled.sum(), abs=1e-6)
        assert score.full


def test_factors_that_seldom_speak_do_not_promise_what_they_cannot_hold() -> None:
    """Correlations over the rows of each pair alone are no matrix of correlations."""
    evaluator = Evaluator(problem().train, EvaluationSettings(screen=1.0))
    pool = Pool(PoolSettings(least_t=0.0, size=12))
    steps = [f"Sign(Delta($close,{n}))*Greater(0,Rank($volume,{m})-0.8)" for n in (1, 3, 5) for m in (5, 10)]
    for text in steps:
        score = evaluator.evaluate([parse(text)])[0]
        row = evaluator.mutual([score.text], pool.values)[0]
        if pool.admits(score, row):
            pool.add(score, row, evaluator.values(score.text))
    assert len(pool.scores) >= 3
    assert np.linalg.eigvalsh(pool.mutual).min() > 0
    series = pool_ic(pool.texts, pool.weights, problem().train)
    assert np.nansum(series) / len(series) == pytest.approx(pool.ic, abs=0.03)


def test_the_same_signal_in_other_words_is_told() -> None:
    evaluator = Evaluator(problem().train, EvaluationSettings(screen=1.0))
    texts = ("$close/$open", "Log($close/$open)", "$close/$open", "Abs($close/$open)")
    first, log, again, same = evaluator.evaluate([parse(text) for text in texts])
    assert again is first
    assert log.same_as is None
    assert same.same_as == first.text
    assert not same.usable
    assert evaluator.trials == 3


def test_screening_looks_at_the_better_half_in_full() -> None:
    evaluator = Evaluator(problem().train, EvaluationSettings(screen=0.3, keep=0.5))
    scores = evaluator.evaluate([parse(text) for text in TEXTS])
    assert sum(score.full for score in scores) == 2


def filled(size: int = 10) -> tuple[Pool, Evaluator]:
    evaluator = Evaluator(problem().train, EvaluationSettings(screen=1.0))
    pool = Pool(PoolSettings(size=size, least_t=0.0))
    for text in TEXTS[:3]:
        score = evaluator.evaluate([parse(text)])[0]
        pool.add(score, evaluator.mutual([score.text], pool.values)[0], evaluator.values(score.text))
    return pool, evaluator


def test_the_gain_of_a_candidate_is_what_it_then_adds() -> None:
    pool, evaluator = filled()
    score = evaluator.evaluate([parse(TEXTS[3])])[0]
    mutual = evaluator.mutual([score.text], pool.values)[0]
    before, (gain, t) = pool.worth, pool.gain(score, mutual)
    assert t > 0
    pool.add(score, mutual, evaluator.values(score.text))
    assert pool.worth - before == pytest.approx(gain, rel=1e-9)


def test_the_fit_is_the_combination_of_least_error() -> None:
    pool, _ = filled()
    matrix = pool.mutual + pool.settings.ridge * np.eye(3)
    best = pool.weights @ matrix @ pool.weights - 2 * pool.ics @ pool.weights
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = pool.weights + 0.01 * rng.standard_normal(3)
        assert other @ matrix @ other - 2 * pool.ics @ other >= best


def test_the_promised_ic_is_near_that_of_the_signal() -> None:
    pool, _ = filled()
    series = pool_ic(pool.texts, pool.weights, problem().train)
    assert np.nanmean(series) == pytest.approx(pool.ic, abs=0.02)


def test_a_full_pool_lets_the_least_useful_go() -> None:
    pool, evaluator = filled(size=3)
    worth = pool.worth
    score = evaluator.evaluate([parse(TEXTS[3])])[0]
    pool.add(score, evaluator.mutual([score.text], pool.values)[0], evaluator.values(score.text))
    assert len(pool.scores) == len(pool.values) == len(pool.weights) == 3
    assert pool.worth >= worth - 1e-12


def test_random_search_finds_the_planted_reversal() -> None:
    found = Miner(problem(), RandomSearch(GRAMMAR, 1), GRAMMAR, settings(320)).run()
    assert found.trials > 200
    assert found.finished
    test = pool_ic(found.texts, np.array(found.weights), problem().test())
    assert np.nanmean(test) > 0.05


def test_same_seed_same_search() -> None:
    one, two = (Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, settings()).run() for _ in range(2))
    assert (one.texts, one.weights) == (two.texts, two.weights)


def test_a_search_in_pieces_ends_like_one_in_one_go(tmp_path: Path) -> None:
    whole = Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, settings(128)).run()
    for proposals, seed in ((32, 3), (64, 99), (128, 99)):  # the state brings its own generator
        searcher = RandomSearch(GRAMMAR, seed)
        part = Miner(problem(), searcher, GRAMMAR, settings(proposals), folder=tmp_path / "s").run()
    assert part.texts == whole.texts
    np.testing.assert_allclose(part.weights, whole.weights, rtol=1e-12)
    assert [look.valid for look in part.looks] == pytest.approx([look.valid for look in whole.looks])
    assert part.trials == whole.trials


def test_a_state_of_another_search_is_refused(tmp_path: Path) -> None:
    Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, settings(32), folder=tmp_path).run()
    other = settings(64, pool={"size": 3})
    with pytest.raises(StoreError, match="settings"):
        Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, other, folder=tmp_path).run()


@pytest.mark.parametrize("damage", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 60])
def test_a_damaged_state_is_one_clear_error(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.npz").write_bytes(damage)
    with pytest.raises(StoreError, match="state of the search cannot be read"):
        Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, settings(32), folder=tmp_path).run()


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    for recipe in ({"seed": 3}, {"seed": 4}):
        miner = Miner(
            problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, settings(32), folder=tmp_path, recipe=recipe
        )
        if recipe == {"seed": 3}:
            miner.run()
            continue
        with pytest.raises(StoreError, match="recipe"):
            miner.run()


def test_every_trial_is_in_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "trials.sqlite")
    few = settings(selection={"candidates": 12})
    found = Miner(problem(), RandomSearch(GRAMMAR, 3), GRAMMAR, few, ledger=ledger, data="market").run()
    assert ledger.count("market").trials == found.trials
    # on the valid part those that the selection looked at, there and nowhere later
    part = problem().valid
    seen = ledger.count("market", part.panel.time[part.first])
    assert 12 <= seen.trials == seen.evaluations < found.trials
    part = problem().test()
    assert ledger.count("market", part.panel.time[part.first]).trials == 0


def test_a_searcher_that_has_no_more_ends_its_search_and_the_count_is_true(tmp_path: Path) -> None:
    class Short(RandomSearch):
        def propose(self, count: int) -> list[Node]:
            self.left = getattr(self, "left", 2) - 1
            return list(super().propose(count)) if self.left >= 0 else []

    for budget in (96, 192):  # the second one goes on from the state of the first
        found = Miner(problem(), Short(GRAMMAR, 3), GRAMMAR, settings(budget), folder=tmp_path).run()
        assert found.finished
    assert found.proposals == 64


def test_patience_ends_a_search_that_finds_nothing() -> None:
    noise = problem(planted=0.0)
    found = Miner(noise, RandomSearch(GRAMMAR, 0), GRAMMAR, settings(4000, patience=3)).run()
    assert found.proposals < 4000
    assert math.isfinite(found.cpu_seconds)
