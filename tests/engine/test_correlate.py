"""Information coefficients of many expressions: the core against NumPy, exactness, errors."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from bascule import engine
from bascule.core import DataError, Panel
from bascule.kernels.native import library
from tests.markets import random_panel

CORE = library()
needs_core = pytest.mark.skipif(CORE is None, reason="the native core is not built")
by_core = partial(engine.ic, executor="native")
reference = partial(engine.ic, executor="reference")
TEXTS = [
    "$close/Ref($close,1)", "Mean($close,5)", "$close>$open", "CSRank(Std($close,10))", "Sign($close-$open)",
    "ChangeInstrument('C001_USDT',$close)", "Log($volume-20)", "0*$close+7",
]  # fmt: skip


def labels(panel: Panel, count: int = 3) -> np.ndarray:
    random = np.random.default_rng(8)
    found = random.standard_normal((count, *panel.shape)).astype(np.float32)
    found[1] = np.round(found[1], 1)
    found[2][random.random(panel.shape) < 0.1] = np.nan
    found[:, -4:] = np.nan
    return found


@needs_core
@pytest.mark.parametrize("width", [7, 21, 64])
@pytest.mark.parametrize("masked", [False, True])
def test_the_core_equals_numpy(width: int, masked: bool) -> None:
    panel = random_panel(2, 300, width, missing=0.04, late=3)
    mask = np.random.default_rng(1).random(panel.shape) < 0.8 if masked else None
    left = by_core(TEXTS, panel, labels(panel), rank=True, mask=mask)
    right = reference(TEXTS, panel, labels(panel), rank=True, mask=mask)
    for found, expected in zip(left, right, strict=True):
        assert found is not None
        assert expected is not None
        assert found.shape == (len(TEXTS), 3, 300)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        assert np.isfinite(found[:5]).mean() > 0.2
        assert np.isnan(found[-1]).all()


@needs_core
def test_ranks_are_exact_whatever_the_ties() -> None:
    panel = random_panel(6, 200, 37, missing=0.1)
    panel["close"][:] = np.round(panel["close"] / 4) * 4
    found = by_core(["$close", "-1*$close"], panel, labels(panel), plain=False, rank=True).rank
    expected = reference(["$close", "-1*$close"], panel, labels(panel), plain=False, rank=True).rank
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found[0], -found[1])


@needs_core
def test_threads_sets_and_company_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = random_panel(2, 700, 40, missing=0.04)
    expected = by_core(TEXTS, panel, labels(panel), rank=True, threads=1)
    assert CORE is not None
    for name in CORE.sets:
        monkeypatch.setattr(CORE, "chosen", name)
        for texts, rows in ((TEXTS, slice(None)), (TEXTS[2:4], slice(2, 4))):
            found = by_core(texts, panel, labels(panel), rank=True, threads=3)
            for one, other in zip(found, expected, strict=True):
                assert other is not None
                np.testing.assert_array_equal(one, other[rows])


def test_what_is_not_asked_for_is_not_computed() -> None:
    panel = random_panel(2, 30, 8)
    found = engine.ic("$close", panel, labels(panel), plain=False)
    assert found == (None, None)
    assert engine.ic("$close", panel, labels(panel)).rank is None
    assert engine.ic("$close", panel.rows(0, 0), labels(panel)[:, :0]).plain.shape == (1, 3, 0)  # type: ignore[union-attr]


def test_shapes_that_do_not_fit_are_refused() -> None:
    panel = random_panel(2, 30, 8)
    with pytest.raises(DataError, match="labels are"):
        engine.ic("$close", panel, labels(panel)[:, :-1])
    with pytest.raises(DataError, match="labels are"):
        engine.ic("$close", panel, labels(panel).astype(np.float64))
    with pytest.raises(DataError, match="mask is"):
        engine.ic("$close", panel, labels(panel), mask=np.ones((3, 3), np.bool_))
    with pytest.raises(DataError, match="min_breadth"):
        engine.ic("$close", panel, labels(panel), min_breadth=1)
    with pytest.raises(DataError, match="not in the panel"):
        engine.ic("$funding_rate", panel, labels(panel))
