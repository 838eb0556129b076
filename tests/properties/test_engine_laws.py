"""Laws that hold for every expression: no look-ahead, the same bits in every window, a faithful text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bascule import engine
from bascule.core import ExpressionError
from bascule.expr import OPERATORS, Node, parse
from bascule.testing import laws, operator, untidy
from tests.properties.expressions import columnwise, expressions

MARKET = untidy()
ROWS = MARKET.shape[0]
bounded = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

# one text for each operator with windows and levels as users write them; the laws run over each of them
SAMPLES = [
    "Abs($close-$open)", "Sign($close-$open)", "Log($volume)", "SignedLog($close-$open)", "Not($close>$open)",
    "$close+$open", "$close-$open", "$close*$open", "$close/$open", "Power($close,1.7)",
    "Power($close,$open)",
    "SignedPower($close-$open,0.5)", "Greater($close,$open)", "Less($close,$open)", "$close>$open",
    "$close>=$open", "$close<$open", "$close<=$open", "$close==$open", "$close!=$open",
    "($close>$open)&($volume>2)", "($close>$open)|($volume>2)", "If($close>$open,1,$volume)",
    "If($close-$open,1,2)", "Ref($close,7)", "Ref($close>$open,3)", "Delta($close,7)", "Sum($close,7)",
    "Mean($close>$open,7)", "Count($close,7)", "Var($close,7)", "Std($close,7)", "Skew($close,7)",
    "Kurt($close,7)", "Mad($close,7)", "Max($close,7)", "Min($close,7)", "IdxMax($close,7)",
    "IdxMin($close,7)",
    "Med($close,7)", "Rank($close,7)", "Quantile($close,7,0.3)", "TrimMean($close,7,0.2)",
    "Winsorize($close,7,0.1)", "TSZScore($close,7)", "TSMinMaxScale($close,7)", "Slope($close,7)",
    "Rsquare($close,7)", "Resi($close,7)", "WMA($close,7)", "EMA($close,3)", "EMA($close,0.6)",
    "Decay($close,7)", "Corr($close,$volume,7)", "Cov($close,$volume,7)", "CSRank($close/Ref($close,3))",
    "CSZScore($volume)", "CSDemean($close)", "CSQuantile($volume,0.7)",
    "CSNeutralize($close,Mean($volume,5))", "CSMadZ($close)", "CSRankGauss($volume)",
    "CSWinsorize($close,0.2)", "CSTrimDemean($volume,0.3)",
    "CSGroupZScore($close,Sign($close-$open)+2)", "TSMadZ($close,7)",
    "ChangeInstrument('B_USDT',Mean($close,3))", "Mask($close>$open,'B_USDT')",
]  # fmt: skip
ALL_HISTORY = [
    f"{name}($close,0)"
    for name in (
        "Ref", "Delta", "Sum", "Mean", "Count", "Var", "Std", "Skew", "Kurt", "Mad", "Max", "Min", "IdxMax",
        "IdxMin", "Med", "Rank", "Slope", "Rsquare", "Resi", "WMA", "EMA", "TSZScore", "TSMinMaxScale",
    )
] + ["Quantile($close,0,0.3)", "Mean(Sum($close>$open,0)/Count($close,0),5)"]  # fmt: skip


def test_the_samples_name_every_operator() -> None:
    from bascule.expr import walk

    used = {type(item).__name__ for text in SAMPLES for item in walk(parse(text))}
    assert used >= set(OPERATORS)


def values(node: Node | str) -> np.ndarray:
    return laws.values(node, MARKET)


def holds(law: Any, node: Node | str, *more: Any) -> None:
    assert law(parse(node) if isinstance(node, str) else node, MARKET, *more) is None


@pytest.mark.parametrize("text", SAMPLES + ALL_HISTORY)
def test_appending_rows_changes_nothing(text: str) -> None:
    holds(laws.no_future, text)
    holds(laws.appending_changes_nothing, text)


@pytest.mark.parametrize("text", SAMPLES)
def test_every_window_of_rows_gives_the_same_bits(text: str) -> None:
    lookback = engine.compile([text]).lookback
    assert lookback is not None
    windows = ((1, ROWS), (30, min(31 + lookback, ROWS)), (35, 60), (40, 41))
    holds(laws.windows_give_the_same_bits, text, windows)


@pytest.mark.parametrize("name", sorted(set(OPERATORS.built_in)))
def test_our_operators_hold_what_users_operators_must(name: str) -> None:
    # groups of equal prices have one member
    alone = name == "CSGroupZScore"
    assert [one for one in operator(OPERATORS[name]) if not (alone and one.law == "it says something")] == []


@bounded
@given(expressions(), st.integers(1, ROWS - 1))
def test_appending_rows_changes_nothing_for_any_expression(node: Node, cut: int) -> None:
    holds(laws.appending_changes_nothing, node, (cut,))


@bounded
@given(expressions(), st.integers(0, ROWS - 2), st.integers(1, ROWS))
def test_windows_give_the_same_bits_for_any_expression(node: Node, start: int, length: int) -> None:
    holds(laws.windows_give_the_same_bits, node, ((start, min(ROWS, start + length)),))


@bounded
@given(expressions(columnwise()), st.sampled_from(MARKET.instruments))
def test_other_instruments_do_not_matter(node: Node, name: str) -> None:
    alone = engine.evaluate([node], MARKET.select([name]))[0, :, 0]
    np.testing.assert_array_equal(alone, values(node)[:, MARKET.instruments.index(name)])


@bounded
@given(st.lists(expressions(), min_size=2, max_size=4))
def test_company_in_the_plan_does_not_matter(nodes: list[Node]) -> None:
    together = engine.evaluate(nodes, MARKET)
    for node, got in zip(nodes, together, strict=True):
        np.testing.assert_array_equal(got, values(node))


@bounded
@given(expressions())
def test_nothing_exists_before_the_listing(node: Node) -> None:
    assert np.isnan(values(node)[~MARKET.started]).all()


@settings(bounded, max_examples=200)
@given(expressions())
def test_text_and_node_are_the_same(node: Node) -> None:
    assert parse(str(node)) == node
    assert str(parse(str(node))) == str(node)


PIECES = st.sampled_from(
    ["$close", "$", "Mean(", "Ref(", "If(", "Corr(", "(", ")", ",", "5", "0.3", "-", "+", "*", "**", "<", ">",
     "&", "|", "==", "=", "!", ".", "__class__", "__import__('os')", "'", '"', "lambda:0", " ", "\n", "1e999",
     "nan", "inf", "$$x", "[0]", "{}", "EMA(", "CSRank(", "9" * 40, "\\", "#", "é", "\u0660", "²", "$²"]
)  # fmt: skip


@settings(bounded, max_examples=400)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=25).map("".join)))
@example("$a" + "²")
@example("\u0661*$close")
@example("''")
def test_any_text_is_an_expression_or_one_clear_error(text: str) -> None:
    try:
        node = parse(text)
    except ExpressionError as error:
        assert error.where
        assert error.remedy
    else:
        assert parse(str(node)) == node
