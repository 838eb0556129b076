"""The executor: what exists when, who counts, errors, memory, and agreement between batch and live."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bascule import engine, factors
from bascule.core import DataError, Panel, Timeframe
from bascule.kernels import order, robust
from bascule.testing import untidy as market
from tests.markets import random_panel

HOUR = Timeframe.parse("1h")


def panel(rows: int = 120, width: int = 6, **options: object) -> Panel:
    found = random_panel(1, rows, width, **options)  # type: ignore[arg-type]
    vwap = ((found["high"] + found["low"] + found["close"]) / np.float32(3)).astype(np.float32)
    return found.with_fields(vwap=vwap)


def one(text: str, of: Panel, dialect: engine.Dialect = "bascule") -> np.ndarray:
    return engine.evaluate(engine.compile([text], dialect=dialect), of)[0]


@pytest.mark.parametrize(
    "text",
    ["$close>$open", "$close!=$close", "Count($close,5)", "If($close>$open,1,0)", "Power($close,0)",
     "Mean($close!=$open,5)", "Not($close>$open)", "1-($close>$open)", "Ref($close,-70)", "Count($close,0)",
     "Ref($close,0)", "ChangeInstrument('C000_USDT',$close)"],
)  # fmt: skip
def test_nothing_exists_before_the_first_candle(text: str) -> None:
    market_ = panel(late=2)
    values = one(text, market_)
    assert np.isnan(values[~market_.started]).all()
    assert np.isfinite(values[: 120 - 70 if "-70" in text else None, :4]).any()


def test_a_boolean_before_the_listing_is_no_observation() -> None:
    market_ = panel(late=1)
    first = int(market_.started[:, -1].argmax())
    values = one("Mean($close>0,10)", market_)[:, -1]
    assert np.isnan(values[:first]).all()
    np.testing.assert_array_equal(values[first : first + 9], 1.0)
    position = one("IdxMax($close,10)", market_)[:, -1]
    assert position[first] == 1.0
    assert one("WMA($close,10)", market_)[first, -1] == market_["close"][first, -1]


def test_after_the_last_trade_the_engine_does_not_know_it_is_over() -> None:
    market_ = panel()
    market_["close"][60:, 2] = np.nan
    assert np.isfinite(one("Mean($close,5)", market_)[60:64, 2]).all()
    np.testing.assert_array_equal(one("Count($close,5)", market_)[64:, 2], 0.0)


def test_cross_sections_count_members_only() -> None:
    base = panel(rows=20)
    universe = np.ones((20, 6), np.bool_)
    universe[:, 5] = False
    universe[10:, 0] = False
    values = one("CSRank($close)", base.with_universe(universe))
    assert np.isnan(values[:, 5]).all()
    assert np.isnan(values[10:, 0]).all()
    expected = np.argsort(np.argsort(base["close"][15, 1:5])) + 1
    np.testing.assert_allclose(values[15, 1:5], expected / 4)


def test_cross_sections_by_their_definitions() -> None:
    market_ = market()
    names = ["CSRank($volume)", "CSZScore($volume)", "CSDemean($close)", "CSQuantile($close,0.3)",
             "CSNeutralize($close,$volume)"]  # fmt: skip
    got = engine.evaluate(names, market_)
    import pandas as pd

    for row in range(market_.shape[0]):
        there = market_.members[row]
        x, v = market_["close"][row].astype(float), market_["volume"][row].astype(float)
        x, v = np.where(there, x, np.nan), np.where(there, v, np.nan)
        expected = np.full((5, 5), np.nan)
        expected[0] = pd.Series(v).rank(pct=True)
        if there.sum() > 1:
            expected[1] = (v - np.nanmean(v)) / np.nanstd(v, ddof=1)
        if there.any():
            expected[2] = x - np.nanmean(x)
            expected[3] = np.where(there, np.nanquantile(x, 0.3), np.nan)
        if there.sum() > 1:
            slope, base = np.polyfit(v[there], x[there], 1)
            expected[4] = x - base - slope * v
        elif there.any():
            expected[4] = x - x
        np.testing.assert_allclose(got[:, row], expected, rtol=2e-5, atol=1e-4)


def test_ties_share_the_average_rank_and_equal_rows_have_no_score() -> None:
    base = panel(rows=3, width=4)
    base["close"][:] = np.array([[1, 1, 2, 3], [5, 5, 5, 5], [0.1, 0.1, 0.1, 0.1]], np.float32)
    np.testing.assert_allclose(one("CSRank($close)", base)[0], [0.375, 0.375, 0.75, 1.0])
    assert np.isnan(one("CSZScore($close)", base)[1:]).all()


def test_robust_cross_sections_by_their_kernels() -> None:
    """The operators take the row's members and nobody else; the kernels have their own tests."""
    base = panel(rows=30)
    universe = np.random.default_rng(8).random((30, 6)) < 0.8
    market_ = base.with_universe(universe).with_fields(tier=np.tile(np.float32([1, 1, 2, 2, 2, 0]), (30, 1)))
    x, there = market_["close"], market_.members
    for text, expected in {
        "CSMadZ($close)": robust.mad_zscore(x, there),
        "CSRankGauss($close)": robust.rank_gauss(x, there),
        "CSWinsorize($close,0.2)": robust.winsorize(x, there, 0.2),
        "CSTrimDemean($close,0.2)": robust.trimmed_demean(x, there, 0.2),
        "CSGroupZScore($close,$tier)": robust.group_zscore(x, market_["tier"], there),
        "TSMadZ($close,9)": order.mad_zscores(x, 9, 30),
    }.items():
        found = one(text, market_)
        assert np.isfinite(found).any()
        np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-6, atol=1e-7, err_msg=text)


