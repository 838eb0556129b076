"""Programs over registers: what they compile to, and that drawing, mutating and searching come to an end."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.miners import Grammar, GrammarSettings, canonical
from bascule.miners.searchers.machine import Machine, Operation, Program
from bascule.miners.searchers.programs import ProgramSearch, ProgramSettings
from bascule.miners.trees import size
from tests.miners.markets import problem

GRAMMAR = Grammar(GrammarSettings(windows=(5, 10, 24), lags=(1, 5), length=8))
MACHINE = Machine(GRAMMAR, ProgramSettings(relational=True))


def lines(*told: tuple[str, int, int, int, float]) -> tuple[Operation, ...]:
    return tuple(Operation(*one) for one in told)


def test_a_program_compiles_to_a_text_and_loses_its_redundant_lines() -> None:
    predict = lines(
        ("v_row", 0, 0, 0, 3.0),  # close, 24 bars
        ("v_row", 1, 0, 0, 4.0),  # volume, of no use
        ("v_window", 0, 0, 0, 10.0),
        ("s_Mean", 2, 0, 0, 0.0),
        ("s_last", 3, 0, 0, 0.0),
        ("s_add", 4, 3, 9, 0.0),  # register 9 is empty
        ("s_div", 1, 3, 2, 0.0),
        ("s_Corr", 5, 0, 1, 0.0),  # of no use
    )
    node, pruned = MACHINE.run(Program(predict=predict))
    assert str(node) == "$close/Mean($close,10)"
    assert pruned.predict == tuple(predict[i] for i in (0, 2, 3, 4, 6))
    assert MACHINE.run(pruned)[0] == node


def test_units_that_do_not_fit_do_nothing() -> None:
    start = lines(("v_row", 0, 0, 0, 3.0), ("v_row", 1, 0, 0, 4.0), ("s_TSZScore", 1, 0, 0, 0.0))
    wrong = lines(("v_add", 0, 0, 1, 0.0), ("v_row", 1, 0, 0, 3.0))
    node, pruned = MACHINE.run(Program(predict=(*start[:2], *wrong, start[2])))
    assert str(node) == "TSZScore($close,24)"
    assert len(pruned.predict) == 2


def test_update_is_what_the_next_bar_finds_and_matrices_work_by_rows() -> None:
    update = lines(("v_row", 2, 0, 0, 3.0), ("s_last", 3, 2, 0, 0.0))
    predict = lines(
        ("v_row", 0, 0, 0, 0.0), ("m_over", 1, 0, 0, 0.0), ("v_row", 1, 1, 0, 1.0), ("s_last", 2, 1, 0, 0.0),
        ("v_row", 0, 0, 0, 0.0), ("s_last", 4, 0, 0, 0.0), ("s_div", 5, 3, 4, 0.0), ("s_mul", 1, 5, 2, 0.0),
    )  # fmt: skip
    node, _ = MACHINE.run(Program(update=update, predict=predict))
    assert str(node) == "Ref($close,1)/$open*($high/$open)"


def test_relational_operations_and_constants() -> None:
    setup = lines(("s_const", 4, 0, 0, 0.0))
    predict = lines(
        ("v_row", 0, 0, 0, 4.0),
        ("s_TSZScore", 2, 0, 0, 0.0),
        ("s_max", 3, 2, 4, 0.0),
        ("s_rank", 1, 3, 0, 0.0),
    )
    node, pruned = MACHINE.run(Program(setup=setup, predict=predict))
    assert str(node) == "CSRank(Greater(TSZScore($volume,24),0))"
    assert pruned.setup == setup


def test_a_program_without_a_factor_has_no_text() -> None:
    assert MACHINE.run(Program())[0] is None
    price = lines(("v_row", 0, 0, 0, 3.0), ("s_last", 1, 0, 0, 0.0))
    assert MACHINE.run(Program(predict=price))[0] is None


def test_programs_of_a_grammar_that_is_used_up_are_proposed_again() -> None:
    """Else a search would look for ever for a text that there is not."""
    grammar = Grammar(GrammarSettings(fields=("close",), windows=(5,), lags=(1,), length=3))
    searcher = ProgramSearch(grammar, 0, problem().train, ProgramSettings(population=4))
    texts = [str(canonical(node)) for node in searcher.propose(50)]
    assert len(texts) == 50
    assert 1 < len(set(texts)) < 50


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_drawn_and_mutated_programs_are_factors_or_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = MACHINE.draw(rng)
    node, _ = MACHINE.run(program)
    assert node is not None
    for _ in range(10):
        program = MACHINE.mutated(program, rng)
        node, pruned = MACHINE.run(program)
        assert node is None or (GRAMMAR.accepts(node) and size(node) <= MACHINE.longest)
        assert MACHINE.run(pruned)[0] == node
