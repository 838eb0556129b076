"""The store keeps what it was given, refuses what is wrong, and says so."""

from __future__ import annotations

import fcntl
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.core import ConfigError, DataError, Panel, StoreError, Timeframe, UniverseError
from bascule.data.health import blocking
from bascule.data.prepare import prepare
from bascule.data.rows import Rows
from bascule.data.store import Store

from .candles import at, make

HOUR = Timeframe.parse("1h")
NAMES = ("AAA_USDT", "BBB_USDT", "CCC_USDT")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def test_what_is_written_is_read(store: Store) -> None:
    frame = make(NAMES)  # from January into February
    written = store.write(frame, HOUR)
    assert (written.added, written.replaced, written.months) == (300, 0, ("2024-01", "2024-02"))
    pd.testing.assert_frame_equal(Store.open(store.path).frame(HOUR), frame)
    assert store.instruments(HOUR) == NAMES
    assert store.timeframes == (HOUR,)
    assert store.span("1h") == (np.datetime64("2024-01-30"), np.datetime64("2024-02-03T03"))


def test_frame_takes_a_part(store: Store) -> None:
    frame = make(NAMES)
    store.write(frame, HOUR)
    part = store.frame(HOUR, start="2024-01-31", end="2024-02-01T03:00", instruments=["CCC_USDT"])
    expected = frame[
        (frame["instrument"] == "CCC_USDT")
        & (frame["time"] >= "2024-01-31")
        & (frame["time"] < "2024-02-01T03:00Z")
    ]
    pd.testing.assert_frame_equal(part, expected.reset_index(drop=True))
    with pytest.raises(UniverseError, match="ZZZ_USDT"):
        store.frame(HOUR, instruments=["ZZZ_USDT"])
    with pytest.raises(UniverseError, match="no candle lies in"):
        store.frame(HOUR, start="2030-01-01")


def test_pieces_in_any_order_give_the_same_store(tmp_path: Path) -> None:
    frame = make(NAMES, bars=200)
    frame.loc[frame["time"] >= "2024-02-01", "funding_rate"] = np.float32(1e-4)
    whole = Store.create(tmp_path / "whole")
    whole.write(frame, HOUR)
    pieces = Store.create(tmp_path / "pieces")
    cut = frame["time"] < "2024-02-04"
    one = frame["instrument"] == "BBB_USDT"
    for mask in (~cut & ~one, one, cut & ~one):
        pieces.write(frame[mask], HOUR)
    pieces.write(frame[one], HOUR)  # once more: nothing new
    assert pieces.fingerprint(HOUR) == whole.fingerprint(HOUR)
    pd.testing.assert_frame_equal(pieces.frame(HOUR), whole.frame(HOUR))
    whole.compact()
    pieces.compact()
    assert Store.open(whole.path).section(HOUR) == pieces.section(HOUR)
    assert pieces.fingerprint(HOUR) == whole.fingerprint(HOUR)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_pieces_give_the_same_store(data: st.DataObject) -> None:
    """Appending rows never changes what is stored, and the order of arrival leaves no trace."""
    frame = make(NAMES, bars=60, start="2024-01-31")
    piece = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(frame), max_size=len(frame))))
    order = data.draw(st.permutations(range(4)))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store")
        for number in order:
            part = frame[piece == number]
            # by chance a piece may look like candles of two hours, which the store refuses
            if len(part) and not blocking(Rows.from_frame(part), HOUR):
                store.write(part, HOUR)
        store.write(frame, HOUR)
        whole = Store.create(Path(folder) / "whole")
        whole.write(frame, HOUR)
        assert store.fingerprint(HOUR) == whole.fingerprint(HOUR)
        store.compact()
        assert store.section(HOUR) == whole.section(HOUR)
        pd.testing.assert_frame_equal(store.frame(HOUR), frame)


def test_the_fingerprint_follows_every_value(tmp_path: Path) -> None:
    seen = set()
    for n, (name, change) in enumerate([("close", 0.0), ("close", 1e-3), ("volume", 1.0)]):
        frame = make(NAMES)
        frame.loc[5, name] += np.float32(change)
        store = Store.create(tmp_path / str(n))
        store.write(frame, HOUR)
        seen.add(store.fingerprint(HOUR))
    assert len(seen) == 3


def test_new_rows_instruments_columns_and_timeframes_are_added(store: Store) -> None:
    frame = make(NAMES)
    store.write(frame[frame["instrument"] == "AAA_USDT"].head(50), HOUR)
    written = store.write(frame, HOUR)
    assert written.added == 250
    store.write(make(NAMES, timeframe="4h"), "4h")
    assert store.timeframes == (HOUR, Timeframe.parse("4h"))
    # a column that comes later fills in; the candles stay
    rates = frame.assign(funding_rate=np.float32(1e-4))
    assert store.write(rates, HOUR).replaced == 0
    assert (store.frame(HOUR)["funding_rate"] == np.float32(1e-4)).all()
    # and writing without it takes nothing away
    assert store.write(frame, HOUR).months == ()
    pd.testing.assert_frame_equal(store.frame(HOUR), rates)


