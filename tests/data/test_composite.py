"""Composite candles: weights, rejection, failover, units; and the real venues."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError
from bascule.data.composite import Composite, CompositeSettings, composite
from tests.realdata import panel_path

HOURS = 400


def venue(seed: int, *, noise: float = 2e-4, scale: float = 1.0, hours: int = HOURS) -> pd.DataFrame:
    """A venue's view of one common price path, two instruments."""
    path, own = np.random.default_rng(1), np.random.default_rng(seed)
    frames = []
    for name, level in (("BTC_USDT", 30_000.0), ("ETH_USDT", 2_000.0)):
        truth = level * np.exp(np.cumsum(path.normal(0, 0.01, hours + 1)))
        seen = truth * np.exp(own.normal(0, noise, hours + 1))
        first, last = seen[:-1], seen[1:]
        frames.append(
            pd.DataFrame(
                {
                    "time": pd.date_range("2024-01-01", periods=hours, freq="h", tz="UTC"),
                    "instrument": name,
                    "open": first,
                    "high": np.maximum(first, last) * (1 + own.uniform(0, 0.002, hours)),
                    "low": np.minimum(first, last) * (1 - own.uniform(0, 0.002, hours)),
                    "close": last,
                    "volume": own.lognormal(0, 0.5, hours) * 10 * scale,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def settings(**values: object) -> CompositeSettings:
    return CompositeSettings.read(values)


@pytest.fixture
def three() -> dict[str, pd.DataFrame]:
    return {"a": venue(2), "b": venue(3, scale=3.0), "c": venue(4)}


def at(frame: pd.DataFrame, row: int) -> pd.Series:
    return frame.iloc[row]


def test_prices_are_weighted_by_volume(three: dict[str, pd.DataFrame]) -> None:
    done = composite(three)
    frame = done.frame
    raw = [three[name].sort_values(["instrument", "time"], ignore_index=True) for name in "abc"]
    total = sum(one["volume"] for one in raw)
    for name in ("open", "high", "low", "close"):
        truth = sum(one[name] * one["volume"] for one in raw) / total
        np.testing.assert_allclose(frame[name], truth, rtol=1e-6)
    np.testing.assert_allclose(frame["volume"], total, rtol=1e-6)
    np.testing.assert_allclose(
        frame["spread_b"], raw[1]["close"] / frame["close"].astype(float) - 1, atol=1e-6
    )
    assert (frame["venues"] == 3).all() and not frame["rejected"].any()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert done.venues["a"].used == 2 * HOURS
    assert list(frame.columns[:2]) == ["time", "instrument"]


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("error", [0.7, 1.4])
def test_a_wrong_venue_is_rejected_and_shown(
    three: dict[str, pd.DataFrame], field: str, error: float
) -> None:
    clean = composite({"a": three["a"], "c": three["c"]}).frame
    bad = three["b"].copy()
    bad.loc[[5, 50, 700], field] *= error
    done = composite(three | {"b": bad})
    hit = done.frame["rejected"] == 1
    assert list(np.flatnonzero(hit)) == [5, 50, 700]
    assert done.venues["b"].rejected == 3
    np.testing.assert_allclose(done.frame.loc[hit, "close"], clean.loc[hit, "close"], rtol=1e-6)
    if field == "close":
        np.testing.assert_allclose(done.frame.loc[hit, "spread_b"], error - 1, atol=2e-3)
        assert (done.frame.loc[hit, "venue_spread"] > 0.2).all()


def test_a_storm_rejects_nobody() -> None:
    """When all venues scatter, distance alone is no error."""
    wild = {name: venue(i, noise=0.01) for i, name in enumerate("abcde", start=10)}

    def share(deviation: float) -> float:
        venues = composite(wild, settings(floor=0.002, deviation=deviation)).venues.values()
        return sum(one.rejected for one in venues) / sum(one.rows for one in venues)

    assert share(5.0) < 0.1
    assert share(0.001) > 0.5  # what the floor alone would do


def test_failover_when_a_venue_goes_missing(three: dict[str, pd.DataFrame]) -> None:
    whole = composite(three).frame
    gap = three["b"]["time"].between("2024-01-03", "2024-01-05")
    done = composite(three | {"b": three["b"][~gap]})
    assert len(done.frame) == len(whole)
    away = done.frame["venues"] == 2
    assert away.sum() == gap.sum() == done.venues["b"].absent
    assert done.frame.loc[away, "spread_b"].isna().all()
    np.testing.assert_allclose(done.frame["close"], whole["close"], rtol=2e-3)
    # one venue alone carries on too, and an instrument that one venue lacks
    alone = composite({"a": three["a"][:50], "b": three["b"][three["b"]["instrument"] == "BTC_USDT"]}).frame
    assert set(alone["instrument"]) == {"BTC_USDT"} and len(alone) == HOURS


def test_no_volume_is_no_trade(three: dict[str, pd.DataFrame]) -> None:
    stuck = three["a"].copy()
    stuck.loc[:99, "volume"] = 0.0
    done = composite(three | {"a": stuck})
    assert done.venues["a"].idle == 100
    assert (done.frame["venues"][:100] == 2).all()
    assert len(composite({"a": stuck}).frame) == 2 * HOURS - 100


def test_two_that_disagree_are_settled_by_priority(three: dict[str, pd.DataFrame]) -> None:
    off = three["b"].copy()
    off.loc[7, ["open", "high", "low", "close"]] *= 1.05
    pair = {"a": three["a"], "b": off}
    first = composite(pair).frame
    assert at(first, 7)["disputed"] == 1 and first["disputed"].sum() == 1
    assert at(first, 7)["close"] == pytest.approx(three["a"]["close"][7])
    other = composite(pair, settings(priority=("b",))).frame
    assert at(other, 7)["close"] == pytest.approx(off["close"][7])


def test_volume_units(three: dict[str, pd.DataFrame]) -> None:
    plain = composite(three).frame
    sizes = {"BTC_USDT": 0.01, "ETH_USDT": 0.1}
    contracts, quote = three["b"].copy(), three["c"].copy()
    contracts["volume"] /= contracts["instrument"].map(sizes)
    quote["volume"] *= quote["close"]
    given = {"a": three["a"], "b": contracts, "c": quote}
    units = {"b": {"unit": "contracts", "sizes": sizes}, "c": {"unit": "quote"}}
    pd.testing.assert_frame_equal(composite(given, settings(volumes=units)).frame, plain, rtol=1e-5)
    with pytest.raises(DataError, match="contract size of ETH_USDT"):
        composite(given, settings(volumes={"b": {"unit": "contracts", "sizes": {"BTC_USDT": 0.01}}}))


def test_an_unknown_unit_lends_its_price_only(three: dict[str, pd.DataFrame]) -> None:
    unknown = settings(volumes={"b": {"unit": "unknown"}})
    late = three["a"][three["a"]["time"] >= "2024-01-05"]
    done = composite({"a": late, "b": three["b"]}, unknown)
    alone = done.frame["time"] < "2024-01-05"
    assert done.frame.loc[alone, "volume"].isna().all()
    raw = three["b"].sort_values(["instrument", "time"], ignore_index=True)
    np.testing.assert_allclose(done.frame.loc[alone, "close"], raw.loc[alone, "close"], rtol=1e-6)
    mixed = late.sort_values(["instrument", "time"])["close"]
    np.testing.assert_allclose(done.frame.loc[~alone, "close"], mixed, rtol=1e-6)
    assert done.venues["b"].used == alone.sum()


def test_rows_do_not_look_at_other_rows(three: dict[str, pd.DataFrame]) -> None:
    whole = composite(three).frame
    cut = {name: frame[frame["time"] < "2024-01-09"] for name, frame in three.items()}
    expected = whole[whole["time"] < "2024-01-09"].reset_index(drop=True)
    pd.testing.assert_frame_equal(composite(cut).frame, expected, check_exact=True)
    shuffled = {name: frame.sample(frac=1, random_state=3) for name, frame in three.items()}
    pd.testing.assert_frame_equal(composite(shuffled).frame, whole, check_exact=True)


def test_wrong_input_is_refused(three: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match="no venue"):
        composite({})
    with pytest.raises(DataError, match="lacks volume"):
        composite({"a": three["a"].drop(columns="volume")})
    with pytest.raises(DataError, match="duplicate"):
        composite({"a": pd.concat([three["a"], three["a"][:1]])})
    with pytest.raises(DataError, match="unknown venue 'z'"):
        composite(three, settings(priority=("z",)))
    with pytest.raises(DataError, match="no venue name"):
        composite({"a b": three["a"]})
    with pytest.raises(ConfigError, match="sizes"):
        settings(volumes={"a": {"unit": "base", "sizes": {"BTC_USDT": 1.0}}})


# -- real venues --------------------------------------------------------------------------------------

# coins in one contract, as the venues publish them
OKX = {"BTC_USDT": 0.01, "ETH_USDT": 0.1}
GATE = {"BTC_USDT": 0.0001, "ETH_USDT": 0.01}


@pytest.fixture(scope="module")
def perpetuals() -> dict[str, pd.DataFrame]:
    table = pd.read_parquet(
        panel_path("cross_exchange_1h"),
        filters=[("symbol", "in", ["BTCUSDT", "ETHUSDT"]), ("market", "==", "perp")],
    )
    table["instrument"] = table["symbol"].astype(str).str.replace("USDT", "_USDT")
    table = table.rename(columns={"date": "time"}).astype({"exchange": str})
    names = ("binance", "okx", "gate", "bybit")
    return {
        name: table[table["exchange"] == name][["time", "instrument", "close", "volume"]] for name in names
    }


def real(venues: dict[str, pd.DataFrame]) -> Composite:
    volumes = {
        "okx": {"unit": "contracts", "sizes": OKX},
        "gate": {"unit": "contracts", "sizes": GATE},
    }
    return composite(venues, settings(volumes={k: v for k, v in volumes.items() if k in venues}))


@pytest.mark.real_data
def test_real_venues_agree_and_are_kept(perpetuals: dict[str, pd.DataFrame]) -> None:
    done = real(perpetuals)
    rows = sum(one.rows for one in done.venues.values())
    assert rows > 200_000
    # clean data: next to nothing is thrown away
    assert sum(one.rejected for one in done.venues.values()) / rows < 2e-4
    assert done.frame["venue_spread"].median() < 2e-3
    # holes of single venues are bridged: every hour that anyone has is there
    hours = {name: set(frame[frame["volume"] > 0]["time"]) for name, frame in perpetuals.items()}
    bitcoin = done.frame[done.frame["instrument"] == "BTC_USDT"]
    assert set.union(*hours.values()) == set(done.frame["time"])
    assert len(bitcoin) == bitcoin["time"].nunique()
    # contracts, not coins, would give Gate nearly all of the weight
    naive = composite(perpetuals).frame
    share = naive["spread_gate"].abs().median() / done.frame["spread_gate"].abs().median()
    assert share < 0.5


@pytest.mark.real_data
def test_real_bad_ticks_are_found(perpetuals: dict[str, pd.DataFrame]) -> None:
    dice = np.random.default_rng(5)
    clean = real(perpetuals)
    bad = perpetuals["bybit"].copy()
    rows = dice.choice(bad.index[bad["volume"] > 0], 200, replace=False)
    bad["close"] = bad["close"].astype(float)
    bad.loc[rows, "close"] *= np.where(dice.random(200) < 0.5, 0.9, 1.1)
    done = real(perpetuals | {"bybit": bad})
    found = done.venues["bybit"].rejected - clean.venues["bybit"].rejected
    # where only two venues were there, priority decides instead
    assert found >= 195
    drift = (done.frame["close"].astype(float) / clean.frame["close"].astype(float) - 1).abs()
    assert drift.max() < 0.01


@pytest.mark.real_data
def test_real_failover(perpetuals: dict[str, pd.DataFrame]) -> None:
    clean = real(perpetuals).frame
    without = real({name: frame for name, frame in perpetuals.items() if name != "binance"}).frame
    both = clean.merge(without, on=["time", "instrument"], suffixes=("", "_2"))
    drift = (both["close_2"].astype(float) / both["close"].astype(float) - 1).abs()
    assert drift.median() < 5e-4 and drift.quantile(0.999) < 0.01
