"""The native core against the NumPy kernels, and against itself: sets, threads, tiles, windows, company."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings

from bascule import engine, factors
from bascule.core import DataError, ExpressionError, Panel
from bascule.engine import native_run
from bascule.expr import OPERATORS, Constant, Field, Kind, Node, Type, parse, walk
from bascule.expr.elementwise import Div
from bascule.expr.shift import Ref
from bascule.kernels.native import library
from tests.markets import random_panel
from tests.properties.expressions import columnwise, expressions, is_float

CORE = library()
pytestmark = pytest.mark.skipif(CORE is None, reason="the native core is not built")
reference = partial(engine.evaluate, executor="reference")
by_core = partial(engine.evaluate, executor="native")

WINDOWS = (1, 2, 3, 5, 8, 20, 60)
_SERIES = [
    "Sum", "Mean", "Count", "Var", "Std", "Mad", "Max", "Min", "IdxMax", "IdxMin", "Med", "Rank", "Slope",
    "Rsquare", "Resi", "WMA", "Decay", "EMA",
]  # fmt: skip
ROLLING = [
    text
    for n in WINDOWS
    for text in (
        *(f"{name}($close,{n})" for name in _SERIES),
        *(f"Quantile($close,{n},{q})" for q in (0, 0.2, 0.5, 0.8, 1)),
        f"TrimMean($close,{n},0.2)", f"Winsorize($close,{n},0.1)",
        f"Corr($close,$volume,{n})", f"Corr($close,Ref($volume,2),{n})", f"Cov($close,$volume,{n})",
        f"Ref($close,{n})", f"Delta($close,{n})",
        *([f"Skew($close,{n})"] if n > 2 else []), *([f"Kurt($close,{n})"] if n > 3 else []),
        *([f"TSZScore($close,{n})", f"TSMinMaxScale($close,{n})"] if n > 1 else []),
        *([f"TSMadZ($close,{n})"] if n > 2 else []),
    )
]  # fmt: skip
CELLS = [
    "$close", "$close+$open", "2-$close", "$close*$volume", "1/$close", "$close/($volume-$volume)",
    "Power($close/100,2)", "Power($close,0.5)", "Power($close,0)", "SignedPower($close-$open,0.5)",
    "Abs($close-$open)", "Sign($close-$open)", "Log($volume+1)", "Log($close-$close)", "Log($open-$close)",
    "SignedLog($close-$open)", "Not($close>$open)", "Greater($close,$open)", "Less($close,$open)",
    "$close>$open", "$close>=$open", "$close<$open", "$close<=$open", "$close==$open", "$close!=$open",
    "($close>$open)&($volume>30)", "($close>$open)|($volume>30)", "If($close>$open,$close,$open)",
    "If($close>$open,1,-1)", "If($close-$open,$close,2)", "Greater($close-Ref($close,1),0)",
    "($close>$open)+($volume>30)", "($close>$open)*($volume>30)", "1-($close>$open)", "Abs($close>$open)",
]  # fmt: skip
NESTED = [
    "Mean($close>Ref($close,1),5)-Mean($close<Ref($close,1),5)", "Std(Mean($close,5),10)",
    "Mean($close,5)/Mean($close,20)-1", "Rank(Mean($close,5),10)", "Slope(EMA($close,10),20)",
    "IdxMax(Ref($high,3),10)", "Mean(Ref($close,2)>Ref($close,3),4)", "Ref($close>$open,1)",
    "Count(Ref($close,2),4)", "WMA(Ref($close,2),5)", "Mean(If($close>$open,1,0),7)",
    "($close-Min($low,5))/(Max($high,5)-Min($low,5)+1e-12)", "Corr(Mean($close,5),Mean($volume,5),10)",
    "Corr(Mean($close,5),$volume,10)", "Corr($volume,Mean($close,5),10)", "Skew(Mean($close,3),10)",
    "Mean($close,5)>$close", "If(Mean($close,5)>$close,Std($close,5),Var($close,5))",
    "Log(Mean($close,5)/Mean($close,10))", "Power(Mean($close,5)/Mean($close,10),20)",
    "Quantile(Mean($close,3),10,0.3)", "Mad(Mean($close,3),5)", "EMA(EMA($close,5),5)",
    "Max(Mean($close,5),10)-Min(Mean($close,5),10)", "IdxMin(Mean($close,3),10)", "Delta(Med($open,1),1)",
    "Delta(Rank($open,4),1)", "Delta(Quantile($open,6,0.3),2)", "Winsorize(Mean($close,4),8,0.2)",
    "TrimMean(Mean($close,4),8,0.2)", "Sum($close>$open,5)", "0.1*($close>$open)+0.3", "-1*Max($high,5)",
    "CSRank(Mean($close,5))", "Mean(CSRank($close),5)", "CSZScore(Std($close,10))-CSRank($volume)",
    "CSNeutralize($close,Mean($volume,3))", "Std(CSDemean(Mean($close,3)),5)", "CSQuantile($close,0.5)",
    "ChangeInstrument('C001_USDT',Mean($close,3))/$close", "Mean(Sum($volume,0),3)",
    "CSMadZ(Mean($close,5))", "Mean(CSRankGauss($close),5)",
    "CSWinsorize($volume,0.1)+CSTrimDemean($close,0.2)", "CSGroupZScore(Mean($close,3),Sign($close-$open)+2)",
    "Mean(TSMadZ(Mean($close,4),9),5)", "TSMadZ(CSRank(TSMadZ($volume,5)),8)",
    "Std($close,0)/Mean($close,10)", "Mean($close,3)+CSRank(Mean(CSRank($close)*$volume,4))",
]  # fmt: skip
LIBRARY = [factor.text for factor in factors.library("alpha158")]


def candles(rows: int = 300, width: int = 21, **options: object) -> Panel:
    panel = random_panel(5, rows, width, **options)  # type: ignore[arg-type]
    fields = {name: values.copy() for name, values in panel.fields.items()}
    fields["vwap"] = ((fields["high"] + fields["low"] + fields["close"]) / 3).astype(np.float32)
    return dataclasses.replace(panel, fields=fields)


def halted() -> Panel:
    panel = candles(late=4)
    for name in ("open", "high", "low", "close", "vwap"):
        panel[name][100:180, ::5] = panel[name][100, ::5]
    return panel


def dirty() -> Panel:
    panel = candles(missing=0.03, late=4)
    panel["volume"][np.random.default_rng(2).random(panel.shape) < 0.02] = np.inf
    panel["close"][np.random.default_rng(3).random(panel.shape) < 0.02] = np.nan
    return panel


def cheap() -> Panel:
    panel = candles(missing=0.01)
    prices = {n: (panel[n] * np.float32(1e-10)) for n in panel.fields if n != "volume"}
    return panel.with_fields(**prices)


MARKETS = {"clean": candles, "halted": halted, "dirty": dirty, "cheap": cheap}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the bit, NaN where NaN."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return bool(((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))).all())


def close(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= atol + rtol * np.abs(expected)
    return near | (found == expected) | (np.isnan(found) & np.isnan(expected))


# -- against the plain kernels ---------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["bascule", "qlib"])
@pytest.mark.parametrize("name", MARKETS)
def test_every_operator_equals_its_plain_twin(name: str, dialect: engine.Dialect) -> None:
    plan = engine.compile(ROLLING + CELLS + NESTED, dialect=dialect)
    panel = MARKETS[name]()
    found, expected = by_core(plan, panel), reference(plan, panel)
    level = np.median(np.abs(np.nan_to_num(expected, posinf=0, neginf=0)), axis=(1, 2), keepdims=True)
    fine = close(found, expected, 2e-5, 1e-6 * level).all(axis=(1, 2))
    assert not [text for text, good in zip(plan.texts, fine, strict=True) if not good]


def test_the_lists_name_every_operator() -> None:
    named = " ".join(ROLLING + CELLS + NESTED)
    symbols = {"Add", "Sub", "Mul", "Div", "Gt", "Ge", "Lt", "Le", "Eq", "Ne", "And", "Or"}
    assert not [n for n in OPERATORS if n not in symbols | {"Mask"} and f"{n}(" not in named]


@pytest.mark.parametrize("name", MARKETS)
def test_alpha158_equals_its_plain_twin(name: str) -> None:
    plan, panel = engine.compile(LIBRARY), MARKETS[name]()
    # correlations near 0 magnify the last bit of a logarithm
    assert close(by_core(plan, panel), reference(plan, panel), 2e-5, 3e-6).all()


# places and ranks among values that are equal but for rounding are nobody's fault, nor are powers beyond the
# range of float32; they are compared above
_APART = ("IdxMax", "IdxMin", "Rank", "Sign", "Power", "SignedPower")
_SMOOTH = [operator for operator in columnwise() if operator.__name__ not in _APART]


def breathed(node: Node, panel: Panel, seed: int) -> np.ndarray:
    """The plain twin's values with a breath on each value on the way.

    What that changes hangs on rounding alone: a comparison of equals, the place of a 1 among 1s that are
    correlations of something with itself.
    """
    rng = np.random.default_rng(seed)
    fields: dict[str, np.ndarray] = {}

    def breathe(part: Node) -> Node:
        own = part.rebuilt(tuple(breathe(child) for child in part.children)) if part.children else part
        if isinstance(own, Constant) or not is_float(own):
            return own
        values = reference([own], panel.with_fields(**fields))[0]
        name = f"breathed{len(fields)}"
        fields[name] = values * rng.normal(1, 1e-6, values.shape).astype(np.float32)
        return Field(name)

    return reference([breathe(node)], panel.with_fields(**fields))[0]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(expressions(_SMOOTH))
@example(parse("TSZScore(Corr($open,$open,2),2)"))
def test_any_expression_equals_its_plain_twin(node: Node) -> None:
    panel = random_panel(9, 90, 5, missing=0.08, late=2)
    found, expected = by_core([node], panel)[0], reference([node], panel)[0]
    firm = np.ones(panel.shape, np.bool_)
    for seed in range(3):
        firm &= close(breathed(node, panel, seed), expected, 1e-3, 1e-5)
    assert close(found, expected, 1e-3, 1e-5)[firm].mean() > 0.8 or firm.mean() < 0.5


def test_precision_where_single_precision_would_fail() -> None:
    panel = candles(rows=200)
    noise = np.random.default_rng(9).normal(0, 0.01, panel.shape)
    panel["close"][:] = 60_000.0
    panel["close"][:] += np.round(noise, 2)
    panel["volume"][50, 3] = 1e9
    texts = [
        "Std($close,20)", "Var($close,60)", "Slope($close,20)", "Std(Mean($close,5),20)",
        "Mean($close,5)-Mean($close,20)", "Corr($close,Ref($close,1),30)", "Std($volume,10)",
    ]  # fmt: skip
    found, expected = by_core(texts, panel), reference(texts, panel)
    assert close(found, expected, 1e-5, 1e-9).all()
    # the spike has left the windows, and so has every trace of it
    alone = panel.with_fields(volume=np.where(panel["volume"] == 1e9, np.float32(20), panel["volume"]))
    assert same(by_core(["Std($volume,10)"], alone)[:, 60:], found[6:, 60:])


def test_constant_windows_are_exact() -> None:
    panel = candles(rows=150)
    panel["close"][40:] = np.float32(0.1)
    texts = [
        "Std($close,20)",
        "Slope($close,20)",
        "Resi($close,20)",
        "Mean($close,20)-$close",
        "Skew($close,9)",
    ]
    assert (by_core(texts, panel)[:, 70:] == 0).all()
    assert np.isnan(by_core(["Corr($close,$volume,20)", "Rsquare($close,20)"], panel)[:, 70:]).all()
    assert (by_core(["Kurt($close,20)"], panel)[:, 70:] == -3).all()


# -- to the bit ------------------------------------------------------------------------------------

FINITE = [text for text in ROLLING + CELLS + NESTED if ",0)" not in text] + LIBRARY


@pytest.fixture(scope="module")
def batch() -> tuple[engine.Plan, Panel, np.ndarray]:
    plan, panel = engine.compile(FINITE), dirty()
    return plan, panel, by_core(plan, panel, threads=1)


def test_threads_do_not_matter(batch: tuple[engine.Plan, Panel, np.ndarray]) -> None:
    plan, panel, expected = batch
    assert all(same(by_core(plan, panel, threads=threads), expected) for threads in (2, 5))


def test_tiles_do_not_matter(
    batch: tuple[engine.Plan, Panel, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, panel, expected = batch
    for rows in (1, 7, 64, 1_000):
        monkeypatch.setattr(native_run, "TILE_ROWS", rows)
        assert same(by_core(plan, panel), expected)


def test_instruction_sets_do_not_matter(
    batch: tuple[engine.Plan, Panel, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, panel, expected = batch
    assert CORE is not None
    for name in CORE.sets:
        monkeypatch.setattr(CORE, "chosen", name)
        assert same(by_core(plan, panel), expected)


def test_live_rows_are_the_rows_of_the_batch(batch: tuple[engine.Plan, Panel, np.ndarray]) -> None:
    plan, panel, expected = batch
    assert all(same(by_core(plan, panel, rows=n), expected[:, -n:]) for n in (1, 3, 100))


def test_windows_that_cover_the_history_give_the_same_bits() -> None:
    plan = engine.compile([*LIBRARY, "Std(Mean($close,9),30)", "IdxMax($close,40)", "CSRank(Mean($close,7))"])
    panel = dirty()
    expected = by_core(plan, panel)
    assert plan.lookback is not None
    for start, stop in ((0, 250), (13, 300), (100, 101 + plan.lookback), (201, 280)):
        rows = slice(start if start == 0 else start + plan.lookback, stop)
        assert same(by_core(plan, panel.rows(start, stop))[:, rows.start - start :], expected[:, rows])


def test_company_does_not_matter(batch: tuple[engine.Plan, Panel, np.ndarray]) -> None:
    plan, panel, expected = batch
    for index in range(0, len(plan.texts), 5):
        assert same(by_core([plan.texts[index]], panel)[0], expected[index]), plan.texts[index]


def test_buffers_and_layouts_do_not_matter(batch: tuple[engine.Plan, Panel, np.ndarray]) -> None:
    _, panel, _ = batch
    plan = engine.compile(LIBRARY)
    expected = by_core(plan, panel)
    out = np.full((len(LIBRARY), *panel.shape), -1, np.float32)
    assert by_core(plan, panel, out=out) is out
    assert same(out, expected)
    guarded = np.full((len(LIBRARY), panel.shape[0], 48), -7, np.float32)
    by_core(plan, panel, out=guarded[:, :, 5 : 5 + panel.shape[1]])
    assert same(guarded[:, :, 5:26], expected)
    assert (guarded[:, :, :5] == -7).all()
    assert (guarded[:, :, 26:] == -7).all()
    lanes = engine.evaluate_lanes(plan, panel, out=engine.buffer((len(LIBRARY), 2, 300, 16)))
    assert same(lanes.transpose(0, 2, 1, 3).reshape(len(LIBRARY), 300, 32)[:, :, :21], expected)


def test_fields_in_any_layout(batch: tuple[engine.Plan, Panel, np.ndarray]) -> None:
    _, panel, _ = batch
    turned = dataclasses.replace(panel, fields={n: np.asfortranarray(v) for n, v in panel.fields.items()})
    assert same(by_core(LIBRARY, turned), by_core(LIBRARY, panel))


# -- errors ----------------------------------------------------------------------------------------


def test_the_future_is_left_to_numpy() -> None:
    panel = candles(rows=40)
    plan = engine.compile(["Ref($close,-2)"])
    assert same(engine.evaluate(plan, panel), reference(plan, panel))
    with pytest.raises(DataError, match="the future") as caught:
        by_core(plan, panel)
    assert caught.value.remedy


def test_lanes_are_refused_where_they_cannot_be() -> None:
    panel = candles(rows=40)
    with pytest.raises(ExpressionError, match="across instruments"):
        engine.evaluate_lanes(engine.compile(["CSRank($close)"]), panel)
    with pytest.raises(DataError, match="contiguous"):
        engine.evaluate_lanes(engine.compile(["$close"]), panel, out=np.empty((1, 2, 40, 15), np.float32))


@pytest.mark.parametrize(
    "texts",
    [
        ("Ref($high,5)/Ref(Max($vwap,10),5)", "Max($vwap,10)"),
        ("Ref(TSMinMaxScale($high,24),5)/Ref(Max($vwap,12),5)", "Max($vwap,12)"),
        ("Ref($low,5)*Ref(IdxMax($close,10),5)", "IdxMax($close,10)", "Max($close,10)"),
        ("Mean($close/Max($high,10),5)", "Max($high,10)", "$close/Max($high,10)"),
        ("Sum($volume,5)/Sum($volume,10)", "Ref(Sum($volume,5)/Sum($volume,10),3)", "Sum($volume,5)"),
    ],
)
def test_a_value_may_be_wanted_now_and_its_quotient_earlier(texts: tuple[str, ...]) -> None:
    panel = candles(200)
    together = engine.evaluate(texts, panel, executor="native")
    for text, values in zip(texts, together, strict=True):
        np.testing.assert_array_equal(values, engine.evaluate([text], panel, executor="native")[0])
        np.testing.assert_allclose(
            values, engine.evaluate([text], panel, executor="reference")[0], rtol=1e-4, atol=1e-6
        )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(expressions(columnwise()))
def test_what_else_is_asked_for_changes_nothing(node: Node) -> None:
    panel = cheap()
    parts = [part for part in walk(node) if part.kind is not Kind.LEAF and part.type is not Type.BOOL][-4:]
    shifted = [Ref(part, 3) for part in parts]
    asked = [*parts, *shifted, *(Div(one, Ref(node, 2)) for one in parts[:2] if node.type is not Type.BOOL)]
    if not asked:
        return
    together = engine.evaluate(asked, panel, executor="native")
    for one, values in zip(asked, together, strict=True):
        assert same(values, engine.evaluate([one], panel, executor="native")[0]), str(one)
