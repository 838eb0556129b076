"""The language: what is read, what it becomes, and how bad texts are refused."""

from __future__ import annotations

import pickle

import pytest

from bascule.core import ExpressionError
from bascule.expr import OPERATORS, Constant, Field, Type, field_names, parse, walk
from bascule.expr.elementwise import Add, And, Div, Gt, Lt, Mul, Power, Sub
from bascule.expr.rolling import Mean, Quantile
from bascule.expr.weighted import EMA

CLOSE, OPEN = Field("close"), Field("open")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("$Close", CLOSE),
        (" $close - $open ", Sub(CLOSE, OPEN)),
        ("$close-$open-1", Sub(Sub(CLOSE, OPEN), Constant(1))),
        ("$close-($open-1)", Sub(CLOSE, Sub(OPEN, Constant(1)))),
        ("$close+$open*2", Add(CLOSE, Mul(OPEN, Constant(2)))),
        ("-$close**2", Mul(Constant(-1), Power(CLOSE, Constant(2)))),
        ("$close**-2", Power(CLOSE, Constant(-2))),
        ("$close**$open**2", Power(CLOSE, Power(OPEN, Constant(2)))),
        ("2*3*$close", Mul(Constant(6), CLOSE)),
        ("Mean($close, 2*5)", Mean(CLOSE, 10)),
        ("Mean($close, 2**3)", Mean(CLOSE, 8)),
        ("Quantile($close,5,.5)", Quantile(CLOSE, 5, 0.5)),
        ("EMA($close,0.25)", EMA(CLOSE, 0.25)),
        ("EMA($close,5)", EMA(CLOSE, 5)),
        ("($close>1)&($open<2)", And(Gt(CLOSE, Constant(1)), Lt(OPEN, Constant(2)))),
        ("+$close/1e-12", Div(CLOSE, Constant(1e-12))),
    ],
)
def test_reads_as_python_would(text: str, node: object) -> None:
    assert parse(text) == node
    assert parse(str(node)) == node


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("1<$a<4", "column 5: comparisons cannot be chained", "($a>1)&($a<4)"),
        ("(" * 10_000, "nested more than", "simplify"),
        ("Abs(" * 3_000 + "$a", "nested more than", "simplify"),
        ("+".join(["$a"] * 500), "nested more than", "simplify"),
        ("-" * 5_000 + "$a", "nested more than", "simplify"),
        ("$a" + "+$a" * 10_000, "characters, more than", "split"),
        ("Mean($a, 10**12)", "beyond the largest", "Mean(x, n)"),
        ("Mean($a, 1" + "0" * 9_000 + ")", "too large", "decimal"),
        ("9**9**9*$a", "cannot be computed", "correct"),
        ("1e999*$a", "not finite", "correct"),
        ("(-8)**0.5*$a", "not finite and real", "correct"),
        ("1/0*$a", "division by zero", "correct"),
        ("Mean($a, nan)", "column 10: unknown name 'nan'", "$nan"),
        ("Mean($a, -1)", "reads the future", "Mean(x, n)"),
        ("Mean($a, 5.0)", "whole number of bars", "Mean(x, n)"),
        ("Mean($a, 0.3)", "EMA(x, alpha)", "Mean(x, n)"),
        ("Mean($a, $b)", "whole number of bars", "Mean(x, n)"),
        ("Skew($a, 2)", "below the least", "Skew(x, n)"),
        ("Corr($a, $b, 0)", "not defined here", "Corr(left, right, n)"),
        ("Quantile($a, 5, 2)", "outside of", "Quantile(x, n, q)"),
        ("EMA($a, 1e-7)", "remembers", "shorter span"),
        ("Mean($a)", "takes 2 arguments, received 1", "Mean(x, n)"),
        ("mean($a, 5)", "unknown operator 'mean'", "Mean"),
        ("Quantil($a, 5, 0.1)", "unknown operator", "Quantile"),
        ("Mean", "is an operator", "Mean(x, n)"),
        ("close", "unknown name", "$close"),
        ("$a.b", "column 3: unexpected '.'", "attributes"),
        ("__import__('os')", "unknown operator", "known operators"),
        ("__import__('os').system('true')", "unexpected '.'", "attributes"),
        ("(queue.threading._os.mkdir)('x')", "unexpected '.'", "attributes"),
        ("$a and $b", "found 'and'", "&"),
        ("not $a", "'not' is not part", "Not("),
        ("$a&$b", "boolean expression", "compare first"),
        ("Not($a)", "boolean expression", "Not(x)"),
        ("$a>1&$b<2", "boolean expression, received the number 1", "parentheses"),
        ("Sub($a>1,$b>1)", "two booleans", "Ne(a,b)"),
        ("Mean(5, 3)", "received the number 5", "Mean(x, n)"),
        ("Add(1, 2)", "both operands are numbers", "field"),
        ("1 < 2", "between two numbers", "field"),
        ("3", "reads no field", "field"),
        ("", "end of the text", "Mean($close,5)"),
        ("Mean($a, N=5)", "unexpected '='", "position"),
        ("Mean($a, 5", "expected ')'", "close"),
        ("$a $b", "ended before", "join"),
        ("$$a", "'$$'", "left to qlib"),
        ("PRef($a, 1)", "left to qlib", "point-in-time"),
        ("0x10*$a", "is not a number", "write"),
        ("1_000*$a", "is not a number", "write"),
        ("$a//$b", "'//'", "divide with /"),
        ("$a%2", "'%'", "not part"),
        ("'x'+$a", "unexpected text", "quotes"),
        ("ChangeInstrument($b, $a)", "quoted instrument id", "ChangeInstrument(instrument, x)"),
        ("ChangeInstrument('a\nb', $a)", "unexpected", "quotes"),
        ("$a\x00", "unexpected", "expression"),
    ],
)
def test_refuses_with_one_clear_error(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert problem in str(caught.value).split("\n  remedy: ")[0]
    assert remedy in (caught.value.remedy or "")
    assert (caught.value.where or "").startswith("factor text")


def test_equal_nodes_are_equal_by_value_and_survive_pickling() -> None:
    a, b = parse("Mean($close+1,5)"), parse("Mean(Add($close,1),5)")
    assert a == b
    assert hash(a) == hash(b)
    assert pickle.loads(pickle.dumps(a)) == b
    assert a != parse("Sum($close+1,5)")
    assert len({a, b}) == 1


def test_types_follow_numpy() -> None:
    assert parse("$a+1").type is Type.FLOAT32
    assert parse("Mean($a,5)+$a").type is Type.FLOAT64
    assert parse("($a>1)+($b>1)").type is Type.BOOL
    assert parse("($a>1)+1").type is Type.FLOAT64
    assert parse("Ref($a>1,1)").type is Type.FLOAT32
    assert parse("If($a>1,$b,0)").type is Type.FLOAT32


def test_walk_yields_children_first_and_each_once() -> None:
    node = parse("Mean($close,5)/Mean($close,5)+$open")
    order = list(walk(node))
    assert len(order) == len(set(order)) == 5
    assert order[-1] is node
    assert field_names(node) == ("close", "open")


def test_every_operator_is_documented_and_constructible() -> None:
    from bascule.expr import signature

    for name, operator in OPERATORS.items():
        assert (operator.__doc__ or "").strip(), name
        assert signature(operator), name
        assert hasattr(operator, "kind"), name
