"""The store on real data of several kinds: slow data of the chain, dead coins in saved universes, appends."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.core import Timeframe
from bascule.data.readers import read_long
from bascule.data.store import Store
from bascule.data.universe import UniverseSettings, tiers
from tests.realdata import panel_path

pytestmark = pytest.mark.real_data
HOUR = Timeframe.parse("1h")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two years around the end of LUNA and FTT, the last two days candle by candle."""
    frame = read_long(panel_path("panel_1h"))
    frame = frame[(frame["time"] >= "2021-06-01") & (frame["time"] < "2023-11-01")]
    store = Store.create(tmp_path_factory.mktemp("real") / "store")
    edge = pd.Timestamp("2023-10-30", tz="UTC")
    store.write(frame[frame["time"] < edge], HOUR)
    for _, part in frame[frame["time"] >= edge].groupby("time"):
        store.write(part, HOUR)
    assert len(store.section(HOUR).months["2023-10"]) > 40
    pd.testing.assert_frame_equal(store.frame(HOUR), frame.reset_index(drop=True))
    store.build_provider(HOUR)
    return store


def test_dead_and_migrated_coins_come_and_go_in_a_saved_universe(store: Store) -> None:
    store.save_universe("top30", HOUR, UniverseSettings(top=30, exclude=("BTC",)))
    panel = store.panel(HOUR, universe="top30")
    members = {name: panel.members[:, n] for n, name in enumerate(panel.instruments)}
    time = panel.time

    def on(name: str, day: str) -> bool:
        return bool(members[name][(time >= np.datetime64(day)) & (time < np.datetime64(day) + 1)].any())

    assert on("LUNA_USDT", "2022-05-10")
    assert not on("LUNA_USDT", "2022-05-20")
    assert on("FTT_USDT", "2022-11-12")
    assert not on("FTT_USDT", "2022-12-15")
    assert not members["BTC_USDT"].any()
    assert panel.members.sum(axis=1).max() == 30
    # the market file for qlib has the same edges
    spans = (store.provider(HOUR) / "instruments/top30.txt").read_text().splitlines()
    luna = [line.split("\t")[1:] for line in spans if line.startswith("LUNA_USDT")]
    assert any(first < "2022-05-10" and last.startswith("2022-05-1") for first, last in luna)


def test_tiers_of_real_coins(store: Store) -> None:
    panel = store.panel(HOUR, start="2023-01-01", end="2023-06-01", fields=["close", "volume"])
    found = tiers(panel, UniverseSettings(min_age_days=30), [5, 15])
    leaders = found[:, panel.instruments.index("BTC_USDT")]
    late = panel.time >= np.datetime64("2023-02-01")
    assert (leaders[late & panel.traded[:, panel.instruments.index("BTC_USDT")]] == 1).all()
    assert {0, 1, 2, 3} == set(np.unique(found).tolist())


def test_the_chain_is_known_a_day_later(store: Store) -> None:
    chain = pd.read_parquet(panel_path("onchain_daily"))
    key = next(c for c in chain.columns if c in ("symbol", "asset"))
    chain = chain[chain[key].astype(str).str.upper().str.removesuffix("USDT") == "BTC"]
    value = next(c for c in chain.columns if "adr" in c.lower() or "address" in c.lower())
    time = pd.to_datetime(chain["date"], utc=True).astype("datetime64[ns, UTC]")
    rows = pd.DataFrame(
        {
            "time": time,
            "available_time": time + pd.Timedelta(hours=36),
            "instrument": "BTC",
            "addresses": chain[value].to_numpy(np.float32),
        }
    ).dropna()
    store.write_table("chain", rows, scope="asset", units={"addresses": "1"})
    panel = store.panel(HOUR, instruments=["BTC_USDT"], fields=["close"], slow_fields=["chain"])
    seen = panel["addresses"][:, 0]
    day = np.datetime64("2022-03-10")
    told = rows.set_index(rows["time"].dt.tz_localize(None))["addresses"]
    at = int(np.searchsorted(panel.time, day + np.timedelta64(35, "h")))
    # the candle that closes 36 hours after the day began is the first that has it
    assert seen[at] == told[day]
    assert seen[at - 1] == told[day - np.timedelta64(1, "D")]
