"""Weights that follow the market: of the past alone, quick to turn, of factors that differ."""

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel
from bascule.evaluate import forward_return, ic_series, summarise, truncation
from bascule.models import CombineSettings, combine, market_states, recovery
from tests.markets import random_panel

HORIZON = 3
NAMES = [f"f{i}" for i in range(6)]
DYNAMIC = CombineSettings(window_days=10, every_bars=6)


def flipping(seed: int, rows: int = 2400, width: int = 16) -> tuple[np.ndarray, np.ndarray, Panel, int]:
    """Six factors; the first drives returns and turns its sign in the middle, the second helps a little."""
    random = np.random.default_rng(seed)
    factors = random.standard_normal((6, rows, width))
    sign = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)[:, None]
    panel = random_panel(
        seed + 1, rows, width, timeframe="4h", drive=0.002 * (factors[0] * sign + 0.3 * factors[1])
    )
    return factors.astype(np.float32), forward_return(panel, HORIZON), panel, rows // 2


def _mean_ic(signal: np.ndarray, label: np.ndarray, panel: Panel, rows: slice) -> float:
    return float(np.nanmean(ic_series(signal, label, panel.members, rank=True)[rows]))


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("method", ["ridge", "lasso", "icir"])
def test_after_a_sign_flip_it_recovers_at_least_twice_as_fast_as_static_weights(
    seed: int, method: str
) -> None:
    values, label, panel, flip = flipping(seed)
    dynamic = DYNAMIC.model_copy(update={"method": method})
    rivals = {
        "dynamic": dynamic,
        "expanding": CombineSettings(window_days=None, every_bars=6),
        "static": CombineSettings(window_days=100, every_bars=6, refit=False),
    }
    bars = {}
    for name, settings in rivals.items():
        signal = combine(values, NAMES, label, panel, horizon=HORIZON, settings=settings).values
        assert _mean_ic(signal, label, panel, slice(600, flip)) > 0.05
        bars[name] = recovery(signal, label, panel, flip, bars=90)
    assert bars["dynamic"] is not None
    assert bars["dynamic"] < 60
    for name in ("expanding", "static"):
        assert bars[name] is None or bars[name] >= 2 * bars["dynamic"]


def test_weights_find_what_drives_returns_and_know_its_sign() -> None:
    values, label, panel, flip = flipping(1)
    got = combine(values, NAMES, label, panel, horizon=HORIZON, settings=DYNAMIC)
    before = got.weights[(got.starts > 600) & (got.starts < flip)].mean(axis=0)
    after = got.weights[got.starts > flip + 200].mean(axis=0)
    assert before[0] > 0.3
    assert after[0] < -0.3
    assert np.abs(before[2:]).max() < 0.15
    sums = np.abs(got.weights).sum(axis=1)
    assert set(np.round(sums, 6)) <= {0.0, 1.0}


def test_no_weight_knows_a_label_that_had_not_ended() -> None:
    """Labels after row r − h − 1 may be anything: nothing up to row r changes."""
    values, label, panel, _ = flipping(3, rows=700)
    whole = combine(values, NAMES, label, panel, horizon=HORIZON, settings=DYNAMIC).values
    row = 400
    changed = label.copy()
    changed[row - HORIZON :] = np.random.default_rng(0).standard_normal(changed[row - HORIZON :].shape)
    other = combine(values, NAMES, changed, panel, horizon=HORIZON, settings=DYNAMIC).values
    assert np.array_equal(other[: row + 1], whole[: row + 1], equal_nan=True)
    assert not np.array_equal(other[row + 30 :], whole[row + 30 :], equal_nan=True)


@pytest.mark.parametrize("by_regime", [False, True])
def test_appended_rows_change_nothing_earlier(by_regime: bool) -> None:
    values, _, panel, _ = flipping(4, rows=900)
    settings = DYNAMIC.model_copy(update={"by_regime": by_regime, "regime_days": 5.0, "window_days": 40.0})

    def compute(cut: Panel) -> np.ndarray:
        label = forward_return(cut, HORIZON)
        rows = slice(0, len(cut.time))
        return combine(values[:, rows], NAMES, label, cut, horizon=HORIZON, settings=settings).values

    report = truncation(compute, panel, [500, 603, 800])
    assert report.ok, report.mismatches


