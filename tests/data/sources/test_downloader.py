"""freqtrade's own downloader, run as a process against the local exchange."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange
from bascule.core import DataError, Panel
from bascule.data.sources import Context, Source, open_source
from tests.markets import random_panel

NOW = np.datetime64("2023-01-20T00:30", "ns")


def market(kind: str) -> Panel:
    """Twenty hourly days of two coins."""
    names = ("BTC_USDT", "ETH_USDT") if kind == "spot" else ("BTC_USDT_USDT", "ETH_USDT_USDT")
    return replace(random_panel(5, 24 * 20, 2, start="2023-01-01"), instruments=names)


@pytest.fixture
def exchange(request: pytest.FixtureRequest) -> Iterator[ReplayExchange]:
    kind = request.param
    with ReplayExchange(market(kind), market=kind, clock=lambda: NOW) as served:
        yield served


def source(folder: Path, url: str, kind: str, **values: Any) -> Source:
    settings = {"folder": folder, "base_url": url, "market": kind, **values}
    return open_source("freqtrade", settings, Context(np.random.default_rng(0), lambda: NOW))


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["spot", "futures"], indirect=True)
def test_download(exchange: ReplayExchange, tmp_path: Path) -> None:
    """Two fetches: the second finds its files there and brings the same."""
    kind = exchange.market.kind
    name = "BTC_USDT" if kind == "spot" else "BTC_USDT_USDT"
    one = source(tmp_path, exchange.url, kind)
    fetched = one.fetch("2023-01-02", "2023-01-10", [name])
    frame = fetched.frame
    assert tuple(frame.columns) == fetched.spec.columns
    assert len(frame) == 8 * 24 and set(frame["instrument"]) == {name}
    assert frame["time"].min() == pd.Timestamp("2023-01-02", tz="UTC")
    truth = market(kind).between("2023-01-02", "2023-01-10").select([name])
    np.testing.assert_allclose(frame["close"], truth["close"][:, 0], rtol=1e-6)
    if kind == "futures":
        assert frame["funding_rate"].notna().sum() >= 8 * 3 - 1
        assert frame["mark"].notna().mean() > 0.9
    pd.testing.assert_frame_equal(one.fetch("2023-01-02", "2023-01-10", [name]).frame, frame)


@pytest.mark.slow
def test_a_dead_exchange_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="freqtrade ended with code") as caught:
        source(tmp_path, "http://127.0.0.1:9", "spot").fetch("2023-01-02", "2023-01-10", ["BTC_USDT"])
    assert caught.value.where == "freqtrade:binance:spot:1h download-data"
    assert "bascule-download.json" in (caught.value.remedy or "")


@pytest.mark.slow
def test_it_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    one = source(tmp_path, "http://127.0.0.1:9", "spot", timeout_seconds=0.05)
    with pytest.raises(DataError, match="did not finish"):
        one.fetch("2023-01-02", "2023-01-10", ["BTC_USDT"])
