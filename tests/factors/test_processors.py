"""Processors: each row by itself, its members alone, tier by tier, the same bits in every window."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, Panel
from bascule.data.universe import UniverseSettings, lookback, membership, tiers
from bascule.factors.processors import ProcessorSettings, process
from tests.markets import random_panel

UNIVERSE = UniverseSettings(top=9, volume_days=2, min_age_days=1)
STEPS = {
    "zscore": {},
    "rank": {},
    "rank_gauss": {},
    "mad_zscore": {"limit": 3.0},
    "winsorize": {"q": 0.2},
    "trimmed_demean": {"q": 0.2},
}


def market() -> tuple[Panel, np.ndarray]:
    panel = random_panel(3, 24 * 8, 12)
    panel = panel.with_universe(membership(panel, UNIVERSE))
    rng = np.random.default_rng(2)
    values = rng.standard_t(2, (3, *panel.shape)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    return panel, values


def steps(*kinds: str, **others: object) -> tuple[ProcessorSettings, ...]:
    return tuple(ProcessorSettings.read({"kind": kind, **STEPS[kind], **others}) for kind in kinds)


def zscores(row: np.ndarray) -> np.ndarray:
    return (row - row.mean()) / row.std(ddof=1) if len(row) > 1 else np.full(len(row), np.nan)


def test_tiers_are_standardised_each_for_itself() -> None:
    panel, values = market()
    found = process(values, panel, steps("zscore", tiers=(2, 3)), UNIVERSE)
    groups = tiers(panel, UNIVERSE, (2, 3))
    assert {1, 2, 3} <= set(groups.ravel().tolist())
    for f in range(len(values)):
        for t in range(panel.shape[0]):
            expected = np.full(panel.shape[1], np.nan)
            for group in (1, 2, 3):
                mine = (groups[t] == group) & panel.members[t] & np.isfinite(values[f, t])
                if mine.sum() > 1:
                    expected[mine] = zscores(values[f, t, mine].astype(float))
            np.testing.assert_allclose(found[f, t], expected, rtol=1e-4, atol=1e-5)


def test_steps_are_taken_in_order_over_the_members() -> None:
    panel, values = market()
    found = process(values, panel, steps("winsorize", "zscore"), UNIVERSE)
    t = 150
    there = panel.members[t] & np.isfinite(values[0, t])
    row = values[0, t, there].astype(float)
    moved = np.clip(row, np.quantile(row, 0.2), np.quantile(row, 0.8))
    np.testing.assert_allclose(found[0, t, there], zscores(moved), rtol=1e-4)
    assert np.isnan(found[0, t, ~there]).all()
    assert process(values, panel, (), UNIVERSE) is values


@pytest.mark.parametrize("sizes", [(), (2, 3)], ids=["all", "tiers"])
@pytest.mark.parametrize("kind", STEPS)
def test_any_window_that_covers_the_look_back_gives_the_same_bits(kind: str, sizes: tuple[int, ...]) -> None:
    panel, values = market()
    whole = process(values, panel, steps(kind, tiers=sizes), UNIVERSE)
    assert np.isfinite(whole[:, 100:]).any()
    need = lookback(UNIVERSE, panel.timeframe)
    start, stop = 90 - need, 140
    part = process(
        np.ascontiguousarray(values[:, start:stop]),
        panel.rows(start, stop),
        steps(kind, tiers=sizes),
        UNIVERSE,
    )
    np.testing.assert_array_equal(part[:, need:], whole[:, 90:stop])


def test_wrong_settings_are_refused() -> None:
    for values, message in (
        ({"kind": "zscore", "limit": 3}, "limit is for mad_zscore"),
        ({"kind": "zscore", "tiers": [0]}, "at least one"),
        ({"kind": "whiten"}, "kind"),
        ({"kind": "winsorize", "q": 0.5}, "q"),
    ):
        with pytest.raises(ConfigError, match=message):
            ProcessorSettings.read(values)