def test_factors_too_much_alike_are_not_chosen_together() -> None:
    values, label, panel, _ = flipping(5, rows=900)
    twin = values.copy()
    twin[1] = values[0] + 0.1 * values[1]
    got = combine(twin, NAMES, label, panel, horizon=HORIZON, settings=DYNAMIC)
    late = got.weights[got.starts > 200]
    assert not ((late[:, 0] != 0) & (late[:, 1] != 0)).any()
    free = combine(
        twin, NAMES, label, panel, horizon=HORIZON,
        settings=DYNAMIC.model_copy(update={"max_correlation": 1.0, "most": 3}),
    )  # fmt: skip
    assert ((free.weights[:, 0] != 0) & (free.weights[:, 1] != 0)).any()
    assert (free.weights != 0).sum(axis=1).max() == 3


def test_weights_by_regime_serve_an_alpha_that_turns_with_the_regime() -> None:
    random = np.random.default_rng(6)
    rows, width = 3000, 16
    factors = random.standard_normal((6, rows, width))
    # the market turns every ten days; the factor works one way in rising, the other in falling markets
    up = (np.arange(rows) // 60 % 2 == 0)[:, None]
    drive = 0.0025 * factors[0] * np.where(up, 1.0, -1.0) + np.where(up, 0.004, -0.004)
    panel = random_panel(7, rows, width, timeframe="4h", drive=drive, common=0.2)
    label = forward_return(panel, HORIZON)
    values = factors.astype(np.float32)
    shared = {"window_days": 120.0, "every_bars": 6, "regime_days": 4.0}
    scores = {}
    for by_regime in (False, True):
        settings = CombineSettings(by_regime=by_regime, regime_rows=100, **shared)
        signal = combine(values, NAMES, label, panel, horizon=HORIZON, settings=settings).values
        scores[by_regime] = summarise(ic_series(signal, label, panel.members, rank=True)[900:], HORIZON)
    assert scores[True].t > 5
    assert scores[True].mean > 2 * abs(scores[False].mean)
    states = market_states(panel, 4.0)
    assert set(states) == {-1, 0, 1, 2, 3}


def test_lasso_meets_its_conditions_of_optimality() -> None:
    from bascule.models.combine import _lasso

    random = np.random.default_rng(0)
    sample = random.standard_normal((50, 6))
    alike = np.corrcoef(sample.T)
    target = random.standard_normal(6) * 0.1
    weights = _lasso(alike, target, 0.4)
    bound = 0.4 * np.abs(target).max()
    slope = target - alike @ weights
    assert slope[weights != 0] == pytest.approx(bound * np.sign(weights[weights != 0]), abs=1e-9)
    assert (np.abs(slope[weights == 0]) <= bound + 1e-9).all()
    assert 0 < (weights != 0).sum() < 6


def test_what_does_not_fit_is_refused() -> None:
    values, label, panel, _ = flipping(0, rows=300)
    with pytest.raises(DataError, match="do not fit"):
        combine(values, NAMES, label[:-1], panel, horizon=HORIZON)
    with pytest.raises(DataError, match="1 names"):
        combine(values, ["a"], label, panel, horizon=HORIZON)
    with pytest.raises(ConfigError, match="window of 6 bars"):
        combine(
            values, NAMES, label, panel, horizon=24, settings=CombineSettings(window_days=1, every_bars=6)
        )
    with pytest.raises(ConfigError, match="give window_days"):
        CombineSettings.read({"window_days": None, "refit": False})


def test_weights_learned_once_wait_for_a_window_that_teaches() -> None:
    """Before the universe begins there are no members: such a window must not be the one learned from."""
    values, label, panel, flip = flipping(0)
    universe = np.ones(panel.shape, bool)
    universe[:300] = False
    late = panel.with_universe(universe)
    settings = CombineSettings(window_days=30, every_bars=6, refit=False)
    signal = combine(values, NAMES, label, late, horizon=HORIZON, settings=settings).values
    assert np.isfinite(signal[600:]).all(axis=1).mean() > 0.9
    assert _mean_ic(signal, label, late, slice(600, flip)) > 0.05