def test_other_values_need_a_policy(store: Store) -> None:
    frame = make(NAMES)
    store.write(frame, HOUR)
    before = store.fingerprint(HOUR)
    changed = frame.copy()
    i = at(changed, "BBB_USDT", 10)
    changed.loc[i, "volume"] = 7
    with pytest.raises(StoreError, match=r"1 stored candles have another volume.*BBB_USDT 2024-01-30 10:00"):
        store.write(changed, HOUR)
    assert store.fingerprint(HOUR) == before
    assert store.write(changed, HOUR, conflicts="replace").replaced == 1
    pd.testing.assert_frame_equal(store.frame(HOUR), changed)


def test_rows_with_errors_are_refused_and_nothing_is_changed(store: Store) -> None:
    store.write(make(NAMES), HOUR)
    before = json.loads((store.path / "manifest.json").read_text())
    bad = make(NAMES, bars=150)
    bad.loc[at(bad, "BBB_USDT", 120), "high"] = 1
    bad = pd.concat([bad, bad.iloc[[0]]]).sort_values("time", kind="stable")
    with pytest.raises(StoreError, match="2 rows have errors") as caught:
        store.write(bad, HOUR)
    assert "duplicates" in caught.value.message
    assert "impossible" in caught.value.message
    assert "repair=" in str(caught.value.remedy)
    with pytest.raises(StoreError, match="does not cover"):
        store.write(bad, HOUR, repair=["duplicates"])
    assert json.loads((store.path / "manifest.json").read_text()) == before


def test_repairs_are_asked_for_and_counted(store: Store) -> None:
    clean = make(NAMES, bars=30)
    again = clean.iloc[[3]].assign(volume=np.float32(5))  # the later row counts
    bad = pd.concat([clean.iloc[::-1], again])
    i = at(bad, "BBB_USDT", 4)
    bad.iloc[i, bad.columns.get_loc("low")] = np.float32(0)
    written = store.write(bad, HOUR, repair=["sort", "duplicates", "impossible"])
    assert written.repaired["duplicates"] == 1
    assert written.repaired["impossible"] == 1
    assert written.repaired["sort"] > 80
    kept = clean.drop(index=bad.index[i])
    kept.loc[3, "volume"] = 5
    pd.testing.assert_frame_equal(store.frame(HOUR), kept.reset_index(drop=True))
    assert store.section(HOUR).repaired == written.repaired
    with pytest.raises(ConfigError, match="unknown repair"):
        store.write(clean, HOUR, repair=["fill"])  # type: ignore[list-item]


def test_the_order_of_instruments_is_no_error(store: Store) -> None:
    frame = make(NAMES)
    store.write(frame.sort_values(["time", "instrument"]), HOUR)
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)


def test_candles_of_another_timeframe_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="timeframe"):
        store.write(make(timeframe="4h"), HOUR)
    with pytest.raises(StoreError, match="off_grid"):
        store.write(make(start="2024-01-30 00:30"), HOUR, repair=["sort"])


def test_panel_is_the_prepared_panel(store: Store) -> None:
    frame = make(NAMES, bars=300).assign(quote_volume=np.float32(1e6))
    late = (frame["instrument"] == "CCC_USDT") & (frame["time"] < "2024-02-02")
    early = (frame["instrument"] == "BBB_USDT") & (frame["time"] > "2024-02-08")
    frame = frame[~late & ~early]
    frame.loc[at(frame, "AAA_USDT", 20), "volume"] = 0
    frame = frame.drop(index=at(frame, "AAA_USDT", 25)).reset_index(drop=True)
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    panel = store.panel(HOUR)
    expected = prepare(Panel.from_long(frame, HOUR))
    assert panel.fingerprint() == expected.fingerprint()
    np.testing.assert_array_equal(panel.listed, expected.listed)
    window = store.panel(
        HOUR,
        start="2024-02-05",
        end="2024-02-05T12:00",
        instruments=["CCC_USDT", "AAA_USDT"],
        fields=["close"],
    )
    assert window.shape == (12, 2)
    assert list(window.fields) == ["close"]
    assert window.listed[1] == np.datetime64("2024-02-02")
    rows = expected.between("2024-02-05", "2024-02-05T12:00").select(["AAA_USDT", "CCC_USDT"])
    np.testing.assert_array_equal(window["close"], rows["close"])
    # before the listing of all that was asked for, the rows are there and empty
    empty = store.panel(HOUR, end="2024-01-31", instruments=["CCC_USDT"])
    assert empty.shape == (24, 1)
    assert not empty.traded.any()


