"""An IC by venue: the same cells, each venue's own prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel
from bascule.evaluate import SheetSettings, Yardstick, by_venue, forward_return, ic_series, summarise
from tests.markets import random_panel

ROWS, WIDTH = 900, 12


def venues() -> tuple[np.ndarray, dict[str, Panel]]:
    """A factor that foresees prices at the first venue, and less at the second, which starts later."""
    signal = np.random.default_rng(1).standard_normal((ROWS, WIDTH))
    first = random_panel(2, ROWS, WIDTH, drive=0.004 * signal, missing=0.02)
    other = random_panel(3, ROWS, WIDTH, drive=0.001 * signal, missing=0.02).rows(100, None)
    names = tuple(f"{name.removesuffix('_USDT')}_USD" for name in other.instruments)
    return signal.astype(np.float32), {"one": first, "two": replace(other, instruments=names)}


def test_it_is_the_ic_of_each_venue_on_the_cells_that_all_have() -> None:
    signal, panels = venues()
    values = {"one": signal, "two": signal[100:]}
    found = by_venue(values, panels, 3)
    assert list(found.index) == ["one", "two"]
    labels = [forward_return(panels["one"], 3)[100:], forward_return(panels["two"], 3)]
    shared = panels["one"].members[100:] & panels["two"].members & np.isfinite(labels[0] + labels[1])
    for name, label in zip(found.index, labels, strict=True):
        expected = summarise(ic_series(signal[100:], label, shared, rank=True), 3)
        row = found.loc[name]
        assert (row["ic"], row["t"], row["n"]) == pytest.approx((expected.mean, expected.t, expected.n))
    assert found.loc["one", "ic"] > 2 * found.loc["two", "ic"] > 0.05
    later = by_venue(values, panels, 3, start=panels["one"].time[500])
    assert later["n"].tolist() == [ROWS - 500 - 4] * 2


def test_what_one_venue_lacks_counts_at_none() -> None:
    signal, panels = venues()
    cut = signal[100:].copy()
    cut[300:] = np.nan
    found = by_venue({"one": signal, "two": cut}, panels, 3)
    assert found["n"].tolist() == [300, 300]
    # of two pairs of a coin the one that trades counts
    two = panels["two"]
    dead = {name: np.c_[np.full((len(two.time), 1), np.nan, np.float32), f] for name, f in two.fields.items()}
    more = Panel(
        two.timeframe,
        two.time,
        ("C000_EUR", *two.instruments),
        dead,
        np.concatenate([two.listed[:1], two.listed]),
    )
    widened = np.c_[np.ones((len(cut), 1), np.float32), cut]
    again = by_venue({"one": signal, "two": widened}, {"one": panels["one"], "two": more}, 3)
    np.testing.assert_array_equal(again.to_numpy(), found.to_numpy())


def test_a_sheet_has_its_venues() -> None:
    signal, panels = venues()
    settings = SheetSettings(horizon=3, horizons=(1, 3, 6), reps=100)
    yardstick = Yardstick(panels["one"], settings, venues=panels)
    sheet = yardstick.measure("signal", signal, elsewhere=[signal[100:]])
    label = forward_return(panels["one"], 3)
    for rank, series in ((False, sheet.ic), (True, sheet.rank_ic)):
        np.testing.assert_array_equal(series, ic_series(signal, label, panels["one"].members, rank=rank))
    start = panels["one"].time[sheet.split]
    values = {"one": signal, "two": signal[100:]}
    np.testing.assert_array_equal(sheet.parts["venue"], by_venue(values, panels, 3, start=start))
    assert "venue" not in Yardstick(panels["one"], settings).measure("signal", signal).parts


def test_venues_that_do_not_fit_are_refused() -> None:
    signal, panels = venues()
    one, two = panels["one"], panels["two"]
    with pytest.raises(ConfigError, match="by_venue"):
        by_venue({"one": signal}, {"one": one}, 3)
    days = random_panel(4, 50, WIDTH, timeframe="1d")
    with pytest.raises(DataError, match="1h"):
        by_venue({"one": signal, "two": signal[:50]}, {"one": one, "two": days}, 3)
    few = two.select(two.instruments[:3])
    with pytest.raises(DataError, match="share 3 coins"):
        by_venue({"one": signal, "two": signal[100:, :3]}, {"one": one, "two": few}, 3)
    with pytest.raises(DataError, match="share 12 coins, from"):
        early = {"one": one.rows(0, 50), "two": two}
        by_venue({"one": signal[:50], "two": signal[100:]}, early, 3)
