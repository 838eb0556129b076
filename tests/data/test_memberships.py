"""A saved universe is the computed one, for us and for qlib, and lives on with the candles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bascule.core import StoreError, Timeframe, UniverseError
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate
from bascule.data.universe import UniverseSettings, membership

HOUR = Timeframe.parse("1h")
SETTINGS = UniverseSettings(top=5, volume_days=5, min_age_days=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    market = generate(SyntheticSettings(instruments=10, days=40, late=0.4, delisted=0.2, missing=0.01))
    store = Store.create(tmp_path / "store")
    store.write(market.frame[market.frame["time"] < "2022-02-05"], HOUR)
    store.build_provider(HOUR)
    store.save_universe("top5", HOUR, SETTINGS)
    store.write(market.frame, HOUR)
    store.build_provider(HOUR)  # universes are made again with it
    return store


def test_what_is_saved_is_what_is_computed(store: Store) -> None:
    panel = store.panel(HOUR, universe="top5")
    expected = membership(store.panel(HOUR), SETTINGS)
    np.testing.assert_array_equal(panel.members, expected)
    window = store.panel(
        HOUR, start="2022-01-20", end="2022-02-01", universe="top5", instruments=panel.instruments[2:7]
    )
    rows = (panel.time >= np.datetime64("2022-01-20")) & (panel.time < np.datetime64("2022-02-01"))
    np.testing.assert_array_equal(window.members, expected[rows][:, 2:7])
    assert store.universes(HOUR) == {"top5": SETTINGS}


QLIB = """
import sys, warnings
warnings.filterwarnings("ignore")
import qlib
from qlib.data import D
qlib.init(provider_uri=sys.argv[1], region="us", logging_level=50, kernels=1)
spans = D.instruments(market="top5")
found = D.list_instruments(spans, start_time="2022-01-25", end_time="2022-01-25 23:00:00", freq="60min")
print(",".join(sorted(found)))
"""


def test_qlib_reads_it_as_a_market(store: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QLIB, str(store.provider(HOUR))], capture_output=True, text=True, check=True
    )
    panel = store.panel(HOUR, start="2022-01-25", end="2022-01-26", universe="top5")
    expected = [
        name for name, inside in zip(panel.instruments, panel.universe.any(axis=0), strict=True) if inside
    ]  # type: ignore[union-attr]
    assert done.stdout.strip().splitlines()[-1].split(",") == expected
    assert len(expected) == 5


def test_refusals(store: Store) -> None:
    with pytest.raises(StoreError, match="no universe 'top9'"):
        store.panel(HOUR, universe="top9")
    for name in ("all", "Top", "../x", ""):
        with pytest.raises(StoreError, match="no name of a universe"):
            store.save_universe(name, HOUR, SETTINGS)
    with pytest.raises(UniverseError, match="ever a member"):
        store.save_universe("old", HOUR, UniverseSettings(min_age_days=3_000))
    assert set(store.universes(HOUR)) == {"top5"}
    file = store.provider(HOUR) / "instruments/top5.txt"
    file.write_text("half a line")
    with pytest.raises(StoreError, match="damaged"):
        store.panel(HOUR, universe="top5")