def test_panel_refusals(store: Store) -> None:
    with pytest.raises(StoreError, match="no 1h candles"):
        store.panel(HOUR)
    store.write(make(NAMES), HOUR)
    with pytest.raises(StoreError, match="no provider was built"):
        store.panel(HOUR)
    store.build_provider(HOUR)
    with pytest.raises(UniverseError, match="ZZZ_USDT"):
        store.panel(HOUR, instruments=["ZZZ_USDT"])
    with pytest.raises(UniverseError, match="no instruments"):
        store.panel(HOUR, instruments=[])
    with pytest.raises(DataError, match=r"\$funding_rate"):
        store.panel(HOUR, fields=["funding_rate"])
    with pytest.raises(DataError, match="no candle lies in"):
        store.panel(HOUR, start="2030-01-01")
    with pytest.raises(DataError, match="quote_volume"):
        store.build_provider(HOUR, vwap="quote")
    store.write(make(NAMES, bars=120), HOUR)
    with pytest.raises(StoreError, match="older than the candles"):
        store.panel(HOUR)


@pytest.mark.parametrize("bars", [50, 90_000], ids=["copied", "mapped"])
def test_the_provider_before_is_kept_and_older_ones_go(store: Store, bars: int) -> None:
    folders = []
    panels = []
    for volume in (1, 2, 3):
        frame = make(NAMES, bars=bars, start="2010-01-01").assign(volume=np.float32(volume))
        store.write(frame, HOUR, conflicts="replace")
        folders.append(store.build_provider(HOUR))
        panels.append(store.panel(HOUR))
        assert store.build_provider(HOUR) == folders[-1]  # nothing to do
        assert store.provider(HOUR) == folders[-1].resolve()
    assert not folders[0].exists()
    assert folders[1].exists()
    assert folders[2].exists()
    # panels outlive their folder, be they copies or mappings
    for volume, panel in enumerate(panels, start=1):
        assert (panel["volume"] == volume).all()
        panel["volume"][-1, -1] = 7
    assert (store.panel(HOUR)["volume"] == 3).all()


def test_one_writer_at_a_time(store: Store) -> None:
    with (store.path / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"another process \(\d+\) is writing"):
            store.write(make(), HOUR)
    store.write(make(), HOUR)


def test_left_overs_are_swept_by_the_next_writer(store: Store) -> None:
    store.write(make(), HOUR)
    store.build_provider(HOUR)
    for place in (".tmp-manifest.json-1", "candles/1h/.tmp-x", "candles/1h/2024-01.0000.parquet"):
        (store.path / place).touch()
    (store.path / "provider/1h/.tmp-y").mkdir()
    (store.path / "provider/1h/.tmp-y/half.bin").touch()
    store.write(make(bars=110), HOUR)
    names = [str(path.relative_to(store.path)) for path in store.path.rglob("*")]
    assert not [name for name in names if ".tmp-" in name or ".0000." in name]


def test_opening(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store.open(tmp_path / "none")
    with pytest.raises(StoreError, match="not empty"):
        Store.create(store.path)
    manifest = store.path / "manifest.json"
    manifest.write_text('{"schema": 99}')
    with pytest.raises(StoreError, match="schema 99"):
        Store.open(store.path)
    for text in ("{", "[]", '{"schema": 2}', '{"schema": 2, "version": 1, "sections": {"1h": {}}}'):
        manifest.write_text(text)
        with pytest.raises(StoreError, match="damaged"):
            Store.open(store.path)


def test_verify_and_damaged_files(store: Store) -> None:
    store.write(make(NAMES), HOUR)
    store.build_provider(HOUR)
    assert store.verify() == 2 + 4 * 6 + 2
    part = next((store.path / "candles/1h").glob("2024-02.*"))
    good = part.read_bytes()
    part.write_bytes(good[:100] + b"x" + good[101:])
    for action in (store.verify, lambda: store.frame(HOUR), lambda: store.write(make(bars=110), HOUR)):
        with pytest.raises(StoreError, match="another checksum") as caught:
            action()
        assert caught.value.where == str(part)
        assert "2024-02" in str(caught.value.remedy)
    assert len(store.frame(HOUR, end="2024-01-31")) == 72  # other months are fine
    part.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        store.verify()
    part.write_bytes(good)
    one = store.provider(HOUR) / "arrays/close.f32"
    whole = one.read_bytes()
    one.write_bytes(whole[:-4] + b"abcd")
    with pytest.raises(StoreError, match="another checksum"):
        store.verify()
    one.write_bytes(whole[:-4])
    with pytest.raises(StoreError, match="too short"):
        store.panel(HOUR)
    one.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        store.panel(HOUR)
    one.write_bytes(whole)
    one = store.provider(HOUR) / "features/aaa_usdt/close.60min.bin"
    whole = one.read_bytes()
    one.write_bytes(whole[:-4] + b"abcd")
    with pytest.raises(StoreError, match="not what the array has"):
        store.verify()
    one.write_bytes(whole[:-4])
    with pytest.raises(StoreError, match="not of the calendar"):
        store.verify()
    (store.provider(HOUR) / "bascule.json").write_text("{")
    with pytest.raises(StoreError, match="build the provider again"):
        store.panel(HOUR)
    store.build_provider(HOUR)  # and then it is whole again
    assert store.verify() == 2 + 4 * 6 + 2
