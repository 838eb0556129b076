"""The parser in the place of qlib's ``eval``: qlib's own objects for qlib's texts, an error for all else."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule import factors
from bascule.bridge.qlib import texts
from bascule.core import ExpressionError

pytestmark = [
    # third parties' own warnings
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def operators() -> dict[str, type]:
    from qlib.data.ops import OpsList
    from qlib.data.pit import P, PRef

    return {operator.__name__: operator for operator in [*OpsList, P, PRef]}


def build(text: str) -> Any:
    from qlib.data.base import Expression

    return texts.build(text, operators(), Expression)


def evaluated(text: str) -> Any:
    """What qlib makes of a text."""
    from qlib.data.base import Feature, PFeature
    from qlib.utils import parse_field

    class Operators:
        pass

    for name, operator in operators().items():
        setattr(Operators, name, operator)
    return eval(parse_field(text), {"Operators": Operators, "Feature": Feature, "PFeature": PFeature})


def dump(item: Any) -> Any:
    """An expression object as nested tuples."""
    if isinstance(item, list | tuple):
        return tuple(dump(part) for part in item)
    if not hasattr(item, "get_extended_window_size"):
        return item
    return type(item), tuple((name, dump(value)) for name, value in sorted(vars(item).items()))


SAME = [
    "$close", "$CLOSE", "$close+$open*2", "($high-$low)/$close", "2**$close", "$close**2**3", "-1*$close",
    "1-$close", "3/$close", "Ref($close,-2)/Ref($close, -1) - 1", "Mean($close,2*5)", "EMA($close,1/3)",
    "1<$close", "1<$close<4", "2>1<$close", "($a>1)&($b<2)|($c==3)", "Not($a>1)", "$a!=$b", "If($a>1,0,$b)",
    "Quantile($close,10,0.8)", "Corr($close,Log($volume+1),10)", "ChangeInstrument('SH000300',$close)",
    "ChangeInstrument(\"SH000300\", Feature('close')/Ref(Feature('close'),1) -1)", "Mask($close,'sh600000')",
    "P($$roewa_q)", "PRef($$roewa_q,201801)", "TResample($close,'1D','last')", "Rolling($close,5,'mean')",
    "Mean(feature=$close,N=5)", "$close+1e-12", "$x、y+$x：y", "Mean($close,0.3)", "Mean($close,+3)",
    "Mean($close,0)", "Ref($close,-60)", "1e18*$close",
]  # fmt: skip


@pytest.mark.parametrize("text", SAME)
def test_the_same_object_as_qlibs(text: str) -> None:
    assert dump(build(text)) == dump(evaluated(text))


@pytest.mark.parametrize("library", ["alpha158", "alpha360"])
def test_libraries(library: str) -> None:
    for factor in factors.library(library):
        assert dump(build(factor.text)) == dump(evaluated(factor.text))


@pytest.mark.parametrize(
    ("text", "told"),
    {
        "Maen($close,5)": "did you mean Mean",
        "close": "fields are written $close",
        "$close.load": "Attribute is not part of the language",
        "Mean($close)": "Mean: ",
        "Mean($close,200000)": "use one from 0 to 100000",
        "Max($close,-1)": "use one from 0 to 100000",
        "$close+'a'": "needs a number",
        "-$close": "write -1*$close",
        "2**2000*$close": "cannot be computed",
        "10**17*$close": "too large",
        "(-8)**0.5*$close": "not finite and real",
        "$close and $open": "BoolOp is not part",
        "Skew($close,2)": "Skew: ",
        "1<2": "reads no field",
    }.items(),
)
def test_an_error_that_helps(text: str, told: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        build(text)
    assert told in str(caught.value)


PIECES = ["$close", "Mean(", "Ref(", "P(", "if", "else", *"(),5-9*<&[].:={}@#\\\n\0é", "**", "1e308", "'a'",
          "$$", "__class__", "lambda:", "not"]  # fmt: skip


@settings(max_examples=300, deadline=None, database=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    start = time.perf_counter()
    try:
        build(text)
    except ExpressionError as error:
        assert error.remedy
    assert time.perf_counter() - start < 5
