"""Slow data: what was known at a candle's close, no more; revisions never rewrite what was known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule import engine
from bascule.core import DataError, Panel, StoreError, Timeframe
from bascule.data.pointintime import join
from bascule.data.store import Store

from .candles import make

HOUR = Timeframe.parse("1h")
NAMES = ("1000PEPE_USDT", "BTC_USDT", "ETH_USDT")


def table(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    """Rows of (describes, available, instrument, value)."""
    frame = pd.DataFrame(rows, columns=["time", "available_time", "instrument", "x"])
    for name in ("time", "available_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[ns, UTC]")
    return frame.astype({"x": np.float32})


@pytest.fixture
def panel() -> Panel:
    return Panel.from_long(make(NAMES, bars=48, start="2024-01-01"), HOUR)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    store.write(make(NAMES, bars=48, start="2024-01-01"), HOUR)
    store.build_provider(HOUR)
    return store


def test_a_value_is_there_from_the_close_at_which_it_was_known(panel: Panel) -> None:
    known = table(
        [("2023-12-31", "2024-01-01T05:00", "BTC", 1), ("2024-01-01", "2024-01-02T05:30", "BTC", 2)]
    )
    x = join(panel, known, "asset")["x"]
    btc = x[:, panel.instruments.index("BTC_USDT")]
    assert np.isnan(btc[:4]).all()
    assert (btc[4:29] == 1).all()  # the candle of 04:00 closes at 05:00
    assert (btc[29:] == 2).all()  # the candle of 05:00 closes at 06:00, after 05:30
    assert np.isnan(x[:, panel.instruments.index("ETH_USDT")]).all()


def plain(known: pd.DataFrame, close: pd.Timestamp, asset: str) -> float:
    """The rules of `pointintime`, read row by row."""
    best: tuple[pd.Timestamp, pd.Timestamp] | None = None
    value = np.nan
    for row in known.to_dict("records"):
        if row["instrument"] != asset or row["available_time"] > close or np.isnan(row["x"]):
            continue
        rank = (row["time"], row["available_time"])
        if best is None or rank > best:
            best, value = rank, row["x"]
    return value


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 30))
def test_the_join_read_plainly(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    panel = Panel.from_long(make(("BTC_USDT", "ETH_USDT"), bars=24, start="2024-01-01"), HOUR)
    start = pd.Timestamp("2023-12-31", tz="UTC")
    time = start + pd.to_timedelta(rng.integers(0, 30, rows), unit="h")
    known = pd.DataFrame(
        {
            "time": time.astype("datetime64[ns, UTC]"),
            "available_time": (time + pd.to_timedelta(rng.integers(0, 900, rows), unit="min")).astype(
                "datetime64[ns, UTC]"
            ),
            "instrument": rng.choice(["BTC", "ETH"], rows),
            "x": np.where(rng.random(rows) < 0.2, np.nan, np.arange(rows)).astype(np.float32),
        }
    ).drop_duplicates(["instrument", "time", "available_time"])
    x = join(panel, known, "asset")["x"]
    for n, asset in enumerate(("BTC", "ETH")):
        closes = pd.DatetimeIndex(panel.time + HOUR.delta, tz="UTC")
        np.testing.assert_array_equal(x[:, n], [plain(known, close, asset) for close in closes])


def test_factors_move_with_available_time(store: Store) -> None:
    """The same values, known later: the factor moves along, and no row before them changes."""
    texts = ["$x", "Mean($x, 3)", "Delta($x, 2)", "$close / $x"]
    rng = np.random.default_rng(2)
    time = pd.date_range("2023-12-30", periods=96, freq="h", tz="UTC").astype("datetime64[ns, UTC]")
    rows = pd.DataFrame({"time": time, "instrument": "BTC", "x": rng.normal(3, 1, 96).astype(np.float32)})

    def factors(lag: int, name: str) -> np.ndarray:
        known = rows.assign(available_time=rows["time"] + pd.Timedelta(hours=lag))
        store.write_table(name, known, scope="asset")
        panel = store.panel(HOUR, instruments=["BTC_USDT"], slow_fields=[name])
        return engine.evaluate(texts, panel)[:, :, 0]

    early, late = factors(1, "early"), factors(6, "late")
    # what depends on slow data alone is the same five rows later, bit by bit
    np.testing.assert_array_equal(late[:3, 10:], early[:3, 5:-5])
    assert not np.array_equal(late[:, 10:], early[:, 10:])
    # moving one row's availability into the future changes no row that closed before it was known
    moved = rows.assign(available_time=rows["time"] + pd.Timedelta(hours=1))
    moved.loc[60, "available_time"] += pd.Timedelta(hours=4)
    store.write_table("moved", moved, scope="asset")
    panel = store.panel(HOUR, instruments=["BTC_USDT"], slow_fields=["moved"])
    other = engine.evaluate(texts, panel)[:, :, 0]
    was = (
        int((moved["time"][60] + pd.Timedelta(hours=1)).tz_localize(None).to_numpy() - panel.time[0])
        // 3_600_000_000_000
    )
    np.testing.assert_array_equal(other[:, : was - 1], early[:, : was - 1])
    assert other[0, was - 1] != early[0, was - 1]


def test_appended_rows_change_nothing_that_was_known(panel: Panel) -> None:
    rng = np.random.default_rng(0)
    time = pd.date_range("2024-01-01", periods=40, freq="h", tz="UTC").astype("datetime64[ns, UTC]")
    known = pd.DataFrame(
        {
            "time": time,
            "available_time": time + pd.to_timedelta(rng.integers(0, 600, 40), unit="min"),
            "instrument": "GLOBAL",
            "x": rng.normal(size=40).astype(np.float32),
        }
    )
    whole = join(panel, known, "global")["x"]
    for cut in (10, 20, 30):
        edge = pd.Timestamp(panel.time[cut], tz="UTC") + pd.Timedelta(hours=1)
        part = join(panel, known[known["available_time"] <= edge], "global")["x"]
        np.testing.assert_array_equal(part[: cut + 1], whole[: cut + 1])


def test_scopes(panel: Panel) -> None:
    def first(scope: str, key: str) -> Panel:
        return join(panel, table([("2023-12-31", "2023-12-31", key, 7)]), scope)  # type: ignore[arg-type]

    assert np.isfinite(first("asset", "PEPE")["x"][0]).tolist() == [True, False, False]  # 1000PEPE
    assert np.isfinite(first("instrument", "ETH_USDT")["x"][0]).tolist() == [False, False, True]
    assert np.isfinite(first("global", "GLOBAL")["x"][0]).all()
    assert (first("venue", "binance")["x_binance"][0] == 7).all()


def test_old_values_go_and_other_fields_stay(panel: Panel) -> None:
    known = table([("2023-12-31", "2024-01-01", "GLOBAL", 7)])
    x = join(panel, known, "global", max_age=np.timedelta64(10, "h"))["x"][:, 0]
    assert np.isfinite(x).sum() == 10
    with pytest.raises(DataError, match="already"):
        join(panel, known.rename(columns={"x": "close"}), "global")
    with pytest.raises(DataError, match="not in the table"):
        join(panel, known, "global", fields=["y"])


def test_tables_are_kept_beside_the_candles(store: Store) -> None:
    candles = store.fingerprint(HOUR)
    rows = table([("2023-12-30", "2023-12-31", "BTC", 1), ("2023-12-31", "2024-01-01", "BTC", 2)])
    written = store.write_table("onchain", rows, scope="asset", units={"x": "USD"})
    assert (written.added, written.replaced, written.months) == (2, 0, ("2023", "2024"))
    assert store.write_table("onchain", rows, scope="asset").months == ()
    pd.testing.assert_frame_equal(
        store.table("onchain"), rows[["time", "available_time", "instrument", "x"]], check_like=True
    )
    (told,) = store.tables.values()
    assert (told.scope, told.units, told.rows) == ("asset", {"x": "USD"}, 2)
    assert store.fingerprint(HOUR) == candles
    assert store.panel(HOUR, slow_fields=["onchain.x"])["x"][0, 1] == 2
    # another column, and rows of the same year
    store.write_table("onchain", rows.rename(columns={"x": "y"}), scope="asset")
    assert list(store.table("onchain").columns)[3:] == ["x", "y"]
    assert store.verify() == 1 + 2 + 4 * 6 + 2
    for text in ("nothing", "onchain.z"):
        with pytest.raises(DataError):
            store.panel(HOUR, slow_fields=[text])
    with pytest.raises(StoreError, match="scope"):
        store.write_table("onchain", rows, scope="global")


def test_corrections_keep_what_was_known(store: Store) -> None:
    rows = table([("2023-12-30", "2023-12-31", "BTC", 1), ("2023-12-31", "2024-01-01", "BTC", 2)])
    store.write_table("onchain", rows, scope="asset")
    other = rows.assign(x=np.array([1, 5], np.float32))
    with pytest.raises(StoreError, match="another x"):
        store.write_table("onchain", other, scope="asset")
    with pytest.raises(StoreError, match="nobody said when"):
        store.write_table("onchain", other, scope="asset", revisions="revise")
    for _ in range(2):  # the second time it is no news
        store.write_table("onchain", other, scope="asset", revisions="revise", now="2024-01-02T10:30")
        x = store.panel(HOUR, slow_fields=["onchain"])["x"][:, 1]
        assert (x[:34] == 2).all()
        assert (x[34:] == 5).all()
        assert len(store.table("onchain")) == 3
    store.write_table("onchain", other, scope="asset", revisions="replace")
    assert (store.panel(HOUR, slow_fields=["onchain"])["x"][:, 1] == 5).all()


def test_only_the_newest_of_several_revisions_can_be_news(store: Store) -> None:
    """A publisher tells a value and its own correction; what it says of the first is not the present."""
    first, second = ("2023-12-30", "2023-12-31", "BTC"), ("2023-12-30", "2024-01-01", "BTC")
    store.write_table("onchain", table([(*first, 1), (*second, 2)]), scope="asset")

    def revised(one: int, two: int, now: str) -> list[float]:
        rows = table([(*first, one), (*second, two)])
        store.write_table("onchain", rows, scope="asset", revisions="revise", now=now)
        held = store.table("onchain")
        assert not held.duplicated(["instrument", "time", "available_time"]).any()
        return held["x"].tolist()

    assert revised(10, 2, "2024-01-02T10:30") == [1, 2]  # the newest word is still 2
    assert revised(10, 20, "2024-01-02T11:30") == [1, 2, 20]
    assert revised(10, 20, "2024-01-02T12:30") == [1, 2, 20]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop(columns="available_time"), "missing"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(time=f["time"].dt.tz_localize(None)), "UTC"),
        (lambda f: f.assign(available_time=f["time"] - pd.Timedelta(hours=1)), "before it began"),
        (lambda f: pd.concat([f, f]), "twice"),
        (lambda f: f.rename(columns={"x": "X"}), "no field name"),
        (lambda f: f.assign(x="much"), "not a number"),
    ],
)
def test_refusals(store: Store, change: object, match: str) -> None:
    rows = table([("2023-12-30", "2023-12-31", "BTC", 1)])
    with pytest.raises(DataError, match=match):
        store.write_table("onchain", change(rows), scope="asset")  # type: ignore[operator]
    with pytest.raises(StoreError, match="no table name"):
        store.write_table("On-chain", rows, scope="asset")
