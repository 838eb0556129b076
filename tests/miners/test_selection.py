"""The result of a search: chosen from all that was scored, apart, with the valid part's consent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bascule.expr import parse
from bascule.miners import (
    EvaluationSettings,
    Evaluator,
    Grammar,
    GrammarSettings,
    Miner,
    Problem,
    Score,
    SearchSettings,
    SelectionSettings,
    Selector,
    SplitSettings,
)
from bascule.miners.searchers.uniform import RandomSearch
from bascule.miners.sketches import Sketches
from tests.miners.markets import panel, problem

GRAMMAR = Grammar(GrammarSettings(windows=(5, 10, 24), lags=(1, 5), length=8))


def scored(count: int = 120) -> list[Score]:
    nodes = RandomSearch(GRAMMAR, 1).propose(count)
    unique = {score.text: score for score in Evaluator(problem().train).evaluate(nodes)}
    return list(unique.values())


def selector(size: int = 5, **settings: float) -> Selector:
    return Selector(problem(), SelectionSettings.model_validate(settings), size, EvaluationSettings())


def test_members_are_few_apart_and_agree_in_both_parts() -> None:
    chosen = selector(apart=0.5, least_t=1.0).select(scored())
    assert 2 <= len(chosen.scores) <= 5
    alike = np.abs(Sketches.of_part(problem().train).correlations(chosen.texts, chosen.texts))
    assert (alike[~np.eye(len(alike), dtype=bool)] <= 0.5).all()
    valid = Evaluator(problem().valid).evaluate([parse(text) for text in chosen.texts])
    assert all(one.ic * other.ic > 0 for one, other in zip(chosen.scores, valid, strict=True))


def test_what_turns_round_in_the_valid_part_is_refused() -> None:
    chosen = selector(least_t=1.0).select(scored())
    turned = [replace(score, ic=-score.ic, ir=-score.ir, t=-score.t) for score in chosen.scores]
    assert turned
    assert selector(least_t=1.0).select(turned).texts == []


def test_one_member_alone_has_the_ic_of_both_parts_as_weight() -> None:
    score = Evaluator(problem().train).evaluate([parse("$close/Ref($close,5)")])[0]
    valid = Evaluator(problem().valid).evaluate([parse(score.text)])[0]
    chosen = selector(ridge=0.0).select([score])
    # 450 rows of 900 in train, 225 in valid
    assert chosen.weights == pytest.approx([(2 * score.ic + valid.ic) / 3])


def test_the_order_of_scores_does_not_matter() -> None:
    one, two = (selector(least_t=1.0).select(s) for s in (scored(), scored()[::-1]))
    assert (one.texts, one.weights) == (two.texts, two.weights)


def test_nothing_comes_of_nothing() -> None:
    assert selector().select([]).texts == []
    weak = [score for score in scored() if abs(score.t) < 8]
    assert weak
    assert selector(least_t=20.0).select(weak).texts == []


def test_the_result_does_not_depend_on_the_test_rows() -> None:
    market = panel(planted=0.3)
    later = np.arange(900)[:, None] >= 675
    noise = np.random.default_rng(5).uniform(0.5, 2.0, (900, 16)).astype(np.float32)
    changed = {name: np.where(later, values * noise, values) for name, values in market.fields.items()}
    results = []
    for one in (market, market.with_fields(**changed)):
        cut = Problem.of(one, SplitSettings(horizon=4))
        found = Miner(cut, RandomSearch(GRAMMAR, 2), GRAMMAR, SearchSettings(proposals=128)).run()
        results.append((found.texts, found.weights, found.looks[-1].valid))
        assert found.texts
    assert results[0] == results[1]