def test_another_instrument_is_the_same_for_all() -> None:
    market_ = panel()
    values = one("ChangeInstrument('C001_USDT',Mean($close,3))", market_)
    expected = one("Mean($close,3)", market_)[:, 1]
    np.testing.assert_array_equal(values, np.repeat(expected[:, None], 6, axis=1))
    with pytest.raises(DataError, match="not in the panel") as caught:
        one("ChangeInstrument('XRP_USDT',$close)", market_)
    assert caught.value.remedy


def test_missing_fields_and_wrong_buffers_are_refused() -> None:
    market_ = panel()
    with pytest.raises(DataError, match=r"\$funding_rate is not in the panel"):
        one("Mean($funding_rate,3)", market_)
    with pytest.raises(DataError, match="expected float32"):
        engine.evaluate(["$close"], market_, out=np.empty((1, 3, 3), np.float32))
    with pytest.raises(DataError, match="rows is -1"):
        engine.evaluate(["$close"], market_, rows=-1)


def test_last_rows_and_buffers_and_progress() -> None:
    market_ = panel(rows=3_000, width=40)
    plan = engine.compile(["Mean($close,5)", "Sum($volume,0)"])
    seen: list[tuple[int, int]] = []
    whole = engine.evaluate(plan, market_, progress=lambda done, total, note="": seen.append((done, total)))
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1][0] == seen[-1][1]
    out = np.zeros((2, 7, 40), np.float32)
    assert engine.evaluate(plan, market_, rows=7, out=out) is out
    np.testing.assert_array_equal(out, whole[:, -7:])


def test_empty_and_single_row_panels() -> None:
    market_ = panel()
    for text in ("Mean($close,5)", "Ref($close,0)", "EMA($close,0)"):
        assert engine.evaluate([text], market_.rows(0, 0)).shape == (1, 0, 6)
        assert engine.evaluate([text], market_, rows=0).shape == (1, 0, 6)
    np.testing.assert_array_equal(
        engine.evaluate(["Mean($close,5)"], market_.rows(0, 1))[0], market_["close"][:1]
    )


@pytest.mark.parametrize("text", ["Ref(Med($close,1),1)", "Ref(IdxMax($close,3),2)", "Ref(CSRank($close),1)"])
def test_a_shift_beyond_a_short_panel_is_missing(text: str) -> None:
    assert np.isnan(one(text, panel().rows(0, 1))).all()


@pytest.mark.parametrize("library", ["alpha158", "alpha360"])
def test_live_windows_give_the_bits_of_the_batch(library: str) -> None:
    market_ = panel(rows=700, width=20, missing=0.02, late=3)
    plan = engine.compile([factor.text for factor in factors.library(library)])
    assert plan.lookback is not None
    batch = engine.evaluate(plan, market_)
    for row in (80, 359, 360, 699):
        window = market_.rows(row - plan.lookback, row + 1)
        live = engine.evaluate(plan, window, rows=1)
        np.testing.assert_array_equal(live[:, 0], batch[:, row])
    assert np.isfinite(batch[:, 100:, :17]).mean() > 0.8


def test_the_derived_lookback_is_needed() -> None:
    market_ = panel(rows=200, width=4)
    plan = engine.compile([factor.text for factor in factors.library("alpha158")])
    assert plan.lookback is not None
    whole = engine.evaluate(plan, market_)[:, -1]
    short = engine.evaluate(plan, market_.rows(200 - plan.lookback, 200))[:, -1]
    assert (short != whole).any()


def test_intermediates_stay_far_below_the_output() -> None:
    market_ = panel(rows=6_000, width=32)
    plan = engine.compile([factor.text for factor in factors.library("alpha158")])
    out = np.zeros((158, 6_000, 32), np.float32)
    assert market_.started.any()
    tracemalloc.start()
    engine.evaluate(plan, market_, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.nbytes / 3


def test_dialects_differ_where_qlib_is_unsound() -> None:
    market_ = panel()
    for name in ("open", "high", "low", "close"):
        market_[name][:] *= np.float32(1e-9)
    assert np.isfinite(one("Rsquare($close,10)", market_)[20:]).all()
    assert np.isnan(one("Rsquare($close,10)", market_, "qlib")).all()
    market_["close"][50, 0] = np.nan
    assert np.isnan(one("If($close-$open,1,2)", market_)[50, 0])
    assert one("If($close-$open,1,2)", market_, "qlib")[50, 0] == 1.0


def test_memory_of_an_exponential_mean_ends_where_its_weight_does() -> None:
    import pandas as pd

    market_ = panel(rows=400, width=3)
    plan = engine.compile(["EMA($close,20)"])
    assert plan.lookback is not None
    expected = pd.DataFrame(market_["close"]).ewm(span=20).mean().to_numpy()
    np.testing.assert_allclose(engine.evaluate(plan, market_)[0], expected, rtol=1e-6)
    window = market_.rows(399 - plan.lookback, 400)
    np.testing.assert_allclose(engine.evaluate(plan, window)[0, -1], expected[-1], rtol=1e-6)
