"""The planner: sharing, look-back, groups, what is let go, and what it says about itself."""

from __future__ import annotations

import pytest

from bascule import engine
from bascule.core import ExpressionError
from bascule.engine.rewrite import rewritten
from bascule.expr import parse
from bascule.expr.elementwise import Abs


@pytest.mark.parametrize(
    ("text", "lookback", "lookahead"),
    [
        ("$close", 0, 0),
        ("Mean($close,5)", 4, 0),
        ("Ref($close,5)", 5, 0),
        ("Delta($close,5)", 5, 0),
        ("Ref(Mean($close,5),3)", 7, 0),
        ("Mean(Ref($close,3),5)+Std($open,20)", 19, 0),
        ("Corr($close/Ref($close,1),$volume,10)", 10, 0),
        ("TSZScore($close,10)", 9, 0),
        ("Max(Min($low,5),5)", 8, 0),
        ("Ref($close,-5)", 0, 5),
        ("Delta($close,-5)", 0, 5),
        ("Ref(Ref($close,-5),5)", 0, 0),
        ("Ref(Ref($close,5),-5)", 0, 0),
        ("Ref(Mean($close,5),-2)", 2, 2),
        ("Ref(Mean($close,5),-10)", 0, 10),
        ("Mean($close,0)", None, 0),
        ("Ref($close,0)", None, 0),
        ("CSRank(Mean($close,5))", 4, 0),
        ("ChangeInstrument('A_USDT',Mean($close,5))", 4, 0),
        ("EMA($close,1)", 0, 0),
        # alpha 1/3: (2/3)**52 is the first power below 1e-9
        ("EMA($close,5)", 52, 0),
    ],
)
def test_reach_is_derived(text: str, lookback: int | None, lookahead: int) -> None:
    plan = engine.compile([text])
    assert (plan.lookback, plan.lookahead) == (lookback, lookahead)


def test_common_parts_are_computed_once() -> None:
    one = engine.compile(["Mean($close,5)/$close"])
    two = engine.compile(
        ["Mean($close,5)/$close", "$close/$open", "Mean($close,5)/$close", "Add($close,$open)"]
    )
    count = sum(len(step.nodes) for step in one.stages[0].steps)
    assert sum(len(step.nodes) for step in two.stages[0].steps) == count + 3


def test_windows_of_one_operand_are_one_step() -> None:
    plan = engine.compile(
        ["Mean($close,5)", "Sum($close,10)", "Std($close,5)", "Slope($close,20)", "Mean($open,5)"]
    )
    steps = [step for step in plan.stages[0].steps if step.family != "load"]
    assert sorted((step.family, len(step.nodes)) for step in steps) == [
        ("moments", 2), ("sums", 1), ("sums", 2),
    ]  # fmt: skip


def test_every_value_is_let_go_after_its_last_use() -> None:
    plan = engine.compile(["Mean($close+1,5)/$open", "$close+1"])
    (stage,) = plan.stages
    freed = [node for step in stage.steps for node in step.frees]
    assert len(freed) == len(set(freed))
    assert set(freed) == {node for step in stage.steps for node in step.nodes}
    alive: set[object] = set()
    for step in stage.steps:
        assert set(step.operands) <= alive | set(step.nodes)
        alive |= set(step.nodes)
        alive -= set(step.frees)


def test_operators_over_all_history_make_stages() -> None:
    plan = engine.compile(["Mean(Sum($close-Mean($close,0),0),5)"])
    assert [len(stage.expands) for stage in plan.stages] == [1, 1, 0]


def test_rewrites_keep_the_meaning_in_simpler_operators() -> None:
    assert rewritten(parse("Delta($close,2)"), {}) == parse("$close-Ref($close,2)")
    assert rewritten(parse("TSZScore($close,3)"), {}) == parse("($close-Mean($close,3))/Std($close,3)")
    assert rewritten(parse("Mask($close,'X')"), {}) == parse("ChangeInstrument('X',$close)")
    assert rewritten(parse("Mean(Delta(Delta($a,1),1),2)"), {}) == parse(
        "Mean(($a-Ref($a,1))-Ref($a-Ref($a,1),1),2)"
    )


def test_plans_of_nothing_or_nonsense_are_refused() -> None:
    with pytest.raises(ExpressionError, match="no expressions"):
        engine.compile([])
    deep = parse("$close")
    for _ in range(500):
        deep = Abs(deep)
    with pytest.raises(ExpressionError, match="501 levels"):
        engine.compile([deep])
    with pytest.raises(ExpressionError, match="dialect"):
        engine.compile(["$close"], dialect="pandas")  # type: ignore[arg-type]


def test_the_plan_explains_itself() -> None:
    text = engine.compile(["Mean($close,5)/Ref($close,2)", "Sum($volume,0)"]).explain()
    assert "2 expressions over $close, $volume" in text
    assert "needs all history, 0 bars of future" in text
    assert "Mean($close,5)" in text
    assert "over all history: Sum($volume,0)" in text


def test_texts_are_canonical_and_in_order() -> None:
    plan = engine.compile(["Div( $Close , $open )", "Delta($close,1)"])
    assert plan.texts == ("$close/$open", "Delta($close,1)")
    assert plan.fields == ("close", "open")


def test_a_single_expression_needs_no_list() -> None:
    assert engine.compile("Mean($close,5)") == engine.compile([parse("Mean($close,5)")])


def test_the_graph_joins_operands_with_what_is_made_of_them() -> None:
    plan = engine.compile(["Mean($close,5)/$close", "Mean($close,5)", "Sum($volume,0)"])
    graph = plan.graph()
    shown = {(str(a), str(b)) for a, b in graph.edges}
    assert ("$close", "Mean($close,5)") in shown
    assert ("Mean($close,5)", "Mean($close,5)/$close") in shown
    assert ("$volume", "Sum($volume,0)") in shown
    assert {str(node) for node in graph.outputs} == {
        "Mean($close,5)/$close",
        "Mean($close,5)",
        "Sum($volume,0)",
    }
    text = graph.dot()
    assert text.startswith("digraph plan {")
    assert text.count(" -> ") == len(graph.edges)
    assert text.count("peripheries=2") == 3
