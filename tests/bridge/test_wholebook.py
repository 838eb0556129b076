"""The whole-book analyses: what is withheld, what is compared, which moments are looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import run, wholebook
from bascule.bridge.freqtrade.wholebook import Deed, compare, moments
from bascule.core import BridgeError, Timeframe
from tests.bridge.research import Research

HOUR = 3_600_000


def deed(hour: int, pair: str = "BTC/USDT", **changes: object) -> Deed:
    plain = Deed(hour * HOUR, pair, 0, "long", True, "alpha_long", 10.0, 2.0, 1.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_orders_are_compared_up_to_the_moment_and_to_the_last_bit() -> None:
    whole = [deed(1), deed(2), deed(3)]
    assert compare(whole, [deed(1), deed(2)], "x", until=2 * HOUR) == ()
    assert len(compare(whole, [deed(1), deed(2)], "x", until=3 * HOUR)) == 1
    other = deed(2, amount=float(np.nextafter(2.0, 3.0)))
    found = compare(whole, [deed(1), other, deed(3)], "x", until=None)
    assert [(one.deed, one.missing) for one in found] == [(deed(2), True), (other, False)]
    assert "BTC/USDT long entry alpha_long: 2 at 10" in str(deed(2))


def test_moments_are_spread_over_the_orders() -> None:
    deeds = [deed(hour) for hour in range(10)] * 2
    assert moments(deeds, 2) == [3 * HOUR, 5 * HOUR]
    assert moments(deeds, 100) == [hour * HOUR for hour in range(9)]
    assert moments([deed(1)], 3) == [] and moments([], 3) == [] and moments(deeds, 0) == []


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_what_is_known_later_is_withheld(
    spot: Research, futures: Research, tmp_path: Path, kind: str
) -> None:
    research = spot if kind == "spot" else futures
    moment = pd.Timestamp("2023-03-01T08:00", tz="UTC")
    wholebook.withhold(research.datadir, tmp_path, moment.value // 10**6, Timeframe(3_600))
    names = {path.relative_to(research.datadir) for path in research.datadir.rglob("*.feather")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.feather")} == names
    for name in names:
        whole, copy = pd.read_feather(research.datadir / name), pd.read_feather(tmp_path / name)
        before = whole[whole["date"] < moment].reset_index(drop=True)
        pd.testing.assert_frame_equal(copy[: len(before)], before)
        if name.stem.endswith(("-mark", "-funding_rate")):
            assert copy["date"].max() == moment
            continue
        assert copy["date"].max() == moment + pd.Timedelta(hours=1) and len(copy) == len(before) + 2
        real = whole[whole["date"] == moment].iloc[0]
        seen = copy.iloc[-2]
        for field in ("open", "high", "low"):
            assert seen[field] == real[field]
        assert seen["low"] <= seen["close"] <= seen["high"] and seen["close"] != real["close"]
        assert seen["volume"] != real["volume"]


def test_coarser_candles_are_withheld_until_they_close(tmp_path: Path) -> None:
    dates = pd.date_range("2023-03-01", periods=6, freq="4h", tz="UTC")
    values = np.arange(1.0, 7.0)
    frame = pd.DataFrame({"date": dates, **dict.fromkeys(("open", "high", "low", "close", "volume"), values)})
    (tmp_path / "from").mkdir()
    frame.to_feather(tmp_path / "from" / "BTC_USDT-4h.feather")
    for hour, kept in ((7, 1), (8, 2), (9, 2)):
        moment = pd.Timestamp("2023-03-01", tz="UTC") + pd.Timedelta(hour, "h")
        wholebook.withhold(tmp_path / "from", tmp_path / "to", moment.value // 10**6, Timeframe(3_600))
        assert len(pd.read_feather(tmp_path / "to" / "BTC_USDT-4h.feather")) == kept


def test_senseless_numbers_are_refused(spot: Research, tmp_path: Path) -> None:
    job = run.Job(spot.bundle, tmp_path / "user", spot.datadir)
    for cuts, more in ((0, ()), (-1, (5,)), (3, (0,))):
        with pytest.raises(BridgeError, match="nothing to compare"):
            wholebook.analyse(job, cuts=cuts, more=more)
