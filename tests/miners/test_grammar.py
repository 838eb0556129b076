"""The grammar: what it draws is legal, what it refuses is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule import engine
from bascule.core import ConfigError, ExpressionError
from bascule.expr import parse, walk
from bascule.miners import RATIO, Dimension, Grammar, GrammarSettings, canonical, dimension
from tests.miners.markets import panel

GRAMMAR = Grammar()


def test_draws_are_factors_without_unit_that_read_no_future() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        node = GRAMMAR.draw(rng)
        assert GRAMMAR.accepts(node)
        assert dimension(node) == RATIO
        assert engine.compile([node]).lookahead == 0
        assert sum(1 for _ in walk(node)) <= GRAMMAR.settings.length + 2  # cut-offs are nodes of their own


@given(st.integers(3, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_any_legal_path_comes_to_an_end_within_the_length(length: int, seed: int) -> None:
    grammar = Grammar(GrammarSettings(length=length, windows=(5, 10), lags=(1,)))
    rng = np.random.default_rng(seed)
    state = grammar.begin()
    while not state.done:
        legal = np.flatnonzero(state.mask())
        assert len(legal), "a dead end"
        state = state.step(int(rng.choice(legal)))
    assert state.used <= length
    assert grammar.accepts(state.node)


@pytest.mark.parametrize("windows", [(3,), (2, 3)])
def test_the_least_windows_come_to_an_end_too(windows: tuple[int, ...]) -> None:
    for fields in (("close",), ("close", "volume"), ("open", "close", "volume")):
        grammar = Grammar(GrammarSettings(fields=fields, windows=windows, lags=(1,), length=5))
        rng = np.random.default_rng(0)
        assert all(grammar.accepts(grammar.draw(rng)) for _ in range(100))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"windows": ()}, "3 bars or more"),
        ({"windows": (2,)}, "3 bars or more"),
        ({"windows": (0, 5)}, "greater than or equal to 1"),
        ({"lags": ()}, "at least 1 item"),
        ({"lags": (1, -3)}, "greater than or equal to 1"),
    ],
)
def test_bars_of_which_no_text_can_be_made_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GrammarSettings.read(wrong)


def test_an_illegal_action_is_refused() -> None:
    state = GRAMMAR.begin()
    corr = next(i for i, action in enumerate(GRAMMAR.actions) if action.name == "Corr_10")
    with pytest.raises(ExpressionError, match="not legal"):
        state.step(corr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$close/Ref($close,5)-1", RATIO),
        ("$close+$volume", None),
        ("$close*$volume/$quote_volume", RATIO),
        ("Log($volume)", Dimension(level=True)),
        ("Log($volume)-Mean(Log($volume),24)", RATIO),
        ("Log($volume)*$close", None),
        ("Corr($close,Log($volume),24)", RATIO),
        ("Std($close,10)", Dimension(1, 0)),
        ("Std($close,10)/$close", RATIO),
        ("Greater($close,$volume)", None),
        ("TSZScore($volume,24)", RATIO),
        ("Delta(Log($close),3)", RATIO),
        ("$funding_rate+Rank($close,10)", RATIO),
        ("Sum($liquidated_long,24)/Sum($close*$volume,24)", RATIO),
        ("Mean($liquidated_long,24)", Dimension(1, 1)),
        ("$liquidations+$volume", None),
    ],
)
def test_units(text: str, expected: Dimension | None) -> None:
    assert dimension(parse(text)) == expected


def test_every_field_of_the_sources_has_its_unit() -> None:
    """One that is taken for a ratio makes factors whose values mean something else for each coin."""
    from bascule.data.sources.coinmetrics import METRICS
    from bascule.data.sources.exchange import MARK, PRICES, TAKER, VOLUMES

    units = {one.name: one.unit for one in (*PRICES, *MARK, *VOLUMES, *TAKER)}
    units |= {name: unit for name, (_, unit, _) in METRICS.items()}
    without = {name for name in units if dimension(parse(f"${name}")) == RATIO}
    assert without == {name for name, unit in units.items() if unit == "1"}


def test_texts_from_elsewhere_are_checked() -> None:
    assert GRAMMAR.accepts(parse("$close/$open"))
    assert not GRAMMAR.accepts(parse("$close"))
    assert not GRAMMAR.accepts(parse("$funding_rate"))  # not a field of this grammar
    assert not GRAMMAR.accepts(parse("Ref($close,-1)/$close"))  # reads the future


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$close*$open", "$open*$close"),
        ("Ref(Ref($close,2),3)/$close", "Ref($close,5)/$close"),
        ("Ref($close/$open,2)", "Ref($close,2)/Ref($open,2)"),
        ("2*($close/$open)", "$close/$open-1"),
        ("Abs(Abs($close-$open))/$close", "Abs($close-$open)/$close"),
        ("Rank($close,5)-Rank($open,5)", "Rank($open,5)-Rank($close,5)"),
        ("Corr($close,$volume,10)", "Corr($volume,$close,10)"),
    ],
)
def test_equal_signals_have_one_canonical_text(one: str, other: str) -> None:
    assert canonical(parse(one)) == canonical(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$close/$open", "$open/$close"),
        ("Ref($close,1)/$close", "Ref($close,2)/$close"),
        ("Less($close,$open)/$open", "Greater($close,$open)/$open"),
    ],
)
def test_other_signals_do_not(one: str, other: str) -> None:
    assert canonical(parse(one)) != canonical(parse(other))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_canonical_text_has_the_same_ic(seed: int) -> None:
    node = GRAMMAR.draw(np.random.default_rng(seed))
    form = canonical(node)
    assert canonical(form) == form
    market = panel(rows=320)
    label = np.random.default_rng(1).standard_normal(market.shape).astype(np.float32)[None]
    found = engine.ic([node, form], market, label).plain
    assert found is not None
    ours, theirs = np.abs(found[:, 0])
    both = np.isfinite(ours) & np.isfinite(theirs)
    np.testing.assert_allclose(ours[both], theirs[both], atol=2e-3)
