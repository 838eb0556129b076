"""Candles of a store as input of runs and commands, and what is known of where they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bascule.app import candles
from bascule.app.config import RunConfig, load
from bascule.app.sources import read_source, source_fingerprint
from bascule.app.trials import REAL, UNKNOWN, Tries
from bascule.core import BasculeError
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate, is_synthetic

MARKET = generate(SyntheticSettings(instruments=4, days=20, late=0, delisted=0)).frame


def store_of(path: Path, frame: pd.DataFrame) -> Store:
    store = Store.create(path)
    store.write(frame, "1h")
    store.build_provider("1h")
    return store


def config_of(path: Path) -> RunConfig:
    values = {
        "name": "x",
        "data": {"source": {"kind": "store", "path": "market.store"}},
        "walk_forward": {"first_test": "2022-03-01"},
    }
    (path / "run.yaml").write_text(yaml.safe_dump(values))
    return load(path / "run.yaml")


def test_a_run_reads_a_store_and_knows_when_it_has_grown(tmp_path: Path) -> None:
    half = MARKET["time"] < pd.Timestamp("2022-01-11", tz="UTC")
    store = store_of(tmp_path / "market.store", MARKET[half])
    config = config_of(tmp_path)
    columns = ["time", "instrument", "open", "high", "low", "close", "volume"]
    expected = MARKET.loc[half, columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_source(config)[columns], expected)
    before = source_fingerprint(config)
    assert before == source_fingerprint(config)
    store.write(MARKET[~half], "1h")
    assert before != source_fingerprint(config)
    assert len(read_source(config)) == len(MARKET)


def test_a_markets_panel_is_that_of_its_store(tmp_path: Path) -> None:
    market = generate(SyntheticSettings(instruments=7, days=40, late=0, delisted=0))
    stored, own = store_of(tmp_path / "toy", market.frame).panel("1h"), market.panel(top=5)
    assert own.instruments == stored.instruments and (own.time == stored.time).all()
    np.testing.assert_array_equal(own["close"], stored["close"])
    np.testing.assert_array_equal(own["vwap"], stored["vwap"])
    assert own.members.sum(1).max() == 5 and market.panel().members.sum(1).max() == 7


def test_a_store_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BasculeError) as caught:
        read_source(config_of(tmp_path))
    assert "market.store" in str(caught.value) and caught.value.remedy


def test_generated_candles_are_never_counted_as_real_ones(tmp_path: Path) -> None:
    store_of(tmp_path / "toy", MARKET)
    found = candles.read(tmp_path / "toy", "1h")
    assert found.synthetic == UNKNOWN and found.source == "synthetic market of store toy"
    MARKET.to_parquet(tmp_path / "toy.parquet")
    assert candles.read(tmp_path / "toy.parquet", "1h").synthetic == UNKNOWN
    real = MARKET.assign(instrument=MARKET["instrument"].str.replace("SYN", "COIN"))
    store_of(tmp_path / "real", real)
    assert candles.read(tmp_path / "real", "1h").synthetic is None
    ledger = tmp_path / "trials.sqlite"
    names = {Tries.on(ledger, kind).market for kind in (None, UNKNOWN, SyntheticSettings())}
    assert len(names) == 3 and REAL in names


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        (["SYNBTC_USDT", "SYN01_USDT", "SYN499_USDT"], True),
        (["SYN01_USDT_USDT"], True),
        (["SYN_USDT"], False),
        (["SYN01_USDT", "BTC_USDT"], False),
        ([], False),
    ],
)
def test_a_generated_market_is_known_by_its_names(names: list[str], verdict: bool) -> None:
    assert is_synthetic(names) is verdict
