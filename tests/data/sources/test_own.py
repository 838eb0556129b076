"""The short way to a user's own source: mistakes of its read() are told, times may be of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError
from bascule.data.sources import Context, Fetched, RangeSource, candles

NOW = np.datetime64("2024-01-10", "ns")
ROWS = {name: [1.0, 2.0] for name in ("open", "high", "low", "close", "volume")}


def fetch(given: Any) -> Fetched:
    class Mine(RangeSource):
        def read(self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]) -> Any:
            return given

    source = Mine(candles("mine", "1h"), Context(np.random.default_rng(0), lambda: NOW))
    return source.fetch("2024-01-01", "2024-01-02", ["BTC_USDT"])


@pytest.mark.parametrize("given", [None, [], {"time": []}])
def test_what_is_no_frame_is_told(given: Any) -> None:
    with pytest.raises(DataError, match=r"read\(\) gave a") as caught:
        fetch(given)
    assert caught.value.where == "mine:1h" and caught.value.remedy


def test_missing_columns_are_told_together() -> None:
    with pytest.raises(DataError, match="lacks time, instrument, low"):
        fetch(pd.DataFrame({name: column for name, column in ROWS.items() if name != "low"}))


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([1_704_067_200_000, 1_704_070_800_000]),
        pd.Series([1_704_067_200_000, 1_704_070_800_000], dtype=float),
        pd.Series([1_704_067_200_000, 1_704_070_800_000], dtype=object),
        pd.Series(["2024-01-01", "2024-01-01T01:00"]),
        pd.Series([pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01T01:00")]),
        pd.Series([pd.Timestamp("2024-01-01T08:00+08:00"), "2024-01-01T01:00Z"], dtype=object),
        pd.Series(np.array(["2024-01-01T00", "2024-01-01T01"], "datetime64[s]")),
    ],
)
def test_times_of_several_kinds(times: pd.Series) -> None:
    frame = fetch(pd.DataFrame({"time": times, "instrument": "BTC_USDT", **ROWS})).frame
    assert frame["time"].tolist() == [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01T01:00Z")]
