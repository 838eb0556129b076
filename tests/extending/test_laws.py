"""`bascule.testing` finds what is wrong: each law is broken by somebody."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bascule import testing
from bascule.core.extensions import Loaded

OPERATOR = """\
import numpy as np
from bascule.core import Extension
from bascule.expr import CrossOperator, ElementOperator, RollingOperator
class Own(%s):
    'Of my own.'
    calls = 0
    def values(self, x):
        type(self).calls += 1
        return %s
extension = Extension('own', '1', operators=[Own])
"""
FACTORS = """\
from bascule.core import Extension
extension = Extension('f', '1', factors={'f': %s})
"""
BREAKERS = {
    "other instruments do not matter": ("RollingOperator", "x[:, -1] - np.nanmean(x[:, -1])"),
    "every window gives the same bits": ("ElementOperator", "np.arange(len(x)) + 0.0"),
    "later rows change nothing": ("ElementOperator", "x / np.nanmax(x)"),
    "nothing is remembered": ("RollingOperator", "x[:, -1] + type(self).calls"),
    "it says something": ("RollingOperator", "x[:, -1] * np.nan"),
    "it can be computed": ("RollingOperator", "x"),
}


@pytest.mark.parametrize("law", BREAKERS)
def test_a_broken_operator_is_found(law: str, extend: Callable[[str], Loaded]) -> None:
    found = testing.check(extend(OPERATOR % BREAKERS[law]))
    laws = {one.law for one in found}
    # what is remembered shows as rows that change when others come
    assert (law if law != "nothing is remembered" else "later rows change nothing") in laws
    assert all(str(one) for one in found)


@pytest.mark.parametrize("page", ["own-operator", "own-factor", "own-miner"])
def test_what_the_pages_show_is_lawful(page: str, extend: Callable[[str], Loaded]) -> None:
    held = extend(FACTORS % {"D": "$close/Ref($close,4)-1"} if page == "own-factor" else page)
    assert testing.check(held) == []


def test_a_factor_that_needs_more_than_candles_is_told(extend: Callable[[str], Loaded]) -> None:
    held = extend(FACTORS % {"D": "$funding_rate", "H": "Mean($close,0)"})
    assert {(one.subject, one.law) for one in testing.check(held)} == {
        ("D", "it can be computed live"),
        ("H", "finite history"),
    }


MODEL = """\
import json
import numpy as np
from bascule.core import Extension
from bascule.models import Kind
class Own(Kind):
    'Of my own.'
    name, prefix, parameters = 'Own', 'own', frozenset()
    def defaults(self, samples): return {}
    def fit(self, params, lesson, start): return [%s] * lesson.width
    def save(self, model, folder):
        (folder / 'model.%s').write_text(json.dumps(model))
        return 'model.%s'
    def load(self, path):
        weights = np.array(json.loads(path.read_text()))
        return lambda x: %s
extension = Extension('own', '1', models=[Own()])
"""
LINEAR = "(x * weights).sum(axis=1)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "weight", "form", "predict"),
    [
        ("the same seed gives the same model", "__import__('os').urandom(1)[0] / 7", "json", LINEAR),
        ("it learns, is kept and opened", "1.0", "pickle", LINEAR),
        ("a time's predictions are its own", "1.0", "json", f"{LINEAR} + len(x)"),
    ],
)
def test_a_broken_model_is_found(
    law: str, weight: str, form: str, predict: str, extend: Callable[[str], Loaded]
) -> None:
    found = testing.check(extend(MODEL % (weight, form, form, predict)))
    assert law in {one.law for one in found}


SEARCHER = """\
import numpy as np
from bascule.core import Extension
class Own:
    'Of my own.'
    name = 'own'
    def __init__(self, grammar, seed): self.grammar, self.rng = grammar, np.random.default_rng(%s)
    def propose(self, count): return [self.grammar.draw(self.rng) for _ in range(count + %s)]
    def observe(self, outcomes, pool): pass
    def state(self): return %s, {}
    def restore(self, state, arrays):
        self.rng.bit_generator.state = state.get('rng', self.rng.bit_generator.state)
    def statistics(self): return {}
extension = Extension('own', '1', searchers={'own': Own})
"""
KEPT = "{'rng': self.rng.bit_generator.state}"


@pytest.mark.parametrize(
    ("law", "seed", "more", "state"),
    [
        ("the same seed proposes the same", "None", 0, KEPT),
        ("it proposes at most what it is asked for", "seed", 1, KEPT),
        ("a kept state goes on as the unbroken search", "seed", 0, "{}"),
    ],
)
def test_a_broken_searcher_is_found(
    law: str, seed: str, more: int, state: str, extend: Callable[[str], Loaded]
) -> None:
    assert law in {one.law for one in testing.check(extend(SEARCHER % (seed, more, state)))}


def test_the_untidy_market_is_untidy() -> None:
    market = testing.untidy(fields=["mood"])
    close = market["close"]
    assert np.isnan(close).any() and not market.members.all() and not market.started.all()
    assert np.nanmax(close) / np.nanmedian(close) > 1e3
    assert market["mood"].shape == close.shape
